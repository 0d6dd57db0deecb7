"""Drills from the scenario to the exit code, with Locust as users run it: shorter forms of those that are shipped."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from hs_drill.metrics import EDGE
from hs_drill.report._kept_run import KeptRun
from hs_drill.store import FinalState, History, Operation, Outcome, RunDirectory, write_final_state
from hs_drill.verdict._judge_run import judge_run
from tests.loadtest.support.containers import containers_below, engine, left_in_engine
from tests.loadtest.support.drills import PAUSED, path_of, shortened, stated_exit_code, wait_for_the_pause
from tests.loadtest.support.locust_process import HEADLESS, ROOT, Locust, free_port, result_of
from tests.loadtest.support.web_ui import WebUi


def judged(result: dict[str, Any]) -> dict[str, str]:
    return {one["name"]: one["result"] for one in result["expectations"]}


def assert_stated_verdict(drill: str, kind: str, factor: float) -> dict[str, Any]:
    """Gives the result."""
    with Locust(*HEADLESS, "--cluster", kind, scenario=shortened(drill, factor)) as locust:
        code = locust.finish(100)
        assert code == stated_exit_code(drill), locust.describe()
        result = result_of(locust)
        assert result["exit_code"] == code
        assert result["troubles"] == []
        assert {event["fault"] for event in result["faults"]} == {f["fault"] for f in scenario_of(locust)["faults"]}
        for event in result["faults"]:
            assert event["start"] <= event["struck"] <= event["end"], event
        assert "\nverdict: " in locust.stdout
        assert f"kept in {locust.run}" in locust.stdout
        assert "Traceback" not in locust.stderr, locust.describe()
        return result


def scenario_of(locust: Locust) -> dict[str, Any]:
    scenario: dict[str, Any] = yaml.safe_load((locust.run / "scenario.yaml").read_text())
    return scenario


SLOW_READER = """\
name: slow-reader
cluster: {readers: 1}
table: {rows: 500}
load: {users: 8, duration: 9s}
mix: {get: 1}
audit: {enabled: true, reads: 1}
faults:
  - {fault: latency, target: reader-1, at: 2s, for: 2s, delay: 20ms}
  - {fault: latency, target: reader-1, at: 2500ms, for: 500ms, delay: 20ms}
  - {fault: latency, target: reader-1, at: 5s, for: 300ms, every: 1s, delay: 20ms}
expect:
  latency: {get: {p50: {during: 5ms}}}
  throughput: {during: 1}
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_phases_hold_what_was_wholly_of_them(workers: int) -> None:
    """Against every operation's own interval, as the histories have them, and the faults' own."""
    processes = ["--processes", "2"] if workers == 2 else []
    with Locust(*HEADLESS, *processes, "--cluster", "embedded", scenario=SLOW_READER) as locust:
        assert locust.finish(100) == 1, locust.describe()
        result = result_of(locust)
        run = KeptRun.read(RunDirectory(locust.run), result)
        histories = [History(locust.run / f"history-{worker}.bin") for worker in range(workers)]
        records = [(history.header, record) for history in histories for record in history.records()]
        operations = [(header.unix(record.intended), header.unix(record.end)) for header, record in records]
        begun = {(worker, since) for batch in run.batches for worker in batch.engines for since, _, _ in batch.begun}
    assert result["troubles"] == []
    assert judged(result)["latency.get.p50.during"] == "miss"
    assert judged(result)["throughput.during"] == "pass"
    (slow,) = [one["measured"] for one in result["expectations"] if one["name"] == "latency.get.p50.during"]
    assert slow >= 0.04, "twenty milliseconds each way"

    faults = run.timeline.faults
    assert len(faults) >= 4
    # Ahead of each strike and healing, and after it; the last may come too late for its run.
    assert all(sum(one == worker for one, _ in begun) > 4 * (len(faults) - 1) for worker in range(workers))
    assert all(fault.struck is not None and fault.healing is not None for fault in faults)
    assert faults[0].end is not None
    assert faults[1].end is not None
    assert faults[0].end > faults[1].end, "the shorter of two equal ones has not ended the other"
    counted = {phase: run.totals[phase, "get"][0].ok.total() for phase in ("run", "before", "during", "after", EDGE)}
    assert counted["run"] == sum(counted.values()) - counted["run"] == len(operations)
    assert counted[EDGE] == result["at_edges"]
    assert counted["during"] > 0
    slack = 0.01  # engines and controller put the monotonic clock to the wall clock each by itself

    def touch(begin: float, end: float, since: float, until: float | None) -> bool:
        return begin <= (until or end) and end >= since

    certainly = [fault.certain for fault in faults]
    exact = {
        "before": sum(end <= faults[0].start + slack for _, end in operations),
        "during": sum(any(touch(*one, since - slack, until + slack) for since, until in certainly) for one in operations),
        "after": sum(
            begin > faults[0].start
            and not any(touch(begin, end, one.start + slack, (one.end or end) - slack) for one in faults)
            for begin, end in operations
        ),
    }
    for phase, most in exact.items():
        assert counted[phase] <= most, (phase, counted, exact)


# A rejoin must have ended when the run does, and how long it takes does not shrink with the schedule.
@pytest.mark.parametrize(
    "drill, factor",
    [
        ("reader-failover", 0.3),
        ("reader-pause", 0.3),
        ("reader-partition", 0.3),
        ("reply-loss", 0.3),
        ("switch-over-suspended", 0.4),
        ("writer-kill-plain", 0.3),
        ("writer-kill-semisync", 0.4),
    ],
)
def test_a_drill_gives_its_stated_verdict(drill: str, factor: float) -> None:
    assert_stated_verdict(drill, "embedded", factor)


YOUNGEST = """\
name: youngest
cluster: {kind: embedded, readers: 1, topology: write-through}
table: {rows: 500, value_size: {min: 20, max: 60}}
load: {users: 8, duration: 2s, warm_up: 500ms}
keys: zipfian
mix:
  get: {weight: 50, keys: latest}
  get_many: {weight: 10, count: 5, keys: latest}
  insert: 20
  incr: 10
  delete: 5
audit: {reads: 1}
expect: {lost: 0, errors: 0, staleness: 1s}
"""

PROMOTED_READER = """\
name: promoted-reader
cluster: {readers: 2, replication: semisync, topology: write-through}
table: {rows: 200, groups: 5, value_size: 30}
load: {users: 4, think_time: 5ms, duration: 8s}
mix: {get: 4, insert: 4}
faults:
- {fault: kill, target: writer, at: 2s}
- {fault: promote, target: reader-1, at: 3s}
expect: {lost: 0, availability: 40%}
"""


@pytest.mark.parametrize("kind", ["embedded", pytest.param("mariadb", marks=pytest.mark.mariadb)])
def test_writes_follow_a_reader_that_is_promoted(kind: str) -> None:
    with Locust(*HEADLESS, "--cluster", kind, scenario=PROMOTED_READER) as locust:
        assert locust.finish(60) == 0, locust.describe()
        assert json.loads((locust.run / "result.json").read_text())["primary"] == "reader-1"
        records = list(History(locust.run / "history-0.bin").records())
        end = max(record.end for record in records)
        last = [record for record in records if record.operation is Operation.INSERT and record.end > end - 1_000_000_000]
        assert last, "there were inserts in the last second"
        assert all(record.outcome is Outcome.OK for record in last), locust.describe()


THAWED = """\
name: thawed
cluster: {readers: 1, standby: true, topology: write-through}
table: {rows: 200, groups: 5, value_size: 30}
load: {users: 4, think_time: 5ms, duration: 12s}
mix: {get: 4, insert: 4}
faults:
- {fault: pause, target: writer, at: 2s, for: 5s}
- {fault: promote, target: standby, at: 4s}
expect: {lost: 0}
"""


@pytest.mark.parametrize("kind", ["embedded", pytest.param("mariadb", marks=pytest.mark.mariadb)])
def test_an_old_primary_that_thaws_unfenced_is_called_a_split_brain(kind: str) -> None:
    with Locust(*HEADLESS, "--cluster", kind, scenario=THAWED) as locust:
        assert locust.finish(60) == 3, locust.describe()
        result = json.loads((locust.run / "result.json").read_text())
        assert result["audit"]["lost"]["measured"]["split_brain"] > 0
        assert re.search(
            r"acknowledged by writer after standby had been promoted at \d", result["audit"]["lost"]["explanation"]
        )
        assert any(line.startswith("This is a split brain: standby had been promoted at ") for line in result["advice"])
        assert "This is a split brain" in locust.stdout
        assert "This is a split brain" in (locust.run / "report.html").read_text()


def test_rows_that_the_run_inserts_are_read_and_that_they_come_late_is_no_error() -> None:
    with Locust(*HEADLESS, scenario=YOUNGEST) as locust:
        assert locust.finish() == 0, locust.describe()
        records = list(History(locust.run / "history-0.bin").records())
        reads = [record for record in records if record.operation in (Operation.GET, Operation.GET_MANY)]
        assert sum(record.key > 500 for record in reads) > len(reads) / 2
        assert {record.key for record in reads} & set(range(400, 501)), "the loaded rows are next in age"


@pytest.mark.mariadb
@pytest.mark.parametrize(
    "drill, factor",
    [("reader-failover", 0.5), ("writer-kill-plain", 0.5), ("switch-over-suspended", 0.5), ("planned-restart", 0.5)],
)
def test_a_drill_gives_its_stated_verdict_on_mariadb(drill: str, factor: float) -> None:
    assert_stated_verdict(drill, "mariadb", factor)


@pytest.mark.mariadb
def test_an_alter_table_passes_only_while_the_clients_are_suspended() -> None:
    result = assert_stated_verdict("alter-table", "mariadb", 0.5)
    blocked, passed = [event["note"] for event in result["faults"]]
    assert blocked.startswith("gave up after 4.")
    assert passed.startswith("carried out after ")


def test_what_only_mariadb_can_is_refused_before_anything_starts() -> None:
    with Locust(*HEADLESS, "--cluster", "embedded", "--scenario", str(path_of("alter-table")), scenario=None) as locust:
        assert locust.finish() == 2, locust.describe()
        assert "starting" not in locust.stderr.replace("Starting Locust", ""), locust.describe()
        (line,) = [line for line in locust.stderr.splitlines() if not line.startswith("[")]
        assert line.endswith(".fault: embedded servers cannot do alter-table: use cluster kind mariadb or docker")
        assert not (locust.directory / "runs").exists()


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_drill_that_is_interrupted_heals_and_is_judged(signum: signal.Signals) -> None:
    with Locust(*HEADLESS, scenario=PAUSED) as locust:
        wait_for_the_pause(locust)
        if signum == signal.SIGINT:
            os.killpg(locust.process.pid, signum)  # as a terminal does
        else:
            os.kill(locust.process.pid, signum)
        assert locust.finish() == 0, locust.describe()
        assert "fault over: pause reader-1" in locust.stderr
        assert "verdict: pass" in locust.stdout, locust.describe()
        result = result_of(locust)
        assert judged(result) == dict.fromkeys(["lost", "applied_twice", "unexpected", "counters"], "pass")


NO_FAULT = """\
name: no fault
cluster: {readers: 1}
table: {rows: 500}
load: {users: 4, duration: 4s}
mix: {get: 60, insert: 10}
expect: {availability: 1%}
"""


@pytest.mark.parametrize(
    "kind, victim", [("embedded", "writer"), pytest.param("mariadb", "reader-1", marks=pytest.mark.mariadb)]
)
def test_a_server_that_dies_unexpectedly_is_reported_at_once_and_the_run_cannot_pass(kind: str, victim: str) -> None:
    with Locust(*HEADLESS, "--cluster", kind, scenario=NO_FAULT) as locust:
        locust.wait_for("All users spawned")
        (pid,) = (
            pid for pid in locust.processes(f"/{victim}/") if b"_guardian.py" not in Path(f"/proc/{pid}/cmdline").read_bytes()
        )
        os.kill(pid, signal.SIGKILL)
        locust.wait_for(f"/ERROR/hs_drill: {victim} died ", 2)
        assert locust.finish() == 4, locust.describe()
        (trouble,) = result_of(locust)["troubles"]
        when = r"\d\.\d s after the start of the load"
        how = rf"{victim} died unexpectedly {when} \(killed by SIGKILL\); its log is (\S+) in .*"
        match = re.fullmatch(how, trouble)
        assert match is not None, trouble
        assert (locust.run / match[1]).read_text(), "what it had said"
        assert locust.stderr.count("/ERROR/") == 1, locust.describe()
        assert re.search("^ UNKNOWN +faults ", locust.stdout, re.MULTILINE), locust.describe()
        history = History(locust.run / "history-controller.bin")
        assert list(history.records()) == []
        assert [(event.kind, event.name) for event in history.events] == [("death", victim)]
        assert judge_run(RunDirectory(locust.run))["exit_code"] == 4, "nor when it is judged again"


NO_EFFECT = """\
name: no effect
cluster: {kind: embedded, readers: 1, standby: true}
table: {rows: 500}
load: {users: 4, duration: 3s}
mix: {get: 60, insert: 10}
faults:
  - {fault: drop-replies, target: writer, at: 1s, for: 1s, after: 100000000}
  - {fault: reset, target: standby, listener: read, at: 1s}
expect: {availability: 1%}
"""


def test_a_fault_that_did_nothing_has_shown_nothing() -> None:
    with Locust(*HEADLESS, scenario=NO_EFFECT) as locust:
        assert locust.finish() == 4, locust.describe()
        result = result_of(locust)
        assert [line.partition(":")[0] for line in result["troubles"]] == [
            "drop-replies writer had no effect",
            "reset standby had no effect",
        ]
        assert {event["note"] for event in result["faults"]} == {"replies lost: 0", "connections reset: 0"}


def test_a_drill_that_ends_before_its_fault_has_shown_nothing() -> None:
    scenario = PAUSED.replace("target: reader-1, at: 1s", "target: reader-1, at: 50s")
    with Locust(*HEADLESS, "-t", "3s", scenario=scenario) as locust:
        assert locust.finish() == 4, locust.describe()
        assert "pause reader-1 never struck: the run ended before 50 s" in " ".join(locust.stdout.split())


@pytest.mark.parametrize("victim", ["locust", "controller"])
def test_a_drill_that_is_killed_leaves_nothing_and_can_still_be_judged(victim: str) -> None:
    with Locust(*HEADLESS, scenario=PAUSED) as locust:
        wait_for_the_pause(locust)
        if victim == "locust":
            locust.process.kill()
        else:
            os.kill(locust.processes("hs_drill.controller")[0], signal.SIGKILL)
        locust.wait_until(lambda: not locust.processes(), "processes are left")
        assert locust.process.wait(1) == (-signal.SIGKILL if victim == "locust" else 1)
        result = judge_run(RunDirectory.open(locust.run))
        assert result["exit_code"] == 4
        assert judged(result)["lost"] == "unknown"
        assert "the primary was not read back" in str(result["expectations"])
        if victim == "controller":
            assert_told_how_to_judge_it(locust)


def assert_told_how_to_judge_it(locust: Locust) -> None:
    """Of a run that could not be judged when it ended."""
    told = f"no verdict: the run did not come to its end\nkept in {locust.run}\n"
    assert f"{told}to judge what is kept: hs-drill analyze {locust.run}\n" in locust.stdout, locust.describe()


@pytest.mark.docker
def test_a_drill_in_containers_that_is_killed_leaves_none_also_if_one_is_paused() -> None:
    with Locust(*HEADLESS, scenario=PAUSED.replace("embedded", "docker")) as locust, engine() as client:
        locust.wait_for("fault: pause reader-1", 60)
        locust.wait_until(
            lambda: "paused" in [container.status for container in containers_below(client, locust.temporary)], "none is paused"
        )
        locust.process.kill()
        locust.wait_until(lambda: not left_in_engine(locust.temporary), "a container or network is left")
        assert judge_run(RunDirectory.open(locust.run))["exit_code"] == 4


def test_a_second_run_in_the_web_ui_is_judged_by_what_the_first_has_left() -> None:
    port = free_port()
    with Locust("--web-host", "127.0.0.1", "--web-port", str(port), scenario=PAUSED) as locust:
        web = WebUi(locust, port)
        locust.wait_until(web.answers, "the web UI does not answer", 30)
        for number in (1, 2):
            web.fetch("/swarm", user_count=8, spawn_rate=100)
            locust.wait_until(partial(lambda n: locust.stderr.count("fault: pause") == n, number), "no fault")
            before = web.count("incr")
            locust.wait_until(partial(lambda n: web.count("incr") > n + 20, before), "no writes")
            web.fetch("/stop")
            locust.wait_until(partial(lambda n: locust.stdout.count("verdict: ") == n, number), "no verdict")
        first, second = (RunDirectory(path) for path in sorted((locust.directory / "runs").iterdir()))
        assert [run.before.exists() for run in (first, second)] == [False, True]
        for run in (first, second):
            result = run.result()
            assert result is not None
            assert judged(result) == dict.fromkeys(["lost", "applied_twice", "unexpected", "counters"], "pass")
        # By the loaded rows alone, what the first run has counted up would be nobody's: that cannot be judged any more.
        second.before.unlink()
        assert judged(judge_run(second))["counters"] == "unknown"
        locust.process.terminate()
        assert locust.finish() == 0, locust.describe()


def test_a_controller_that_dies_while_it_judges_ends_the_run_as_failed() -> None:
    with Locust(*HEADLESS, scenario=PAUSED) as locust:
        wait_for_the_pause(locust)
        (controller,) = locust.processes("hs_drill.controller")
        os.kill(controller, signal.SIGSTOP)  # so that the verdict is still awaited when it dies
        locust.process.terminate()
        history = History(locust.run / "history-0.bin")
        locust.wait_until(lambda: bool(list(history.chunks())) and history.complete, "it does not drain")
        os.kill(controller, signal.SIGKILL)
        assert locust.process.wait(20) == 1, locust.describe()
        assert "the controller of the servers died: killed by SIGKILL" in locust.stderr
        assert_told_how_to_judge_it(locust)
        assert "Traceback" not in locust.stderr, locust.describe()


def writes_by_worker(run: Path) -> dict[int, int]:
    histories = [History(path) for path in RunDirectory(run).histories()]
    return {
        history.header.worker: sum(record.operation in (Operation.INSERT, Operation.INCR) for record in history.records())
        for history in histories
        if history.header.worker >= 0
    }


def test_the_writes_of_all_worker_processes_are_audited_and_all_let_go_when_asked_to() -> None:
    scenario = shortened("switch-over-suspended", 0.4)  # in which nobody may fail
    with Locust(*HEADLESS, "--cluster", "embedded", "--processes", "2", scenario=scenario) as locust:
        assert locust.finish(100) == 0, locust.describe()
        assert result_of(locust)["workers"] == [0, 1]
        writes = writes_by_worker(locust.run)
        assert set(writes) == {0, 1}
        assert all(writes.values())
        assert "Traceback" not in locust.stderr, locust.describe()


@contextmanager
def worker_of(locust: Locust, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A worker that somebody starts beside the master, as on another terminal."""
    command = [sys.executable, "-m", "locust", "-f", str(ROOT / "loadtest"), "--worker", "--master-port", str(port)]
    with (locust.directory / "worker.log").open("ab") as log:
        process = subprocess.Popen(
            command, cwd=ROOT, env=locust.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def master_at(port: int, workers: int) -> list[str]:
    return ["--master", "--expect-workers", str(workers), "--master-bind-host", "127.0.0.1", "--master-bind-port", str(port)]


@pytest.mark.parametrize("what", ["all stay", "one dies"])
def test_workers_started_by_hand(what: str) -> None:
    port = free_port()
    scenario = shortened("switch-over-suspended" if what == "all stay" else "reader-failover", 0.5)
    arguments = master_at(port, workers=2)
    with Locust(*HEADLESS, "--cluster", "embedded", *arguments, scenario=scenario) as locust, ExitStack() as stack:
        workers = [stack.enter_context(worker_of(locust, port)) for _ in range(2)]
        locust.wait_for("fault: ")
        if what == "one dies":
            workers[0].kill()
        code = locust.process.wait(60)
        log = locust.describe() + (locust.directory / "worker.log").read_text()
        result = result_of(locust)
        if what == "all stay":
            assert code == 0, log
            assert result["workers"] == [0, 1], log
            assert all(writes_by_worker(locust.run).values())
        else:
            assert code == 4, log
            assert judged(result)["lost"] == "unknown", log
            assert judged(result)["applied_twice"] == "unknown", log
            assert result["lost_workers"] != [], log


LATE = """\
name: late
cluster: {kind: embedded, readers: 1}
table: {rows: 500}
load: {users: 8, duration: 1h, think_time: 2ms}
mix: {get: 50, insert: 20, incr: 10, update: 10, delete: 10}
audit: {reads: 1}
expect: {errors: 0, lost: 0}
"""


def test_workers_that_come_just_before_a_run_or_in_the_middle_of_it_keep_histories_too() -> None:
    """In the second run, for keys and versions are made of the run's number."""
    port, web_port = free_port(), free_port()
    ui = ["--web-host", "127.0.0.1", "--web-port", str(web_port)]
    with Locust(*ui, *master_at(port, workers=1), scenario=LATE) as locust, ExitStack() as stack:
        web = WebUi(locust, web_port)

        def add_worker(count: int) -> None:
            stack.enter_context(worker_of(locust, port))
            locust.wait_until(lambda: len(web.statistics()["workers"]) == count, "it does not come", 30)

        def run(*, late: bool) -> Path:
            web.fetch("/swarm", user_count=8, spawn_rate=100)
            locust.wait_until(lambda: web.count("insert") > 50, "no load")
            if late:
                add_worker(3)
            (kept,) = [path for path in (locust.directory / "runs").iterdir() if not (path / "result.json").exists()]
            newest = kept / f"history-{2 if late else 1}.bin"
            locust.wait_until(newest.exists, "it keeps no history")
            time.sleep(1.5)
            web.fetch("/stop")
            locust.wait_until((kept / "result.json").exists, "no verdict")
            return kept

        locust.wait_until(web.answers, "the web UI does not answer", 30)
        add_worker(1)
        add_worker(2)  # which has a second until it asks for its number
        kept = run(late=False)
        assert all(writes_by_worker(kept)[worker] > 20 for worker in (0, 1))
        kept = run(late=True)
        result = json.loads((kept / "result.json").read_text())
        assert result["exit_code"] == 0, result
        assert (result["workers"], result["lost_workers"]) == ([0, 1, 2], [])
        assert all(writes_by_worker(kept)[worker] > 20 for worker in (0, 1, 2))
        assert {History(kept / f"history-{worker}.bin").header.run for worker in (0, 1, 2)} == {2}
        # Exact: what it inserted last is missed, once it is away.
        history = History(kept / "history-2.bin")
        last = [record for record in history.records() if record.operation is Operation.INSERT][-1]
        final = FinalState(kept / "final-writer.bin", "writer")
        write_final_state(kept / "final-writer.bin", [row for row in list(final) if row[0] != last.key])
        found = judge_run(RunDirectory.open(kept))["audit"]["lost"]
        assert [finding["key"] for finding in found["findings"]] == [last.key], found
        locust.process.terminate()
        assert locust.finish() == 0, locust.describe()
