"""Executes one operation: sends it to a pool, and again where that is safe."""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Awaitable, Callable, Sequence
from threading import get_ident
from typing import Any, TypeVar

import trio
from trio.lowlevel import current_task, enable_ki_protection, wait_task_rescheduled

from .._instruments import Instruments
from .._network import Patience, Pool, Request, check_thread, failure_of, garbled, refusal_of
from .._protocol import (
    Codec,
    Index,
    parse_number,
    parse_values,
    rows_in_slices,
)
from ..exceptions import ConnectionError, HandlerSocketError, OperationalError, ProtocolError
from ._hedge import hedged
from ._retry import Attempts, RetryPolicy
from ._rows import RowFailed, Shape, flat
from ._turns import in_turns
from ._watch import Watch

logger = logging.getLogger("trio_hs")

T = TypeVar("T")


class _Totals:
    """Totals over the operations of a Manager and all its tables."""

    def __init__(self) -> None:
        self.retries = 0


class Dispatcher:
    """Sends requests to the two pools, and repeats them as far as safety and the policy allow.

    Attributes:
      observed: whether instruments watch its calls, each of which then has a copy of it (``watched_by``).
    """

    def __init__(self, reader: Pool, writer: Pool, codec: Codec, retry: RetryPolicy, instruments: Instruments) -> None:
        self.reader = reader
        self.writer = writer
        self.codec = codec
        self.retry = retry
        self.instruments = instruments
        self.totals = _Totals()  # shared with the copies that declared tables make, each with its own codec
        self.observed = instruments.watch_calls or instruments.watch_requests
        self.watch: Watch | None = None  # of the only call, in a copy
        self._simple = retry.hedge_after is None and retry.deadline is None
        self._plain = self._simple and not self.observed
        if retry.deadline is not None:  # it replaces the bound on waiting for a usable server
            reader.longest_wait = writer.longest_wait = math.inf

    def now(self) -> float:
        if get_ident() != self.reader.thread:
            check_thread(self.reader.thread)
        return trio.current_time()

    def watched_by(self, watch: Watch) -> Dispatcher:
        """A copy for one call, which reports what it does."""
        watched = copy.copy(self)
        watched.observed = False
        watched.watch = watch
        return watched

    # ---- operations

    @enable_ki_protection
    async def read(self, index: Index, tail: bytes, operation: str, shape: Shape | None = None) -> list[Any]:
        """The values of the rows that a request finds, row after row, or what ``shape`` makes of them.

        Raises OperationalError or ConnectionError.
        """
        first: Request | None = None
        reader = self.reader
        connection = reader.choose() if self._plain and get_ident() == reader.thread else None
        if connection is not None:
            # Usually the first attempt is the only one, so it goes out without the machinery for retries.
            first = Request()
            connection.submit(first, index, (tail,))
            if first.failure is None:
                first.task = current_task()
                await wait_task_rescheduled(first.abort)
            if first.failure is None:
                line = first.answers[0]
                try:
                    if shape is not None or len(line) > self.codec.slice_bytes:
                        return await self.parsed(line, index, shape)
                    return parse_values(line, index, self.codec)
                except RowFailed as failed:
                    raise failed.error from failed.error.__cause__
                except ProtocolError as error:
                    if first.error(line) is None:
                        garbled(first, index, operation, error, changes=False)
        if self.observed:
            observed: list[Any] = await self._observe(reader, index, tail, operation, shape, changes=False)
            return observed
        return await self._read(index, tail, operation, shape, first)

    async def _read(self, index: Index, tail: bytes, operation: str, shape: Shape | None, first: Request | None) -> list[Any]:
        # A method of its own: the variables that `parse` captures would cost each task that waits in `read` some memory.
        async def parse(request: Request) -> list[Any]:
            raise_refusal(request, index, operation)
            return await self.parsed(request.answers[0], index, shape)

        return await self.perform(self.reader, index, (tail,), operation, parse, changes=False, first=first)

    async def parsed(self, line: bytes, index: Index, shape: Shape | None) -> list[Any]:
        """The values in an answer, in the given shape. A long one lets other tasks have their turn."""
        if len(line) > 2 * self.codec.slice_bytes:
            return await in_turns(rows_in_slices(line, index, self.codec, shape or flat))
        values = parse_values(line, index, self.codec)
        return values if shape is None else shape(values, index)

    @enable_ki_protection
    async def write(
        self,
        index: Index,
        tail: bytes,
        operation: str,
        *,
        shape: Shape | None = None,
        repeat: bool = False,
    ) -> Any:
        """The number in the answer to a request that changes data, or with ``shape`` the rows in it.

        The request is sent again only if it provably was not executed, or with ``repeat``.
        """
        first: Request | None = None
        writer = self.writer
        connection = writer.choose() if self._plain and get_ident() == writer.thread else None
        if connection is not None:
            await trio.lowlevel.checkpoint_if_cancelled()  # a caller that is cancelled already sends nothing
            first = Request()
            connection.submit(first, index, (tail,))
            if first.failure is None:
                first.task = current_task()
                await wait_task_rescheduled(first.abort)
            if first.failure is None and first.answers[0].startswith(b"0\t"):
                try:
                    if shape is None:
                        return parse_number(first.answers[0])
                    return await self.parsed(first.answers[0], index, shape)
                except RowFailed as failed:
                    raise failed.error from failed.error.__cause__
                except ProtocolError as error:
                    garbled(first, index, operation, error, changes=True)
        if self.observed:
            return await self._observe(writer, index, tail, operation, shape, changes=True, repeat=repeat)
        return await self._write(index, tail, operation, shape, repeat, first)

    async def _write(
        self, index: Index, tail: bytes, operation: str, shape: Shape | None, repeat: bool, first: Request | None
    ) -> Any:
        async def parse(request: Request) -> Any:
            raise_refusal(request, index, operation)
            if shape is None:
                return parse_number(request.answers[0])
            return await self.parsed(request.answers[0], index, shape)

        return await self.perform(self.writer, index, (tail,), operation, parse, changes=True, repeat=repeat, first=first)

    async def _observe(
        self, pool: Pool, index: Index, tail: bytes, operation: str, shape: Shape | None, *, changes: bool, repeat: bool = False
    ) -> Any:
        """``read`` or ``write``, reported to instruments. The first attempt goes out as it does there."""
        with Watch(self.instruments, index, operation, 1, self.now(), changes=changes) as watch:
            first: Request | None = None
            connection = pool.choose() if self._simple else None
            if connection is not None:
                if changes:
                    await trio.lowlevel.checkpoint_if_cancelled()
                first = Request()
                watch.server = connection.peer
                sending = watch.send(connection.peer, 1) if changes or watch.requests else None
                connection.submit(first, index, (tail,))
                try:
                    if first.failure is None:
                        first.task = current_task()
                        await wait_task_rescheduled(first.abort)
                except BaseException as error:
                    if sending is not None:
                        sending.cancelled(first, error)
                    raise
                if sending is not None:
                    sending.ended(first)
                if first.failure is None and first.answers[0].startswith(b"0\t"):
                    try:
                        if changes and shape is None:
                            return parse_number(first.answers[0])
                        return await self.parsed(first.answers[0], index, shape)
                    except ProtocolError as error:
                        garbled(first, index, operation, error, changes=changes)
            watched = self.watched_by(watch)
            if changes:
                return await watched._write(index, tail, operation, shape, repeat, first)
            return await watched._read(index, tail, operation, shape, first)

    # ---- attempts

    async def perform(
        self,
        pool: Pool,
        index: Index,
        tails: Sequence[bytes],
        operation: str,
        parse: Callable[[Request], Awaitable[T]],
        *,
        changes: bool,
        repeat: bool = False,
        first: Request | None = None,
        since: float | None = None,
        patience: Patience | None = None,
        partial: bool = False,
    ) -> T:
        """The parsed answers, after as many attempts as safety and the policy allow.

        Args:
          parse: raises OperationalError for a refusal, and ProtocolError for a malformed answer, which ends the connection.
          changes: whether the lines change data, so that an attempt without an answer leaves a doubt; ``repeat`` tries again.
          first: an attempt that was made already, at ``since``.
          patience: the rest of the time to wait for a usable server, if the operation has used some of it.
          partial: whether ``parse`` takes a failed request of which some lines were answered.

        Raises the ConnectionError of the last attempt that left a doubt, or else of the last attempt.
        """
        attempts: Attempts | None = None  # made when an attempt has failed
        started = self.now() if since is None else since
        patience = Patience() if patience is None else patience
        while True:
            request, first = first, None
            try:
                request = request or await self._attempt(pool, index, tails, operation, changes, patience)
                if request.failure is None:
                    return await parse(request)
                error = failure_of(request, index, operation, changes=changes)
            except RowFailed as failed:
                raise failed.error from failed.error.__cause__
            except ConnectionError as exc:  # no server was usable
                error = ConnectionError(f"{operation} {index.db}.{index.table}: {exc}", server=exc.server)
            except ProtocolError as exc:
                assert request is not None
                error = garbled(request, index, operation, exc, changes=changes)
            except OperationalError as refusal:
                attempts = attempts or Attempts(self.retry, pool, started)
                pause = attempts.pause_after_refusal(request, patience, changes=changes)
                if pause is not None:
                    await self._pause(index, operation, attempts, refusal, pause)
                    continue
                if attempts.doubt is not None:
                    raise attempts.doubt from refusal
                raise
            attempts = attempts or Attempts(self.retry, pool, started)
            pause = attempts.pause_after_failure(request, error, patience, repeat=repeat, partial=partial)
            if pause is not None:
                await self._pause(index, operation, attempts, error, pause)
                continue
            if partial and request is not None:
                return await parse(request)
            raise attempts.doubt or error

    async def _attempt(
        self, pool: Pool, index: Index, tails: Sequence[bytes], operation: str, changes: bool, patience: Patience
    ) -> Request:
        """One attempt: the request, with its answers or its failure. Raises ConnectionError when no server is usable."""
        connection = await pool.acquire(patience)
        sending = None if self.watch is None else self.watch.send(connection.peer, len(tails))
        request: Request | None = None
        try:
            if self.retry.hedge_after is not None and not changes:
                request = await hedged(pool, connection, index, tails, self.retry.hedge_after)
            else:
                request = Request(len(tails))
                connection.submit(request, index, tails)
                await request.wait()
        except BaseException as error:
            if sending is not None:
                sending.cancelled(request, error)
            raise
        if sending is not None:
            sending.ended(request)
        return request

    async def _pause(self, index: Index, operation: str, attempts: Attempts, error: HandlerSocketError, seconds: float) -> None:
        """Reports a failed attempt, and waits for the next one."""
        self.totals.retries += 1
        if self.watch is not None:
            self.watch.retries += 1
        table = f"{index.db}.{index.table}"
        details = {"server": error.server, "table": table, "operation": operation}
        logger.debug("%s %s: attempt %d failed: %s", operation, table, attempts.number, error, extra=details)
        self.instruments.call("retry", operation, table, attempts.number, error)
        await trio.sleep(seconds)
        attempts.begin_next()


def raise_refusal(request: Request, index: Index, operation: str) -> None:
    """Raises the first error among a request's answers."""
    for line in request.answers:
        error = refusal_of(request, line, index, operation)
        if error is not None:
            raise error
