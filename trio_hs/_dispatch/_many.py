"""Executes a call for many rows: in chunks, of which some are under way while others are made or parsed."""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Protocol, TypeAlias, TypeVar

import trio

from .._network import Patience, Pool, Request, failure_of, refusal_of, turned_away
from .._protocol import (
    BYTES_PER_VALUE,
    EncodedList,
    Index,
    LongValue,
    Ordered,
    RowEncoder,
    Slices,
    Value,
    all_succeeded,
    chunks_of_tails,
    get_many_tail,
    get_tails,
    located,
    parse_number,
)
from ..exceptions import ConnectionError, HandlerSocketError, ProtocolError
from ._dispatcher import Dispatcher, raise_refusal
from ._retry import MAX_DEATHS
from ._rows import Row, named, named_each, named_each_in_slices
from ._turns import in_turns
from ._watch import Sending, Watch, abandon

T = TypeVar("T")

Outcomes: TypeAlias = list[int | HandlerSocketError | None]

#: A call for many rows is cut into chunks of READ_KEYS keys, or of at most WRITE_LINES inserts and about WRITE_BYTES.
#: CHUNKS_UNDER_WAY of them are sent before the first answer. That keeps a server busy while answers are parsed, and lets other
#: tasks on the connection have their turn. Chunks of writes are larger, because writes that arrive together share a commit,
#: which costs more than everything else.
READ_KEYS = 600
WRITE_LINES = 1000
WRITE_BYTES = 1 << 20
CHUNKS_UNDER_WAY = 4
#: A server answers together all that it has received when it wakes up. With smaller chunks its first answers come earlier, and
#: are parsed while it works on the rest. Measured: 1,000 keys take a tenth less; up to 800 keys, two such chunks, gain nothing.
#: This does not pay for a server that is far off, which would wait for each chunk, or where several connections carry chunks.
NEAR_KEYS = 400
NEAR_CHUNKS = 2
#: Passes of the scheduler between the first chunk of keys and the second. Measured: the server then begins with the first chunk
#: alone in 9 of 10 cases.
HEAD_START = 3
#: So many keys are encoded, errors made, or chunks collected, before other tasks have their turn.
SLICE_KEYS = 2400
SLICE_ERRORS = 200
SLICE_CHUNKS = 100
#: From this many keys on, one IN request beats single gets, although it may have to be followed by them.
IN_KEYS = 16


class KeyEncoder(Protocol):
    """Makes tokens of keys, joined by TABs. Errors count the keys from ``first`` on."""

    def __call__(self, keys: Sequence[Any], /, *, first: int) -> bytes: ...


#: A chunk that was sent, and its report for instruments.
UnderWay: TypeAlias = tuple[Request | None, Sending | None]
NOT_SENT: UnderWay = (None, None)


async def get_many(
    dispatcher: Dispatcher, index: Index, values: Sequence[Value], encode: KeyEncoder, operation: str
) -> list[Row]:
    """The first row of each key, in the order of the keys, ``[]`` for a key without a row. Raises the first error.

    The server answers a list of keys (IN) in half the time that single keys take. The rows come in the order of the keys,
    but missing keys are left out. So if there is a row for every key, each row belongs to its key. If some are missing, or
    a key is NULL, every key of the chunk is read separately.
    """
    since = dispatcher.now()
    patience = Patience()
    count = len(values)
    near = dispatcher.reader.near and count > NEAR_CHUNKS * NEAR_KEYS
    size = math.ceil(count / math.ceil(count / NEAR_KEYS)) if near else READ_KEYS
    lists = await in_turns(_key_lists(values, encode, size))
    if dispatcher.observed:
        with Watch(dispatcher.instruments, index, operation, count, dispatcher.now(), changes=False) as watch:
            return await _get_lists(dispatcher.watched_by(watch), index, lists, count, operation, since, patience, near)
    return await _get_lists(dispatcher, index, lists, count, operation, since, patience, near)


async def _get_lists(
    dispatcher: Dispatcher,
    index: Index,
    lists: Sequence[EncodedList],
    count: int,
    operation: str,
    since: float,
    patience: Patience,
    near: bool,
) -> list[Row]:
    """``get_many`` of ``count`` keys that are encoded."""
    if count < IN_KEYS or dispatcher.retry.hedge_after is not None:
        return await _get_each(dispatcher, index, lists, operation, since, patience)

    # A chunk with a NULL is not sent as a list, and is treated as one with missing rows.
    by_list = [
        (number, tail) for number, keys in enumerate(lists) if (tail := get_many_tail(keys.tokens, keys.count)) is not None
    ]
    units = [lists[number].count for number, _ in by_list]

    async def parse(number: int, request: Request) -> list[Row] | None:
        if request.failure is None and request.answers[0].startswith(b"0\t"):
            try:
                found: list[Row] = await dispatcher.parsed(request.answers[0], index, named)
            except HandlerSocketError:
                return None  # `_read_chunk` repeats the chunk, or raises
            return found if len(found) == units[number] else []
        return None

    lines = [[tail] for _, tail in by_list]
    at_once = NEAR_CHUNKS if near else CHUNKS_UNDER_WAY
    answers = await _send_chunks(
        dispatcher, dispatcher.reader, index, lines, operation, parse, patience, at_once, units, head_start=len(lines) > 1
    )
    asked: list[tuple[Request | None, list[Row] | None]] = [(None, [])] * len(lists)
    for (number, _), answer in zip(by_list, answers, strict=True):
        asked[number] = answer
    answers.clear()
    return await _collect(dispatcher, index, lists, asked, operation, since, patience)


async def _collect(
    dispatcher: Dispatcher,
    index: Index,
    lists: Sequence[EncodedList],
    asked: list[tuple[Request | None, list[Row] | None]],
    operation: str,
    since: float,
    patience: Patience,
) -> list[Row]:
    """The rows of all lists of keys. Asks for those that are missing. ``asked`` loses what has been collected.

    Its rows are parsed (``[]`` where some keys of the list have none), or None if the request failed.
    """
    doubtful = [keys for keys, (_, rows) in zip(lists, asked, strict=True) if rows == []]
    one_by_one: Iterable[Row] = ()
    if doubtful:
        one_by_one = iter(await _get_each(dispatcher, index, doubtful, operation, since, patience))
    found: list[Row] = []
    for number, keys in enumerate(lists):
        request, rows = asked[number]
        asked[number] = (None, None)  # to let go of a million rows at once takes 9 ms
        if rows is None:
            found += await _read_chunk(dispatcher, index, _tails(keys), operation, request, since, patience)
        else:
            found += rows or itertools.islice(one_by_one, keys.count)
        if number and not number % SLICE_CHUNKS:
            await trio.lowlevel.checkpoint()
    return found


async def _get_each(
    dispatcher: Dispatcher, index: Index, lists: Sequence[EncodedList], operation: str, since: float, patience: Patience
) -> list[Row]:
    """``get_many`` with a request for each key, still in few round trips."""
    found: list[Row] = []
    chunks = await in_turns(_chunks_of_gets(lists))
    if dispatcher.retry.hedge_after is not None:  # hedging needs both requests in the same task
        await trio.lowlevel.checkpoint()
        for chunk in chunks:
            found += await _read_chunk(dispatcher, index, chunk, operation, None, since, patience)
        return found

    async def parse(_: int, request: Request) -> list[Row] | None:
        if request.failure is None and all_succeeded(request.answers):
            try:
                return await _named_each(dispatcher, request, index)
            except HandlerSocketError:
                pass  # `_read_chunk` repeats the chunk, or raises
        return None

    asked = await _send_chunks(dispatcher, dispatcher.reader, index, chunks, operation, parse, patience)
    for chunk, (request, rows) in zip(chunks, asked, strict=True):
        if rows is None:
            rows = await _read_chunk(dispatcher, index, chunk, operation, request, since, patience)
        found += rows
    return found


async def _named_each(dispatcher: Dispatcher, request: Request, index: Index) -> list[Row]:
    if sum(map(len, request.answers)) > 2 * dispatcher.codec.slice_bytes:
        return await in_turns(named_each_in_slices(request.answers, index, dispatcher.codec))
    return named_each(request.answers, index, dispatcher.codec)


async def _read_chunk(
    dispatcher: Dispatcher,
    index: Index,
    tails: Sequence[bytes],
    operation: str,
    first: Request | None,
    since: float,
    patience: Patience,
) -> list[Row]:
    async def parse(request: Request) -> list[Row]:
        if not all_succeeded(request.answers):
            raise_refusal(request, index, operation)
        return await _named_each(dispatcher, request, index)

    return await dispatcher.perform(
        dispatcher.reader, index, tails, operation, parse, changes=False, first=first, since=since, patience=patience
    )


async def insert_many(
    dispatcher: Dispatcher, index: Index, rows: Sequence[Ordered[Any]], encoder: RowEncoder, operation: str
) -> Outcomes:
    """The outcome of the insert of each row, in their order: the generated id, or None, or the error.

    Raises the errors of ``chunks_of_tails`` before anything is sent.
    """
    chunks = await in_turns(chunks_of_tails(rows, encoder, chunk_lines=WRITE_LINES, chunk_bytes=WRITE_BYTES))
    if dispatcher.observed:
        with Watch(dispatcher.instruments, index, operation, len(rows), dispatcher.now(), changes=True) as watch:
            return watch.each(await _insert_chunks(dispatcher.watched_by(watch), index, chunks, operation))
    return await _insert_chunks(dispatcher, index, chunks, operation)


async def _insert_chunks(dispatcher: Dispatcher, index: Index, chunks: list[list[bytes]], operation: str) -> Outcomes:
    """``insert_many`` of requests that are ready. ``chunks`` loses those that are no longer needed."""
    silent: set[object] = set()

    async def parse(request: Request) -> Outcomes:
        if isinstance(request.failure, TimeoutError):
            silent.add(request.connection)
        if turned_away(request, changes=True):
            raise_refusal(request, index, operation)
        return await in_turns(_outcomes(request, index, operation))

    async def parse_answered(number: int, request: Request) -> Outcomes | None:
        if request.failure is not None:
            return None
        try:
            outcomes = _equal_outcomes(request)
            if outcomes is None:
                if turned_away(request, changes=True):
                    return None
                outcomes = await in_turns(_outcomes(request, index, operation))
        except ProtocolError:
            return None  # `_perform` ends the connection
        chunks[number].clear()
        return outcomes

    outcomes: Outcomes = []
    since = dispatcher.now()
    patience = Patience()
    given_up: ConnectionError | None = None
    pool = dispatcher.writer
    asked = await _send_chunks(dispatcher, pool, index, chunks, operation, parse_answered, patience)
    for number, chunk in enumerate(chunks):
        first, answered = asked[number]
        asked[number] = (None, None)
        if number and not number % SLICE_CHUNKS:
            await trio.lowlevel.checkpoint()
        if answered is not None:
            outcomes += answered
            continue
        unsent = first is None or (first.failure is not None and not first.sent_lines)
        if unsent and given_up is None and len(silent) >= MAX_DEATHS:
            given_up = ConnectionError(
                f"{operation} {index.db}.{index.table}: not sent, after silence on {MAX_DEATHS} connections"
            )
        if unsent and given_up is not None:  # waiting again for each chunk would add up
            outcomes += [given_up] * len(chunk)
            continue
        try:
            outcomes += await dispatcher.perform(
                pool, index, chunk, operation, parse, changes=True, first=first, since=since, patience=patience, partial=True
            )
        except HandlerSocketError as error:
            outcomes += [error] * len(chunk)
            given_up = error if isinstance(error, ConnectionError) else None
    return outcomes


async def _send_chunks(
    dispatcher: Dispatcher,
    pool: Pool,
    index: Index,
    chunks: Sequence[Sequence[bytes]],
    operation: str,
    parse: Callable[[int, Request], Awaitable[T | None]],
    patience: Patience,
    at_once: int = CHUNKS_UNDER_WAY,
    units: Sequence[int] = (),
    head_start: bool = False,
) -> list[tuple[Request | None, T | None]]:
    """Sends each chunk of lines once, up to ``at_once`` of them before the first answer.

    ``units`` is what each chunk counts for, by default its number of lines. With ``head_start`` the server gets the first
    chunk a moment before the others, and usually answers it alone: its answer is parsed while the server works on. Returns
    for each chunk the result of ``parse(number of the chunk, request)``, or its request if that is None. Both are None after
    a server's silence, or once no server was usable. Cancelling withdraws what was not sent yet.
    """
    under_way: deque[UnderWay] = deque()
    finished: list[tuple[Request | None, T | None]] = []
    stopped = False
    if not chunks:
        await trio.lowlevel.checkpoint()

    async def oldest() -> Request | None:
        nonlocal stopped
        request, sending = under_way[0]
        if request is not None:
            await request.wait()
            if sending is not None:
                sending.ended(request)
            stopped = stopped or isinstance(request.failure, TimeoutError)  # the next chunk might wait as long
        under_way.popleft()
        return request

    async def finish(request: Request | None) -> None:
        parsed = None if request is None else await parse(len(finished), request)
        finished.append((request if parsed is None else None, parsed))  # what is parsed holds no memory any more

    try:
        for chunk, its_units in zip(chunks, units or [0] * len(chunks), strict=True):
            answered = [await oldest()] if len(under_way) >= at_once else []
            sent = NOT_SENT if stopped else await _send_chunk(dispatcher, pool, index, chunk, its_units, patience)
            stopped = sent is NOT_SENT
            under_way.append(sent)
            for _ in range(HEAD_START if head_start else 0):
                await trio.lowlevel.checkpoint()
            head_start = False
            for request in answered:  # parsed while the server works on the next chunk
                await finish(request)
        while under_way:
            await finish(await oldest())
        return finished
    except BaseException as error:
        for request, sending in under_way:
            abandon(request, sending, error)
        raise


async def _send_chunk(
    dispatcher: Dispatcher, pool: Pool, index: Index, chunk: Sequence[bytes], units: int, patience: Patience
) -> UnderWay:
    """Sends a chunk, or returns ``NOT_SENT`` if no server is usable."""
    try:
        connection = await pool.acquire(patience)
    except HandlerSocketError:
        return NOT_SENT
    sending = None if dispatcher.watch is None else dispatcher.watch.send(connection.peer, len(chunk))
    request = Request(len(chunk))
    request.units = units or request.units
    connection.submit(request, index, chunk)
    return request, sending


def _key_lists(values: Sequence[Value], encode: KeyEncoder, size: int) -> Slices[list[EncodedList]]:
    """Keys in lists of at most ``size``, or of fewer if they are long."""
    lists: list[EncodedList] = []
    work = 0
    for start in range(0, len(values), size):
        keys = values[start : start + size]
        if work >= SLICE_KEYS:
            work = 0
            yield
        try:
            tokens = encode(keys, first=start)
        except LongValue:
            lists += yield from _short_lists(keys, encode, start)
            continue
        lists.append(EncodedList(tokens, len(keys)))
        work += size + len(tokens) // BYTES_PER_VALUE
    return lists


def _short_lists(keys: Sequence[Value], encode: KeyEncoder, first: int) -> Slices[list[EncodedList]]:
    """Keys in lists of half as many, or of half as many again, until they are short enough to be encoded in one go."""
    lists: list[EncodedList] = []
    half = len(keys) // 2
    for start, some in ((first, keys[:half]), (first + half, keys[half:])):
        yield
        try:
            lists.append(EncodedList(encode(some, first=start), len(some)))
        except LongValue as error:
            if len(some) == 1:
                raise located(f"values[{start}]", error) from None
            lists += yield from _short_lists(some, encode, start)
    return lists


def _tails(keys: EncodedList) -> list[bytes]:
    """A request for each key of a list."""
    return get_tails(keys.tokens.split(b"\t"))


def _chunks_of_gets(lists: Sequence[EncodedList]) -> Slices[list[list[bytes]]]:
    """``_tails`` of each list."""
    chunks = []
    for number, keys in enumerate(lists, 1):
        chunks.append(_tails(keys))
        if not number % (SLICE_KEYS // READ_KEYS):
            yield
    return chunks


def _equal_outcomes(request: Request) -> Outcomes | None:
    """The outcomes of lines that were all answered, each with the same success: usually one without a generated id."""
    answer = request.answers[0]
    if answer.startswith(b"0\t") and request.answers.count(answer) == request.lines:
        return [parse_number(answer) or None] * request.lines
    return None


def _outcomes(request: Request, index: Index, operation: str) -> Slices[Outcomes]:
    """The outcome of each line of a request for inserts."""
    outcomes: Outcomes = []
    errors = 0
    for line in request.answers:
        if line.startswith(b"0\t"):
            outcomes.append(parse_number(line) or None)
            continue
        outcomes.append(refusal_of(request, line, index, operation))
        errors += 1
        if not errors % SLICE_ERRORS:
            yield
    for number in range(len(outcomes), request.lines):
        outcomes.append(failure_of(request, index, operation, changes=number < request.sent_lines))
        errors += 1
        if not errors % SLICE_ERRORS:
            yield
    return outcomes
