"""Long requests go out uncopied, behind a prefix of their own. Order, bytes and what is known after a cut stay the same."""

from __future__ import annotations

import itertools

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.trio_hs.support.fake import FakeConnection, MemoryTransport
from trio_hs._network import _connection
from trio_hs._network._connection import LONG_REQUEST, Connection
from trio_hs._network._request import Request
from trio_hs._protocol import Index, get_tail

INDEXES = [Index("d", "t", ["id"]), Index("d", "u", ["id"])]


class Recording(MemoryTransport):
    """Keeps what it was given to send."""

    def __init__(self, window: int) -> None:
        super().__init__(window)
        self.given: list[bytes | memoryview] = []

    def send(self, data: bytes | memoryview) -> int:
        self.given.append(data)
        return super().send(data)


def connection_over(transport: MemoryTransport, nursery: trio.Nursery) -> Connection:
    connection = Connection(transport, "fake", timeout=1, on_closed=lambda connection: None)
    nursery.start_soon(connection.run)
    return connection


def submit(connection: Connection, sizes: tuple[int, ...]) -> list[Request]:
    """A request of each length in turn, on one of two indexes. Of every third the caller has another line."""
    requests = []
    for number, size in enumerate(sizes):
        tails = [get_tail(b"%d" % number * size)] * (2 if number % 3 == 2 else 1)
        request = Request(len(tails))
        connection.submit(request, INDEXES[number % 2], tails)
        requests.append(request)
    return requests


async def test_a_long_request_is_not_copied(nursery: trio.Nursery) -> None:
    transport = Recording(1 << 30)
    connection = connection_over(transport, nursery)
    tail = get_tail(b"x" * LONG_REQUEST)
    for _ in range(2):
        connection.submit(Request(), INDEXES[0], [tail])
        connection.submit(Request(), INDEXES[0], [get_tail(b"short")])
    await wait_all_tasks_blocked()
    whole = [data for data in transport.given if len(data) == len(tail)]
    assert [isinstance(data, memoryview) and data.obj is tail for data in whole] == [True, True]
    assert sum(len(data) for data in transport.given if len(data) != len(tail)) < 200
    short = b"0\t=\t1\tshort\n"
    assert bytes(transport.to_server).endswith((b"0" + tail + short) * 2)


@pytest.mark.parametrize("sizes", list(itertools.product((1, 50), repeat=4)))
async def test_long_and_short_requests_mix(
    sizes: tuple[int, ...], nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut after any byte, each request knows how many of its lines the server has."""
    monkeypatch.setattr(_connection, "LONG_REQUEST", 1 << 30)
    transport = MemoryTransport(1 << 30)
    submit(connection_over(transport, nursery), sizes)
    await wait_all_tasks_blocked()
    expected = bytes(transport.to_server)

    monkeypatch.setattr(_connection, "LONG_REQUEST", 40)
    for window in range(1, len(expected) + 1, 3):
        transport = MemoryTransport(window)
        requests = submit(connection_over(transport, nursery), sizes)
        await wait_all_tasks_blocked()
        sent = bytes(transport.to_server)
        assert sent == expected[:window]
        FakeConnection(transport).reset()
        await wait_all_tasks_blocked()
        whole = [line for line in sent.split(b"\n")[:-1] if line[:1].isdigit()]
        left = len(whole)
        for request in requests:
            assert request.failure is not None
            assert request.sent_lines == min(left, request.lines)
            left -= request.sent_lines
        assert left == 0


async def test_a_slow_line_takes_long_requests_in_pieces(nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_connection, "LONG_REQUEST", 40)
    sizes = (50, 1, 50, 50, 1, 50)
    received = []
    for window in (1 << 30, 7):
        transport = MemoryTransport(window)
        connection = connection_over(transport, nursery)
        submit(connection, sizes)
        taken = b""
        while True:
            await wait_all_tasks_blocked()
            if not transport.to_server:
                break
            taken += bytes(transport.to_server)
            transport.to_server.clear()
            transport.changed.unpark_all()
        received.append(taken)
        connection.invalidate(OSError("the end of the test"))
    assert received[0] == received[1]
