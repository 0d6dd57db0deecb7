"""The server's side of the protocol, without I/O: a session takes the requests of one connection and returns the answers.

What looks careless here is what the server does: missing tokens are empty, numbers skip characters that are not digits, and the
order of the checks decides which error a wrong request gets. docs/server.md says what that means for a client.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from .._protocol import escape
from ._table import WRONG_COMMAND, Change, Database, EngineError, Entry, Index, Row, StoredTable
from ._types import Value, wrap

_DIGITS = re.compile(rb"[^0-9]+")
_ADDEND = re.compile(rb"([+-]?)([0-9]*)")
_WORD = 1 << 32

#: The server refuses more key values in a request.
MAX_VALUES = 32
#: Ids above this one make the server allocate gigabytes or crash. Clients must not use them.
MAX_INDEX_ID = 1_000_000

_BACKWARDS = ("<", "<=")
#: ``S`` was meant for SQL, and was never implemented.
_OPERATIONS = frozenset((b"=", b">", b">=", b"<", b"<=", b"+", b"S"))


class _Refused(Exception):
    """A request that is answered with an error."""

    def __init__(self, code: int, message: str) -> None:
        self.answer = b"%d\t1\t%b\n" % (code, message.encode())


def _number(token: bytes) -> int:
    """A number in a request: its digits, modulo 2**32."""
    return int(token) % _WORD if token.isdigit() and len(token) < 12 else int(_DIGITS.sub(b"", token)[-4000:] or b"0") % _WORD


def _value(token: bytes) -> bytes | None:
    return None if token == b"\0" else _unescape(token)


def _unescape(token: bytes) -> bytes:
    """The bytes that a token stands for, up to the first wrong escape."""
    if b"\1" not in token:
        return token
    out = bytearray()
    start = 0
    while (position := token.find(b"\1", start)) >= 0:
        out += token[start:position]
        if position + 1 == len(token) or token[position + 1] < 0x40:
            return bytes(out)
        out.append(token[position + 1] - 0x40)
        start = position + 2
    return bytes(out + token[start:])


def _addend(data: bytes) -> int:
    """The whole number at the start of an increment's value, as a C ``long long``."""
    match = _ADDEND.match(data)
    assert match is not None
    number = int(match[2][-40:] or b"0")
    return wrap(-number if match[1] == b"-" else number)


@dataclass(frozen=True, slots=True)
class _Statement:
    """An open index: the table and columns that requests on its id use."""

    table: StoredTable
    index: Index
    fields: tuple[int, ...]
    filter_fields: tuple[int, ...]
    tokens: tuple[tuple[int, Callable[[Any], bytes]], ...]
    federated: bool
    """Whether it was opened under the name of a twin."""

    def row_tokens(self, row: Row, out: list[bytes]) -> None:
        """Appends the tokens of a row to an answer."""
        for position, token in self.tokens:
            value = row[position]
            out.append(b"\0" if value is None else token(value))


class _Condition(NamedTuple):
    """A filter on the rows found."""

    stops: bool
    operation: bytes
    position: int
    key: Callable[[Any], Any]
    wanted: Any  # None for NULL

    def holds(self, row: Row) -> bool:
        value = row[self.position]
        if value is None or self.wanted is None:
            order = (value is not None) - (self.wanted is not None)
        else:
            key = self.key(value)
            order = (key > self.wanted) - (key < self.wanted)
        operation = self.operation
        if len(operation) == 1:
            return {b">": order > 0, b"<": order < 0, b"=": order == 0}.get(operation, False)
        if len(operation) == 2 and operation[1:] == b"=":
            return {b">=": order >= 0, b"<=": order <= 0, b"!=": order != 0}.get(operation, False)
        return True


class _Search(NamedTuple):
    """A request on an open index, parsed."""

    operation: bytes
    values: list[bytes | None]
    limit: int
    skip: int
    in_part: int
    in_values: list[bytes]
    conditions: list[_Condition]
    modification: bytes
    new_values: list[bytes | None]


class Session:
    """The state of one connection: its authentication and its open indexes.

    ``writable`` says whether it is on the listener for writes. ``secret`` is the secret of its listener, None if that has none.
    """

    def __init__(self, database: Database, *, writable: bool, secret: bytes | None) -> None:
        self._database = database
        self._writable = writable
        self._secret = secret
        self._authorized = secret is None
        self._statements: dict[int, _Statement] = {}

    def execute(self, line: bytes) -> bytes:
        """The answer to one request, without committing. ``line`` comes without its LF."""
        if line.endswith(b"\r"):
            line = line[:-1]
        tokens = line.split(b"\t")
        command = tokens[0]
        try:
            if command == b"A":
                return self._authorize(tokens)
            if command == b"P":
                self._require_authorization()
                return self._open_index(tokens)
            if b"0" <= command[:1] <= b"9":
                self._require_authorization()
                return self._on_index(tokens)
            raise _Refused(2, "cmd")
        except _Refused as refusal:
            return refusal.answer
        except EngineError as error:
            return b"1\t1\t%d\n" % error.code

    # ---- authentication

    def _require_authorization(self) -> None:
        if not self._authorized:
            raise _Refused(3, "unauth")

    def _authorize(self, tokens: list[bytes]) -> bytes:
        kind, secret = (*tokens[1:3], b"", b"")[:2]
        if kind != b"1":
            raise _Refused(3, "authtype")
        right = secret == escape(self._secret or b"")
        # A listener without a secret needs no authentication, but still refuses a wrong secret.
        self._authorized = right or self._secret is None
        if not right:
            raise _Refused(3, "unauth")
        return b"0\t1\n"

    # ---- open_index

    def _open_index(self, tokens: list[bytes]) -> bytes:
        number, database, name, index_name, fields, filter_fields = (*tokens[1:7], *[b""] * 6)[:6]
        twin_of = self._database.twins.get(_text(database))
        table = self._database.tables.get((twin_of or _text(database), _text(name)))
        if table is None:
            raise _Refused(1, "open_table")
        index = _find_index(table, index_name.partition(b"\0")[0])
        statement = _Statement(
            table,
            index,
            columns := _find_columns(table, fields),
            _find_columns(table, filter_fields),
            tuple((position, table.columns[position].type.token) for position in columns),
            twin_of is not None,
        )
        slot = _number(number)
        if slot > MAX_INDEX_ID:
            raise _Refused(2, "stmtnum")
        self._statements[slot] = statement
        return b"0\t1\n"

    # ---- requests on an open index

    def _on_index(self, tokens: list[bytes]) -> bytes:
        statement = self._statements.get(_number(tokens[0]))
        count = _number(tokens[2]) if len(tokens) > 2 else 0
        operation = tokens[1] if len(tokens) > 1 else b""
        if statement is None:
            raise _Refused(2, "stmtnum")
        if count > MAX_VALUES:
            raise _Refused(2, "fldnum")
        values = [_value(token) for token in tokens[3 : 3 + count]]
        values += [b""] * (count - len(values))
        rest = tokens[3 + count :]
        if operation not in _OPERATIONS:
            raise _Refused(2, "op")
        if not values:
            raise _Refused(2, "klen")
        if operation == b"S":
            raise _Refused(2, "notimpl")
        if operation == b"+":
            return self._insert(statement, values)
        return self._find(statement, _parse_search(statement, operation, values, rest))

    def _require_lock(self) -> None:
        """The listener for writes locks the tables for every request. A read-only server refuses that."""
        if self._writable and self._database.read_only:
            raise _Refused(1, "lock_tables")

    def _insert(self, statement: _Statement, values: list[bytes | None]) -> bytes:
        if not self._writable:
            raise _Refused(2, "readonly")
        self._require_lock()
        table = statement.table
        row = list(table.initial)
        # A field without a value keeps its default. A value without a field is ignored.
        for position, data in zip(statement.fields, values, strict=False):
            column = table.columns[position]
            if data is not None:
                row[position] = column.type.store(data)
            elif column.nullable:
                row[position] = None
        stored, generated = table.insert(row)
        self._database.uncommitted.append(Change(table.name, None, stored))
        if table.automatic is None:
            return b"0\t1\n"
        return b"0\t1\t%d\n" % (0 if statement.federated else generated)

    def _find(self, statement: _Statement, search: _Search) -> bytes:
        modification = search.modification
        if modification:
            if not self._writable:
                raise _Refused(2, "readonly")
            if modification[:1] not in (b"U", b"D", b"+", b"-"):
                raise _Refused(2, "modop")
        self._require_lock()
        if len(search.values) > len(statement.index.parts):
            raise _Refused(2, "kpnum")
        with_rows = not modification or modification[1:2] == b"?"
        answer = [b"0", b"%d" % len(statement.fields)]
        modified = 0
        for row in _rows(statement, search):
            if with_rows:
                statement.row_tokens(row, answer)
            if modification:
                modified += self._modify(statement, row, modification[:1], search.new_values)
        if with_rows:
            return b"\t".join(answer) + b"\n"
        return b"0\t1\t%d\n" % modified

    def _modify(self, statement: _Statement, row: Row, operation: bytes, values: Sequence[bytes | None]) -> bool:
        """Changes a row. Returns False if a decrement would change the sign of a field, and leaves the row as it is then."""
        table = statement.table
        if operation == b"D":
            table.delete(row)
            self._database.uncommitted.append(Change(table.name, row, None))
            return True
        change = _updated if operation == b"U" else _counted
        after = change(statement, row, values, 1 if operation == b"+" else -1)
        if after is None:
            return False
        if after != row:
            table.update(row, after)
            self._database.uncommitted.append(Change(table.name, row, after))
        return True


def _text(name: bytes) -> str:
    return name.partition(b"\0")[0].decode("utf-8", "backslashreplace")


def _find_index(table: StoredTable, name: bytes) -> Index:
    if b"0" <= name[:1] <= b"9":
        digits = re.match(rb"[0-9]{1,9}", name)
        assert digits is not None
        number = int(digits[0])
        if number < len(table.indexes):
            return table.indexes[number]
    wanted = _text(name) or "PRIMARY"
    for index in table.indexes:
        if index.name == wanted and not name[:1].isdigit():
            return index
    raise _Refused(2, "idxnum")


def _find_columns(table: StoredTable, names: bytes) -> tuple[int, ...]:
    text = _text(names)
    try:
        return tuple(table.positions[name] for name in text.split(",")) if text else ()
    except KeyError:
        raise _Refused(2, "fld") from None


def _parse_search(statement: _Statement, operation: bytes, values: list[bytes | None], rest: list[bytes]) -> _Search:
    """Parses what follows the key: limit, offset, IN list, filters, modification."""
    limit = _number(rest[0]) if rest else 0
    skip = _number(rest[1]) if len(rest) > 1 else 0
    at = 2
    in_part, in_values = -1, []
    if rest[at : at + 1] and rest[at][:1] == b"@":
        in_part = _number(rest[at + 1]) if len(rest) > at + 1 else 0
        count = _number(rest[at + 2]) if len(rest) > at + 2 else 0
        if count == 0:
            raise _Refused(2, "invalueslen")
        in_values = [_unescape(token) for token in rest[at + 3 : at + 3 + count]]
        # The server takes the missing values of a list that claims to be longer as empty. Here their number is bounded.
        in_values += [b""] * min(count - len(in_values), 1_000_000)
        at += 3 + count
    conditions = []
    while at < len(rest) and rest[at][:1] in (b"F", b"W"):
        conditions.append(_parse_condition(statement, *(*rest[at : at + 4], b"", b"", b"")[:4]))
        at += 4
    modification = rest[at] if at < len(rest) else b""
    new_values: list[bytes | None] = []
    if modification:
        width = len(statement.fields)
        new_values = [_value(token) for token in rest[at + 1 : at + 1 + width]]
        new_values += [b""] * (width - len(new_values))
    return _Search(operation, values, limit, skip, in_part, in_values, conditions, modification, new_values)


def _parse_condition(statement: _Statement, kind: bytes, operation: bytes, number: bytes, token: bytes) -> _Condition:
    if len(kind) != 1:
        raise _Refused(2, "filtertype")
    offset = _number(number)
    if offset >= len(statement.filter_fields):
        raise _Refused(2, "filterfld")
    position = statement.filter_fields[offset]
    column_type = statement.table.columns[position].type
    data = _value(token)
    if data is not None and column_type.is_blob:
        raise _Refused(2, "filterblob")
    wanted = None if data is None else column_type.key(column_type.store(data))
    return _Condition(kind == b"W", operation, position, column_type.key, wanted)


def _rows(statement: _Statement, search: _Search) -> Any:
    """The rows of a search: after the offset, up to the limit, one for each value of an IN list."""
    index, operation = statement.index, search.operation.decode()
    limit, skip = search.limit or 1, search.skip
    live = bool(search.modification)
    if limit + skip >= _WORD:  # the server adds them in 32 bits
        return
    if search.in_part >= 0:
        found = _in_rows(statement, operation, search)
    elif statement.federated:
        found = _federated_scan(index, operation, index.search_key(search.values))
        found = iter(list(found)) if live and operation not in _BACKWARDS else found
    else:
        found = index.scan(operation, index.search_key(search.values), live)
    given = 0
    for row in found:
        failed = next((condition for condition in search.conditions if not condition.holds(row)), None)
        if failed is not None:
            if failed.stops:
                return
        elif skip:
            skip -= 1
        else:
            given += 1
            yield row
        if given == limit:
            return


def _federated_scan(index: Index, operation: str, key: Entry) -> Iterator[Row]:
    """A search through FEDERATED, as in MariaDB 10.11: it cannot go backwards.

    ``<`` and ``<=`` find the lowest row, not the highest, and no further row.
    """
    if operation not in _BACKWARDS:
        yield from index.scan(operation, key)
        return
    for row in deque(index.scan(operation, key), maxlen=1):
        yield row
        raise EngineError(WRONG_COMMAND)


def _in_rows(statement: _Statement, operation: str, search: _Search) -> Iterator[Row]:
    """The first row for each value of the list. Missing values are skipped; FEDERATED stops at the first of them."""
    index = statement.index
    scan = _federated_scan if statement.federated else Index.scan
    values = list(search.values)
    for value in search.in_values:
        if search.in_part < len(values):
            values[search.in_part] = value
        row = next(scan(index, operation, index.search_key(values)), None)
        if row is not None:
            yield row
        elif statement.federated:
            return


def _updated(statement: _Statement, row: Row, values: Sequence[bytes | None], _sign: int) -> Row:
    after = list(row)
    for position, data in zip(statement.fields, values, strict=True):
        column = statement.table.columns[position]
        if data is not None:
            after[position] = column.type.store(data)
        elif column.nullable:
            after[position] = None
    return tuple(after)


def _counted(statement: _Statement, row: Row, values: Sequence[bytes | None], sign: int) -> Row | None:
    """The row with its numbers incremented or decremented; None if a decrement would change the sign of one of them."""
    after: list[Value] = list(row)
    for position, data in zip(statement.fields, values, strict=True):
        current = after[position]
        if current is None or data is None:
            continue
        column_type = statement.table.columns[position].type
        number = column_type.to_int(current)
        result = wrap(number + sign * _addend(data))
        if sign < 0 and ((number < 0 < result) or (result < 0 < number)):
            return None
        after[position] = column_type.store_int(result)
    return tuple(after)
