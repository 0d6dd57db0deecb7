"""Drills from the scenario to the exit code, with Locust as users run it: shorter forms of those that are shipped."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from hs_drill.metrics import EDGE
from hs_drill.report._kept_run import KeptRun
from hs_drill.store import History, Operation, Outcome, RunDirectory
from hs_drill.verdict._judge_run import judge_run
from tests.loadtest.support.drills import PAUSED, path_of, shortened, stated_exit_code
from tests.loadtest.support.locust_process import HEADLESS, Locust, free_port, judged, result_of
from tests.loadtest.support.web_ui import WebUi

pytestmark = pytest.mark.process


def assert_stated_verdict(drill: str, kind: str, factor: float, *options: str) -> dict[str, Any]:
    """Gives the result. How long a rejoin takes depends on the machine, so a run with one ends a second after it."""
    scenario = shortened(drill, factor)
    rejoins = "fault: rejoin" in scenario
    with Locust(*HEADLESS, "--cluster", kind, *options, *(["-t", "0"] if rejoins else []), scenario=scenario) as locust:
        if rejoins:
            locust.wait_for("fault over: rejoin")
            time.sleep(1)
            locust.interrupt()
        code = locust.finish()
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
load: {users: 8, duration: 9s, think_time: 10ms}
mix: {get: 1}
audit: {enabled: true, reads: 1}
faults:
  - {fault: latency, target: reader-1, at: 2s, for: 2s, delay: 100ms}
  - {fault: latency, target: reader-1, at: 2500ms, for: 500ms, delay: 100ms}
  - {fault: latency, target: reader-1, at: 5s, for: 300ms, every: 1s, delay: 100ms}
expect:
  latency: {get: {p50: {during: 5ms}}}
  throughput: {during: 1}
"""


def test_phases_hold_what_was_wholly_of_them() -> None:
    """Against every operation's own interval, as the histories have them, and the faults' own."""
    workers = 2
    with Locust(*HEADLESS, "--processes", str(workers), scenario=SLOW_READER) as locust:
        assert locust.finish() == 1, locust.describe()
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
    # Each way is late by that much, but an operation that meets the fault's beginning, or its end, is late one way only.
    assert slow >= 0.1, "a hundred milliseconds: more than a busy machine's lag explains"

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


@pytest.mark.parametrize(
    "drill, factor",
    [
        # reader-failover and writer-kill-plain: in_locust/test_web_tab.py; switch-over-suspended: test_workers.py
        ("reader-pause", 0.3),
        ("reader-partition", 0.3),
        ("reply-loss", 0.3),
        ("writer-kill-semisync", 0.4),
    ],
)
def test_a_drill_gives_its_stated_verdict(drill: str, factor: float) -> None:
    assert_stated_verdict(drill, "embedded", factor)


YOUNGEST = """\
name: youngest
cluster: {kind: embedded, readers: 1, topology: write-through}
table: {rows: 500, value_size: {min: 20, max: 60}}
load: {users: 8, duration: 2s, warm_up: 500ms, think_time: 2ms}
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
load: {users: 4, think_time: 20ms, duration: 8s}
mix: {get: 4, insert: 4}
faults:
- {fault: kill, target: writer, at: 2s}
- {fault: promote, target: reader-1, at: 3s}
expect: {lost: 0, availability: 40%}
"""


def test_writes_follow_a_reader_that_is_promoted() -> None:
    with Locust(*HEADLESS, scenario=PROMOTED_READER) as locust:
        assert locust.finish() == 0, locust.describe()
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
load: {users: 8, think_time: 20ms, duration: 10s}
mix: {get: {weight: 4, from: primary}, update: 4, insert: 2}
faults:
- {fault: pause, target: writer, at: 2s, for: 5s}
- {fault: promote, target: standby, at: 4s}
expect: {lost: 0, linearizable: true}
"""


def test_an_old_primary_that_thaws_unfenced_is_called_a_split_brain() -> None:
    with Locust(*HEADLESS, scenario=THAWED) as locust:
        assert locust.finish() == 3, locust.describe()
        result = result_of(locust)
        found = result["audit"]
        assert found["lost"]["measured"]["split_brain"] > 0
        assert re.search(r"acknowledged by writer after standby had been promoted at \d", found["lost"]["explanation"])
        assert any(line.startswith("This is a split brain. Fence ") for line in result["advice"])
        assert "This is a split brain" in locust.stdout
        report = (locust.run / "report.html").read_text()
        assert "This is a split brain" in report
        # Whoever reads from the old primary sees what was replaced on the new one.
        assert found["linearizable"]["verdict"] == "false"
        key = found["linearizable"]["findings"][0]["key"]
        assert f"key {key} " in report


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
    [("planned-restart", 0.5)],  # (that plain writes are lost: servers/test_failover.py)
)
def test_a_drill_gives_its_stated_verdict_on_mariadb(drill: str, factor: float) -> None:
    assert_stated_verdict(drill, "mariadb", factor)


@pytest.mark.docker
def test_a_failover_gives_its_stated_verdict_on_mariadb_11_8() -> None:
    result = assert_stated_verdict("writer-kill-semisync", "docker", 0.5, "--server-version", "11.8")
    assert result["server"].startswith("11.8.")


@pytest.mark.mariadb
def test_an_alter_table_passes_only_while_the_clients_are_suspended() -> None:
    result = assert_stated_verdict("alter-table", "mariadb", 0.5)
    blocked, passed = [event["note"] for event in result["faults"]]
    assert blocked.startswith("gave up after 4.")
    assert passed.startswith("executed after ")


def test_what_only_mariadb_can_is_refused_before_anything_starts() -> None:
    with Locust(*HEADLESS, "--cluster", "embedded", "--scenario", str(path_of("alter-table")), scenario=None) as locust:
        assert locust.finish() == 2, locust.describe()
        assert "starting" not in locust.stderr.replace("Starting Locust", ""), locust.describe()
        (line,) = [line for line in locust.stderr.splitlines() if not line.startswith("[")]
        assert line.endswith(".fault: embedded servers cannot do alter-table: use cluster kind mariadb or docker")
        assert not (locust.directory / "runs").exists()


NO_FAULT = """\
name: no fault
cluster: {readers: 1}
table: {rows: 500}
load: {users: 4, duration: 4s, think_time: 20ms}
mix: {get: 60, insert: 10}
expect: {availability: 1%}
"""


def test_a_server_that_dies_unexpectedly_is_reported_at_once_and_the_run_cannot_pass() -> None:
    victim = "writer"
    with Locust(*HEADLESS, scenario=NO_FAULT) as locust:
        locust.wait_for_load()
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
load: {users: 4, duration: 3s, think_time: 20ms}
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
    with Locust(*HEADLESS, "-t", "1s", scenario=scenario) as locust:
        assert locust.finish() == 4, locust.describe()
        assert "pause reader-1 never struck: the run ended before 50 s" in " ".join(locust.stdout.split())


def test_a_second_run_in_the_web_ui_is_judged_by_what_the_first_has_left() -> None:
    port = free_port()
    with Locust("--web-host", "127.0.0.1", "--web-port", str(port), scenario=PAUSED) as locust:
        web = WebUi(locust, port)
        locust.wait_until(web.answers, "the web UI does not answer")
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
        # Without the rows before the second run, increments of the first cannot be told from unexpected ones.
        second.before.unlink()
        assert judged(judge_run(second))["counters"] == "unknown"
        locust.process.terminate()
        assert locust.finish() == 0, locust.describe()
