"""A request on its way through a connection, and how its task waits for the answers."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Sequence
from typing import Any, Protocol, TypeVar

import trio
from outcome import Outcome
from trio.lowlevel import Abort, current_task, enable_ki_protection, reschedule, wait_task_rescheduled

from .._protocol import Index, error_of

_NOT_OPENED = (2, "stmtnum")

T = TypeVar("T")


class _Woken(Outcome[None]):
    """What a woken task receives: nothing. One object serves every request, unlike ``outcome.Value``. Measured: a new one for
    each request is a tenth of a request's instructions."""

    def unwrap(self) -> None:
        pass

    def send(self, gen: Generator[T, None, object]) -> T:
        return gen.send(None)

    async def asend(self, agen: AsyncGenerator[T, None]) -> T:
        return await agen.asend(None)


WOKEN = _Woken()


class OpenedIndex:
    """An index on one connection: its id there, and the server's refusal to open it, if any."""

    __slots__ = ("error", "index", "number", "prefix")

    def __init__(self, index: Index, number: int) -> None:
        self.index = index
        self.number = number
        self.prefix = b"%d" % number
        self.error: tuple[int, str] | None = None


class Carrier(Protocol):
    """What a request needs from the connection that carries it."""

    peer: str
    """The server, for people."""

    def withdraw(self, request: Request) -> None:
        """Forget a request that was not sent. One that was sent stays, to take its answer."""

    def index_refused(self, opened: OpenedIndex) -> None:
        """The server did not open the index: the next request on it tries again."""

    def invalidate(self, reason: BaseException) -> None:
        """End the connection now, and fail everything outstanding with ``reason``."""


class Request:
    """One or more lines (usually one) on their way through a connection. Each line has its own answer.

    Attributes:
      answers: the lines that came back, in order; after a failure those that came before it.
      failure: why there will be no more answers, or None.
      sent_lines: after a failure, how many of the lines may have reached the server, including those with an answer. Also
        set, to 0, when it is withdrawn before it was sent.
      opened: the index on the connection that carries the request.
      units: how many ordinary requests it counts for among those outstanding. Its length is added when it is submitted.
    """

    __slots__ = ("answers", "connection", "data", "failure", "lines", "opened", "sent_lines", "task", "units")

    def __init__(self, lines: int = 1) -> None:
        self.lines = self.units = lines
        self.answers: Sequence[bytes] = ()
        self.failure: BaseException | None = None
        self.task: trio.lowlevel.Task | None = None

    # Set by Connection.submit, except `sent_lines`, which a failure or `withdraw` sets.
    data: bytes
    sent_lines: int
    opened: OpenedIndex
    connection: Carrier

    @property
    def finished(self) -> bool:
        """Whether all answers or the failure are there."""
        return self.failure is not None or len(self.answers) >= self.lines

    @property
    def deaths(self) -> int:
        """How many connections have died under it."""
        return int(self.failure is not None and self.sent_lines > 0)

    @property
    def hung_up(self) -> bool:
        """Whether the server had closed the connection before anything of it was sent."""
        return self.failure is not None and not self.sent_lines and not isinstance(self.failure, TimeoutError)

    @enable_ki_protection
    async def wait(self) -> None:
        """Returns when all answers or the failure are there.

        Cancelling withdraws the request if it was not sent. Otherwise it may still be executed, and its answer is dropped
        when it comes.
        """
        if self.failure is None and len(self.answers) < self.lines:
            self.task = current_task()
            await wait_task_rescheduled(self.abort)

    def abort(self, _raise_cancel: Any) -> Abort:
        self.abandon()
        return Abort.SUCCEEDED

    @enable_ki_protection
    def abandon(self) -> None:
        """Stop waiting for the answers: withdraw the request if it was not sent, otherwise drop its answers."""
        self.task = None
        self.connection.withdraw(self)

    def complete(self) -> int:
        """Called when all answers or the failure are there. Wakes the caller; returns how many tasks it woke."""
        task = self.task
        if task is None:
            return 0
        self.task = None
        reschedule(task, WOKEN)
        return 1

    def error(self, line: bytes) -> tuple[int, str] | None:
        """The code and name of the error in one of the answers; None for a success."""
        error = error_of(line)
        if error == _NOT_OPENED and self.opened.error is not None:
            return self.opened.error
        return error


class OpenRequest(Request):
    """The line that opens an index. No task waits for it: a refusal shows in the requests that follow."""

    __slots__ = ()

    def complete(self) -> int:
        if self.failure is None:
            self.opened.error = error_of(self.answers[0])
            if self.opened.error is not None:
                self.connection.index_refused(self.opened)
        return 0
