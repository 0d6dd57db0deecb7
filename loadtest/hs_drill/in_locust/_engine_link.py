"""Locust's side of the load engine. Keeps the engine doing what it should, through its start, its runs and its death."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gevent.event import Event

from hs_drill._process_end import describe_exit
from hs_drill._wire import Message
from hs_drill.metrics import Batch
from hs_drill.store import RunDirectory

from ._child import Child, StartError

__all__ = ["MIX", "STOP_TIMEOUT", "EngineLink", "RunStart", "history_path"]

logger = logging.getLogger("hs_drill")

MIX = ""
"""In place of a class's name: the users that execute the scenario's mix."""
STOP_TIMEOUT = 6.0
"""Seconds without a message from an engine that was told to stop. It abandons its last operations after 4."""
LONGEST_STOP = 30.0
"""Seconds. An engine that lacks CPU may need long. It is not dead as long as it reports, or uses what CPU it gets."""
IDLE_CPU = 0.1
"""Seconds of CPU time in `STOP_TIMEOUT`. An engine that hangs uses less."""
CLOSE_TIMEOUT = 2.0


@dataclass(frozen=True)
class RunStart:
    """What an engine needs to know about a run, besides its set-up."""

    number: int
    """Counts from 1, the same in every worker. Keys and versions are derived from it."""
    history: str | None = None
    """The file for the engine's history, which must not exist yet. None: keep no history."""
    began: float | None = None
    """When the other engines began it (`time.monotonic()`). None: this engine is among the first."""
    tasks: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """The weights of tasks of users in Python, as `task_weights` gives them."""


def history_path(directory: str | None, worker: int) -> str | None:
    """The file for the history of a worker's engine."""
    return None if directory is None else str(RunDirectory(Path(directory)).history(worker))


class EngineLink:
    """Starts the engine, and passes on to it what Locust asks of its users.

    `on_batch` gets every batch of statistics, the last one before `stop` returns. `on_death` gets one line when the engine
    dies. `on_suspended` gets the number of a suspension when the engine has closed its connections. `on_each` gets every
    operation, as `_locust_stats.fire_each` takes them, if `configure` asks for that.
    """

    def __init__(
        self,
        on_batch: Callable[[Batch], None],
        on_death: Callable[[str], None],
        on_suspended: Callable[[int], None],
        on_each: Callable[[dict[str, Any]], None],
    ) -> None:
        self._on_batch = on_batch
        self._on_death = on_death
        self._on_suspended = on_suspended
        self._on_each = on_each
        self._suspension: int | None = None
        self._setup: Message | None = None
        self._child: Child | None = None
        self._reason = ""
        self._running = False
        self._run: RunStart | None = None
        self._began = 0.0
        self._heard = 0.0
        """When the engine's last message came."""
        self._users: Counter[str] = Counter()
        """By the full names of their classes, or `MIX`."""
        self._ready = Event()
        self._starting = False
        self._stopped = Event()
        self._stopped.set()

    @property
    def configured(self) -> bool:
        return self._setup is not None

    def configure(
        self,
        cluster: dict[str, Any],
        scenario: dict[str, Any],
        worker: int,
        *,
        each: bool = False,
        run: RunStart | None = None,
        sample: bytes | None = None,
        code: Sequence[tuple[str, str]] = (),
    ) -> None:
        """Start the engine, in place of one with another set-up. If a run is in progress it begins there now: `run`.

        `sample` is that of a table that exists, packed. `code` are the modules of users in Python, by name and path.
        """
        setup = {"type": "setup", "cluster": cluster, "scenario": scenario, "worker": worker, "each": each, "sample": sample}
        setup["code"] = [list(module) for module in code]
        if setup == self._setup:
            return
        self._end_child()
        self._setup = setup
        self._launch()
        if self._running and run is not None:
            self._run = run
            self._begin()

    def wait_ready(self) -> None:
        """Wait until the engine that `configure` started can begin a run. Raises `StartError` where it would call
        `on_death`."""
        self._starting = True
        self._ready.wait()
        self._starting = False
        if self._child is None:
            raise StartError(self._reason)

    def start(self, run: RunStart | None) -> None:
        """Begin a run, without users. None: `configure`, which has not been called yet, will say which run."""
        self._run = run
        self._began = time.monotonic()
        self._running = True
        self._users.clear()
        if self._setup is not None:
            if self._child is None:
                self._launch()
            self._begin()

    def change_users(self, by: int, users: str = MIX) -> None:
        """Add users of a class, or remove them."""
        self._users[users] += by
        self._send_users()

    def _send_users(self) -> None:
        code = {name: count for name, count in self._users.items() if name != MIX}
        self._send({"type": "users", "count": self._users[MIX], "code": code})

    def suspend(self, number: int | None) -> None:
        """Close all connections, or, for None, go on. An engine without a run has none; it obeys when it begins one."""
        self._suspension = number
        if self._running and self._child is not None:
            self._send({"type": "resume"} if number is None else {"type": "suspend", "number": number})
        elif number is not None:
            self._on_suspended(number)

    def mark(self) -> None:
        """Begin a new batch at once: a fault is about to change, or has changed."""
        if self._running:
            self._send({"type": "mark"})

    def stop(self) -> None:
        """End the run and wait for its last batch. Does nothing without a run."""
        if not self._running:
            self._stopped.wait(STOP_TIMEOUT)  # another greenlet may be ending it
            return
        self._running = False
        if self._child is not None:
            self._stopped.clear()
            self._send({"type": "stop"})
            if not self._wait_until_stopped(self._child):
                self._reason = "it did not stop, and was ended"
                self._child.close(0)

    def _wait_until_stopped(self, child: Child) -> bool:
        begun, used = time.monotonic(), child.cpu_seconds()
        while not self._stopped.wait(STOP_TIMEOUT):
            now, before, used = time.monotonic(), used, child.cpu_seconds()
            silent = now - self._heard > STOP_TIMEOUT and used - before < IDLE_CPU
            if silent or now - begun > LONGEST_STOP:
                return False
        return True

    def close(self) -> None:
        """End the engine."""
        self._running = False
        self._end_child()

    def _end_child(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.close(CLOSE_TIMEOUT)

    def _launch(self) -> None:
        assert self._setup is not None
        self._reason = ""
        self._ready.clear()
        self._child = Child("hs_drill.engine", self._receive, self._end)
        self._send(self._setup)

    def _begin(self) -> None:
        assert self._run is not None
        elapsed = time.monotonic() - (self._began if self._run.began is None else self._run.began)
        tasks = {name: dict(weights) for name, weights in self._run.tasks.items()}
        start = {"type": "start", "run": self._run.number, "history": self._run.history, "elapsed": elapsed, "tasks": tasks}
        self._send(start)
        if self._suspension is not None:
            self._send({"type": "suspend", "number": self._suspension})
        self._send_users()

    def _send(self, message: Message) -> None:
        if self._child is not None:
            self._child.send(message)

    def _receive(self, message: Message) -> None:
        self._heard = time.monotonic()
        match message["type"]:
            case "ready":
                self._ready.set()
            case "each":
                self._on_each(message["operations"])
            case "batch":
                self._on_batch(Batch.from_wire(message))
            case "log":
                logger.log(message["level"], message["line"])
            case "suspended":
                self._on_suspended(message["number"])
            case "stopped":
                self._stopped.set()
            case "fatal":
                self._reason = message["line"]

    def _end(self, code: int) -> None:
        child, self._child = self._child, None
        self._running = False
        self._stopped.set()
        if child is not None:
            self._reason = f"the load engine (process {child.pid}) died: {self._reason or describe_exit(code)}"
            if not self._starting:
                self._on_death(self._reason)
        self._ready.set()
