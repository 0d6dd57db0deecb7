"""The session that owns the servers and shows results: in Locust's local runner and in its master."""

from __future__ import annotations

import logging
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import gevent
from gevent import GreenletExit
from gevent.lock import BoundedSemaphore
from locust.env import Environment
from locust.runners import STATE_RUNNING, STATE_SPAWNING, STATE_STOPPING, Runner

from hs_drill._exit_codes import ExitCode, gravest
from hs_drill._process_end import discard_output
from hs_drill.metrics import Batch, RunTotals
from hs_drill.report import PlainConsole, print_no_verdict, print_other_requests, print_summary, print_verdict, progress_line
from hs_drill.scenario import Expect, Scenario, ScenarioError
from hs_drill.store import RunDirectory, RunDirectoryError, require_place

from ._child import StartError
from ._choice import Choice
from ._controller_link import ControllerLink
from ._interrupts import Interrupts
from ._live import Live, Seen
from ._load_options import load_options
from ._other_requests import other_requests
from ._run_time import run_time_after
from ._stages import follow_stages

__all__ = ["Owner"]

logger = logging.getLogger("hs_drill")

SHOWN_OF_VERDICT = ("verdict", "exit_code", "expectations", "advice", "engine")
PROGRESS_SECONDS = 5.0


class Owner(ABC):
    """The base of `LocalSession` and `MasterSession`. It has a controller, and counts what the engines report."""

    def __init__(self, environment: Environment, runner: Runner, interrupts: Interrupts) -> None:
        assert environment.parsed_options is not None
        self._interrupts = interrupts
        self._environment = environment
        self._runner = runner
        self._options = environment.parsed_options
        self._each = self._options.hs_events == "each"
        self.choice = Choice(self._options)
        self._totals = RunTotals()
        self._recent: Batch | None = None
        """Everything since the last line of progress."""
        self._shows_progress = bool(self._options.headless and self._options.only_summary)
        self._unshown = False
        """Whether a run's result has not been shown yet."""
        self._runs = 0
        self._deaths: list[str] = []
        """Which processes of the harness died in this run, a line each."""
        self._started = 0.0
        """When the run began (monotonic clock)."""
        self._load_seconds: float | None = None
        """Seconds from then until the load was told to end; None while it goes on."""
        self._ended_by: str | None = None
        """The signal that ended the run before its time."""
        self._others: dict[str, Any] | None = None
        """The requests of the run that are not ours; None if there are none."""
        self._directory: str | None = None
        self._result: dict[str, Any] | None = None
        self._stages: gevent.Greenlet | None = None
        self._main = gevent.getcurrent()
        self._quitting: Any = None
        """The greenlet that shuts Locust down."""
        self._finishing = BoundedSemaphore()
        self._choosing = BoundedSemaphore()
        self._last_line = ""
        """The controller's last line for the user."""
        self._finished: list[tuple[Path, str]] = []
        """The directory and the verdict of every finished run."""
        self._cluster: dict[str, Any] = {}
        """`Cluster.to_dict`, with the addresses that clients connect to."""
        self._primary = ""
        self.batch_listeners: list[Callable[[Batch], None]] = []
        """Called with every batch of any worker's engine."""
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

    @property
    def _scenario(self) -> Scenario:
        """The scenario of the current or next run."""
        return self.choice.scenario

    def _launch(self, scenario: Scenario) -> ControllerLink:
        return ControllerLink(scenario.model_dump(mode="json"), self)

    def _start(self) -> None:
        """Wait for the servers. Ends the process when they cannot start."""
        try:
            self._use(self._controller.wait_ready())
            table, options = self._scenario.table, self._options
            if table.existing and self._scenario.writes and (options.headless or options.autostart):
                # Not as the run begins: Locust's run time counts from before that, and may be shorter than this takes.
                self._controller.prepare(1)
        except StartError as error:
            self._end_servers()
            sys.stderr.write(f"{error}\n")
            sys.exit(ExitCode.START_FAILED)
        except KeyboardInterrupt:
            self._end_servers()
            sys.exit(ExitCode.INTERRUPTED)

    def _use(self, cluster: dict[str, Any]) -> None:
        """Point the engines at these servers. Raises `StartError`."""
        logger.info("servers ready: %s (%s)", cluster["kind"], cluster["why"])
        self._cluster, self._primary = cluster, ""

    def abort(self) -> None:
        """End before the first run: send the workers away, and end the servers."""
        self._runner.quit()
        self._end_servers()

    def _end_servers(self) -> None:
        self._interrupts.ending()
        self._interrupts.doing = "ending the servers"
        self._close()

    def _close(self) -> None:
        self._controller.close()

    def _count(self, worker: int, batch: Batch) -> None:
        self._controller.count(worker, batch.to_wire())
        self._unshown = True
        self._live.count(worker, batch)
        self._totals.merge(batch)
        for listener in self.batch_listeners:
            listener(batch)
        if not self._shows_progress:
            return
        if self._recent is None:
            self._recent = batch
        else:
            self._recent.add(batch)

    def _reset(self, **_: Any) -> None:
        self._totals = RunTotals()
        self._recent = None

    def _fail(self, line: str) -> None:
        """Report that a process of the harness died, or that a run cannot begin, and end the run as failed."""
        logger.error(line)
        self._deaths.append(line)
        self._environment.process_exit_code = gravest([self._environment.process_exit_code or 0, ExitCode.RUN_FAILED])
        if self._options.headless:
            self._runner.quit()
        else:
            self._runner.stop()

    # ---- the controller's listener

    def on_line(self, line: str) -> None:
        self._last_line = line

    def on_fault(self, event: dict[str, Any]) -> None:
        self._live.fault_changed(event)

    def on_primary(self, server: str) -> None:
        self._primary = server

    @abstractmethod
    def on_suspend(self, number: int | None) -> None: ...

    @abstractmethod
    def on_mark(self) -> None: ...

    def on_controller_death(self, line: str) -> None:
        if self._directory is not None and self._result is None:
            with suppress(OSError):  # it is reported all the same
                RunDirectory(Path(self._directory)).write_deaths([*self._deaths, line])
        self._fail(line)

    def seen(self) -> Seen:
        """The current state, for `--metrics`."""
        active = self._controller.running and self._load_seconds is None
        return Seen(
            self._scenario.name,
            self._cluster,
            self._runner.user_count,
            active,
            self._primary,
            self._live.states(),
            self._live.faults(),
        )

    # ---- for the web UI

    def choose(self, name: str | None, kind: str | None) -> str:
        """Switch to another scenario, or to another kind of servers; None leaves it as it is.

        The new servers start before the old ones end. Returns "", or why it refuses.
        """
        wanted = (name or self.choice.selection[0], self.choice.selection[1] if kind is None else kind)
        if wanted == self.choice.selection:
            return ""
        # Not any file: the reported mistakes would show its content to everyone who can open the page.
        if wanted[0] not in self.choice.offered:
            return f"{wanted[0]} is not one of the scenarios to choose from"
        if self._cluster.get("kind") == "external":  # they have one table, which two harnesses cannot share
            return "the servers are external: restart Locust to run another scenario"
        if self._runner.state in (STATE_RUNNING, STATE_SPAWNING, STATE_STOPPING):
            return f"a run of {self._scenario.name} is in progress: stop it before you choose another scenario"
        if not self._choosing.acquire(blocking=False):
            return "the servers of another scenario are starting: wait until they are ready"
        try:
            self._switch(wanted)
        except (ScenarioError, StartError) as error:
            return str(error)
        finally:
            self._choosing.release()
        return ""

    def _switch(self, selection: tuple[str, str]) -> None:
        scenario = self.choice.read(selection)
        controller = self._launch(scenario)
        try:
            cluster = controller.wait_ready()
        except StartError:
            controller.close()
            raise
        self.choice.select(selection, scenario)
        old, self._controller = self._controller, controller
        self._live, self._result = Live([], scenario.faults), None
        try:
            self._use(cluster)
        finally:  # also if an engine does not start
            old.close()

    def live_status(self) -> dict[str, Any]:
        """The current state, for the tab's JSON."""
        busy = self._choosing.locked() or self._finishing.locked()
        return {
            "scenario": self._scenario.name,
            "description": self._scenario.description,
            "cluster": self._cluster.get("kind", ""),
            "state": self._runner.state,
            "users": self._runner.user_count,
            "doing": self._last_line if busy else "",
            "verdict": None if self._result is None else {name: self._result[name] for name in SHOWN_OF_VERDICT},
            "runs": [{"name": path.name, "verdict": verdict} for path, verdict in self._finished],
            "live": self._live.to_dict(),
        }

    def report(self, number: int) -> Path | None:
        """The report of a finished run, counted from 0; None if it has none."""
        path = RunDirectory(self._finished[number][0]).report if 0 <= number < len(self._finished) else None
        return path if path is not None and path.exists() else None

    def _end_load(self) -> None:
        if self._load_seconds is None:
            self._load_seconds = time.monotonic() - self._started
            self._controller.end_load()
        self._interrupts.doing = "ending the load"
        self._drain()

    @abstractmethod
    def _drain(self) -> None:
        """End the engines' runs, and wait for their last batches."""

    def _on_test_start(self, **_: Any) -> None:
        self._reset()
        self._deaths, self._started, self._load_seconds, self._ended_by = [], time.monotonic(), None, None
        self._runs += 1
        self._result = self._directory = self._interrupts.kept = None
        self._interrupts.judged = False
        with run_time_after(self._environment):
            self._begin()
        self._started = time.monotonic()
        self._unshown = True
        self._live = Live([server["name"] for server in self._cluster["servers"]], self._scenario.faults)
        if self._shows_progress:
            self._runner.greenlet.spawn(self._show_progress)
        load = self._scenario.load
        if load.stages and not load.open:
            self._stages = self._runner.greenlet.spawn(follow_stages, self._runner, load)

    def _begin(self) -> None:
        """Begin the run in the controller. If that fails, end this greenlet, in which Locust would start users next: they would
        write to a table of which nothing is kept."""
        try:
            options = load_options(self._environment, self._scenario.load)
            self._directory = self._interrupts.kept = self._controller.begin(self._runs, options)
        except StartError as error:
            if str(error) not in self._deaths:  # else `on_controller_death` has reported it
                gevent.spawn(self._fail, str(error))  # in this greenlet it would get no further than Locust's end of this one
            raise GreenletExit from None
        if not self._controller.running:  # it died just now
            raise GreenletExit

    def _finish(self) -> None:
        """Heal and judge the run, after its last batch."""
        self._live.end()
        # Locust may quit while the run's end is still judged. That must not end the servers.
        with self._finishing:
            self._interrupts.doing = "healing and judging"
            if self._controller.running:
                self._others = other_requests(self._environment.stats, self._runner.exceptions)
            try:
                result = self._controller.finish(self._lost(), self._deaths, self._load_seconds, self._ended_by, self._others)
                failure = ""
            except StartError as error:
                result, failure = None, str(error)
        if failure:
            self._fail(failure)  # outside of the lock: it ends the run, which calls `_finish` again
        if result is None:
            return
        self._result = result
        if self._directory is not None:
            self._finished.append((Path(self._directory), str(result["verdict"])))
        code = result["exit_code"]
        # If the scenario expects nothing and nothing failed, Locust decides: another user may have failed since.
        if code or self._scenario.expect != Expect():
            self._environment.process_exit_code = gravest([self._environment.process_exit_code or 0, code])

    def _lost(self) -> list[int]:
        """The numbers of the workers that disappeared during the run."""
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
        self._shut_down_once()
        # After Ctrl-C or SIGTERM the run still goes on, and Locust decides its exit code next. Without a limit of its run time,
        # such a signal is the only way to end it.
        if self._controller.running and self._load_seconds is None and self._options.run_time:
            if self._interrupts.came:
                self._ended_by = "Ctrl-C"
            elif gevent.getcurrent() is not self._main:  # Locust handles SIGTERM in a greenlet of its own
                self._ended_by = "SIGHUP" if self._interrupts.hung_up else "SIGTERM"
        self._interrupts.ending()
        self._end_load()
        self._finish()
        # Suppress Locust's own tables, in whole milliseconds: `_show_result` prints a better one.
        logging.getLogger("locust.stats_logger").setLevel(logging.WARNING)

    def _shut_down_once(self) -> None:
        """After SIGTERM Locust shuts down in two greenlets, which would print its JSON twice. Keep the second one back until
        the first one, which ends the process, is through."""
        this = gevent.getcurrent()
        self._quitting = self._quitting or this
        while self._quitting is not this and not self._quitting.dead:
            gevent.sleep(0.1)

    def _on_quit(self, **_: Any) -> None:
        self._finish()
        try:
            self._show_result()
        finally:  # stdout may be a terminal that was closed, or a file on a full disk
            self._end_servers()
        self._interrupts.quiet = True  # nothing is left but to exit

    def _show_result(self) -> None:
        if self._unshown:
            self._unshown = False
            try:
                self._print_result()
            except BrokenPipeError:  # `| head`: the verdict is in the exit code, and kept
                discard_output()

    def _print_result(self) -> None:
        title = f"{self._scenario.name}: {self._totals.seconds:.1f} s"
        # With --json, stdout is for Locust's JSON.
        console = PlainConsole(stderr=bool(self._options.json))
        order = list(self._scenario.weights)
        print_summary(self._totals, title, order, console, open_loop=self._scenario.load.open)
        print_other_requests(self._others, console)
        if self._directory is not None:
            if self._result is not None:
                print_verdict(self._result, self._directory, explain=self._options.explain, console=console)
                self._interrupts.judged = True
            else:
                print_no_verdict(self._directory, console)
        sys.stdout.flush()
