"""The HandlerSocket protocol without I/O: requests to bytes, bytes to answers.

Theory of operation
-------------------
1. A request is a line, an answer is a line, and answers come strictly in the order of the requests. Both end with LF;
   their tokens are separated by TAB.
2. Inside a token the bytes 0x00-0x0f are written as 0x01 followed by the byte plus 0x40. So LF and TAB never occur in a
   value. The server also strips an unescaped CR before LF; as 0x0d is escaped, that touches no value of ours.
3. NULL is the token ``00`` (one raw zero byte), the empty string is the empty token. Inside an IN list the server takes
   ``00`` for a value, so NULL cannot be asked for there and is refused here.
4. A request on an index is the index id followed by a *tail*. Ids belong to a connection and the same request may go to
   several connections, so the functions here build tails, and the connection puts its own id in front.
5. An answer is ``code TAB columns [TAB value]...``. Code 0 is success and the values are the rows, flat. Any other
   code carries one value, the error's name. Some successes carry a token of their own: a modification its number of
   rows, an insert into a table with an auto_increment column the id (0 when the caller chose it).
6. Missing numbers and tokens are not refused by the server, they mean something else: no limit is limit 1, a missing value
   is the empty string, a modification without a limit is a plain find. Every tail built here is therefore complete.
7. Never to be sent: a line that begins with ``Q`` (stops every worker of the listener until a restart) or ``/`` (closes
   the connection). Lines begin with a digit, ``P`` or ``A`` here, by construction. Also never: an index id near 2**32
   and a find with 32 key values (both crash the server), hence the bounds below. An index opened on a view crashes it too;
   the protocol cannot see that, the caller must.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, NamedTuple, TypeAlias, TypeVar

from ..exceptions import DecodingError, ProtocolError

#: What may be sent as a value. Anything else is a TypeError.
Value: TypeAlias = str | bytes | bytearray | int | float | bool | Decimal | date | datetime | time | timedelta | None

#: The protocol's comparisons; ``<`` and ``<=`` give rows in descending order.
FIND_OPERATIONS = frozenset(("=", ">", ">=", "<", "<="))
FILTER_OPERATIONS = frozenset(("=", "!=", ">", ">=", "<", "<="))
#: Update, delete, increment, decrement; with ``?`` the answer carries the rows as they were.
MODIFY_OPERATIONS = frozenset(("U", "U?", "D", "D?", "+", "+?", "-", "-?"))

#: A find with 32 key values crashes the server, 33 are refused.
MAX_KEY_VALUES = 31
#: The server refuses an insert of more.
MAX_INSERT_VALUES = 32
#: Limit and offset are added up in 32 bits by the server and wrap around.
MAX_ROWS = 2**32 - 1
#: Lists of so many values or answers are worth a look at all of them at once.
BULK = 16
#: A Decimal whose exponent is farther from 0 is refused: written out it could take all memory. Python's own bound for an int.
MAX_EXPONENT = 4300
#: A line of answer that grows beyond this is taken for a stream of garbage.
MAX_ANSWER_BYTES = 1 << 30

NULL = b"\0"

# What a request's tail begins with, by operation and number of key values, and what a modification's goes on with.
_FIND_HEADS = {
    operation: [b"\t%b\t%d\t" % (operation.encode(), count) for count in range(MAX_KEY_VALUES + 1)]
    for operation in FIND_OPERATIONS
}
_MODIFY_TAILS = {operation: b"\t" + operation.encode() for operation in MODIFY_OPERATIONS}

T = TypeVar("T")


class Filter(NamedTuple):
    """A condition on rows found by the index (the protocol's ``F`` and ``W``). Several are ANDed.

    Attributes:
      column: the name of the column, or on the low level its position in the index's ``filter_fields``.
      operation: one of ``= != > >= < <=``, compared in the column's collation; NULL is below everything.
      value: what the column is compared with.
      stop: False skips rows that do not match, True ends the search at the first of them.
    """

    column: str | int
    operation: str
    value: Value
    stop: bool = False


def value_list(values: Iterable[T], what: str = "values") -> list[T]:
    """The values in a list of its own. TypeError for a lone one, and for a dict, whose keys are not meant."""
    if isinstance(values, (str, bytes, bytearray, Mapping)) or not isinstance(values, Iterable):
        raise TypeError(f"{what} must be a list of values, not one {type(values).__name__}")
    return list(values)


def in_pair(in_: object) -> tuple[int, list[Any]]:
    """The position and the values of ``in_``. TypeError for what is no such pair."""
    if not isinstance(in_, (tuple, list)) or len(in_) != 2:
        raise TypeError(f"in_ must be a pair: the position of a column in the index, and a list of values; not {in_!r}")
    return in_[0], value_list(in_[1], "in_")


def listed_filters(filters: Iterable[Filter]) -> tuple[Filter, ...]:
    """The filters, to be gone through more than once. TypeError for what is no collection of :class:`Filter`."""
    if isinstance(filters, Filter) or not isinstance(filters, Iterable):
        raise TypeError(f"filters must be a list of Filter, not one {type(filters).__name__}")
    found = tuple(filters)
    for condition in found:
        if not isinstance(condition, Filter):
            raise TypeError(f"filters must hold trio_hs.Filter(column, operation, value, stop=False), not {condition!r}")
    return found


# ---- values -----------------------------------------------------------------------------------------------------------

_ESCAPE = re.compile(rb"[\x00-\x0f]")
_UNESCAPE = re.compile(rb"\x01([\x40-\x4f])")
_UNESCAPE_TEXT = re.compile("\x01([\x40-\x4f])")
_ESCAPES = {bytes((b,)): bytes((1, b + 0x40)) for b in range(0x10)}
_UNESCAPES = {bytes((b + 0x40,)): bytes((b,)) for b in range(0x10)}
_UNESCAPES_TEXT = {chr(b + 0x40): chr(b) for b in range(0x10)}

# In these encodings a printable text has no byte below 0x10 and every byte below 0x80 stands for itself, so that most
# texts need no look at their bytes.
_TRANSPARENT = frozenset(("utf-8", "ascii", "iso8859-1"))

# What an encoding has to leave as it is: ASCII, and what would be a character's code in some of those that do not.
_ASCII = bytes(range(0x80))
_PROBES = (*[bytes((byte,)) for byte in _ASCII], _ASCII, rb"\u0041 \x41 +AEE- ~{!!~}")


def escape(data: bytes) -> bytes:
    """``data`` as a token: the bytes 0x00-0x0f in their two-byte form."""
    return _ESCAPE.sub(lambda match: _ESCAPES[match[0]], data)


def unescape(token: bytes) -> bytes:
    """The bytes that a token stands for. The token of NULL is the caller's business."""
    if b"\x01" not in token:
        return token
    return _UNESCAPE.sub(lambda match: _UNESCAPES[match[1]], token)


def _unescape_text(token: str) -> str:
    return _UNESCAPE_TEXT.sub(lambda match: _UNESCAPES_TEXT[match[1]], token)


def _number_text(value: Value) -> str:
    """Numbers and times as MariaDB writes them (it would take much else without a word and store something different)."""
    if isinstance(value, int):  # bool too
        return str(int(value))
    if isinstance(value, float):
        if value != value or value in (float("inf"), float("-inf")):
            raise ValueError(f"{value!r} cannot be stored: MariaDB has no infinity and no NaN")
        return repr(float(value))
    if isinstance(value, Decimal):
        if not value.is_finite():
            raise ValueError(f"{value!r} cannot be stored: MariaDB has no infinity and no NaN")
        if abs(value.adjusted()) > MAX_EXPONENT:
            raise ValueError(f"a Decimal with the exponent {value.adjusted()} cannot be stored: MariaDB has 65 digits")
        return format(value, "f")
    if isinstance(value, datetime | time) and value.tzinfo is not None:
        raise ValueError(f"{value!r} has a time zone, which a column cannot hold; convert it and drop tzinfo")
    if isinstance(value, datetime):
        return value.isoformat(" ")
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return _time_text(value)
    raise TypeError(
        f"cannot send a {type(value).__name__}; "
        "values are str, bytes, int, float, Decimal, bool, None, date, datetime, time and timedelta"
    )


def _time_text(value: timedelta) -> str:
    """``[-]HHH:MM:SS[.ffffff]``, the literal of a TIME column, whose range is -838:59:59 to 838:59:59.999999."""
    if abs(value) >= timedelta(hours=839):
        raise ValueError(f"{value!r} is outside a TIME column's range of 838:59:59")
    microseconds = abs(value) // timedelta(microseconds=1)
    seconds, fraction = divmod(microseconds, 1_000_000)
    text = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return f"{'-' if value < timedelta(0) else ''}{text}{f'.{fraction:06}' if fraction else ''}"


def _leaves_ascii(encoding: str) -> bool:
    """Whether ASCII text is its own bytes in the encoding, whatever stands beside it."""
    try:
        return all(probe.decode("ascii").encode(encoding) == probe == probe.decode(encoding).encode() for probe in _PROBES)
    except (UnicodeError, LookupError):  # a LookupError: it is no encoding of text
        return False


class Codec:
    """Values to tokens and back, in one text encoding.

    With ``encoding=None`` values come back as bytes, and text goes out as UTF-8. The encoding has to be that of the
    columns: the server converts nothing. It reads numbers and times as ASCII, though, and nobody here knows which columns are
    text, so an encoding in which ASCII is not its own bytes is refused: in UTF-16 the number 2 would be taken for 0.
    """

    def __init__(self, encoding: str | None = "utf-8") -> None:
        self.encoding = encoding
        try:
            self._out = "utf-8" if encoding is None else codecs.lookup(encoding).name
        except LookupError:
            raise ValueError(
                f"encoding must be one that Python knows, such as 'utf-8' for MariaDB's utf8mb4, or None, not {encoding!r}"
            ) from None
        if encoding is not None and not _leaves_ascii(encoding):
            raise ValueError(
                f"encoding must be one in which ASCII text is its own bytes, such as 'utf-8' or 'cp1252', not {encoding!r}: "
                "the server reads numbers as ASCII, and only a table whose columns are declared (columns=...) knows which ones "
                "are text in ucs2, utf16 or utf32; encoding=None gives and takes bytes"
            )
        self._transparent = self._out in _TRANSPARENT

    def encode(self, value: Value) -> bytes:
        """The token of a value. Raises TypeError or ValueError for what cannot be one."""
        if type(value) is int:
            return b"%d" % value
        if isinstance(value, str):
            if self._transparent and value.isprintable():
                return value.encode(self._out)
            return escape(value.encode(self._out))
        if value is None:
            return NULL
        if isinstance(value, (bytes, bytearray)):
            return escape(bytes(value))
        return _number_text(value).encode()

    def encode_all(self, values: Iterable[Value], what: str = "values") -> list[bytes]:
        """The tokens of several values. TypeError, saying ``what`` is wrong, for what is no list of them."""
        if type(values) is not list and type(values) is not tuple:
            values = value_list(values, what)
        if len(values) >= BULK:
            return self.encode_list(values).split(b"\t")
        return [self.encode(value) for value in values]

    def encode_list(self, values: Sequence[Value]) -> bytes:
        """The tokens of several values, with a TAB between two; quick for many of one kind."""
        if len(values) >= BULK:
            kinds = set(map(type, values))
            if kinds == {int}:
                return ((b"\t%d" * len(values)) % tuple(values))[1:]
            if kinds == {str} and self._transparent and "".join(values).isprintable():  # type: ignore[arg-type]
                return "\t".join(values).encode(self._out)  # type: ignore[arg-type]
        return b"\t".join([self.encode(value) for value in values])

    def decode(self, answer: bytes) -> list[Any]:
        """The values in a run of tokens, that is, in the part of an answer behind its header.

        Raises DecodingError when they are no text in the encoding.
        """
        if self.encoding is None:
            return [None if token == NULL else unescape(token) for token in answer.split(b"\t")]
        try:
            if self._transparent:
                # One decode for the whole answer: TAB and the escapes are the same characters in text and bytes.
                text = answer.decode(self._out)
                if "\0" in text or "\x01" in text:
                    return [None if t == "\0" else _unescape_text(t) for t in text.split("\t")]
                return text.split("\t")
            return [None if t == NULL else unescape(t).decode(self._out) for t in answer.split(b"\t")]
        except UnicodeDecodeError as error:
            raise DecodingError(
                f"a value is no {self.encoding} text: {error.reason} at byte {error.start} of the answer's values; "
                "the encoding must be that of the columns, and encoding=None gives bytes",
                answer,
            ) from error

    def plain_text(self, answers: bytes) -> str | None:
        """``answers`` decoded at once when that gives each value in it as it is; otherwise None: look at each by itself."""
        if not self._transparent or self.encoding is None or b"\0" in answers or b"\x01" in answers:
            return None
        try:
            return answers.decode(self._out)
        except UnicodeDecodeError:
            return None


# ---- requests ---------------------------------------------------------------------------------------------------------


def auth_line(secret: str | None) -> bytes:
    """``A TAB 1 TAB secret``: the first request on a connection.

    Without a secret the empty one is sent: a server that wants none answers with success, one that wants a secret
    with ``unauth``, and either way a real answer proves that somebody is there.
    """
    return b"A\t1\t" + escape((secret or "").encode()) + b"\n"


def _name(what: str, name: str, forbidden: str = "") -> bytes:
    if not isinstance(name, str):
        raise TypeError(f"{what} must be a str, not {type(name).__name__}")
    if any(character < " " or character in forbidden for character in name):
        raise ValueError(f"{what} {name!r} has a character that the protocol cannot carry in a name")
    return name.encode()


def _column_names(what: str, names: Sequence[str]) -> bytes:
    if isinstance(names, str):
        raise TypeError(f"{what} must be a list of column names, not one str")
    if not all(names):
        raise ValueError(f"{what} has an empty column name")
    return b",".join([_name(what, name, forbidden=",") for name in names])


def _open_index_tail(db: str, table: str, fields: Sequence[str], index_name: str | None, filter_fields: Sequence[str]) -> bytes:
    """What follows ``P TAB id``: database, table, index (None is the primary key), columns and filter columns."""
    if not db or not table:
        raise ValueError("database and table must have a name")
    if not fields:
        raise ValueError("fields is empty: the server could not tell a row that it found from none")
    parts = [
        _name("database", db),
        _name("table", table),
        _name("index_name", index_name or "PRIMARY"),
        _column_names("fields", fields),
    ]
    if filter_fields:
        parts.append(_column_names("filter_fields", filter_fields))
    return b"\t" + b"\t".join(parts) + b"\n"


class Index:
    """What an open index is, apart from any connection: where it is and which columns its requests read and write.

    Attributes:
      open_tail: the request that opens it, behind ``P TAB id``.
      width: the number of columns.
      repeated: a column that is among them twice, which is for reading only; None without one.
      no_row, row_head: an answer without a row, and what an answer with rows begins with.
      insert_head: what the tail of an insert begins with.
    """

    __slots__ = (
        "columns",
        "db",
        "filter_columns",
        "insert_head",
        "name",
        "no_row",
        "open_tail",
        "repeated",
        "row_head",
        "table",
        "width",
    )

    def __init__(
        self,
        db: str,
        table: str,
        columns: Sequence[str],
        name: str | None = None,
        filter_columns: Sequence[str] = (),
    ) -> None:
        self.open_tail = _open_index_tail(db, table, columns, name, filter_columns)
        self.db = db
        self.table = table
        self.columns = tuple(columns)
        self.name = name
        self.filter_columns = tuple(filter_columns)
        self.width = len(self.columns)
        self.repeated: str | None = None
        if len(set(self.columns)) < self.width:
            self.repeated = next(name for name in self.columns if self.columns.count(name) > 1)
        self.no_row = b"0\t%d" % self.width
        self.row_head = self.no_row + b"\t"
        self.insert_head = b"\t+\t%d\t" % self.width

    def __repr__(self) -> str:
        return f"<Index {self.db}.{self.table} {self.name or 'PRIMARY'} ({', '.join(self.columns)})>"


def get_tail(token: bytes) -> bytes:
    """The find of the first row whose key's first column has this value."""
    return b"\t=\t1\t" + token + b"\n"


def get_tails(tokens: Iterable[bytes]) -> list[bytes]:
    """``get_tail`` of each."""
    return [b"\t=\t1\t" + token + b"\n" for token in tokens]


def get_many_tail(tokens: bytes, count: int) -> bytes | None:
    """``get_tail`` of each token of a list in one line, whose answer has the rows in the same order and nothing for a key that
    has none.

    None when there is a NULL among them, which IN cannot find.
    """
    if NULL in tokens:
        return None
    return b"\t=\t1\t\t%d\t0\t@\t0\t%d\t%b\n" % (count, count, tokens)


def insert_tail(index: Index, codec: Codec, values: Sequence[Value]) -> bytes:
    """The insert of a row, one value per column of the index: the server would fill a missing one with the empty string."""
    tokens = codec.encode_all(values)
    if len(tokens) != index.width:
        raise ValueError(f"insert takes one value per column: {index.width} columns, {len(tokens)} values")
    if index.width > MAX_INSERT_VALUES:
        raise ValueError(f"an insert can set at most {MAX_INSERT_VALUES} columns, not {index.width}")
    if index.repeated is not None:
        raise _two_values(index)
    return index.insert_head + b"\t".join(tokens) + b"\n"


def insert_tails(index: Index, codec: Codec, rows: Iterable[Sequence[Value]]) -> list[bytes]:
    """``insert_tail`` of each. TypeError and ValueError say which row, counted from 0."""
    tails = []
    for number, row in enumerate(rows):
        try:
            tails.append(insert_tail(index, codec, row))
        except (TypeError, ValueError) as error:
            # Not a UnicodeEncodeError, which cannot be made of a text alone.
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(f"row {number}: {error}") from None
    return tails


def _two_values(index: Index) -> ValueError:
    return ValueError(f"column {index.repeated} is there twice, and would get two values")


def find_tail(
    index: Index,
    codec: Codec,
    operation: str,
    values: Sequence[Value],
    limit: int = 0,
    offset: int = 0,
    in_: tuple[int, Sequence[Value]] | None = None,
    filters: Sequence[Filter] = (),
) -> bytes:
    """The find of up to ``limit`` rows behind the first ``offset`` ones.

    ``in_`` is the position of a column of the key and the values that it takes in turn. ``limit`` 0 means one row, or with
    ``in_`` one for each of its values (the server's own default would end the search at the first).
    """
    return _search(index, codec, operation, values, limit, offset, in_, filters) + b"\n"


def find_modify_tail(
    index: Index,
    codec: Codec,
    operation: str,
    values: Sequence[Value],
    modify_operation: str,
    modify_values: Sequence[Value] = (),
    limit: int = 0,
    offset: int = 0,
    in_: tuple[int, Sequence[Value]] | None = None,
    filters: Sequence[Filter] = (),
    what: str = "modify_values",
) -> bytes:
    """A find, and what to do to the rows found: one value per column of the index, none for a delete.

    ``what`` is the caller's name for ``modify_values``, for the error.
    """
    if modify_operation not in MODIFY_OPERATIONS:
        raise ValueError(f"modify_operation must be one of {_listed(MODIFY_OPERATIONS)}, not {modify_operation!r}")
    tokens = codec.encode_all(modify_values, what)
    expected = 0 if modify_operation[0] == "D" else index.width
    if len(tokens) != expected:
        # The server would write the empty string into the rest, or add 0 to it, which mangles text and fractions.
        raise ValueError(f"{modify_operation!r} takes {expected} values, one per column, not {len(tokens)}")
    if tokens and index.repeated is not None:
        raise _two_values(index)
    search = _search(index, codec, operation, values, limit, offset, in_, filters)
    return b"\t".join((search + _MODIFY_TAILS[modify_operation], *tokens)) + b"\n"


def _listed(operations: Iterable[str]) -> str:
    return " ".join(sorted(operations))


def _search(
    index: Index,
    codec: Codec,
    operation: str,
    values: Sequence[Value],
    limit: int,
    offset: int,
    in_: tuple[int, Sequence[Value]] | None,
    filters: Sequence[Filter],
) -> bytes:
    heads = _FIND_HEADS.get(operation)
    if heads is None:
        raise ValueError(f"operation must be one of {_listed(FIND_OPERATIONS)}, not {operation!r}")
    tokens = codec.encode_all(values)
    conditions = b""
    if in_ is not None:
        position, choices = in_pair(in_)
        if len(tokens) == position:
            tokens.append(b"")  # the key's value there, which the list replaces
        conditions = _in(position, codec.encode_all(choices), len(tokens))
        limit = limit or len(choices)
    if not 0 < len(tokens) <= MAX_KEY_VALUES:
        raise ValueError(f"values must hold 1 to {MAX_KEY_VALUES} values of the key, not {len(tokens)}")
    if filters:
        conditions += b"".join([_filter(index, codec, condition) for condition in listed_filters(filters)])
    return heads[len(tokens)] + b"\t".join(tokens) + _limit(limit, offset) + conditions


def _limit(limit: int, offset: int) -> bytes:
    if type(limit) is type(offset) is int and 0 <= limit <= 1 and not offset:
        return b"\t1\t0"
    for what, number in (("limit", limit), ("offset", offset)):
        if not isinstance(number, int) or isinstance(number, bool):
            raise TypeError(f"{what} must be an int, not {type(number).__name__}")
        if number < 0:
            raise ValueError(f"{what} must not be negative, but is {number}")
    limit = limit or 1
    if limit + offset > MAX_ROWS:
        raise ValueError(f"limit + offset must be at most {MAX_ROWS}, but is {limit + offset}")
    return b"\t%d\t%d" % (limit, offset)


def _in(position: int, tokens: Sequence[bytes], width: int) -> bytes:
    if not isinstance(position, int) or isinstance(position, bool):
        raise TypeError(f"in_ names a column by its position in the index (0 is the first), not by {position!r}")
    if not 0 <= position < width:
        # The server would ignore the list and repeat the key itself as many times.
        raise ValueError(f"in_ is about column {position} of the index, but values cover only the first {width}")
    if not tokens:
        raise ValueError("in_ has an empty list of values")
    if NULL in tokens:
        raise ValueError("in_ cannot hold None: the server would look for a zero byte; find NULL with operation '='")
    return b"\t@\t%d\t%d\t%b" % (position, len(tokens), b"\t".join(tokens))


def _filter(index: Index, codec: Codec, condition: Filter) -> bytes:
    column, operation, value, stop = condition
    if operation not in FILTER_OPERATIONS:
        raise ValueError(f"a filter's operation must be one of {_listed(FILTER_OPERATIONS)}, not {operation!r}")
    names = index.filter_columns
    if column in names:
        position = names.index(str(column))
    elif isinstance(column, int) and not isinstance(column, bool) and 0 <= column < len(names):
        position = column
    else:
        raise ValueError(f"a filter is about column {column!r}, but the index was opened with the filter columns {names}")
    return b"\t%b\t%b\t%d\t%b" % (b"W" if stop else b"F", operation.encode(), position, codec.encode(value))


# ---- answers ----------------------------------------------------------------------------------------------------------


class Answers:
    """Collects what arrives and gives back the whole lines, however they were cut.

    ``feed`` takes time linear in the bytes, also for an answer of many megabytes that comes in small pieces.
    """

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size = 0

    @property
    def incomplete(self) -> bool:
        """True in the middle of a line."""
        return self._size > 0

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that ``data`` completes, without their LF. Raises ProtocolError for one that does not end."""
        lines = data.split(b"\n")
        rest = lines.pop()
        if lines and self._pieces:
            lines[0] = b"".join(self._pieces) + lines[0]
        if lines:
            self._pieces.clear()
            self._size = 0
        if rest:
            self._pieces.append(rest)
            self._size += len(rest)
            if self._size > MAX_ANSWER_BYTES:
                raise ProtocolError(f"an answer of more than {MAX_ANSWER_BYTES} bytes without an end")
        return lines


_HEADER = re.compile(rb"([0-9]{1,9})\t([0-9]{1,9})(?:\t|\Z)")
_ERROR = re.compile(rb"[1-9][0-9]{0,8}\t[0-9]{1,9}(?:\t[^\t]*)*\Z")


def check_answer(line: bytes) -> None:
    """Raises ProtocolError unless the line can be an answer at all. Cheap, for every line that arrives."""
    if not (line.startswith(b"0\t") or _ERROR.match(line)):
        raise ProtocolError(f"no answer of HandlerSocket: {_excerpt(line)}")


def _excerpt(line: bytes) -> str:
    return repr(line[:60]) + ("" if len(line) <= 60 else f"... ({len(line)} bytes)")


def error_of(line: bytes) -> tuple[int, str] | None:
    """None for a success, otherwise the error's code and name."""
    if line.startswith(b"0\t"):
        return None
    check_answer(line)
    code, _, *rest = line.split(b"\t", 2)
    return int(code), rest[0].decode("ascii", "backslashreplace") if rest else ""


def _payload(line: bytes) -> tuple[int, bytes | None]:
    """The number of columns and the values of a success; None instead of values when there are none."""
    header = _HEADER.match(line)
    if header is None or header[1] != b"0":
        raise ProtocolError(f"no answer of HandlerSocket: {_excerpt(line)}")
    return int(header[2]), line[header.end() :] if line[header.end() - 1] == 0x09 else None


def parse_values(line: bytes, index: Index, codec: Codec) -> list[Any]:
    """The values in the rows of a find's success, row after row."""
    if not line.startswith(index.row_head):
        columns, payload = _payload(line)
        if columns != index.width:
            raise ProtocolError(f"an answer of {columns} columns where {index.width} were asked for: {_excerpt(line)}")
        if payload is None:
            return []
    values = codec.decode(line[len(index.row_head) :])
    if len(values) % index.width:
        raise ProtocolError(f"an answer of {len(values)} values in rows of {index.width}: {_excerpt(line)}")
    return values


def parse_rows(line: bytes, index: Index, codec: Codec) -> list[list[Any]]:
    """The rows of a find's success, each a list of values."""
    return in_rows(parse_values(line, index, codec), index.width)


def in_rows(values: list[T], width: int) -> list[list[T]]:
    """What lies flat, in rows of ``width``."""
    return [values[start : start + width] for start in range(0, len(values), width)]


def all_succeeded(lines: Sequence[bytes]) -> bool:
    """Whether every one of the answers is a success; quick for many."""
    if len(lines) == 1:
        return lines[0].startswith(b"0\t")
    answers = b"\n".join(lines)
    return answers.startswith(b"0\t") and answers.count(b"\n0\t") == len(lines) - 1


def parse_each(lines: Sequence[bytes], index: Index, codec: Codec) -> list[list[Any]]:
    """``parse_values`` of each. One decoding for all of them where they are plain text."""
    text = codec.plain_text(b"\n".join(lines)) if len(lines) >= BULK else None
    if text is None:
        return [parse_values(line, index, codec) for line in lines]
    # 0, columns, and the values of one row.
    length, width = index.width + 2, str(index.width)
    return [
        tokens[2:] if len(tokens) == length and tokens[1] == width and tokens[0] == "0" else parse_values(line, index, codec)
        for line, tokens in zip(lines, [answer.split("\t") for answer in text.split("\n")], strict=True)
    ]


def parse_number(line: bytes) -> int:
    """The number that a modification's success carries (rows), or an insert's (generated id; 0 without one)."""
    if line == b"0\t1":
        return 0
    if line == b"0\t1\t1":
        return 1
    columns, payload = _payload(line)
    if payload is None:
        return 0
    if columns != 1 or not re.fullmatch(rb"[0-9]{1,20}", payload):
        raise ProtocolError(f"no count in the answer to a write: {_excerpt(line)}")
    return int(payload)
