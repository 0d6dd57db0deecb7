"""What is reported as a problem, and what is not: ``last_error``, the event ``failover``, the log."""

from __future__ import annotations

import logging

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import trio_hs
from tests.trio_hs.support.clients import managed
from tests.trio_hs.support.fake import REFUSED, FakeServer, Network, die_on_the_first_request, echo, kill
from trio_hs import ConnectionError, Manager, RetryPolicy, ServerStatistics


class Failovers(trio_hs.Instrument):
    def __init__(self) -> None:
        self.seen: list[tuple[str, ...]] = []

    def failover(self, servers: tuple[str, ...]) -> None:
        self.seen.append(servers)


def reader(hs: Manager, number: int = 0) -> ServerStatistics:
    return hs.statistics().readers[number]


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("how", ["end", "reset"])
async def test_an_idle_connection_that_the_server_closes_is_no_problem(
    nursery: trio.Nursery, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    log = Failovers()
    async with managed(nursery, instruments=[log]) as (hs, fakes):
        await hs.connect()
        await hs.get("d", "t", ["id"], 1)
        log.seen.clear()
        for _ in range(5):
            await trio.sleep(34)
            for fake in fakes.values():
                getattr(fake.open[-1], how)()
            await wait_all_tasks_blocked()
        assert [len(fake.connections) for fake in fakes.values()] == [6, 6, 6, 6]
        assert [server.last_error for server in (*hs.statistics().readers, *hs.statistics().writers)] == [None] * 4
        assert log.seen == []
        assert warnings(caplog) == []


async def test_an_idle_close_by_a_server_that_has_gone_is_one(
    nursery: trio.Nursery, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    log = Failovers()
    async with managed(nursery, instruments=[log]) as (hs, fakes):
        await hs.connect()
        await trio.sleep(34)
        log.seen.clear()
        fakes[3].refuses = REFUSED
        fakes[3].open[-1].end()
        await wait_all_tasks_blocked()
        assert log.seen == [("fake:4",)]
        assert hs.statistics().writers[0].last_error == "Connection refused"
        assert "failover: writes go to fake:4, and no longer to fake:3" in warnings(caplog)
        log.seen.clear()
        fakes[3].refuses = None
        await trio.sleep(2)
        assert log.seen == [("fake:3",)]


async def test_a_purge_and_a_suspension_are_no_failover(
    nursery: trio.Nursery, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    log = Failovers()
    async with managed(nursery, instruments=[log]) as (hs, _):
        await hs.connect()
        log.seen.clear()
        for _ in range(3):
            await hs.purge()
            await trio.sleep(1)
            async with hs.suspended():
                await trio.sleep(60)
            await trio.sleep(1)
        assert log.seen == []
        assert warnings(caplog) == []


async def test_a_connection_that_ends_as_soon_as_it_is_made_is_a_problem(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async with managed(nursery) as (hs, fakes):
        await hs.connect()
        fakes[1].open[-1].end()
        await wait_all_tasks_blocked()
        assert reader(hs).last_error == "the server closed the connection"


async def test_the_last_error_has_a_time_and_goes_when_the_server_has_answered(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async with managed(nursery) as (hs, fakes):
        assert (reader(hs).usable, reader(hs).last_error, reader(hs).last_error_at) == (False, None, None)
        await hs.connect()
        assert (reader(hs).usable, reader(hs).last_error, reader(hs).last_error_at) == (True, None, None)
        await trio.sleep(10)
        kill(fakes[1])
        await wait_all_tasks_blocked()
        assert (reader(hs).usable, reader(hs).last_error, reader(hs).last_error_at) == (False, "Connection refused", 10.0)
        await trio.sleep(10)
        assert 18.9 < (reader(hs).last_error_at or 0) <= 20.0
        assert reader(hs, 1).usable
        fakes[1].refuses = None
        await trio.sleep(2)
        assert (reader(hs).usable, reader(hs).last_error, reader(hs).last_error_at) == (True, None, None)


async def test_a_server_that_dies_of_requests_has_answered_only_when_it_answered_one(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async with trio_hs.open_manager([("inet", "fake", 1)], connect=(fake := FakeServer(nursery)).connect) as hs:
        die_on_the_first_request(fake)
        await hs.connect()
        await trio.sleep(2)
        assert await hs.get("d", "t", ["id"], 1)
        assert reader(hs).last_error is None
        fake.answer = lambda line: echo(line) if line[:1] == b"A" else fake.connections[-1].reset()
        with pytest.raises(ConnectionError):
            await hs.get("d", "t", ["id"], 1)
        await trio.sleep(2)
        assert (reader(hs).connections, reader(hs).last_error) == (1, "Connection reset by peer")
        fake.answer = echo
        assert await hs.get("d", "t", ["id"], 1)
        assert reader(hs).last_error is None


async def test_silence_and_the_failover_after_it_are_warnings(
    nursery: trio.Nursery, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with managed(nursery, retry=RetryPolicy(attempts=1)) as (hs, fakes):
        await hs.connect()
        assert warnings(caplog) == []
        fakes[2].refuses = REFUSED
        fakes[2].open[-1].reset()
        await trio.sleep(2)
        caplog.clear()
        fakes[1].gate = trio.Event()
        with pytest.raises(ConnectionError):
            await hs.get("d", "t", ["id"], 1)
        assert warnings(caplog) == [
            "fake:1: connection lost: no answer for 3 s",
            "failover: reads go nowhere, and no longer to fake:1",
        ]


async def test_a_line_of_the_log_names_a_few_of_many_servers(
    nursery: trio.Nursery, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    fakes = {port: FakeServer(nursery) for port in range(101, 201)}
    servers = [("inet", "fake", port) for port in fakes]
    async with trio_hs.open_manager(servers, connect=Network(fakes).connect) as hs:
        await hs.connect(writes=False)
        kill(fakes[101])
        await wait_all_tasks_blocked()
    several = ", ".join(f"fake:{port}" for port in range(102, 107))
    assert f"failover: reads go to {several} and 94 more, and no longer to fake:101" in warnings(caplog)


async def test_log_records_have_server_table_and_operation_as_attributes(
    nursery: trio.Nursery, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "trio_hs")
    async with managed(nursery) as (hs, fakes):
        await hs.connect()
        die_on_the_first_request(fakes[1], fakes[2])
        await hs.get("d", "t", ["id"], 1)
        kill(fakes[1])
        await trio.sleep(1)
    records = [(record.msg, vars(record)) for record in caplog.records if record.name == "trio_hs"]
    connected, cannot, lost = (
        [about["server"] for said, about in records if said.startswith(begin)]
        for begin in ("%s: connected", "%s: cannot connect", "%s: connection lost")
    )
    assert sorted(set(connected)) == ["fake:1", "fake:2", "fake:3", "fake:4"]
    assert set(cannot) == {"fake:1"}
    assert "fake:1" in lost
    assert ("fake:2",) in [about["servers"] for said, about in records if said.startswith("failover")]
    (retry,) = (about for said, about in records if "attempt" in said)
    assert (retry["table"], retry["operation"]) == ("d.t", "get")
    assert retry["server"] in ("fake:1", "fake:2")


@pytest.mark.parametrize("garbage", [b"my-password\n", b"0\t2\tmy-password\tmy-password\n", b"0\t1\tx\n0\t1\tmy-password\n"])
async def test_the_log_quotes_no_answer(
    nursery: trio.Nursery, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, garbage: bytes
) -> None:
    caplog.set_level(logging.DEBUG, "trio_hs")
    async with managed(nursery, retry=RetryPolicy(attempts=1), read_secret="my-password") as (hs, fakes):
        await hs.connect()
        for fake in fakes.values():
            fake.answer = lambda line: garbage if line[:1].isdigit() else echo(line)
        if garbage.startswith(b"0\t1\tx"):
            await hs.get("d", "t", ["id"], 1)
        else:
            with pytest.raises(ConnectionError) as caught:
                await hs.get("d", "t", ["id"], 1)
            assert isinstance(caught.value.__cause__, trio_hs.ProtocolError)
            assert b"my-password" in caught.value.__cause__.data
            assert "my-password" not in str(caught.value)
        await trio.sleep(1)
        assert "connection lost" in caplog.text
        assert "my-password" not in caplog.text + str(hs.statistics())
