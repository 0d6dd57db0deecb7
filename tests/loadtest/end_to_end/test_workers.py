"""Runs with several worker processes: every worker has its part of the writes in the audit."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import yaml

from hs_drill.store import FinalState, History, Operation, RunDirectory, write_final_state
from hs_drill.verdict._judge_run import judge_run
from tests.loadtest.support.drills import shortened
from tests.loadtest.support.locust_process import HEADLESS, ROOT, Locust, free_port, judged, result_of
from tests.loadtest.support.web_ui import WebUi

pytestmark = pytest.mark.process


def writes_by_worker(run: Path) -> dict[int, int]:
    histories = [History(path) for path in RunDirectory(run).histories()]
    return {
        history.header.worker: sum(record.operation in (Operation.INSERT, Operation.INCR) for record in history.records())
        for history in histories
        if history.header.worker >= 0
    }


def test_the_writes_of_all_worker_processes_are_audited_and_all_let_go_when_asked_to() -> None:
    scenario = shortened("switch-over-suspended", 0.4)  # in which no operation may fail
    with Locust(*HEADLESS, "--cluster", "embedded", "--processes", "2", scenario=scenario) as locust:
        assert locust.finish() == 0, locust.describe()
        assert result_of(locust)["workers"] == [0, 1]
        writes = writes_by_worker(locust.run)
        assert set(writes) == {0, 1}
        assert all(writes.values())
        assert "Traceback" not in locust.stderr, locust.describe()


@contextmanager
def worker_of(locust: Locust, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A worker that is started separately from its master, as on another terminal."""
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


def test_without_a_worker_that_died_what_was_lost_is_unknown() -> None:
    port = free_port()
    drill = yaml.safe_load(shortened("reader-failover", 0.4))
    drill["expect"].pop("recovery")  # with half of the users the load may never be as steady as before
    arguments, scenario = master_at(port, workers=2), yaml.safe_dump(drill)
    with Locust(*HEADLESS, "--cluster", "embedded", *arguments, scenario=scenario) as locust, ExitStack() as stack:
        workers = [stack.enter_context(worker_of(locust, port)) for _ in range(2)]
        locust.wait_for("fault: ")
        workers[0].kill()
        code = locust.exit_code()
        log = locust.describe() + (locust.directory / "worker.log").read_text()
        result = result_of(locust)
        assert code == 4, log
        assert judged(result)["lost"] == "unknown", log
        assert judged(result)["applied_twice"] == "unknown", log
        assert result["lost_workers"] != [], log


LATE = """\
name: late
cluster: {kind: embedded, readers: 1}
table: {rows: 500}
load: {users: 8, duration: 1h, think_time: 10ms}
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
            locust.wait_until(lambda: len(web.statistics()["workers"]) == count, "it does not come")

        def run(*, late: bool) -> Path:
            web.fetch("/swarm", user_count=8, spawn_rate=100)
            locust.wait_until(lambda: web.count("insert") > 50, "no load")
            if late:
                add_worker(3)
            (kept,) = [path for path in (locust.directory / "runs").iterdir() if not (path / "result.json").exists()]
            newest = kept / f"history-{2 if late else 1}.bin"
            locust.wait_until(lambda: newest.exists() and newest.stat().st_size > 0, "it keeps no history")
            locust.wait_until(lambda: all(count > 20 for count in writes_by_worker(kept).values()), "no writes")
            web.fetch("/stop")
            locust.wait_until((kept / "result.json").exists, "no verdict")
            return kept

        locust.wait_until(web.answers, "the web UI does not answer")
        add_worker(1)
        add_worker(2)  # it asks for its number only after a second
        kept = run(late=False)
        assert all(writes_by_worker(kept)[worker] > 20 for worker in (0, 1))
        kept = run(late=True)
        result = json.loads((kept / "result.json").read_text())
        assert result["exit_code"] == 0, result
        assert (result["workers"], result["lost_workers"]) == ([0, 1, 2], [])
        assert all(writes_by_worker(kept)[worker] > 20 for worker in (0, 1, 2))
        assert {History(kept / f"history-{worker}.bin").header.run for worker in (0, 1, 2)} == {2}
        # The audit is exact: it misses this worker's last insert once that is deleted.
        history = History(kept / "history-2.bin")
        last = [record for record in history.records() if record.operation is Operation.INSERT][-1]
        final = FinalState(kept / "final-writer.bin", "writer")
        write_final_state(kept / "final-writer.bin", [row for row in list(final) if row[0] != last.key])
        found = judge_run(RunDirectory.open(kept))["audit"]["lost"]
        assert [finding["key"] for finding in found["findings"]] == [last.key], found
        locust.process.terminate()
        assert locust.finish() == 0, locust.describe()
