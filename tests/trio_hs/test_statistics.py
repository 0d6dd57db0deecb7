"""What ``Manager.statistics()`` counts. Fake servers, virtual time."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.trio_hs.support.clients import IDS, managed
from tests.trio_hs.support.fake import die_on_the_first_request, kill, read_only
from trio_hs import ConnectionError, RetryPolicy


async def test_statistics_of_each_server(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with managed(nursery, connections=2) as (hs, fakes):
        assert [server.connected for server in hs.statistics().readers] == [0, 0]
        for number in range(10):
            await hs.get("d", "t", ["id"], number)
        await hs.insert("d", "t", [("id", 1)])
        kill(fakes[1])
        await trio.sleep(1)
        one, two = hs.statistics().readers
        assert (one.server, one.connections, one.connected, one.last_error) == ("fake:1", 0, 2, "Connection refused")
        assert one.failed_attempts > 0
        assert (two.server, two.connections, two.connected, two.last_error) == ("fake:2", 2, 2, None)
        assert one.answers + two.answers >= 10
        assert (two.outstanding, two.stalled) == (0, 0)
        assert [server.answers for server in hs.statistics().writers] == [2, 0]  # the index was opened too


async def test_retries_are_counted(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with managed(nursery) as (hs, fakes):
        await hs.get("d", "t", ["id"], 1)
        await hs.insert("d", "t", [("id", 1)])
        assert hs.statistics().retries == 0
        die_on_the_first_request(fakes[1], fakes[2])
        await hs.get("d", "t", ["id"], 1)
        assert hs.statistics().retries == 1
        die_on_the_first_request(fakes[1], fakes[2])
        await hs.table("d", "t", columns=IDS).get(1)
        assert hs.statistics().retries == 2
        fakes[3].answer = read_only
        await hs.insert("d", "t", [("id", 1)])  # the next server takes it
        assert hs.statistics().retries == 3
        die_on_the_first_request(fakes[4])
        with pytest.raises(ConnectionError):  # in doubt, and not repeated
            await hs.insert("d", "t", [("id", 1)])
        assert hs.statistics().retries == 3
        for port in (1, 2, 3, 4):
            kill(fakes[port])
        await wait_all_tasks_blocked()  # a connection found closed would count as a retry, not as an attempt
        with pytest.raises(ConnectionError):
            await hs.get("d", "t", ["id"], 1)
        assert hs.statistics().retries == 3 + RetryPolicy().attempts - 1


async def test_the_number_of_answers_never_falls(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with managed(nursery) as (hs, fakes), trio.open_nursery() as callers:
        for _ in range(10):
            await hs.incr("d", "t", "=", ["id"], [1])
        before = hs.statistics().writers[0].answers
        fakes[3].gate = trio.Event()
        callers.start_soon(hs.incr, "d", "t", "=", ["id"], [1])
        await wait_all_tasks_blocked()
        await hs.purge()
        now = hs.statistics().writers[0]
        fakes[3].gate.set()
        assert now.answers >= before
