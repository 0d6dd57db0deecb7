"""The engine and the controller as processes: the messages they send, and how they end. No servers are needed."""

from __future__ import annotations

import itertools
import resource
import signal
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

import trio_hs
from hs_drill._cluster import Cluster, Server
from hs_drill.engine._lag import PERIOD
from hs_drill.engine._setup import Setup, WarningBuffer, reads_primary
from hs_drill.metrics import NOT_STARTED, UNANSWERED, Batch, OperationBatch, Timeline, total_of
from hs_drill.scenario import parse_scenario
from hs_drill.store import History, Operation, Outcome
from hs_drill.workload import UNSEEN, Sample
from tests.loadtest.support.child import child
from tests.support.patience import patience

SCENARIO = "name: x\ntable: {rows: 100}\nmix: {get: 50, insert: 50, delete: 20}\n"


def setup(port: int = 1, text: str = SCENARIO) -> dict[str, Any]:
    server = {"host": "127.0.0.1", "read_port": port, "write_port": port, "read_secret": "r", "write_secret": "w"}
    cluster = Cluster("external", "", "", tuple(Server(name, **server) for name in ("writer", "reader-1")))  # type: ignore[arg-type]
    scenario = parse_scenario(text, "x").model_dump(mode="json")
    return {"cluster": cluster.to_dict(), "scenario": scenario, "worker": 0, "each": False}


@pytest.mark.process
async def test_an_engine_that_cannot_write_its_history_ends_with_one_line(tmp_path: Path) -> None:
    async with child("hs_drill.engine") as engine:
        await engine.send("setup", **setup())
        await engine.until("ready")
        resource.prlimit(engine.process.pid, resource.RLIMIT_FSIZE, (600, 600))  # like a full disk
        await engine.send("start", run=1, history=str(tmp_path / "h.bin"))
        await engine.send("users", count=4)
        fatal, _ = await engine.until("fatal")
    assert fatal["line"] == "the run cannot be kept: File too large"


COLUMNS = "{id: {type: bigint, values: sequence}, n: {type: int, values: 0}}"
EXISTING = f"name: x\ntable: {{existing: true, %sdatabase: d, name: t, columns: {COLUMNS}, primary: [id]}}\nmix: {{%s}}\n"


@pytest.mark.parametrize(
    "writes, mix, refused", [("writes: allowed, ", "update: {do: update, set: [n], weight: 1}", True), ("", "get: 1", False)]
)
def test_without_a_directory_no_engine_writes_to_a_table_that_exists(writes: str, mix: str, refused: bool) -> None:
    """The directory has what the rows held before. Whoever begins a run must have checked that; this is the second lock."""
    made = Setup({**setup(text=EXISTING % (writes, mix)), "sample": Sample({"id": [b"1"]}).packed()}, WarningBuffer())
    if not refused:
        with made.open_history(None, 1) as history:
            assert history is None
        return
    with pytest.raises(RuntimeError, match="the run has no directory"), made.open_history(None, 1):
        pass


def test_a_sample_is_decoded_before_the_first_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """That of a million rows takes 0.3 s or more, in which the run's time counts."""
    made = Setup({**setup(text=EXISTING % ("", "get: 1")), "sample": Sample({"id": [b"7"]}).packed()}, WarningBuffer())

    def decode(column: trio_hs.Column, data: bytes) -> None:
        raise AssertionError("too late")

    monkeypatch.setattr(trio_hs.Column, "decode_data", decode)
    assert made.rows.keys(made.as_)(1) == [7]


@pytest.mark.process
async def test_an_engine_counts_failures_and_goes_on() -> None:
    async with child("hs_drill.engine") as engine:
        await engine.send("setup", **setup())
        await engine.until("ready")
        await engine.send("start", run=1)
        await engine.send("users", count=4)
        log, batches = await engine.until("log")
        assert log["level"] == 30
        assert log["line"].startswith("reader-1: cannot connect: "), "it names the server, not its address"
        await trio.sleep(0.6)
        await engine.send("stop")
        batches += (await engine.until("stopped"))[1]
        whole = batches[0]
        for batch in batches[1:]:
            assert whole.end == batch.start, "batches follow each other without a gap"
            whole.add(batch)
        assert set(whole.operations) <= {"get", "insert", "delete"}
        for operation in whole.operations.values():
            assert not operation.ok
            assert operation.failed.total() == operation.errors.total() > 0
            assert all("ConnectionError: " in message for message in operation.errors)
        await engine.channel.aclose()
        assert await engine.ends() == 0


@pytest.mark.process
async def test_an_engine_reports_how_late_and_how_busy_it_was() -> None:
    async with child("hs_drill.engine") as engine:
        await engine.send("setup", **setup() | {"worker": 3})
        await engine.until("ready")
        await engine.send("start", run=1)
        await engine.until("batch")
        engine.process.send_signal(signal.SIGSTOP)
        await trio.sleep(0.6)
        engine.process.send_signal(signal.SIGCONT)
        await engine.send("stop")
        _, batches = await engine.until("stopped")
    whole = batches[0]
    for batch in batches[1:]:
        whole.add(batch)
    use = whole.engines[3]
    assert max(use.lag) >= 600_000 - 2 * PERIOD / 1000
    assert use.seconds == pytest.approx(whole.end - whole.start, abs=patience(0.3))
    assert 0 < use.cpu < use.seconds


@pytest.mark.process
async def test_an_engine_runs_again_and_reports_nothing_in_between() -> None:
    async with child("hs_drill.engine") as engine:
        await engine.send("setup", **setup())
        await engine.until("ready")
        for run in (1, 2):
            await engine.send("users", count=9)  # no run: no effect
            await engine.send("start", run=run)
            await engine.send("users", count=3)
            await engine.send("users", count=1)
            await engine.send("stop")
            await engine.until("stopped")
        await engine.send("stop")
        await engine.until("stopped")


@pytest.mark.process
@pytest.mark.parametrize("module", ["hs_drill.engine", "hs_drill.controller"])
async def test_a_child_ends_with_its_parent(module: str) -> None:
    async with child(module) as process:
        await process.channel.aclose()
        assert await process.ends() == 0


@pytest.mark.process
async def test_an_engine_leaves_signals_to_locust() -> None:
    """A terminal sends Ctrl-C to every process, and systemd SIGTERM. Locust needs the engine to end the run in order."""
    async with child("hs_drill.engine") as engine:
        await engine.send("setup", **setup())
        await engine.until("ready")
        await engine.send("start", run=1)
        await engine.send("users", count=4)
        await engine.until("batch")
        for number in (signal.SIGINT, signal.SIGTERM):
            engine.process.send_signal(number)
            await engine.until("batch")
        await engine.send("stop")
        await engine.until("stopped")
        await engine.channel.aclose()
        assert await engine.ends() == 0


@pytest.mark.process
async def test_an_engine_that_fails_says_why_in_one_line() -> None:
    async with child("hs_drill.engine") as engine:
        await engine.send("oops\nsecond line")
        fatal, _ = await engine.until("fatal")
        assert fatal["line"] == "AssertionError: unknown message: oops second line"
        assert await engine.ends() == 1


@pytest.mark.process
async def test_a_controller_reports_unavailable_servers_in_one_line() -> None:
    scenario = parse_scenario(SCENARIO + "cluster: {kind: external}\n", "x").model_dump(mode="json")
    async with child("hs_drill.controller") as controller:
        await controller.send("open", scenario=scenario)
        failed, _ = await controller.until("failed")
        assert "external" in failed["line"]
        assert "\n" not in failed["line"]
        assert await controller.ends() == 2


@pytest.mark.process
async def test_a_suspended_engine_makes_its_users_wait_until_it_resumes() -> None:
    async with child("hs_drill.engine") as engine:
        await engine.send("setup", **setup())
        await engine.until("ready")
        await engine.send("suspend", number=1)  # no run: no effect
        await engine.send("start", run=1)
        await engine.send("users", count=4)
        await engine.until("batch")
        await engine.send("suspend", number=2)
        assert (await engine.until("suspended"))[0]["number"] == 2
        await engine.until("batch")  # with the operations that were in progress
        held = [(await engine.until("batch"))[0] for _ in range(3)]
        assert [batch["operations"] for batch in held] == [{}, {}, {}]
        await engine.send("resume")
        with trio.fail_after(patience(10)):  # without servers the client's pauses grow longer and longer
            while not (await engine.until("batch"))[0]["operations"]:
                pass
        await engine.send("suspend", number=3)
        await engine.until("suspended")
        with trio.fail_after(patience(2)):  # a run may end while it is suspended
            await engine.send("stop")
            await engine.until("stopped")


def audited(tmp_path: Path) -> dict[str, Any]:
    return {"run": 1, "history": str(tmp_path / "history-0.bin")}


@pytest.mark.process
async def test_an_engine_keeps_a_history_of_what_failed(tmp_path: Path) -> None:
    async with child("hs_drill.engine") as engine:
        await engine.send("setup", **setup())
        await engine.until("ready")
        await engine.send("start", **audited(tmp_path))
        await engine.send("users", count=4)
        _, before = await engine.until("batch")
        await trio.sleep(0.4)
        await engine.send("stop")
        _, batches = await engine.until("stopped")
        history = History(tmp_path / "history-0.bin")
        records = list(history.records())
        assert history.complete
        counted = sum(done.failed.total() for batch in [*before, *batches] for done in batch.operations.values())
        # `until` does not return the batch that it waited for.
        assert len(records) >= counted > 0
        assert {record.outcome for record in records} == {Outcome.FAIL}, "nothing reached a server"
        assert {record.error for record in records} == {"ConnectionError"}
        assert {record.user for record in records} == {0, 1, 2, 3}
        assert all(record.value == UNSEEN for record in records if record.operation is Operation.GET)
        inserts = [record for record in records if record.operation is Operation.INSERT]
        assert len({record.key for record in inserts}) == len({record.value for record in inserts}) == len(inserts) > 0


@pytest.mark.process
async def test_a_run_that_is_not_audited_keeps_no_operations(tmp_path: Path) -> None:
    async with child("hs_drill.engine") as engine:
        await engine.send("setup", **setup(text=SCENARIO + "audit: false\n"))
        await engine.until("ready")
        await engine.send("start", **audited(tmp_path))
        await engine.send("users", count=1)
        await engine.until("batch")
        await engine.send("stop")
        await engine.until("stopped")
        # Connection events are there all the same, for the report.
        history = History(tmp_path / "history-0.bin")
        assert not list(history.records())
        assert history.complete


@pytest.mark.process
async def test_users_think_after_their_first_operation_and_stop_at_once() -> None:
    async with child("hs_drill.engine") as engine:
        await engine.send("setup", **setup(text=SCENARIO + "load: {think_time: 1m}\n"))
        await engine.until("ready")
        await engine.send("start", run=1)
        await engine.send("users", count=5)
        await trio.sleep(patience(1.5))  # longer than the client's attempts to connect
        started = trio.current_time()
        await engine.send("stop")
        _, batches = await engine.until("stopped")
        assert sum(done.failed.total() for batch in batches for done in batch.operations.values()) == 5
        assert trio.current_time() - started < patience(1)


@pytest.mark.process
async def test_a_warm_up_is_not_counted_but_kept(tmp_path: Path) -> None:
    async with child("hs_drill.engine") as engine:
        await engine.send("setup", **setup(text=SCENARIO + "load: {pacing: 50ms, warm_up: 1.5}\n"))
        await engine.until("ready")
        started = time.time()
        await engine.send("start", **audited(tmp_path))
        await engine.send("users", count=2)
        batches: list[Batch] = []
        while not any(batch.operations for batch in batches):
            message, before = await engine.until("batch")
            batches += [*before, Batch.from_wire(message)]
        await engine.send("stop")
        batches += (await engine.until("stopped"))[1]
        assert min(batch.start for batch in batches) >= started + 1.5
        counted = sum(done.failed.total() for batch in batches for done in batch.operations.values())
        records = list(History(tmp_path / "history-0.bin").records())
        assert 0 < counted < len(records)


@pytest.mark.process
async def test_a_worker_that_comes_late_joins_the_stages_where_they_are() -> None:
    ramp = "load: {stages: [{for: 100s, rate: 1000}], warm_up: 10s, max_in_flight: 1, max_wait: 50ms}\n"
    listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]  # it never answers: only one operation can start
    async with listener, child("hs_drill.engine") as engine:
        port: int = listener.socket.getsockname()[1]
        await engine.send("setup", **setup(port, f"name: x\nmix: {{get: 1}}\n{ramp}"))
        await engine.until("ready")
        await engine.send("start", run=1, elapsed=50.0)
        begun = trio.current_time()
        await engine.send("users", count=100)
        await trio.sleep(1)
        await engine.send("users", count=0)
        lasted = trio.current_time() - begun
        await trio.sleep(0.3)
        await engine.send("stop")
        _, batches = await engine.until("stopped")
        assert sum(done.errors[NOT_STARTED] for batch in batches for done in batch.operations.values()) == pytest.approx(
            500 * lasted, rel=0.2
        )


@pytest.mark.process
@pytest.mark.parametrize("complete", [True, False], ids=["locust is gone", "killed"])
async def test_operations_that_were_cut_off_are_in_the_history(tmp_path: Path, complete: bool) -> None:
    listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
    async with listener, child("hs_drill.engine") as engine:
        port: int = listener.socket.getsockname()[1]
        await engine.send("setup", **setup(port, "name: x\nmix: {insert: 1}\n"))
        await engine.until("ready")
        await engine.send("start", **audited(tmp_path))
        await engine.send("users", count=2)
        await engine.until("batch")
        if complete:
            await engine.channel.aclose()
        else:
            engine.process.kill()
        await engine.ends()
        history = History(tmp_path / "history-0.bin")
        records = list(history.records())
        assert history.complete is complete
        expected = [(Operation.INSERT, Outcome.INFO, "cancelled")] * 2 if complete else []
        assert [(record.operation, record.outcome, record.error) for record in records] == expected


@pytest.mark.process
async def test_a_stop_does_not_wait_for_a_silent_server(tmp_path: Path) -> None:
    """The server accepts clients late, so that their requests are sent late and are still in flight at the end."""
    asked = trio.Event()

    async def let_in(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        asked.set()
        await trio.sleep(2.2)
        await stream.send_all(b"0\t1\n")
        await trio.sleep_forever()

    async with child("hs_drill.engine") as engine, trio.open_nursery() as servers:
        listener = (await servers.start(partial(trio.serve_tcp, let_in, 0, host="127.0.0.1")))[0]
        port: int = listener.socket.getsockname()[1]
        await engine.send("setup", **setup(port, "name: x\nmix: {get: 1, insert: 1}\n"))
        await engine.until("ready")
        await engine.send("start", **audited(tmp_path))
        await engine.send("users", count=8)
        await asked.wait()
        started = trio.current_time()
        await engine.send("stop")
        _, batches = await engine.until("stopped")
        assert trio.current_time() - started < 4 + patience(1.5)
        whole = OperationBatch()
        for done in (done for batch in batches for done in batch.operations.values()):
            whole.add(done)
        assert whole.errors == {UNANSWERED: 8}, "each operation in flight has failed"
        assert whole.failed.total() == 8
        assert min(whole.failed) > 3.9e6
        stopped = batches[-1].load_end
        assert stopped is not None
        assert batches[-1].end - stopped > 3.9
        assert Timeline(batches, []).seconds == stopped - batches[0].start, "waiting for the last answers is not load"
        records = Counter((record.operation, record.outcome) for record in History(tmp_path / "history-0.bin").records())
        assert set(records) <= {(Operation.GET, Outcome.FAIL), (Operation.INSERT, Outcome.INFO)}, (
            "a write may have been applied"
        )
        assert records.total() == 8
        servers.cancel_scope.cancel()


@pytest.mark.process
async def test_a_mark_ends_the_batch_and_separates_earlier_from_later_operations(tmp_path: Path) -> None:
    """Compared with the history, which has each operation's interval."""
    async with child("hs_drill.engine") as engine:
        await engine.send("setup", **setup(text=SCENARIO + "audit: {reads: 1}\nload: {pacing: 10ms}\n"))
        await engine.until("ready")
        await engine.send("start", **audited(tmp_path))
        await engine.send("users", count=8)
        batches = []
        for _ in range(5):
            message, before = await engine.until("batch")
            await engine.send("mark")
            batches += [*before, Batch.from_wire(message)]
        await engine.send("stop")
        batches += (await engine.until("stopped"))[1]
        history = History(tmp_path / "history-0.bin")
        intervals = [(history.header.unix(one.start), history.header.unix(one.end)) for one in history.records()]
    assert len({since for batch in batches for since, _, _ in batch.begun}) == 7, (
        "a generation from each mark, start and stop on"
    )
    slack = 0.05  # the history computes its own offset to the wall clock
    for batch, following in itertools.pairwise(batches):
        assert batch.end == following.start
    for batch in batches:
        assert batch.operations == total_of(batch.begun)
        for since, until, operations in batch.begun:
            counted = sum(done.failed.total() for done in operations.values())
            able = [
                1
                for begin, end in intervals
                if batch.start - slack <= end <= batch.end + slack and since - slack <= begin <= until + slack
            ]
            assert counted <= len(able)
    stopped = next(batch for batch in batches if batch.load_end is not None).load_end
    assert stopped is not None
    assert all(batch.load_end == stopped or batch.end <= stopped for batch in batches)
    assert sum(done.failed.total() for batch in batches for done in batch.operations.values()) == len(intervals)


def test_all_reads_go_to_the_primary_only_if_it_is_the_only_server() -> None:
    def cluster(*names: str, aliases: tuple[str, ...] = ()) -> Cluster:
        servers = [Server(name, "h", port, 2, "r", "w") for port, name in enumerate(names)]
        return Cluster.from_dict(Cluster("external", "", "", tuple(servers), aliases=aliases).to_dict())

    assert reads_primary(cluster("writer"))
    assert reads_primary(cluster("writer", "reader-1", aliases=("reader-1",))), "one server under two names"
    assert not reads_primary(cluster("writer", "reader-1"))
    two = cluster("writer", "reader-1", "standby", aliases=("reader-1",))
    assert not reads_primary(two), "the other one may be promoted, and the old primary be read"
