"""A bare socket in a client's place: the floor."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio

from ._base import BATCH, COUNTED, DATABASE, FILLED, FLOOR, INSERTED, READ, THREADS, TRIO, Contender, check, payload


class RawSocket(Contender):
    """The minimum without a client: batches of prepared lines, one line per task, and their answers."""

    name = "raw socket"
    kind = FLOOR
    runtime = THREADS

    def expected(self, key: int) -> Any:
        return b"0\t3\t%d\t0\t%b\n" % (key, payload(key).encode())

    def open(self, pool: int) -> Any:
        return self

    def __enter__(self) -> list[Any]:
        target = self.target
        self.read = self._connect(target.read_port, target.read_secret, (READ, b"id,n,payload"))
        self.write = self._connect(target.write_port, target.write_secret, (FILLED, b"id,n,payload"), (COUNTED, b"n"))
        self.inserted = b"\t0\t" + INSERTED.encode() + b"\n"
        return [None]

    def __exit__(self, *exception: object) -> None:
        self.read.close()
        self.write.close()

    def _connect(self, port: int, secret: str, *indexes: tuple[str, bytes]) -> socket.socket:
        connection = socket.create_connection((self.target.host, port), timeout=10)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        opening = [b"A\t1\t%b\n" % secret.encode()]
        for number, (table, columns) in enumerate(indexes):
            opening.append(b"P\t%d\t%b\t%b\tPRIMARY\t%b\n" % (number, DATABASE.encode(), table.encode(), columns))
        _exchange(connection, b"".join(opening), b"0\t1\n" * len(opening))
        return connection

    def _get(self, lines: int) -> int:
        keys = [self.next_key() for _ in range(lines)]
        answers = self.rows
        _exchange(self.read, b"".join([b"0\t=\t1\t%d\n" % key for key in keys]), b"".join([answers[key] for key in keys]))
        return lines

    def _insert(self, lines: int) -> int:
        data = b"".join([b"0\t+\t3\t%d%b" % (self.next_new(), self.inserted) for _ in range(lines)])
        _exchange(self.write, data, b"0\t1\n" * lines)
        return lines

    def get(self, _: None) -> int:
        return self._get(self.tasks)

    def get_many(self, _: None) -> int:
        return self._get(BATCH)

    def insert(self, _: None) -> int:
        return self._insert(self.tasks)

    def insert_many(self, _: None) -> int:
        return self._insert(BATCH)

    def incr(self, _: None) -> int:
        data = b"".join([b"1\t=\t1\t%d\t1\t0\t+\t1\n" % self.next_key() for _ in range(self.tasks)])
        _exchange(self.write, data, b"0\t1\t1\n" * self.tasks)
        return self.tasks


def _exchange(connection: socket.socket, request: bytes, expected: bytes) -> None:
    connection.sendall(request)
    parts: list[bytes] = []
    missing = len(expected)
    while missing > 0:
        # If a wrong answer is too short, this waits until the connection's timeout.
        part = connection.recv(1 << 18)
        if not part:
            break
        parts.append(part)
        missing -= len(part)
    check(b"".join(parts), expected)


class RawSocketInTrio(RawSocket):
    """The same in one trio task: the minimum for a client that waits the way trio does."""

    name = "raw socket in trio"
    runtime = TRIO
    operations = ("get",)

    @asynccontextmanager
    async def open(self, pool: int) -> AsyncIterator[list[Any]]:
        with self as opened:
            self.read.setblocking(False)
            yield opened

    async def get(self, _: None) -> int:  # type: ignore[override]
        keys = [self.next_key() for _ in range(self.tasks)]
        await _exchange_in_trio(
            self.read, b"".join([b"0\t=\t1\t%d\n" % key for key in keys]), b"".join([self.rows[key] for key in keys])
        )
        return self.tasks


async def _exchange_in_trio(connection: socket.socket, request: bytes, expected: bytes) -> None:
    assert connection.send(request) == len(request)  # a few kilobytes: the kernel takes them at once
    answer = b""
    while len(answer) < len(expected):
        await trio.lowlevel.wait_readable(connection)
        part = connection.recv(1 << 18)
        if not part:
            break
        answer += part
    check(answer, expected)
