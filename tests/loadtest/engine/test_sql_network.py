"""`driver: sql` on a network with faults: what the load sees of them, and what a run tells."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import trio

import trio_hs
from hs_drill import __main__ as command
from hs_drill._cluster import Cluster
from hs_drill.controller._proxies import client_view, open_proxies
from hs_drill.engine._sql_client import open_sql_client
from hs_drill.engine._sql_table import SqlTable
from hs_drill.proxy import Proxy, disturbances
from hs_drill.scenario import parse_scenario
from hs_drill.servers import Control, execute_sql
from hs_drill.store import READS, History, HistoryFaultWindow, Outcome, fault_windows
from hs_drill.store._records import Record
from tests.loadtest.support.external import external, fill
from tests.loadtest.support.locust_process import Locust
from tests.loadtest.support.sql_driver import LAYOUT, SCENARIO, scenario
from tests.support.patience import slowness, until

pytestmark = [
    pytest.mark.mariadb,
    pytest.mark.skipif(find_spec("MySQLdb") is None, reason="mysqlclient is not installed (test_sql_driver.py insists in CI)"),
]


@pytest.fixture
async def control(cluster: Cluster) -> AsyncIterator[Control]:
    """The tests' common servers, which nothing here may kill. The table is dropped at the end."""
    async with external(cluster, may_create=True) as control:
        await fill(control, scenario(), any_rows=True)
        yield control


@pytest.fixture
async def proxied(control: Control) -> AsyncIterator[tuple[Proxy, SqlTable]]:
    """The writer's proxy, as for a scenario with faults of the network, and a table behind it, with one connection."""
    given = f"{SCENARIO}faults: [{{fault: partition, target: writer, at: 1s}}]\n"
    async with open_proxies(control.cluster, parse_scenario(given, "s.yaml")) as proxies:
        writer = client_view(control.cluster, proxies).writer
        async with open_sql_client([writer], [writer], 1, LAYOUT, in_pieces=True) as client:
            table = client.table("drill", "t", ["id", "grp", "n", "payload"])
            await table.get(1)
            yield proxies["writer", "sql"], table


async def test_a_partition_holds_the_load_and_not_the_controller(control: Control, proxied: tuple[Proxy, SqlTable]) -> None:
    proxy, table = proxied
    partition = disturbances.Partition()
    proxy.start(partition)
    found = []

    async def get() -> None:
        found.append(await table.get(2))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(get)
        await execute_sql(control.cluster.writer, "SELECT SLEEP(0.2)")
        assert not found
        proxy.heal(partition)
    assert len(found) == 1
    assert proxy.statistics().accepted == 1, "on the same connection"


async def test_a_slow_answer_does_not_stop_the_engine(proxied: tuple[Proxy, SqlTable]) -> None:
    proxy, table = proxied
    proxy.start(disturbances.Bandwidth(300))
    gaps: list[float] = []

    async def tick() -> None:
        while True:
            before = trio.current_time()
            await trio.sleep(0.01)
            gaps.append(trio.current_time() - before)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(tick)
        begin = trio.current_time()
        await table.get(3)
        lasted = trio.current_time() - begin
        nursery.cancel_scope.cancel()
    assert lasted > 0.5, "more than 200 bytes"
    assert max(gaps) < lasted / 2


async def test_a_reply_is_lost_only_after_its_write_was_applied(control: Control, proxied: tuple[Proxy, SqlTable]) -> None:
    proxy, table = proxied
    proxy.start(disturbances.DropReplies(after=2))
    for payload in ("one", "two"):  # PREPARE does not count
        assert await table.update("=", [1], [1, 1, 0, payload]) == 1
    with pytest.raises(trio_hs.ConnectionError) as caught:
        await table.update("=", [1], [1, 1, 0, "three"])
    assert caught.value.maybe_applied
    (row,) = await execute_sql(control.cluster.writer, "SELECT payload AS p FROM drill.t WHERE id = 1")
    assert row["p"] == "three"
    assert proxy.statistics().cut == 1


async def test_the_driver_gives_up_a_half_open_connection_and_not_one_that_was_closed(
    proxied: tuple[Proxy, SqlTable],
) -> None:
    proxy, table = proxied
    idle = disturbances.IdleTimeout(0.05)
    proxy.start(idle)
    await until(lambda: not proxy.statistics().open)
    proxy.heal(idle)
    assert await table.get(1), "on a new connection"
    proxy.start(disturbances.HalfOpen())
    with pytest.raises(trio_hs.ConnectionError, match="no answer for 3 s"):
        await table.update("=", [1], [1, 1, 0, "lost"])
    assert dict(await table.get(1))["payload"] != b"lost"


def network() -> str:
    """Each fault is over before the next one, however slow the machine is; a reader is always within reach."""
    unit = slowness()
    slow, reset, cut, kill, end = (f"{at * unit:.1f}s" for at in (1, 2.5, 3, 5, 6.5))
    scenario = SCENARIO.replace("readers: 1", "readers: 2").replace("duration: 2s", f"duration: {end}")
    return f"""\
{scenario.replace("errors: 0, ", "")}faults:
- {{fault: latency, target: client->writer, at: {slow}, for: {unit:.1f}s, delay: 100ms}}
- {{fault: drop-replies, target: reader-1, at: {slow}, for: {unit:.1f}s, after: 10}}
- {{fault: reset, target: writer, at: {reset}}}
- {{fault: partition, target: reader-2, at: {cut}, for: {unit:.1f}s}}
- {{fault: kill, target: reader-1, at: {kill}, for: {unit:.1f}s}}
"""


def test_a_run_by_sql_with_faults_of_the_network_is_audited_and_compared(capsys: pytest.CaptureFixture[str]) -> None:
    with Locust("--headless", "--only-summary", scenario=network()) as locust:
        assert locust.finish() == 0, locust.describe()
        told = json.loads((locust.run / "result.json").read_text())
        assert set(told["operations"]) == {*scenario().weights, "all"}
        effects = {fault["fault"]: fault["effects"] for fault in told["faults"]}
        assert effects["reset"] > 0
        assert effects["drop-replies"] > 0
        faults_told_by_the_records(locust.run)
        assert command.main(["compare", str(locust.run), str(locust.run)]) == 0
    assert "get_many" in capsys.readouterr().out


def faults_told_by_the_records(run: Path) -> None:
    """Each fault had the effect that it is named for, while it was on, and no other."""
    controller = History(run / "history-controller.bin")
    controller.read_through()
    windows = {window.name: window for window in fault_windows(controller.events)}
    reads: list[Record] = []
    writes: list[Record] = []
    failed: list[Record] = []
    for one in History(run / "history-0.bin").records():
        (failed if one.error else reads if one.operation in READS else writes).append(one)

    delayed = during(windows["latency writer"], writes)
    assert delayed
    assert min(one.end - one.start for one in delayed) >= 200_000_000, "100 ms each way"
    assert min(one.end - one.start for one in writes) < 200_000_000

    reset = windows["reset writer"]
    assert {one.error for one in failed} <= {"ConnectionError"}
    assert all(one.operation not in READS for one in failed), "reads go to another server"
    # A write that was on its way may have been applied. One that found its connection reset was never sent: that is certain.
    assert {one.outcome for one in failed} <= {Outcome.INFO, Outcome.FAIL}
    assert all(one.end >= reset.start for one in failed)

    partition = windows["partition reader-2"]
    assert partition.end is not None
    lasted = partition.end - partition.start
    held = [one for one in reads if one.start <= partition.end and partition.start <= one.end]
    assert max(one.end - one.start for one in held) >= min(lasted / 2, 2_500_000_000), "until it healed, or the driver gave up"


def during(window: HistoryFaultWindow, records: list[Record]) -> list[Record]:
    """Those that were executed while the fault was certainly on."""
    assert window.certain is not None
    since, until = window.certain
    return [one for one in records if since <= one.start and until is not None and one.end <= until]
