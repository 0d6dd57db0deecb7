"""Locust's side of the controller, the process that owns the servers."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any, Protocol

from gevent.event import AsyncResult
from gevent.timeout import Timeout

from hs_drill._process_end import describe_exit
from hs_drill._wire import Message

from ._child import Child, StartError

__all__ = ["ControllerLink", "ControllerListener"]

logger = logging.getLogger("hs_drill")

CLOSE_TIMEOUT = 60.0
"""Seconds to take the servers down, or to drop what was created on the user's own: other clients' locks may take long."""
BEGIN_TIMEOUT = 600.0
"""Seconds without a word from the controller while it reads the table before a run that is not the first, or keeps what rows of
a user's table hold."""
FINISH_TIMEOUT = 600.0
"""The same while it heals, lets replicas catch up, reads everything back and judges it."""


class ControllerListener(Protocol):
    """Handles the controller's messages. A greenlet of the link's own calls it, and must not be blocked."""

    def on_line(self, line: str) -> None:
        """A line for the user: what the controller is doing, or what became of a fault."""

    def on_fault(self, event: dict[str, Any]) -> None:
        """A fault began or changed: the fields of a `Strike`."""

    def on_primary(self, server: str) -> None:
        """The primary as a run begins, and after each promotion that the run makes or sees."""

    def on_suspend(self, number: int | None) -> None:
        """All clients must close their connections; answer with `ControllerLink.suspended`. None: they may go on."""

    def on_mark(self) -> None:
        """All engines must begin a new batch at once."""

    def on_controller_death(self, line: str) -> None:
        """The controller died after it was ready; why, in one line."""


class _SilentError(StartError):
    pass


class ControllerLink:
    """Starts the controller, and passes its messages on to a listener."""

    def __init__(self, scenario: dict[str, Any], listener: ControllerListener) -> None:
        self.scenario = scenario
        """With the columns of a table that exists, once the servers are ready."""
        self.sample: bytes | None = None
        """Of the rows of a table that exists, packed."""
        self._listener = listener
        self._closing = False
        self._ready: AsyncResult = AsyncResult()
        self._prepared: AsyncResult | None = None
        self._begun: AsyncResult = AsyncResult()
        self._result: AsyncResult = AsyncResult()
        self._running = False
        self._run = 0
        """The number of the last run that `begin` began."""
        self._heard = 0.0
        """When the controller's last message came."""
        self._left = ""
        """What the controller leaves on the user's own servers if it dies now; "" if it has written nothing there."""
        self._reason = ""
        """Why the controller ended; "" while it runs."""
        self._child = Child("hs_drill.controller", self._receive, self._end)
        self._child.send({"type": "open", "scenario": scenario})

    def wait_ready(self) -> dict[str, Any]:
        """The cluster, as `Cluster.to_dict` gives it. Raises `StartError`."""
        cluster: dict[str, Any] = self._ready.get()
        return cluster

    def prepare(self, run: int) -> None:
        """Do at once what `begin` would do first, and what may take long. Raises `StartError`."""
        if self._reason:
            raise StartError(self._reason)
        self._prepared = AsyncResult()
        self._child.send({"type": "prepare", "run": run})
        self._wait(self._prepared, BEGIN_TIMEOUT)

    def begin(self, run: int, options: str) -> str:
        """Begin a run: the faults' clock starts. Returns the run's directory. `options`: see `load_options`.

        Raises `StartError`; if the controller has refused the run, a later one may be possible.
        """
        if self._reason:
            raise StartError(self._reason)
        self._begun, self._result = AsyncResult(), AsyncResult()
        self._running, self._run = True, run
        self._child.send({"type": "begin", "run": run, "options": options})
        try:
            directory: str = self._wait(self._begun, BEGIN_TIMEOUT)
        except _SilentError as error:
            self._reason = str(error)
            self.close()  # what it does yet must not get mixed up with a later run
            raise
        return directory

    def count(self, worker: int, batch: dict[str, Any]) -> None:
        """Pass on a batch of a worker's engine, for the verdict."""
        if self._running:
            self._child.send({"type": "batch", "worker": worker, "batch": batch})

    @property
    def running(self) -> bool:
        """Whether a run is in progress."""
        return self._running

    def take_part(self, worker: int) -> None:
        """Report that a worker may write from now on."""
        if self._running:
            self._child.send({"type": "worker", "worker": worker})

    def suspended(self, number: int) -> None:
        """Report that all clients have closed their connections."""
        self._child.send({"type": "suspended", "number": number})

    def end_load(self) -> None:
        """Report that the load was told to end: no fault may strike while its last answers arrive."""
        if self._running:
            self._child.send({"type": "load-ends"})

    def finish(
        self,
        lost: Sequence[int],
        died: Sequence[str],
        ran: float | None,
        ended_by: str | None,
        others: dict[str, Any] | None,
    ) -> dict[str, Any] | None:
        """End the run, after its last batch: heal everything, and return the verdict. None if no run is in progress.

        `lost` are the workers that disappeared, `died` a line for each process of the harness that died, `ran` the seconds
        until the load was told to end, `ended_by` the signal that ended it early, and `others` the requests that are not ours.
        Raises `StartError` when there will be no verdict.
        """
        if not self._running:
            return None
        self._running = False
        end = {"lost": list(lost), "died": list(died), "ran": ran, "ended_by": ended_by, "others": others}
        self._child.send({"type": "finish", **end})
        result: dict[str, Any] = self._wait(self._result, FINISH_TIMEOUT)
        return result

    def _wait(self, answer: AsyncResult, seconds: float) -> Any:
        self._heard = time.monotonic()
        while (left := self._heard + seconds - time.monotonic()) > 0:
            try:
                return answer.get(timeout=left)
            except Timeout:
                pass  # it may have said meanwhile how far it is
        raise _SilentError(f"the controller of the servers did not answer within {seconds:g} s")

    def close(self) -> None:
        """Take the servers down, and wait for that."""
        self._closing = True
        if self._child.close(CLOSE_TIMEOUT) and self._left:
            logger.error(
                "the controller of the servers did not end within %g s, and was killed. "
                "So it may have left on your servers: %s",
                CLOSE_TIMEOUT,
                self._left,
            )

    def _receive(self, message: Message) -> None:
        self._heard = time.monotonic()
        match message["type"]:
            case "progress" | "event":
                logger.info(message["line"])
                self._listener.on_line(message["line"])
            case "leaves":
                self._left = message["left"]
            case "alarm":
                logger.error(message["line"])
                self._listener.on_line(message["line"])
            case "ready":
                self.scenario = message.get("scenario", self.scenario)
                self.sample = message.get("sample")
                self._ready.set(message["cluster"])
            case "prepared" if self._prepared is not None:
                self._prepared.set(None)
            case "refused" if self._prepared is not None and not self._prepared.ready():
                self._prepared.set_exception(StartError(message["line"]))
            case "refused" if message["run"] == self._run:
                self._running = False
                for answer in (self._begun, self._result):  # a Stop may wait for the run's end already
                    answer.set_exception(StartError(message["line"]))
            case "begun" if message["run"] == self._run:  # not that of a Start that another Start has cut off
                self._begun.set(message["directory"])
            case "fault":
                self._listener.on_fault(message["event"])
            case "primary":
                self._listener.on_primary(message["server"])
            case "suspend":
                self._listener.on_suspend(message["number"])
            case "resume":
                self._listener.on_suspend(None)
            case "mark":
                self._listener.on_mark()
            case "result":
                self._result.set(message["result"])
            case "failed":
                self._reason = message["line"]  # the controller ends now, and `_end` reports it

    def _end(self, code: int) -> None:
        self._running = False
        # Exit code 0: it has cleaned up, and said what it could not drop.
        left = f". So it left on your servers: {self._left}" if self._left and code else ""
        self._reason = self._reason or f"the controller of the servers died: {describe_exit(code)}{left}"
        awaited = (self._ready, self._prepared)  # then whoever waits reports it
        started = all(answer is None or answer.ready() for answer in awaited)
        for answer in (*awaited, self._begun, self._result):
            if answer is not None and not answer.ready():
                answer.set_exception(StartError(self._reason))
        if started and not self._closing:
            self._listener.on_controller_death(self._reason)
