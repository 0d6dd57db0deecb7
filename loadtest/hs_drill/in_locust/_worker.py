"""The session of a Locust worker: has an engine, and reports to the master."""

from __future__ import annotations

import logging
import os
import time
from functools import partial
from typing import Any

import gevent
from locust.env import Environment
from locust.runners import STATE_RUNNING, STATE_SPAWNING, WorkerRunner

from hs_drill._exit_codes import ExitCode, gravest
from hs_drill.metrics import Batch

from ._engine_link import EngineLink, RunStart, history_path
from ._interrupts import Interrupts
from ._locust_stats import fire_each, merge
from ._messages import DIED, DRAIN, DRAINED, HELLO, MARK, REPORT, RUN, SETUP, SUSPEND, SUSPENDED
from ._user_stand_ins import code_modules
from ._user_tasks import task_weights

__all__ = ["WorkerSession"]

logger = logging.getLogger("hs_drill")

HELLO_SECONDS = 1.0
ORPHAN_SECONDS = 0.5


class WorkerSession:
    """Carries load for a master."""

    def __init__(self, environment: Environment, runner: WorkerRunner, interrupts: Interrupts) -> None:
        self._interrupts = interrupts
        self._environment = environment
        self._runner = runner
        self._unreported: list[dict[str, Any]] = []
        self._worker: int | None = None
        """Its number; None until the master has sent it."""
        self._run_data: dict[str, Any] | None = None
        """What the master has sent about the run: number, directory, and when it began."""
        self.engine = EngineLink(
            self._on_batch, self._on_death, self._on_suspended, partial(fire_each, environment=environment)
        )
        self._each = False
        runner.register_message(SETUP, self._on_setup)
        runner.register_message(SUSPEND, self._on_suspend)
        runner.register_message(MARK, self._on_mark)
        runner.register_message(RUN, self._on_run)
        runner.register_message(DRAIN, self._on_drain, concurrent=True)
        events: Any = environment.events  # Locust's events are not typed
        events.test_start.add_listener(self._on_test_start)
        events.test_stopping.add_listener(self._on_test_stopping)
        events.report_to_master.add_listener(self._on_report)
        events.quitting.add_listener(self._on_quitting)
        events.quit.add_listener(self._on_quit)
        # Locust's worker obeys its master before it fires `init`. If it joined a run, its users may have started already.
        if runner.worker_state in (STATE_SPAWNING, STATE_RUNNING):
            self._on_test_start()
        runner.greenlet.spawn(self._ask_for_setup)
        if environment.parsed_options is not None and environment.parsed_options.processes:
            interrupts.quiet = True  # the master writes to the same terminal
            environment.parsed_options.json = environment.parsed_options.json_file = None  # and to the same file
            gevent.spawn(self._end_with_master, os.getppid())

    def _ask_for_setup(self) -> None:
        # The master sends the set-up to all workers that it knows when the servers are up. A later one has to ask.
        gevent.sleep(HELLO_SECONDS)
        while not self.engine.configured:
            self._runner.send_message(HELLO)
            gevent.sleep(HELLO_SECONDS)

    def _end_with_master(self, master: int) -> None:
        # Locust's own heartbeat would end an orphan only a minute later. Until then it would send to servers that are gone.
        while os.getppid() == master:
            gevent.sleep(ORPHAN_SECONDS)
        self.engine.close()
        os._exit(ExitCode.RUN_FAILED)

    def _on_run(self, msg: Any, **_: Any) -> None:
        self._run_data = {**msg.data, "began": None}

    def _on_setup(self, msg: Any, **_: Any) -> None:
        self._worker = msg.data["worker"]
        self._each = msg.data["each"]
        if (run := msg.data["run"]) is not None:
            self._run_data = {**run, "began": time.monotonic() - run["elapsed"]}
        cluster, scenario = msg.data["cluster"], msg.data["scenario"]
        sample = msg.data.get("sample")
        self.engine.configure(
            cluster, scenario, msg.data["worker"], each=self._each, run=self._run, sample=sample, code=code_modules()
        )

    @property
    def _run(self) -> RunStart | None:
        """The current run; None until both the run and our number are known."""
        if self._run_data is None or self._worker is None:
            return None
        path, began = history_path(self._run_data["directory"], self._worker), self._run_data["began"]
        # Locust's master has sent the worker its `--tags`, and Locust has removed tasks by them.
        return RunStart(self._run_data["number"], path, began, task_weights(self._environment.user_classes))

    def _on_batch(self, batch: Batch) -> None:
        if not self._each:
            merge(batch, self._environment.stats)
        # Kept apart: a merged batch would no longer show at which moment of those seconds something failed.
        self._unreported.append(batch.to_wire())

    def _on_report(self, data: dict[str, Any], **_: Any) -> None:
        data[REPORT], self._unreported = self._unreported, []

    def _on_test_start(self, **_: Any) -> None:
        self.engine.start(self._run)

    def _on_test_stopping(self, **_: Any) -> None:
        self.engine.stop()

    def _on_suspend(self, msg: Any, **_: Any) -> None:
        self.engine.suspend(msg.data["number"])

    def _on_mark(self, **_: Any) -> None:
        self.engine.mark()

    def _on_suspended(self, number: int) -> None:
        self._runner.send_message(SUSPENDED, {"number": number})

    def _on_drain(self, **_: Any) -> None:
        self.engine.stop()
        self._report_now()
        self._runner.send_message(DRAINED)

    def _on_quitting(self, **_: Any) -> None:
        self._interrupts.ending()
        self._interrupts.doing = "ending the load"
        self._on_drain()  # even if the master has not asked: the last report must not be lost

    def _report_now(self) -> None:
        data: dict[str, Any] = {}
        events: Any = self._environment.events
        events.report_to_master.fire(client_id=self._runner.client_id, data=data)
        self._runner.send_message("stats", data)

    def _on_quit(self, **_: Any) -> None:
        self.engine.close()

    def abort(self) -> None:
        """End although Locust does not shut down in order."""
        self.engine.close()

    def _on_death(self, line: str) -> None:
        logger.error(line)
        self._environment.process_exit_code = gravest([self._environment.process_exit_code or 0, ExitCode.RUN_FAILED])
        self._runner.send_message(DIED, {"line": line})
