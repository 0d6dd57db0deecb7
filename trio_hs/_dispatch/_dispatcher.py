"""Executes one operation: sends it to a pool, in chunks where it is large, and again where that is safe."""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from threading import get_ident
from typing import Any, TypeVar

import trio
from trio.lowlevel import current_task, enable_ki_protection, wait_task_rescheduled

from .._instruments import Instruments
from .._network import Patience, Pool, Request, check_thread, failure_of, garbled, refusal_of, turned_away
from .._protocol import Codec, Index, Value, all_succeeded, get_many_tail, get_tails, parse_number, parse_values
from ..exceptions import ConnectionError, HandlerSocketError, OperationalError, ProtocolError
from ._hedge import hedged
from ._retry import MAX_DEATHS, Attempts, RetryPolicy
from ._rows import Row, named, named_each

T = TypeVar("T")

#: A call for many rows is cut into chunks of READ_KEYS keys or WRITE_LINES inserts, CHUNKS_UNDER_WAY of which are sent before
#: the first answer. That keeps a server busy while answers are parsed, and lets other tasks on the connection have their turn.
#: Chunks of writes are larger, because writes that arrive together share a commit, which costs more than everything else.
READ_KEYS = 600
WRITE_LINES = 1000
CHUNKS_UNDER_WAY = 4
#: A server answers together all that it has received when it wakes up. With smaller chunks its first answers come earlier, and
#: are parsed while it works on the rest. Measured: 1,000 keys take a tenth less; up to 800 keys, two such chunks, gain nothing.
#: This does not pay for a server that is far off, which would wait for each chunk, or where several connections carry chunks.
NEAR_KEYS = 400
NEAR_CHUNKS = 2
#: Passes of the scheduler between the first chunk of keys and the second. Measured: the server then begins with the first chunk
#: alone in 9 of 10 cases.
HEAD_START = 3
#: From this many keys on, one IN request beats single gets, although it may have to be followed by them.
IN_KEYS = 16


class _Totals:
    """Totals over the operations of a Manager and all its tables."""

    def __init__(self) -> None:
        self.retries = 0


class Dispatcher:
    """Sends requests to the two pools, and repeats them as far as safety and the policy allow."""

    def __init__(self, reader: Pool, writer: Pool, codec: Codec, retry: RetryPolicy, instruments: Instruments) -> None:
        self.reader = reader
        self.writer = writer
        self.codec = codec
        self.retry = retry
        self.instruments = instruments
        self.totals = _Totals()  # shared with the copies that declared tables make, each with its own codec
        self._plain = not instruments and retry.hedge_after is None and retry.deadline is None
        if retry.deadline is not None:  # it replaces the bound on waiting for a usable server
            reader.longest_wait = writer.longest_wait = math.inf

    def _now(self) -> float:
        check_thread(self.reader.thread)
        return trio.current_time()

    # ---- operations

    @enable_ki_protection
    async def read(self, index: Index, tail: bytes, operation: str) -> list[Any]:
        """The values of the rows that a request finds, row after row. Raises OperationalError or ConnectionError."""
        first: Request | None = None
        connection = self.reader.choose() if self._plain and get_ident() == self.reader.thread else None
        if connection is not None:
            # Usually the first attempt is the only one, so it goes out without the machinery for retries.
            first = Request()
            connection.submit(first, index, (tail,))
            if first.failure is None:
                first.task = current_task()
                await wait_task_rescheduled(first.abort)
            if first.failure is None:
                try:
                    return parse_values(first.answers[0], index, self.codec)
                except ProtocolError as error:
                    if first.error(first.answers[0]) is None:
                        garbled(first, index, operation, error, changes=False)
        return await self._read(index, tail, operation, first)

    async def _read(self, index: Index, tail: bytes, operation: str, first: Request | None) -> list[Any]:
        # A method of its own: the variables that `parse` captures would cost each task that waits in `read` some memory.
        def parse(request: Request) -> list[Any]:
            _raise_refusal(request, index, operation)
            return parse_values(request.answers[0], index, self.codec)

        return await self._perform(self.reader, index, (tail,), operation, parse, changes=False, first=first)

    async def get_many(self, index: Index, values: Sequence[Value], operation: str) -> list[Row]:
        """The first row of each key, in the order of the keys, ``[]`` for a key without a row. Raises the first error.

        The server answers a list of keys (IN) in half the time that single keys take. The rows come in the order of the keys,
        but missing keys are left out. So if there is a row for every key, each row belongs to its key. If some are missing, or
        a key is NULL, every key of the chunk is read separately.
        """
        since = self._now()
        patience = Patience()
        count = len(values)
        near = self.reader.near and count > NEAR_CHUNKS * NEAR_KEYS
        size = math.ceil(count / math.ceil(count / NEAR_KEYS)) if near else READ_KEYS
        sizes = list(map(len, chunks := _chunks(values, size)))
        lists = list(map(self.codec.encode_list, chunks))
        if count < IN_KEYS or self.retry.hedge_after is not None:
            return await self._get_each(index, _tokens(lists), operation, since, patience)

        tails = map(get_many_tail, lists, sizes)
        by_list = {number: [tail] for number, tail in enumerate(tails) if tail is not None}
        units = [sizes[number] for number in by_list]

        def parse(number: int, request: Request) -> list[Row] | None:
            if request.failure is None and all_succeeded(request.answers):
                try:
                    found = parse_values(request.answers[0], index, self.codec)
                except HandlerSocketError:
                    return None  # `_read_chunk` repeats the chunk, or raises
                return named(found, index) if len(found) == units[number] * index.width else []
            return None

        # A chunk with a NULL is not sent as a list, and is treated as one with missing rows.
        asked: list[tuple[Request | None, list[Row] | None]] = [(None, [])] * len(chunks)
        lines = list(by_list.values())
        at_once = NEAR_CHUNKS if near else CHUNKS_UNDER_WAY
        answers = await self._send_chunks(
            self.reader, index, lines, operation, parse, patience, at_once=at_once, units=units, head_start=True
        )
        for number, answer in zip(by_list, answers, strict=True):
            asked[number] = answer
        doubtful = _tokens(tokens for tokens, (_, rows) in zip(lists, asked, strict=True) if rows == [])
        one_by_one = iter(await self._get_each(index, doubtful, operation, since, patience) if doubtful else ())
        found: list[Row] = []
        for tokens, size, (request, rows) in zip(lists, sizes, asked, strict=True):
            if rows is None:
                found += await self._read_chunk(index, get_tails(_tokens([tokens])), operation, request, since, patience)
            else:
                found += rows or itertools.islice(one_by_one, size)
        return found

    async def _get_each(
        self, index: Index, tokens: Sequence[bytes], operation: str, since: float, patience: Patience
    ) -> list[Row]:
        """``get_many`` with a request for each key, still in few round trips."""
        found: list[Row] = []
        chunks = _chunks(get_tails(tokens), READ_KEYS)
        if self.retry.hedge_after is not None:  # hedging needs both requests in the same task
            await trio.lowlevel.checkpoint()
            for chunk in chunks:
                found += await self._read_chunk(index, chunk, operation, None, since, patience)
            return found

        def parse(_: int, request: Request) -> list[Row] | None:
            if request.failure is None and all_succeeded(request.answers):
                try:
                    return named_each(request.answers, index, self.codec)
                except HandlerSocketError:
                    pass  # `_read_chunk` repeats the chunk, or raises
            return None

        asked = await self._send_chunks(self.reader, index, chunks, operation, parse, patience)
        for chunk, (request, rows) in zip(chunks, asked, strict=True):
            if rows is None:
                rows = await self._read_chunk(index, chunk, operation, request, since, patience)
            found += rows
        return found

    async def _read_chunk(
        self,
        index: Index,
        tails: Sequence[bytes],
        operation: str,
        first: Request | None,
        since: float,
        patience: Patience,
    ) -> list[Row]:
        def parse(request: Request) -> list[Row]:
            if not all_succeeded(request.answers):
                _raise_refusal(request, index, operation)
            return named_each(request.answers, index, self.codec)

        return await self._perform(
            self.reader, index, tails, operation, parse, changes=False, first=first, since=since, patience=patience
        )

    @enable_ki_protection
    async def write(
        self, index: Index, tail: bytes, operation: str, parse_line: Callable[[bytes], T], *, repeat: bool = False
    ) -> T:
        """The parsed answer to a request that changes data.

        The request is sent again only if it provably was not executed, or with ``repeat``.
        """
        first: Request | None = None
        connection = self.writer.choose() if self._plain and get_ident() == self.writer.thread else None
        if connection is not None:
            await trio.lowlevel.checkpoint_if_cancelled()  # a caller that is cancelled already sends nothing
            first = Request()
            connection.submit(first, index, (tail,))
            if first.failure is None:
                first.task = current_task()
                await wait_task_rescheduled(first.abort)
            if first.failure is None and first.answers[0].startswith(b"0\t"):
                try:
                    return parse_line(first.answers[0])
                except ProtocolError as error:
                    garbled(first, index, operation, error, changes=True)
        return await self._write(index, tail, operation, parse_line, repeat, first)

    async def _write(
        self,
        index: Index,
        tail: bytes,
        operation: str,
        parse_line: Callable[[bytes], T],
        repeat: bool,
        first: Request | None,
    ) -> T:
        def parse(request: Request) -> T:
            _raise_refusal(request, index, operation)
            return parse_line(request.answers[0])

        return await self._perform(self.writer, index, (tail,), operation, parse, changes=True, repeat=repeat, first=first)

    async def insert_many(self, index: Index, tails: Sequence[bytes], operation: str) -> list[int | HandlerSocketError | None]:
        """The outcome of each of many inserts, in their order: the generated id, or None, or the error."""
        silent: set[object] = set()

        def parse(request: Request) -> list[int | HandlerSocketError | None]:
            if isinstance(request.failure, TimeoutError):
                silent.add(request.connection)
            if turned_away(request, changes=True):
                _raise_refusal(request, index, operation)
            outcomes: list[int | HandlerSocketError | None] = []
            for line in request.answers:
                done = line.startswith(b"0\t")
                outcomes.append((parse_number(line) or None) if done else refusal_of(request, line, index, operation))
            for number in range(len(outcomes), request.lines):
                outcomes.append(failure_of(request, index, operation, changes=number < request.sent_lines))
            return outcomes

        outcomes: list[int | HandlerSocketError | None] = []
        since = self._now()
        patience = Patience()
        given_up: ConnectionError | None = None
        chunks = _chunks(tails, WRITE_LINES)
        asked = await self._send_chunks(self.writer, index, chunks, operation, lambda _, request: None, patience)
        for chunk, (first, _) in zip(chunks, asked, strict=True):
            unsent = first is None or (first.failure is not None and not first.sent_lines)
            if unsent and given_up is None and len(silent) >= MAX_DEATHS:
                given_up = ConnectionError(
                    f"{operation} {index.db}.{index.table}: not sent, after silence on {MAX_DEATHS} connections"
                )
            if unsent and given_up is not None:  # waiting again for each chunk would add up
                outcomes += [given_up] * len(chunk)
                continue
            try:
                outcomes += await self._perform(
                    self.writer,
                    index,
                    chunk,
                    operation,
                    parse,
                    changes=True,
                    first=first,
                    since=since,
                    patience=patience,
                    partial=True,
                )
            except HandlerSocketError as error:
                outcomes += [error] * len(chunk)
                given_up = error if isinstance(error, ConnectionError) else None
        return outcomes

    # ---- attempts

    async def _perform(
        self,
        pool: Pool,
        index: Index,
        tails: Sequence[bytes],
        operation: str,
        parse: Callable[[Request], T],
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
          changes: whether the lines change data, so that an attempt without an answer leaves a doubt.
          repeat: whether to try again even then.
          first: an attempt that was made already, at ``since``.
          patience: the rest of the time to wait for a usable server, if the operation has used some of it.
          partial: whether ``parse`` takes a failed request of which some lines were answered.

        Raises the ConnectionError of the last attempt that left a doubt, or else of the last attempt.
        """
        attempts: Attempts | None = None  # made when an attempt has failed
        started = self._now() if since is None else since
        patience = Patience() if patience is None else patience
        while True:
            request, first = first, None
            try:
                if request is None:
                    request = await self._attempt(pool, index, tails, operation, changes, patience)
                if request.failure is None:
                    return parse(request)
                error = failure_of(request, index, operation, changes=changes)
            except ConnectionError as exc:  # no server was usable
                error = ConnectionError(f"{operation} {index.db}.{index.table}: {exc}", server=exc.server)
            except ProtocolError as exc:
                assert request is not None
                error = garbled(request, index, operation, exc, changes=changes)
            except OperationalError as refusal:
                attempts = attempts or Attempts(self.retry, pool, started)
                pause = attempts.pause_after_refusal(request, changes=changes)
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
                return parse(request)
            raise attempts.doubt or error

    async def _attempt(
        self, pool: Pool, index: Index, tails: Sequence[bytes], operation: str, changes: bool, patience: Patience
    ) -> Request:
        """One attempt: the request, with its answers or its failure. Raises ConnectionError when no server is usable."""
        connection = await pool.acquire(patience)
        started = trio.current_time()
        if self.retry.hedge_after is not None and not changes:
            request = await hedged(pool, connection, index, tails, self.retry.hedge_after)
        else:
            request = Request(len(tails))
            connection.submit(request, index, tails)
            await request.wait()
        self._report(request, index, operation, started)
        return request

    async def _pause(self, index: Index, operation: str, attempts: Attempts, error: HandlerSocketError, seconds: float) -> None:
        """Reports a failed attempt, and waits for the next one."""
        self.totals.retries += 1
        self.instruments.call("retry", operation, f"{index.db}.{index.table}", attempts.number, error)
        await trio.sleep(seconds)
        attempts.begin_next()

    def _report(self, request: Request, index: Index, operation: str, started: float) -> None:
        if self.instruments:
            seconds = trio.current_time() - started
            table = f"{index.db}.{index.table}"
            failed = request.failure is not None
            self.instruments.call("request_done", request.connection.peer, operation, table, request.lines, seconds, failed)

    async def _send_chunks(
        self,
        pool: Pool,
        index: Index,
        chunks: Sequence[Sequence[bytes]],
        operation: str,
        parse: Callable[[int, Request], T | None],
        patience: Patience,
        at_once: int = CHUNKS_UNDER_WAY,
        units: Sequence[int] = (),
        head_start: bool = False,
    ) -> list[tuple[Request | None, T | None]]:
        """Sends each chunk of lines once, up to ``at_once`` of them before the first answer.

        ``units`` is what each chunk counts for, by default its number of lines. With ``head_start`` the server gets the first
        chunk a moment before the others, and usually answers it alone. That answer is parsed while it works on the others.
        Returns each chunk's request, with the result of ``parse(number of the chunk, request)``. Both are None for the chunks
        after a server's silence, or after one for which no server was usable. Cancelling withdraws what was not sent yet.
        """
        under_way: deque[tuple[Request | None, float]] = deque()
        finished: list[tuple[Request | None, T | None]] = []
        stopped = False
        if not chunks:
            await trio.lowlevel.checkpoint()

        async def oldest() -> Request | None:
            nonlocal stopped
            request, started = under_way[0]
            if request is not None:
                await request.wait()
                self._report(request, index, operation, started)
                if request.failure is not None and isinstance(request.failure, TimeoutError):
                    stopped = True  # the next chunk might wait as long
            under_way.popleft()
            return request

        def finish(request: Request | None) -> None:
            finished.append((request, None if request is None else parse(len(finished), request)))

        try:
            for chunk, its_units in zip(chunks, units or [0] * len(chunks), strict=True):
                answered = [await oldest()] if len(under_way) >= at_once else []
                started = trio.current_time()
                try:
                    request = None if stopped else await pool.submit(index, chunk, its_units, patience)
                except HandlerSocketError:
                    request, stopped = None, True
                under_way.append((request, started))
                if head_start and len(chunks) > 1 and not finished and len(under_way) == 1:
                    for _ in range(HEAD_START):
                        await trio.lowlevel.checkpoint()
                for request in answered:  # parsed while the server works on the next chunk
                    finish(request)
            while under_way:
                finish(await oldest())
            return finished
        finally:
            for request, _ in under_way:
                if request is not None:
                    request.abandon()


def _tokens(lists: Iterable[bytes]) -> list[bytes]:
    """The tokens in lists that ``Codec.encode_list`` made."""
    return list(itertools.chain.from_iterable(tokens.split(b"\t") for tokens in lists))


def _chunks(items: Sequence[T], size: int) -> list[Sequence[T]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


def _raise_refusal(request: Request, index: Index, operation: str) -> None:
    """Raises the first error among a request's answers."""
    for line in request.answers:
        error = refusal_of(request, line, index, operation)
        if error is not None:
            raise error
