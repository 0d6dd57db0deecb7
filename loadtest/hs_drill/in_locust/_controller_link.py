"""Locust's side of the controller, which owns the servers."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Protocol

from gevent.event import AsyncResult
from gevent.timeout import Timeout

from hs_drill._process_end import describe_exit
from hs_drill._wire import Message

from ._child import Child, StartError

__all__ = ["ControllerLink", "ControllerListener"]

logger = logging.getLogger("hs_drill")

CLOSE_TIMEOUT = 20.0
"""Seconds for the servers to be taken down."""


BEGIN_TIMEOUT = 120.0
"""Seconds to read the table, of a run that is not the first."""
FINISH_TIMEOUT = 600.0
"""Seconds to heal, to let replicas catch up, to read everything back and to judge it."""


class ControllerListener(Protocol):
    """Who is told what the controller says. Called from a greenlet of the link's own, which must not be held up."""

    def on_line(self, line: str) -> None:
        """A line for the user: what it does now, or what became of a fault."""

    def on_fault(self, event: dict[str, Any]) -> None:
        """A fault's event, when it begins and whenever it has changed."""

    def on_suspend(self, number: int | None) -> None:
        """All clients are to let go of the servers, which `ControllerLink.suspended` answers; None: they may go on."""

    def on_mark(self) -> None:
        """All engines are to begin a new batch, at once."""

    def on_controller_death(self, line: str) -> None:
        """It has ended though nobody asked it to, after it was ready; why, in one line."""


class ControllerLink:
    """Starts the controller, and tells a listener of what comes from it."""

    def __init__(self, scenario: dict[str, Any], listener: ControllerListener) -> None:
        self._listener = listener
        self._closing = False
        self._ready: AsyncResult = AsyncResult()
        self._begun: AsyncResult = AsyncResult()
        self._result: AsyncResult = AsyncResult()
        self._running = False
        self._reason = ""
        """Why it ended, in its own words; or that it did."""
        self._child = Child("hs_drill.controller", self._receive, self._end)
        self._child.send({"type": "open", "scenario": scenario})

    def wait_ready(self) -> dict[str, Any]:
        """The cluster, as `Cluster.to_dict` gives it. Raises `StartError`."""
        cluster: dict[str, Any] = self._ready.get()
        return cluster

    def begin(self, run: int) -> str:
        """Begin a run: the faults' clock starts. Gives the directory that keeps the run. Raises `StartError`."""
        if self._reason:
            raise StartError(self._reason)
        self._begun, self._result = AsyncResult(), AsyncResult()
        self._running = True
        self._child.send({"type": "begin", "run": run})
        directory: str = self._wait(self._begun, BEGIN_TIMEOUT)
        return directory

    def count(self, worker: int, batch: dict[str, Any]) -> None:
        """Statistics of the engine of a worker, for the verdict."""
        if self._running:
            self._child.send({"type": "batch", "worker": worker, "batch": batch})

    @property
    def running(self) -> bool:
        """Whether a run is on."""
        return self._running

    def take_part(self, worker: int) -> None:
        """A worker may write from now on."""
        if self._running:
            self._child.send({"type": "worker", "worker": worker})

    def suspended(self, number: int) -> None:
        """All clients have let go of the servers."""
        self._child.send({"type": "suspended", "number": number})

    def end_load(self) -> None:
        """The load was told to end: no fault is to strike while its last answers come."""
        if self._running:
            self._child.send({"type": "load-ends"})

    def finish(self, lost: Sequence[int], died: Sequence[str], ran: float | None) -> dict[str, Any] | None:
        """End the run, after its last batch: everything heals, and the verdict comes.

        `lost` are the workers that went away, `died` says what of the harness did, and `ran` how many seconds passed until the
        load was told to end. None when no run is on; raises `StartError` when there will be no verdict.
        """
        if not self._running:
            return None
        self._running = False
        self._child.send({"type": "finish", "lost": list(lost), "died": list(died), "ran": ran})
        result: dict[str, Any] = self._wait(self._result, FINISH_TIMEOUT)
        return result

    def _wait(self, answer: AsyncResult, seconds: float) -> Any:
        try:
            return answer.get(timeout=seconds)
        except Timeout:
            raise StartError(f"the controller of the servers did not answer within {seconds:g} s") from None

    def close(self) -> None:
        """Take the servers down and wait until they are."""
        self._closing = True
        self._child.close(CLOSE_TIMEOUT)

    def _receive(self, message: Message) -> None:
        match message["type"]:
            case "progress" | "event":
                logger.info(message["line"])
                self._listener.on_line(message["line"])
            case "alarm":
                logger.error(message["line"])
                self._listener.on_line(message["line"])
            case "ready":
                self._ready.set(message["cluster"])
            case "begun":
                self._begun.set(message["directory"])
            case "fault":
                self._listener.on_fault(message["event"])
            case "suspend":
                self._listener.on_suspend(message["number"])
            case "resume":
                self._listener.on_suspend(None)
            case "mark":
                self._listener.on_mark()
            case "result":
                self._result.set(message["result"])
            case "failed":
                self._reason = message["line"]  # it ends now, and `_end` tells

    def _end(self, code: int) -> None:
        self._running = False
        self._reason = self._reason or f"the controller of the servers died: {describe_exit(code)}"
        was_ready = self._ready.ready()
        for answer in (self._ready, self._begun, self._result):
            if not answer.ready():
                answer.set_exception(StartError(self._reason))
        if was_ready and not self._closing:
            self._listener.on_controller_death(self._reason)
