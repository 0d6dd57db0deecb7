"""Reports a call and its requests to the instruments of users."""

from __future__ import annotations

from types import TracebackType
from typing import TypeVar

import trio

from .._instruments import Call, Instruments, Outcome
from .._network import Request, failure_of, refusal_of
from .._protocol import Index, all_succeeded
from ..exceptions import ConnectionError, HandlerSocketError

T = TypeVar("T")


class Watch:
    """One call, from its start to its end: ``with Watch(...)``.

    Attributes:
      retries: failed attempts that were followed by another one.
      server: that of the last request.
      requests: whether the requests are reported too.
    """

    __slots__ = (
        "_call",
        "_contexts",
        "_effects",
        "_errors",
        "_index",
        "_instruments",
        "_started",
        "requests",
        "retries",
        "server",
    )

    def __init__(
        self, instruments: Instruments, index: Index, operation: str, rows: int, started: float, *, changes: bool
    ) -> None:
        self.retries = 0
        self.requests = instruments.watch_requests
        self._instruments = instruments
        self._index = index
        self._started = started
        self._call = Call(operation, index.db, index.table, rows, changes)
        self.server: str | None = None
        self._effects = False  # whether any request may have changed data
        self._errors: list[HandlerSocketError] = []

    def __enter__(self) -> Watch:
        self._contexts = self._instruments.begin(self._call)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        if not self._instruments.watch_calls:
            return
        if error is None and not self._errors:
            self._report(Outcome(trio.current_time() - self._started, self.server, None, False, 0, self.retries))
        elif not isinstance(error, GeneratorExit):  # which comes when trio has ended before the task did
            self._report(self._failure(error))

    def _failure(self, error: BaseException | None) -> Outcome:
        first = self._errors[0] if self._errors else error
        if isinstance(error, trio.Cancelled):
            doubt = self._effects
        else:
            doubt = any(isinstance(one, ConnectionError) and one.maybe_applied for one in (*self._errors, first))
        server = first.server if isinstance(first, ConnectionError) else self.server
        failed = len(self._errors) or int(first is not None)
        return Outcome(trio.current_time() - self._started, server, first, doubt, failed, self.retries)

    def _report(self, outcome: Outcome) -> None:
        for instrument, context in self._contexts:
            self._instruments.tell(instrument, "call_ended", self._call, outcome, context)

    def each(self, outcomes: list[T]) -> list[T]:
        """The outcomes of rows, of which some may be errors that are not raised."""
        self._errors = [one for one in outcomes if isinstance(one, HandlerSocketError)]
        return outcomes

    def send(self, server: str, lines: int) -> Sending:
        """A request is about to be sent to the server. The caller says how it ended."""
        self.server = server
        return Sending(self, server, lines)


class Sending:
    """One request of a call."""

    __slots__ = ("_contexts", "_lines", "_server", "_started", "_watch")

    def __init__(self, watch: Watch, server: str, lines: int) -> None:
        self._watch = watch
        self._server = server
        self._lines = lines
        if watch.requests:
            self._started = trio.current_time()
            self._contexts = [
                (instrument, watch._instruments.tell(instrument, "request_started", watch._call, server, lines, context))
                for instrument, context in watch._contexts
            ]

    def ended(self, request: Request) -> None:
        """The answers or the failure of the request are there."""
        watch = self._watch
        watch.server = request.connection.peer
        if watch._call.changes and not watch._effects:
            watch._effects = _effects(request)
        if watch.requests:
            self._report(request.connection.peer, *_result(request, watch))

    def cancelled(self, request: Request | None, error: BaseException) -> None:
        """The caller no longer waits for the request. It is None if it only reads."""
        effects = request is not None and self._watch._call.changes and _effects(request)
        self._watch._effects = self._watch._effects or effects
        if self._watch.requests and not isinstance(error, GeneratorExit):
            self._report(self._server, error, effects, self._lines)

    def _report(self, server: str, error: BaseException | None, doubt: bool, failed: int) -> None:
        watch = self._watch
        outcome = Outcome(trio.current_time() - self._started, server, error, doubt, failed)
        for instrument, context in self._contexts:
            watch._instruments.tell(instrument, "request_ended", watch._call, self._lines, outcome, context)


def abandon(request: Request | None, sending: Sending | None, error: BaseException) -> None:
    """Stops waiting for a request that may have been sent, and reports that."""
    if request is not None:
        request.abandon()
    if sending is not None:
        sending.cancelled(request, error)


def _effects(request: Request) -> bool:
    """Whether a request that changes data may have changed some, as far as is known now."""
    if any(line.startswith(b"0\t") for line in request.answers):
        return True
    sent_lines: int = getattr(request, "sent_lines", request.lines)  # not set yet while it is under way
    return sent_lines > len(request.answers)


def _result(request: Request, watch: Watch) -> tuple[HandlerSocketError | None, bool, int]:
    """The first error of a request, whether it may have been applied nevertheless, and how many lines have an error."""
    call, index = watch._call, watch._index
    if request.failure is None and all_succeeded(request.answers):
        return None, False, 0
    refusals = [line for line in request.answers if not line.startswith(b"0\t")]
    failed = request.lines - len(request.answers) + len(refusals)
    if request.failure is not None:
        lost = failure_of(request, index, call.operation, changes=call.changes)
        return lost, lost.maybe_applied, failed
    return refusal_of(request, refusals[0], index, call.operation), False, failed
