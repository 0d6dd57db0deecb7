"""What the client sends: the first request, with the secret, and on an open index requests as tails: all after the index id."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple, NoReturn, TypeAlias, get_args

from .._counted import counted
from ._buffer import Buffer
from ._index import Index
from ._values import NULL, SEQUENCES, Codec, EncodedList, Ordered, Value, escape, located, shown, value_list

#: The protocol's comparisons; ``<`` and ``<=`` give rows in descending order.
FindOperation: TypeAlias = Literal["=", ">", ">=", "<", "<="]
FilterOperation: TypeAlias = Literal["=", "!=", ">", ">=", "<", "<="]
#: Update, delete, increment, decrement. With ``?`` the answer carries the rows as they were.
CountingOperation: TypeAlias = Literal["U", "D", "+", "-"]
ReturningOperation: TypeAlias = Literal["U?", "D?", "+?", "-?"]
ModifyOperation: TypeAlias = CountingOperation | ReturningOperation

FIND_OPERATIONS: frozenset[str] = frozenset(get_args(FindOperation))
FILTER_OPERATIONS: frozenset[str] = frozenset(get_args(FilterOperation))
MODIFY_OPERATIONS: frozenset[str] = frozenset(get_args(CountingOperation) + get_args(ReturningOperation))

#: A find with 32 key values crashes the server, 33 are refused.
MAX_KEY_VALUES = 31
#: The server refuses an insert of more.
MAX_INSERT_VALUES = 32
#: The server adds limit and offset in 32 bits, and wraps around.
MAX_ROWS = 2**32 - 1


# The beginnings of tails by operation and number of key values, and how the tail of a modification goes on.
_FIND_HEADS = {
    operation: [b"\t%b\t%d\t" % (operation.encode(), count) for count in range(MAX_KEY_VALUES + 1)]
    for operation in FIND_OPERATIONS
}
_MODIFY_TAILS = {operation: b"\t" + operation.encode() for operation in MODIFY_OPERATIONS}


class Filter(NamedTuple):
    """A condition on rows found by the index (the protocol's ``F`` and ``W``). Several are ANDed.

    Attributes:
      column: the name of the column, or on the low level its position in the index's ``filter_fields``.
      operation: one of ``= != > >= < <=``, compared in the column's collation; NULL is below everything.
      value: compared with the column.
      stop: False skips rows that do not match, True ends the search at the first of them.
    """

    column: str | int
    operation: FilterOperation
    value: Value
    stop: bool = False


def in_pair(in_: object) -> tuple[int, Sequence[Any] | EncodedList]:
    """The position and the values of ``in_``, a sequence. TypeError if it is not such a pair."""
    if not isinstance(in_, (tuple, list)) or len(in_) != 2:
        raise TypeError(f"in_ must be a pair: the position of a column in the index, and a list of values; not {shown(in_)}")
    return in_[0], in_[1] if type(in_[1]) in SEQUENCES or isinstance(in_[1], EncodedList) else value_list(in_[1], "in_")


def listed_filters(filters: Ordered[Filter]) -> tuple[Filter, ...]:
    """The filters as a tuple. TypeError if they are not a list of :class:`Filter`."""
    if isinstance(filters, Filter):
        raise TypeError("filters must be a list of Filter, not one Filter")
    found = tuple(value_list(filters, "filters", "Filter"))
    for condition in found:
        if not isinstance(condition, Filter):
            raise TypeError(f"filters must hold trio_hs.Filter(column, operation, value, stop=False), not {shown(condition)}")
    return found


def auth_line(secret: str | None) -> bytes:
    """``A TAB 1 TAB secret``: the first request on a connection.

    Without a secret the empty one is sent. A server that wants none answers with success, and one that wants a secret
    with ``unauth``. Either way a real answer proves that a server is there.
    """
    return b"A\t1\t" + escape((secret or "").encode()) + b"\n"


def get_tail(token: bytes) -> bytes:
    """The find of the first row whose key's first column has this value."""
    return b"\t=\t1\t" + token + b"\n"


def get_tails(tokens: Iterable[bytes]) -> list[bytes]:
    """``get_tail`` of each token."""
    return [b"\t=\t1\t" + token + b"\n" for token in tokens]


def get_many_tail(tokens: bytes, count: int) -> bytes | None:
    """One request for each token of a list. The answer has the rows in the same order, and nothing for a key without a row.

    None if the list has a NULL, which IN cannot find.
    """
    if NULL in tokens:
        return None
    return b"\t=\t1\t\t%d\t0\t@\t0\t%d\t%b\n" % (count, count, tokens)


def insert_tail(index: Index, codec: Codec, values: Ordered[Value]) -> bytes:
    """The insert of a row, one value per column of the index. The server would store the empty string for a missing one.

    Raises LongValue for a value that should be encoded in slices: see ``begin_insert``.
    """
    tokens = codec.encode_all(values, "values", index.columns, long_values=True)
    if len(tokens) != index.width or index.width > MAX_INSERT_VALUES or index.repeated is not None:
        raise _refused_insert(index, len(tokens))
    return index.insert_head + b"\t".join(tokens) + b"\n"


def begin_insert(index: Index, count: int) -> Buffer:
    """A buffer that begins with the tail of an insert of so many values. They follow, joined by TABs, and a LF."""
    if count != index.width or index.width > MAX_INSERT_VALUES or index.repeated is not None:
        raise _refused_insert(index, count)
    out = Buffer()
    out.write(index.insert_head)
    return out


def _refused_insert(index: Index, count: int) -> ValueError:
    if count != index.width:
        return ValueError(f"insert takes one value per column: {counted(index.width, 'column')}, {counted(count, 'value')}")
    if index.width > MAX_INSERT_VALUES:
        return ValueError(f"an insert can set at most {MAX_INSERT_VALUES} columns, not {index.width}")
    return _two_values(index)


def _two_values(index: Index) -> ValueError:
    return ValueError(f"column {index.repeated} is named twice, and would get two values")


def find_tail(
    index: Index,
    codec: Codec,
    operation: FindOperation,
    values: Ordered[Value],
    limit: int = 0,
    offset: int = 0,
    in_: tuple[int, Ordered[Value] | EncodedList] | None = None,
    filters: Ordered[Filter] = (),
) -> bytes:
    """The find of up to ``limit`` rows, after skipping ``offset``.

    ``in_`` is the position of a column of the key and the values that it takes in turn. ``limit`` 0 means one row, or with
    ``in_`` one for each of its values (the server's own default would end the search at the first).
    """
    return _search(index, codec, operation, values, limit, offset, in_, filters, b"\n")


def find_modify_tail(
    index: Index,
    codec: Codec,
    operation: FindOperation,
    values: Ordered[Value],
    modify_operation: ModifyOperation,
    modify_values: Ordered[Value] | EncodedList = (),
    limit: int = 0,
    offset: int = 0,
    in_: tuple[int, Ordered[Value] | EncodedList] | None = None,
    filters: Ordered[Filter] = (),
    what: str = "modify_values",
) -> bytes:
    """A find, and the change to the rows found: one value per column of the index, none for a delete.

    ``what`` is the caller's name for ``modify_values``, for error messages. Raises LongValue for a value that should be
    encoded in slices first.
    """
    try:
        modification = _MODIFY_TAILS[modify_operation]
    except (KeyError, TypeError):
        _refuse("modify_operation", MODIFY_OPERATIONS, modify_operation)
    kind = modify_operation[0]
    encoded: EncodedList | None = None
    tokens: list[bytes] = []
    if isinstance(modify_values, EncodedList):
        encoded, count = modify_values, modify_values.count
    else:
        tokens = codec.encode_all(modify_values, what, index.columns, long_values=kind == "U")
        count = len(tokens)
    expected = 0 if kind == "D" else index.width
    if count != expected:
        # The server would write the empty string into the rest, or add 0 to it, which mangles text and fractions.
        raise ValueError(f"{what}: {modify_operation!r} takes {counted(expected, 'value')}, one per column, not {count}")
    if count and index.repeated is not None:
        raise _two_values(index)
    end = b"\t".join((modification, *tokens) if encoded is None else (modification, encoded.tokens)) + b"\n"
    return _search(index, codec, operation, values, limit, offset, in_, filters, end)


def _refuse(what: str, operations: Iterable[str], given: object) -> NoReturn:
    kind = ValueError if isinstance(given, str) else TypeError
    raise kind(f"{what} must be one of {' '.join(sorted(operations))}, not {shown(given)}")


def _search(
    index: Index,
    codec: Codec,
    operation: FindOperation,
    values: Ordered[Value],
    limit: int,
    offset: int,
    in_: tuple[int, Ordered[Value] | EncodedList] | None,
    filters: Ordered[Filter],
    end: bytes,
) -> bytes:
    """A find, and what comes after it."""
    try:
        heads = _FIND_HEADS[operation]
    except (KeyError, TypeError):
        _refuse("operation", FIND_OPERATIONS, operation)
    tokens = codec.encode_all(values)
    conditions: list[bytes] = []
    if in_ is not None:
        position, choices = in_pair(in_)
        if not isinstance(position, int) or isinstance(position, bool):
            raise TypeError(f"in_ names a column by its position in the index (0 is the first), not by {shown(position)}")
        if len(tokens) == position:
            tokens.append(b"")  # the key's value there, which the list replaces
        if not isinstance(choices, EncodedList):
            choices = EncodedList(codec.encode_list(choices, "in_"), len(choices))
        conditions += (_in(position, choices, len(tokens)), choices.tokens)
        if limit == 0:
            limit = choices.count
    if not 0 < len(tokens) <= MAX_KEY_VALUES:
        raise ValueError(f"values must hold 1 to {MAX_KEY_VALUES} values of the key, not {len(tokens)}")
    if filters != ():
        conditions += [_filter(index, codec, condition) for condition in listed_filters(filters)]
    find = heads[len(tokens)] + b"\t".join(tokens) + _limit(limit, offset)
    return b"".join((find, *conditions, end)) if conditions else find + end  # `in_` may be long: one copy


def _limit(limit: int, offset: int) -> bytes:
    if type(limit) is type(offset) is int and 0 <= limit <= 1 and not offset:
        return b"\t1\t0"
    for what, number in (("limit", limit), ("offset", offset)):
        if not isinstance(number, int) or isinstance(number, bool):
            raise TypeError(f"{what} must be an int, not {type(number).__name__}")
        if number < 0:
            raise ValueError(f"{what} must not be negative, but is {shown(number)}")
    limit = limit or 1
    if limit + offset > MAX_ROWS:
        raise ValueError(f"limit + offset must be at most {MAX_ROWS}, but is {shown(limit + offset)}")
    return b"\t%d\t%d" % (limit, offset)


def _in(position: int, choices: EncodedList, width: int) -> bytes:
    if not 0 <= position < width:
        # The server would ignore the list and repeat the key itself as many times.
        raise ValueError(f"in_ is about column {shown(position)} of the index, but values cover only the first {width}")
    if not choices.count:
        raise ValueError("in_ has an empty list of values")
    if NULL in choices.tokens:
        raise ValueError("in_ cannot hold None: the server would look for a zero byte; find NULL with operation '='")
    return b"\t@\t%d\t%d\t" % (position, choices.count)


def _filter(index: Index, codec: Codec, condition: Filter) -> bytes:
    column, operation, value, stop = condition
    if not isinstance(operation, str) or operation not in FILTER_OPERATIONS:
        _refuse("a filter's operation", FILTER_OPERATIONS, operation)
    if not isinstance(stop, bool):
        raise TypeError(f"a filter's stop must be a bool, not {shown(stop)}")
    names = index.filter_columns
    if column in names:
        position = names.index(str(column))
    elif isinstance(column, int) and not isinstance(column, bool) and 0 <= column < len(names):
        position = column
    else:
        raise ValueError(f"a filter is about column {shown(column)}, but the index was opened with the filter columns {names}")
    try:
        token = codec.encode(value)
    except (TypeError, ValueError) as error:
        raise located("a filter's value", error) from None
    return b"\t%b\t%b\t%d\t%b" % (b"W" if stop else b"F", operation.encode(), position, token)
