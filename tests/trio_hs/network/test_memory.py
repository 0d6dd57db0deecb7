"""What a connection holds of an answer that is arriving, and when it lets go of it."""

from __future__ import annotations

import gc
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import trio_hs
from tests.support.patience import patience
from tests.trio_hs.support.connections import INDEX, connected
from tests.trio_hs.support.fake import FakeServer, slow_to_connect
from trio_hs import ProtocolError
from trio_hs._network import Request
from trio_hs._network._failures import without_tracebacks
from trio_hs._protocol import Answers, get_tail

MB = 1 << 20


@pytest.fixture
def traced() -> Iterator[None]:
    gc.collect()
    tracemalloc.start()
    yield
    tracemalloc.stop()


def held() -> int:
    """Bytes in use by Python objects since `traced` began."""
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


def test_an_answer_in_small_pieces_takes_its_size(traced: None) -> None:
    answers, pieces = Answers(), 20_000
    before = held()
    for number in range(pieces):
        answers.feed(b"%064d" % number)
    assert held() - before < 1.2 * 64 * pieces
    [line] = answers.feed(b"\n")
    assert len(line) == 64 * pieces
    assert held() - before < 1.1 * 64 * pieces


MAPS = """
import socket
from trio_hs._network._transport import SocketTransport
from trio_hs._protocol import Answers

def maps():
    with open("/proc/self/maps") as file:
        return sum(1 for _ in file)

ours, theirs = socket.socketpair()
transport, answers = SocketTransport(ours), Answers()
before = maps()
for _ in range(5000):
    theirs.send(bytes(64))
    answers.feed(transport.receive())
print(maps() - before)
"""


@pytest.mark.process
@pytest.mark.skipif(sys.platform != "linux", reason="counts memory maps by Linux's /proc")
def test_an_answer_in_small_pieces_takes_few_memory_maps() -> None:
    """In a process of its own: which size of memory gets a map depends on what was freed before."""
    command = [sys.executable, "-c", MAPS]
    result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=patience(60))
    assert int(result.stdout) < 20  # it was 5,000: one for each piece


@pytest.mark.parametrize("how", ["end", "reset", "endless"])
async def test_a_connection_that_dies_inside_an_answer_lets_go_of_it(
    how: str, nursery: trio.Nursery, autojump_clock: MockClock, traced: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its reason is kept for as long as the server is down, and must not keep the rest alive."""
    monkeypatch.setattr("trio_hs._protocol._answers.MAX_ANSWER_BYTES", 8 * MB)
    fake = FakeServer(nursery, answer=lambda line: None if line[:1].isdigit() else b"0\t1\n")
    async with connected(fake) as (connection, server):
        request = Request()
        connection.submit(request, INDEX, [get_tail(b"x")])
        await wait_all_tasks_blocked()
        before = held()
        for _ in range(8):
            server.say(b"x" * MB)
            await wait_all_tasks_blocked()
        assert held() - before > 7 * MB
        if how == "endless":
            server.say(b"x" * MB)
        else:
            getattr(server, how)()
        await request.wait()
        assert connection.reason is request.failure is not None
        await wait_all_tasks_blocked()  # until then its tasks hold the frames in which they were cancelled
        assert held() - before < 0.5 * MB


async def test_a_handshake_that_fails_lets_go_of_what_had_arrived(
    nursery: trio.Nursery, autojump_clock: MockClock, traced: None
) -> None:
    def answer(line: bytes) -> bytes:
        slow_to_connect(fake, 1000)  # so that the first failure stays the last one
        return b"x" * 8 * MB + b"\n"

    fake = FakeServer(nursery, answer)
    policy = trio_hs.RetryPolicy(attempts=1)
    async with trio_hs.open_manager([("inet", "fake", 1)], connect=fake.connect, retry=policy) as hs:
        before = held()
        with pytest.raises(trio_hs.ConnectionError):
            await hs.get("d", "t", ["id"], 1)
        assert "not from a HandlerSocket server" in str(hs.statistics().readers[0].last_error)
        await wait_all_tasks_blocked()
        assert held() - before < 0.5 * MB


def test_an_error_loses_its_traceback_and_those_that_it_came_from() -> None:
    def fail(how: Exception, cause: Exception | None = None) -> Exception:
        try:
            raise how from cause
        except Exception as error:
            return error

    cause, context, inner = fail(ValueError("cause")), fail(ValueError("context")), fail(OSError("inner"))
    error = fail(ProtocolError("error"), cause)
    cause.__context__ = context
    context.__context__ = fail(ExceptionGroup("group", [inner]))
    inner.__context__ = error  # a ring
    assert without_tracebacks(error) is error
    assert error.__cause__ is cause
    for one in (error, cause, context, context.__context__, inner):
        assert one is not None
        assert one.__traceback__ is None
