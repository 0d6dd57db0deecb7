"""Whether an answer by SQL has arrived whole, and the wait for it."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest
import trio
import trio.testing

from hs_drill.engine._sql_answer import MOST, Arrivals, is_whole


def packets(*payloads: bytes) -> bytes:
    return b"".join(len(one).to_bytes(3, "little") + bytes([n + 1]) + one for n, one in enumerate(payloads))


COLUMN = b"\3def" + bytes(40)
EOF = b"\xfe\0\0\2\0"
OK_AT_END = b"\xfe\0\0\2\0\0\0"
"""What ends the rows of a client that wants no EOF (CLIENT_DEPRECATE_EOF), such as MySQL's."""
ERROR = b"\xff\x25\x05#70100Query execution was interrupted"
ROW = b"\x0a0123456789\xfb"
ANSWERS = {
    "ok": packets(b"\0\1\0\2\0\0\0"),
    "error": packets(ERROR),
    "no rows": packets(b"\1", COLUMN, EOF, EOF),
    "rows": packets(b"\2", COLUMN, COLUMN, EOF, ROW, ROW, EOF),
    "rows and an error": packets(b"\2", COLUMN, COLUMN, EOF, ROW, ERROR),
    "no rows, no EOF": packets(b"\1", COLUMN, OK_AT_END),
    "rows, no EOF": packets(b"\2", COLUMN, COLUMN, ROW, ROW, OK_AT_END),
    "an error, no EOF": packets(b"\1", COLUMN, ERROR),
    "a long row": packets(b"\1", COLUMN, EOF, b"\xfd" + bytes(70_000), EOF),
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_an_answer_is_whole_only_with_its_last_byte(answer: bytes) -> None:
    assert is_whole(answer)
    assert [size for size in range(len(answer)) if is_whole(answer[:size])] == []


def test_what_shows_no_packets_is_read_at_once() -> None:
    assert is_whole(b"\x17\3\3\1\0" + bytes(10)), "encrypted"
    assert is_whole(packets(b"\xfbfile"))


class Ends:
    """A connection over TCP: the test is the server, and `arrivals` are the client's."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.client = socket.create_connection(listener.getsockname())
            self.server, _ = listener.accept()
        self.arrivals = Arrivals(self.client.fileno())
        self._sent = 0

    def send(self, data: bytes) -> None:
        """Send, and wait until the client has it: the kernel may take its time."""
        self.server.sendall(data)
        self._sent += len(data)
        assert len(self.client.recv(self._sent, socket.MSG_PEEK | socket.MSG_WAITALL)) == self._sent

    @property
    def wakes_at(self) -> int:
        return self.client.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT)


@pytest.fixture
def ends() -> Iterator[Ends]:
    files = len(os.listdir("/proc/self/fd"))
    ends = Ends()
    with ends.client, ends.server:
        yield ends
        assert ends.wakes_at == 1, "a read would wait for more than one byte"
        ends.arrivals.close()
    assert len(os.listdir("/proc/self/fd")) == files


async def test_the_wait_ends_with_the_last_byte(ends: Ends, mock_clock: trio.testing.MockClock) -> None:
    answer = ANSWERS["rows"]
    told: list[bool] = []

    async def wait() -> None:
        told.append(await ends.arrivals.wait(3))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        for sent, byte in enumerate(answer):
            await trio.testing.wait_all_tasks_blocked()
            assert (told, ends.wakes_at) == ([], sent + 1), "it would wake all the time"
            mock_clock.jump(2)  # less than the longest silence, and longer than that in all
            await trio.testing.wait_all_tasks_blocked()
            ends.send(bytes([byte]))
    assert told == [True]
    assert ends.client.recv(1000) == answer, "nothing was read"


async def test_silence_ends_the_wait_for_the_beginning_and_for_the_rest(
    ends: Ends, autojump_clock: trio.testing.MockClock
) -> None:
    assert not await ends.arrivals.wait(3)
    ends.send(ANSWERS["rows"][:-1])
    assert not await ends.arrivals.wait(3)
    assert trio.current_time() == pytest.approx(6)


@pytest.mark.parametrize("came", [b"", ANSWERS["rows"][:-1]])
async def test_the_end_of_the_connection_ends_the_wait(ends: Ends, came: bytes) -> None:
    ends.send(came)
    ends.server.shutdown(socket.SHUT_WR)
    assert await ends.arrivals.wait(60)


async def test_a_cancelled_wait_leaves_the_socket_as_it_was(ends: Ends) -> None:
    ends.send(ANSWERS["rows"][:-1])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ends.arrivals.wait, 60)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()


async def test_a_very_long_answer_is_not_waited_for(ends: Ends) -> None:
    ends.send(packets(b"\1", COLUMN, EOF, b"\xfd" + bytes(MOST)))
    assert await ends.arrivals.wait(60)
