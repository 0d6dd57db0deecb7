"""The meter counts a server's lines, times each answer, and counts unanswered requests when a connection ends."""

from __future__ import annotations

import time
from collections import Counter
from functools import partial

import pytest
import trio

import trio_hs
from hs_drill.engine import _meter
from hs_drill.engine._meter import NO_ANSWER, Meter, WriteWatch
from hs_drill.engine._primary_reads import Acknowledged
from hs_drill.metrics import Batch, OperationBatch, Standing
from trio_hs.testing import EmbeddedServer, Table, open_server

TABLE = Table("drill", "t", {"id": "BIGINT NOT NULL"}, primary_key=["id"])
MILLISECOND = 1_000_000


class Wire:
    """A transport that accepts a few bytes at a time, and receives what the test has put there."""

    def __init__(self) -> None:
        self.takes = 1000
        self.arrived: list[bytes] = []
        self.closed = False

    def send(self, data: bytes | memoryview) -> int:
        return min(len(data), self.takes)

    async def wait_sendable(self) -> None:
        pass

    def receive(self) -> bytes | None:
        return self.arrived.pop(0) if self.arrived else None

    async def wait_receivable(self) -> None:
        pass

    def acknowledge(self) -> None:
        pass

    def close(self) -> None:
        self.closed = True


class Metered:
    """A metered wire to reader-1, and the clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *writers: str, acknowledged: Acknowledged | None = None) -> None:
        self.milliseconds = 0
        self.wire = Wire()

        async def connect(server: trio_hs.Server) -> Wire:
            return self.wire

        monkeypatch.setattr(_meter, "connect_transport", connect)
        monkeypatch.setattr(_meter, "monotonic_ns", lambda: self.milliseconds * MILLISECOND)
        self.meter = Meter({"127.0.0.1:1": "reader-1"}, writers, acknowledged)
        self.transport = trio.run(self.meter.connect, trio_hs.Server("inet", "127.0.0.1", 1))

    def at(self, milliseconds: int) -> Metered:
        self.milliseconds = milliseconds
        return self

    def send(self, data: bytes | memoryview) -> int:
        return self.transport.send(data)

    def receive(self, data: bytes) -> None:
        self.wire.arrived.append(data)
        assert self.transport.receive() == data

    def ok(self) -> dict[int, int]:
        """Milliseconds -> answers."""
        return {us // 1000: count for us, count in self.meter.take()["reader-1"].ok.items()}


@pytest.fixture
def metered(monkeypatch: pytest.MonkeyPatch) -> Metered:
    return Metered(monkeypatch)


def test_an_answers_time_counts_from_sending_its_request(metered: Metered) -> None:
    metered.at(0).send(b"a\nb\n")
    metered.at(5).send(b"c\n")
    metered.at(10).receive(b"0\t1\n")
    metered.at(20).receive(b"0\t1\n0\t1\n")
    assert metered.ok() == {10: 1, 20: 1, 15: 1}
    assert metered.meter.take() == {}


def test_a_line_counts_when_its_newline_is_sent_or_received(metered: Metered) -> None:
    metered.wire.takes = 3
    assert metered.at(0).send(b"a\nbc\n") == 3
    assert metered.at(2).send(memoryview(b"c\n")) == 2
    metered.at(3).receive(b"0\t1\n0")
    metered.at(4).receive(b"\t1")
    metered.at(9).receive(b"\n")
    assert metered.ok() == {3: 1, 7: 1}


def test_unanswered_requests_fail_when_the_connection_ends(metered: Metered) -> None:
    metered.at(0).send(b"a\n")
    metered.at(1).send(b"b\nc\n")
    metered.at(4).receive(b"0\t1\n")
    metered.at(8).transport.close()
    metered.transport.close()
    assert metered.wire.closed
    done = metered.meter.take()["reader-1"]
    assert (done.ok, done.failed) == (Counter({4001: 1}), Counter({7003: 2}))
    assert done.errors == {NO_ANSWER: 2}


def test_an_answer_without_a_request_is_not_counted(metered: Metered) -> None:
    metered.receive(b"0\t1\n")
    assert metered.meter.take() == {}


async def test_answers_refusals_and_standings_of_a_real_client(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_server([TABLE]) as server:

        async def connect(address: trio_hs.Server) -> object:
            return await server.connect(address)

        monkeypatch.setattr(_meter, "connect_transport", connect)
        meter = Meter({str(server.read_address): "reader-1", str(server.write_address): "writer"})
        async with trio_hs.open_manager([server.read_address], [server.write_address], connect=meter.connect) as hs:
            assert meter.standings(hs.statistics()) == {}, "no server has been asked yet"
            await hs.insert("drill", "t", [("id", 1)])
            for _ in range(3):
                await hs.get("drill", "t", ["id"], 1)
            with pytest.raises(trio_hs.DuplicateKeyError) as refused:
                await hs.insert("drill", "t", [("id", 1)])
            meter.refused(refused.value, 5 * MILLISECOND)
            assert meter.standings(hs.statistics()) == {"reader-1": Standing(1), "writer": Standing(1)}
            await crash(server)
            with pytest.raises(trio_hs.ConnectionError):
                await hs.insert("drill", "t", [("id", 2)])
            assert meter.standings(hs.statistics())["writer"].connections == 0
        done = meter.take()
    # Each connection has authenticated and opened its index.
    assert done["reader-1"].ok.total() == 3 + 2
    assert done["writer"].ok.total() == 2 + 2
    assert done["writer"].failed == {5003: 1}
    assert done["writer"].errors == {"DuplicateKeyError: 1 121": 1}


async def crash(server: EmbeddedServer) -> None:
    server.crash()
    await trio.testing.wait_all_tasks_blocked()


def test_standings_and_servers_survive_serialization() -> None:
    batch = Batch(0, 1, retries=2)
    batch.standings["reader-1"] = Standing(1, 0, 7, 1).plus(Standing(1, 1))
    batch.servers["reader-1"] = OperationBatch(Counter({10: 2}), Counter({9: 1}), Counter({NO_ANSWER: 1}))
    again = Batch.from_wire(batch.to_wire())
    assert again == batch
    assert again.standings["reader-1"] == Standing(2, 1, 7, 1)
    again.add(batch)
    assert again.servers["reader-1"].ok == {10: 4}
    assert again.retries == 4


def test_when_a_server_answered_writes_is_given_once_it_has_been_silent_for_a_batch(metered: Metered) -> None:
    meter = metered.meter
    assert not list(meter.take_answered(everything=True)), "its connections for reads do not count"
    note = meter.answered_writes("writer").note
    note(5)
    assert not list(meter.take_answered()), "it may go on"
    note(9)
    assert not list(meter.take_answered())
    assert list(meter.take_answered()) == [("writer", 5, 9)]
    assert not list(meter.take_answered(everything=True))
    note(20)
    assert list(meter.take_answered(everything=True)) == [("writer", 20, 20)], "the run is over"


REFUSED = b"1\t1\tlock_tables\n"


@pytest.mark.parametrize(
    "received, counts",
    [
        ([REFUSED], False),
        ([REFUSED * 3], False),
        ([b"0\t1\n"], True),
        ([b"1\t1\t121\n"], True),
        ([REFUSED + b"0\t1\n"], True),
        ([b"0\t1\n" + REFUSED], True),
        ([b"0\t2\t1\t", REFUSED], True),
        ([b"0\t2\t1\tlock_tables\n"], True),
    ],
    ids=[
        "refused",
        "all refused",
        "done",
        "duplicate key",
        "refused and done",
        "done and refused",
        "a row like it, in parts",
        "a row like it",
    ],
)
def test_a_refusal_of_a_read_only_server_is_no_answered_write(
    monkeypatch: pytest.MonkeyPatch, received: list[bytes], counts: bool
) -> None:
    metered = Metered(monkeypatch, "127.0.0.1:1")
    metered.at(1).send(b"a\nb\nc\n")
    for data in received:
        metered.at(2).receive(data)
    expected = [("reader-1", 2 * MILLISECOND, 2 * MILLISECOND)] if counts else []
    assert list(metered.meter.take_answered(everything=True)) == expected
    assert metered.ok() == {1: b"".join(received).count(b"\n")}, "it is an answer all the same"


async def test_only_connections_for_writes_say_that_writes_were_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_server([TABLE]) as server:

        async def connect(address: trio_hs.Server) -> object:
            return await server.connect(address)

        monkeypatch.setattr(_meter, "connect_transport", connect)
        names = {str(server.read_address): "reader-1", str(server.write_address): "writer"}
        meter = Meter(names, [str(server.write_address)])
        async with trio_hs.open_manager([server.read_address], [server.write_address], connect=meter.connect) as hs:
            list(meter.take_answered(everything=True))  # of setting up the connections
            await hs.get("drill", "t", ["id"], 1)
            assert not list(meter.take_answered(everything=True))
            begin = time.monotonic_ns()
            await hs.insert("drill", "t", [("id", 1)])
            ((name, first, last),) = meter.take_answered(everything=True)
            assert name == "writer"
            assert begin <= first <= last <= time.monotonic_ns()


async def test_a_watch_notices_a_write_to_its_tables_and_no_read(monkeypatch: pytest.MonkeyPatch) -> None:
    other = Table("drill", "other", {"id": "BIGINT NOT NULL", "drill": "VARCHAR(9)", "t": "VARCHAR(9)"}, primary_key=["id"])
    async with open_server([TABLE, other]) as server:

        async def connect(address: trio_hs.Server) -> object:
            return await server.connect(address)

        monkeypatch.setattr(_meter, "connect_transport", connect)
        noticed: list[str] = []
        watch = WriteWatch([str(server.write_address)], [("drill", "t"), ("drill_wt", "t")], lambda: noticed.append("t"))
        reach = partial(Meter({}).connect, watch=watch)
        async with trio_hs.open_manager([server.read_address], [server.write_address], connect=reach) as hs:
            await hs.get("drill", "t", ["id"], 1)
            await hs.insert("drill", "other", [("id", 1), ("drill", "P\t1\tdrill\tt\t"), ("t", "\nP\t1\tdrill\tt\t")])
            assert noticed == []
            await hs.insert("drill", "t", [("id", 1)])
            assert noticed == ["t"]
            await hs.delete("drill", "t", "=", ["id"], [1], limit=1)
            assert noticed == ["t"], "once"


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_only_the_acknowledgement_of_a_write_shows_which_server_is_the_primary(
    monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """Also if requests are sent, and answers come, in pieces. A read-only server opens an index, and refuses a write."""
    acknowledged = Acknowledged("writer")
    metered = Metered(monkeypatch, "127.0.0.1:1", acknowledged=acknowledged)
    metered.wire.takes = size

    def exchange(sent: bytes, received: bytes) -> str:
        while sent:
            sent = sent[metered.send(sent) :]
        for at in range(0, len(received), size):
            metered.receive(received[at : at + size])
        return acknowledged.last

    assert exchange(b"A\t1\tw\nP\t1\tdrill\tt\t\tid\n1\t+\t1\t7\n", b"0\t1\n0\t1\n1\t1\tlock_tables\n") == "writer"
    assert exchange(b"1\t+\t1\t7\n", b"1\t1\t121\n") == "writer"
    assert exchange(b"1\t+\t1\t8\nP\t2\tdrill\tt\t\tn\n", b"0\t1\n0\t1\n") == "reader-1"
