"""What our side does at Locust's events, in each of the processes that Locust may be: alone, master or worker.

Alone: controller and engine. Master: the controller; it tells workers their set-up when they ask. Worker: an engine, once
the master has said for which cluster. Before users are stopped the engines end their runs, so that the last batch is
counted; a master waits for its workers' last reports.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import gevent
from gevent.event import Event
from gevent.lock import BoundedSemaphore
from locust.env import Environment
from locust.runners import STATE_RUNNING, STATE_SPAWNING, STATE_STOPPING, LocalRunner, MasterRunner, Runner, WorkerRunner

from hs_drill._exit_codes import ExitCode, gravest
from hs_drill.metrics import Batch, RunTotals
from hs_drill.report import print_no_verdict, print_summary, print_verdict, progress_line
from hs_drill.scenario import Expect, Scenario, ScenarioError
from hs_drill.store import RunDirectory, RunDirectoryError, require_place

from ._child import StartError
from ._controller_link import ControllerLink
from ._engine_link import STOP_TIMEOUT, EngineLink, RunStart
from ._interrupts import Interrupts
from ._live import Live
from ._locust_stats import fire_each, merge
from ._options import chosen_scenario, locust_settings, scenario_files, scenario_of
from ._stages import follow_stages

__all__ = ["LocalSession", "MasterSession", "WorkerSession", "open_session"]

logger = logging.getLogger("hs_drill")

TOLD_OF_VERDICT = ("verdict", "exit_code", "expectations", "advice", "engine")
PROGRESS_SECONDS = 5.0
HELLO_SECONDS = 1.0
ORPHAN_SECONDS = 0.5

# Custom messages between master and workers.
RUN = "trio_hs_run"
HELLO = "trio_hs_hello"
SETUP = "trio_hs_setup"
DRAIN = "trio_hs_drain"
DRAINED = "trio_hs_drained"
SUSPEND = "trio_hs_suspend"
SUSPENDED = "trio_hs_suspended"
MARK = "trio_hs_mark"
DIED = "trio_hs_engine_died"
REPORT = "trio_hs"
"""Our part of a worker's report."""


def open_session(environment: Environment) -> LocalSession | MasterSession | WorkerSession:
    """Do the part of this process; for Locust's `init` event. Returns when load can start, or ends the process with code 2
    when the servers cannot be had."""
    interrupts = _take_interrupts(gevent.getcurrent())
    match environment.runner:
        case WorkerRunner() as runner:
            return WorkerSession(environment, runner, interrupts)
        case MasterRunner() as runner:
            return MasterSession(environment, runner, interrupts)
        case LocalRunner() as runner:
            return LocalSession(environment, runner, interrupts)
        case other:
            raise AssertionError(f"no part for {other!r}")


def _take_interrupts(main: Any) -> Interrupts:
    """Have the first Ctrl-C raise KeyboardInterrupt in Locust's main greenlet, which expects it. By itself Python raises it in
    whichever runs: one that was just taking a worker's message in would lose it, and all that the worker said later. Locust
    expects it once: a second one, while it shuts down, would end it there and then."""
    interrupts = Interrupts(partial(main.throw, KeyboardInterrupt))
    gevent.signal_handler(signal.SIGINT, interrupts.take)
    return interrupts


def history_path(directory: str | None, worker: int) -> str | None:
    """Where the engine of a worker keeps what it did."""
    return None if directory is None else str(RunDirectory(Path(directory)).history(worker))


class _Reporting:
    """The side that shows results and owns the servers: alone or master."""

    def __init__(self, environment: Environment, runner: Runner, interrupts: Interrupts) -> None:
        assert environment.parsed_options is not None
        self._interrupts = interrupts
        self._environment = environment
        self._runner = runner
        self._options = environment.parsed_options
        self._each = self._options.hs_events == "each"
        self._chosen = self._first = (self._options.scenario, self._options.cluster or "")
        self._scenario: Scenario = self._with_locusts_rule(chosen_scenario(self._options))
        self._record = RunTotals()
        self._recent: Batch | None = None
        """What has happened since the last line of progress."""
        self._shows_progress = bool(self._options.headless and self._options.only_summary)
        self._untold = False
        """Whether there is a run whose result has not been shown."""
        self._runs = 0
        self._died: list[str] = []
        """What of ours has died in this run, a line each."""
        self._started = 0.0
        """When the run did, by the monotonic clock."""
        self._ran: float | None = None
        """How many seconds later its load was told to end."""
        self._directory: str | None = None
        self._result: dict[str, Any] | None = None
        self._stages: gevent.Greenlet | None = None
        self._quitting = BoundedSemaphore()
        self._finishing = BoundedSemaphore()
        self._choosing = BoundedSemaphore()
        self._closed = False
        self._line = ""
        """What the controller said last."""
        self._kept: list[tuple[Path, str]] = []
        """Every run's directory and verdict."""
        self._cluster: dict[str, Any] = {}
        """As clients see it."""
        self._live = Live([], self._scenario.faults)
        try:
            require_place()
        except RunDirectoryError as error:
            sys.stderr.write(f"{error}\n")
            sys.exit(ExitCode.START_FAILED)
        self._controller = self._launch(self._scenario)
        events: Any = environment.events  # Locust's events are not typed
        events.test_start.add_listener(self._on_test_start)
        events.test_stopping.add_listener(self._on_test_stopping)
        events.test_stop.add_listener(self._on_test_stop)
        events.reset_stats.add_listener(self._reset)
        events.spawning_complete.add_listener(self._on_spawning_complete)
        events.quitting.add_listener(self._on_quitting)
        events.quit.add_listener(self._on_quit)

    def _with_locusts_rule(self, scenario: Scenario) -> Scenario:
        """Where nothing is expected, failures fail a run, but not with Locust's `--exit-code-on-error 0`. As an expectation, so
        that whatever judges the run judges the same."""
        if self._options.exit_code_on_error or scenario.expect != Expect():
            return scenario
        return scenario.model_copy(update={"expect": Expect.model_validate({"availability": 0})})

    def _launch(self, scenario: Scenario) -> ControllerLink:
        return ControllerLink(scenario.model_dump(mode="json"), self)

    def _start(self) -> None:
        """Bring up what a run needs. Ends the process when that is not possible."""
        try:
            self._use(self._controller.wait_ready())
        except StartError as error:
            self._end_servers()
            sys.stderr.write(f"{error}\n")
            sys.exit(ExitCode.START_FAILED)
        except KeyboardInterrupt:
            self._end_servers()
            sys.exit(ExitCode.INTERRUPTED)

    def _use(self, cluster: dict[str, Any]) -> None:
        """Have the engines work on these servers. Raises `StartError`."""
        logger.info("servers ready: %s (%s)", cluster["kind"], cluster["why"])
        self._cluster = cluster

    def _end_servers(self) -> None:
        self._interrupts.ending()
        self._interrupts.doing = "ending the servers"
        self._close()

    def _close(self) -> None:
        self._controller.close()

    def _count(self, worker: int, batch: Batch) -> None:
        self._controller.count(worker, batch.to_wire())
        self._untold = True
        self._live.count(worker, batch)
        self._record.merge(batch)
        if not self._shows_progress:
            return
        if self._recent is None:
            self._recent = batch
        else:
            self._recent.add(batch)

    def _reset(self, **_: Any) -> None:
        self._record = RunTotals()
        self._recent = None

    def _fail(self, line: str) -> None:
        """Something of ours died: say so, and end the run as failed."""
        logger.error(line)
        self._died.append(line)
        self._environment.process_exit_code = ExitCode.RUN_FAILED
        if self._options.headless:
            self._runner.quit()
        else:
            self._runner.stop()

    # ---- what the controller says

    def on_line(self, line: str) -> None:
        self._line = line

    def on_fault(self, event: dict[str, Any]) -> None:
        self._live.happened(event)

    def on_suspend(self, number: int | None) -> None:
        raise NotImplementedError

    def on_mark(self) -> None:
        raise NotImplementedError

    def on_controller_death(self, line: str) -> None:
        self._fail(line)

    # ---- what the web UI asks for

    def choose(self, name: str | None, kind: str | None) -> str:
        """Have the next run be of another scenario, or on another kind of servers; None leaves it as it is.

        The new servers come up before the old ones go. Gives "", or why it cannot be and all stays as it was.
        """
        chosen = (name or self._chosen[0], self._chosen[1] if kind is None else kind)
        if chosen == self._chosen:
            return ""
        if chosen[0] not in self.offered:  # who may see the page must not read any file of this machine by its mistakes
            return f"{chosen[0]} is not one of the scenarios that there are to choose from"
        if (
            self._cluster.get("kind") == "external"
        ):  # its table is there once: a second harness would be in the way of the first
            return "the servers are not ours: start Locust anew for another scenario"
        if self._runner.state in (STATE_RUNNING, STATE_SPAWNING, STATE_STOPPING):
            return f"a run of {self._scenario.name} is on: stop it before you choose another scenario"
        if not self._choosing.acquire(blocking=False):
            return "the servers of another scenario are being started: wait until they are there"
        try:
            scenario = self._with_locusts_rule(scenario_of(*chosen))
            if scenario.cluster.kind == "external":
                raise ScenarioError("servers of kind 'external' are for `--servers` or a scenario that Locust is started with")
            controller = self._launch(scenario)
            try:
                cluster = controller.wait_ready()
            except StartError:
                controller.close()
                raise
            old, self._controller, self._scenario, self._chosen = self._controller, controller, scenario, chosen
            self._live, self._result = Live([], scenario.faults), None
            self._use(cluster)
            old.close()
        except (ScenarioError, StartError) as error:
            return str(error)
        finally:
            self._choosing.release()
        return ""

    @property
    def chosen(self) -> tuple[str, str]:
        """The scenario's file, and the kind of servers, "" for the scenario's own."""
        return self._chosen

    @property
    def offered(self) -> list[str]:
        """The files of the scenarios that there are to choose from."""
        return scenario_files(self._first[0], self._chosen[0])

    def load_of(self, name: str) -> dict[str, Any] | None:
        """What the start form is to show of an offered scenario: users, spawn rate and run time. None where its file is wrong,
        which `choose` tells."""
        if name == self._chosen[0]:  # with what the command line has said, or the form before
            return {one: getattr(self._options, one) for one in ("num_users", "spawn_rate", "run_time")}
        if name not in self.offered:
            return None
        try:
            return locust_settings(scenario_of(name, "").load)
        except ScenarioError:
            return None

    def watched(self) -> dict[str, Any]:
        """What there is to see now, for JSON."""
        busy = self._choosing.locked() or self._finishing.locked()
        return {
            "scenario": self._scenario.name,
            "description": self._scenario.description,
            "cluster": self._cluster.get("kind", ""),
            "state": self._runner.state,
            "users": self._runner.user_count,
            "doing": self._line if busy else "",
            "verdict": None if self._result is None else {name: self._result[name] for name in TOLD_OF_VERDICT},
            "runs": [{"name": path.name, "verdict": verdict} for path, verdict in self._kept],
            "live": self._live.to_dict(),
        }

    def report(self, number: int) -> Path | None:
        """The report of a run, counted from 0; None when there is none."""
        path = RunDirectory(self._kept[number][0]).report if 0 <= number < len(self._kept) else None
        return path if path is not None and path.exists() else None

    def _end_load(self) -> None:
        if self._ran is None:
            self._ran = time.monotonic() - self._started
            self._controller.end_load()
        self._interrupts.doing = "ending the load"
        self._drain()

    def _drain(self) -> None:
        raise NotImplementedError

    def _on_test_start(self, **_: Any) -> None:
        self._reset()
        self._died, self._started, self._ran = [], time.monotonic(), None
        self._runs += 1
        self._result = None
        self._interrupts.judged = False
        try:
            self._directory = self._interrupts.kept = self._controller.begin(self._runs)
            self._untold = True
            self._live = Live([server["name"] for server in self._cluster["servers"]], self._scenario.faults)
        except StartError as error:
            self._directory = self._interrupts.kept = None
            self._fail(str(error))
        if self._shows_progress:
            self._runner.greenlet.spawn(self._show_progress)
        load = self._scenario.load
        if load.stages and not load.open:
            self._stages = self._runner.greenlet.spawn(follow_stages, self._runner, load)

    def _finish(self) -> None:
        """After the last batch of a run: what it comes to."""
        self._live.end()
        # Of two shutdowns at once (see `_on_quit`) the second must not take the servers down under the first one's judging.
        with self._finishing:
            self._interrupts.doing = "healing and judging"
            try:
                result = self._controller.finish(self._lost(), self._died, self._ran)
                failure = ""
            except StartError as error:
                result, failure = None, str(error)
        if failure:
            self._fail(failure)  # outside, for it ends the run, and that comes here again
        if result is None:
            return
        self._result = result
        if self._directory is not None:
            self._kept.append((Path(self._directory), str(result["verdict"])))
        code = result["exit_code"]
        # Where nothing was expected and nothing of ours failed, Locust decides: users of another locustfile may have failed.
        if code or self._scenario.expect != Expect():
            self._environment.process_exit_code = gravest([self._environment.process_exit_code or 0, code])

    def _lost(self) -> list[int]:
        """The numbers of the workers that went away during the run."""
        return []

    def _show_progress(self) -> None:
        while True:
            gevent.sleep(PROGRESS_SECONDS)
            recent, self._recent = self._recent, None
            if self._runner.state not in (STATE_RUNNING, STATE_SPAWNING):
                return
            if recent is not None:
                logger.info(progress_line(recent, self._runner.user_count, self._live.seconds, self._live.phase))

    def _on_spawning_complete(self, **_: Any) -> None:
        if self._environment.reset_stats:
            self._reset()

    def _on_test_stopping(self, **_: Any) -> None:
        if self._stages is not None:
            self._stages.kill()
        self._end_load()

    def _on_test_stop(self, **_: Any) -> None:
        self._finish()
        if not self._options.headless:
            self._show_result()

    def _on_quitting(self, **_: Any) -> None:
        # After Ctrl-C the run is still on, and Locust decides its exit code next.
        self._interrupts.ending()
        self._end_load()
        self._finish()
        # Locust would now print its tables of whole milliseconds: noise beside the one that we print.
        logging.getLogger("locust.stats_logger").setLevel(logging.WARNING)

    def _on_quit(self, **_: Any) -> None:
        # After SIGTERM Locust shuts down twice, in two greenlets. The one that began must end first: it ends the process.
        with self._quitting:
            if not self._closed:
                self._finish()
                self._show_result()
                self._end_servers()
                self._closed = True
                self._interrupts.quiet = True  # nothing is left but to exit

    def _show_result(self) -> None:
        if self._untold:
            self._untold = False
            title = f"{self._scenario.name}: {self._record.seconds:.1f} s"
            print_summary(self._record, title, list(self._scenario.mix.weights()), open_loop=self._scenario.load.open)
            if self._directory is not None:
                if self._result is not None:
                    print_verdict(self._result, self._directory, explain=self._options.explain)
                    self._interrupts.judged = True
                else:
                    print_no_verdict(self._directory)
            sys.stdout.flush()


class LocalSession(_Reporting):
    """Locust alone in one process."""

    def __init__(self, environment: Environment, runner: LocalRunner, interrupts: Interrupts) -> None:
        super().__init__(environment, runner, interrupts)
        self.engine = EngineLink(self._on_batch, self._fail, self._on_suspended, partial(fire_each, environment=environment))
        self._start()

    def _use(self, cluster: dict[str, Any]) -> None:
        super()._use(cluster)
        self.engine.configure(cluster, self._scenario.model_dump(mode="json"), 0, each=self._each)
        self.engine.wait_ready()

    def _close(self) -> None:
        self.engine.close()
        super()._close()

    def _on_batch(self, batch: Batch) -> None:
        if not self._each:
            merge(batch, self._environment.stats)
        self._count(0, batch)

    def _on_test_start(self, **kwargs: Any) -> None:
        super()._on_test_start(**kwargs)
        self.engine.start(RunStart(self._runs, history_path(self._directory, 0)))

    def _drain(self) -> None:
        self.engine.stop()

    def on_suspend(self, number: int | None) -> None:
        self.engine.suspend(number)

    def on_mark(self) -> None:
        self.engine.mark()

    def _on_suspended(self, number: int) -> None:
        self._controller.suspended(number)


class MasterSession(_Reporting):
    """The process that workers report to."""

    def __init__(self, environment: Environment, runner: MasterRunner, interrupts: Interrupts) -> None:
        super().__init__(environment, runner, interrupts)
        self._master: Any = runner
        self._setup: dict[str, Any] | None = None
        self._draining: set[str] = set()
        self._taking_part: set[str] = set()
        """The workers that may have written in this run and have not said that they have ended it."""
        self._drained = Event()
        self._began: float | None = None
        """When the run did that workers may join, by the monotonic clock."""
        self._suspension: int | None = None
        self._holding_on: set[str] = set()
        """The workers that have not said yet that they have let go of the servers."""
        runner.register_message(HELLO, self._on_hello)
        runner.register_message(SUSPENDED, self._on_suspended)
        runner.register_message(DRAINED, self._on_drained)
        runner.register_message(DIED, self._on_died, concurrent=True)
        events: Any = environment.events
        events.worker_report.add_listener(self._on_worker_report)
        self._start()

    def _use(self, cluster: dict[str, Any]) -> None:
        super()._use(cluster)
        self._setup = {"cluster": cluster, "scenario": self._scenario.model_dump(mode="json"), "each": self._each}
        for worker in self._master.clients.all:
            self._tell(worker.id)

    def _on_hello(self, msg: Any, **_: Any) -> None:
        if self._setup is not None:
            self._tell(msg.node_id)

    def _tell(self, worker: str) -> None:
        index = self._master.get_worker_index(worker)
        run = None
        if self._began is not None:  # it carries load at once
            self._take_part(worker)
            run = {**self._run, "elapsed": time.monotonic() - self._began}
        self._master.send_message(SETUP, {**(self._setup or {}), "worker": index, "run": run}, worker)
        if self._suspension is not None:
            self._master.send_message(SUSPEND, {"number": self._suspension}, worker)

    @property
    def _run(self) -> dict[str, Any]:
        return {"number": self._runs, "directory": self._directory}

    def _on_test_start(self, **kwargs: Any) -> None:
        self._began = None
        super()._on_test_start(**kwargs)
        self._taking_part.clear()
        clients = self._master.clients
        for worker in clients.ready + clients.spawning + clients.running:
            self._take_part(worker.id)
        self._began = time.monotonic()
        # Before Locust tells them to start users: messages to a worker keep their order.
        self._master.send_message(RUN, self._run)

    def _take_part(self, worker: str) -> None:
        if self._controller.running:
            self._taking_part.add(worker)
            self._controller.take_part(self._master.get_worker_index(worker))

    def _lost(self) -> list[int]:
        return sorted(self._master.get_worker_index(worker) for worker in self._taking_part)

    def _on_worker_report(self, client_id: str, data: dict[str, Any], **_: Any) -> None:
        for batch in data.get(REPORT) or ():
            self._count(self._master.get_worker_index(client_id), Batch.from_wire(batch))

    def _drain(self) -> None:
        self._began = None
        carrying = {worker.id for worker in self._master.clients.running + self._master.clients.spawning}
        # Those that Ctrl-C has reached, too, end by themselves: one that has said so may not answer any more.
        self._draining = carrying & self._taking_part
        if self._draining:
            self._drained.clear()
            self._master.send_message(DRAIN)
            self._drained.wait(STOP_TIMEOUT + 1)

    def _on_drained(self, msg: Any, **_: Any) -> None:
        self._draining.discard(msg.node_id)
        self._taking_part.discard(msg.node_id)
        if not self._draining:
            self._drained.set()

    def on_suspend(self, number: int | None) -> None:
        self._suspension = number
        self._holding_on = set(self._taking_part)
        self._master.send_message(SUSPEND, {"number": number})
        if number is not None and not self._holding_on:
            self._controller.suspended(number)

    def on_mark(self) -> None:
        self._master.send_message(MARK)

    def _on_suspended(self, msg: Any, **_: Any) -> None:
        number = msg.data["number"]
        if number == self._suspension and msg.node_id in self._holding_on:
            self._holding_on.discard(msg.node_id)
            if not self._holding_on:
                self._controller.suspended(number)

    def _on_died(self, msg: Any, **_: Any) -> None:
        self._draining.discard(msg.node_id)
        self._fail(f"worker {self._master.get_worker_index(msg.node_id)}: {msg.data['line']}")


class WorkerSession:
    """A process that carries load for a master."""

    def __init__(self, environment: Environment, runner: WorkerRunner, interrupts: Interrupts) -> None:
        self._interrupts = interrupts
        self._environment = environment
        self._runner = runner
        self._unreported: list[dict[str, Any]] = []
        self._worker: int | None = None
        """Its number; None until the master has told it."""
        self._told: dict[str, Any] | None = None
        """What the master has said of the run."""
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
        # Locust's worker listens to its master before it fires `init`: one that joins a run may have begun it already.
        if runner.worker_state in (STATE_SPAWNING, STATE_RUNNING):
            self._on_test_start()
        runner.greenlet.spawn(self._ask)
        if environment.parsed_options is not None and environment.parsed_options.processes:
            interrupts.quiet = True  # the master has the same terminal
            gevent.spawn(self._end_with_master, os.getppid())

    def _ask(self) -> None:
        # The master tells it to those that it knows when the servers are up; this is for a worker that comes later.
        gevent.sleep(HELLO_SECONDS)
        while not self.engine.configured:
            self._runner.send_message(HELLO)
            gevent.sleep(HELLO_SECONDS)

    def _end_with_master(self, master: int) -> None:
        # Locust's own heartbeat would let the orphan load servers that are gone for another minute.
        while os.getppid() == master:
            gevent.sleep(ORPHAN_SECONDS)
        self.engine.close()
        os._exit(ExitCode.RUN_FAILED)

    def _on_run(self, msg: Any, **_: Any) -> None:
        self._told = {**msg.data, "began": None}

    def _on_setup(self, msg: Any, **_: Any) -> None:
        self._worker = msg.data["worker"]
        self._each = msg.data["each"]
        if (run := msg.data["run"]) is not None:
            self._told = {**run, "began": time.monotonic() - run["elapsed"]}
        cluster, scenario = msg.data["cluster"], msg.data["scenario"]
        self.engine.configure(cluster, scenario, msg.data["worker"], each=self._each, run=self._run)

    @property
    def _run(self) -> RunStart | None:
        """As far as it is known."""
        if self._told is None or self._worker is None:
            return None
        return RunStart(self._told["number"], history_path(self._told["directory"], self._worker), self._told["began"])

    def _on_batch(self, batch: Batch) -> None:
        if not self._each:
            merge(batch, self._environment.stats)
        # Each by itself: merged, they would not tell any more when within those seconds it was that something failed.
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
        self._on_drain()  # also where nobody has asked: what it did is known to its end, so it is not lost

    def _report_now(self) -> None:
        data: dict[str, Any] = {}
        events: Any = self._environment.events
        events.report_to_master.fire(client_id=self._runner.client_id, data=data)
        self._runner.send_message("stats", data)

    def _on_quit(self, **_: Any) -> None:
        self.engine.close()

    def _on_death(self, line: str) -> None:
        logger.error(line)
        self._environment.process_exit_code = ExitCode.RUN_FAILED
        self._runner.send_message(DIED, {"line": line})
