"""Random operations, each made from one seed alone, and how the client and the model execute them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from tests.trio_hs.support.differential_columns import Binary, Integer
from tests.trio_hs.support.differential_model import DATABASE, SCHEMAS, Refused, Schema, Search, Table
from trio_hs import (
    Filter,
    FilterOperation,
    FindOperation,
    HandlerSocketError,
    Manager,
    OperationalError,
    ReadSocket,
    WriteSocket,
)

#: Rows, a count, an id, or the code and name of a refusal: comparable between client and model.
Answer: TypeAlias = Any

KINDS = {
    "insert": 20, "insert_many": 5, "get": 6, "get_many": 5, "find": 30, "update": 10, "delete": 8, "incr": 8, "decr": 8,
}  # fmt: skip
MODIFICATIONS = {"update": "U", "delete": "D", "incr": "+", "decr": "-"}


@dataclass(frozen=True)
class Operation:
    """One call. ``rows`` are those of an insert or the keys of a ``get``; ``changes`` the new values or the steps."""

    kind: str
    via: str
    text: bool
    schema: Schema
    fields: tuple[str, ...]
    search: Search | None = None
    rows: tuple[tuple[Any, ...], ...] = ()
    changes: tuple[Any, ...] = ()
    original: bool = False


@dataclass
class Clients:
    """Everything that can execute an operation; ``[text]`` is the variant that gives values as str."""

    managers: dict[bool, Manager]
    readers: dict[bool, ReadSocket]
    writers: dict[bool, WriteSocket]


# ---- making


def make(seed: int) -> Operation:
    """The operation of this number. It knows nothing of the others, so a failing sequence stays one when some are left out."""
    rng = random.Random(seed)
    schema = rng.choices(SCHEMAS, [5, 3, 2])[0]
    kind = rng.choices(list(KINDS), list(KINDS.values()))[0]
    names = [name for name, column in schema.columns.items() if not isinstance(column, Binary)]
    text = rng.random() < 0.4
    if not text:
        names = list(schema.columns)
    via = rng.choice(["manager", "table", "socket"])
    if kind in ("insert", "insert_many"):
        return _make_insert(rng, kind, via, text, schema)
    if kind in ("get", "get_many"):
        first = schema.columns[schema.primary.parts[0][0]]
        count = 1 if kind == "get" else rng.choice((rng.randint(0, 6), rng.randint(16, 30)))
        # Many keys of few distinct values, mostly without NULL, often all exist: then the client asks by IN.
        drawn = [first.draw_or_null(rng) if rng.random() < 0.1 else first.draw(rng) for _ in range(rng.randint(1, 6))]
        keys = tuple((rng.choice(drawn),) for _ in range(count))
        return Operation(kind, rng.choice(["manager", "table"]), text, schema, _some(rng, names), rows=keys)
    search = _make_search(rng, schema)
    if kind == "find":
        return Operation(kind, via, text, schema, _some(rng, names), search)
    if search.in_ is None and (search.limit > 1 or search.offset):
        # Rows whose key changes during the search are found again (docs/server.md), so change other columns only.
        forbidden = {name for key in (search.key, schema.primary) for name, _ in key.parts}
        names = [name for name in names if name not in forbidden]
    if kind in ("incr", "decr"):
        names = [name for name in names if isinstance(schema.columns[name], Integer)]
    names = [name for name in names if name != schema.generated]
    if not names:
        return Operation("find", via, text, schema, _some(rng, list(schema.columns)[:1]), search)
    fields = _some(rng, names)
    changes: tuple[Any, ...] = ()
    if kind == "update":
        changes = tuple(schema.columns[name].draw_or_null(rng) for name in fields)
    elif kind != "delete":
        changes = tuple(rng.choice([1, 1, 1, 2, 5, -1, -3, 1000, 0, None]) for _ in fields)
    return Operation(kind, via, text, schema, fields, search, changes=changes, original=rng.random() < 0.5)


def _some(rng: random.Random, names: Sequence[str]) -> tuple[str, ...]:
    return tuple(rng.sample(names, rng.randint(1, min(len(names), 5))))


def _make_insert(rng: random.Random, kind: str, via: str, text: bool, schema: Schema) -> Operation:
    # Mostly every column; sometimes the server fills some in.
    names = list(schema.columns)
    fields = _some(rng, names) if rng.random() < 0.1 else tuple(rng.sample(names, len(names)))
    if schema.generated is not None and rng.random() < 0.6:
        fields = tuple(name for name in fields if name != schema.generated) or ("n",)
    count = 1 if kind == "insert" else rng.randint(0, 5)
    rows = tuple(tuple(schema.columns[name].draw_or_null(rng) for name in fields) for _ in range(count))
    if kind == "insert_many":
        via = rng.choice(["manager", "table"])
    return Operation(kind, via, text, schema, fields, rows=rows)


def _make_search(rng: random.Random, schema: Schema) -> Search:
    key = rng.choice(schema.keys)
    columns = [schema.columns[name] for name, _ in key.parts]
    count = rng.randint(1, len(columns))
    values = [column.draw_or_null(rng) for column in columns[:count]]
    operation: FindOperation = rng.choice(["=", "=", ">", ">=", "<", "<="])
    limit, offset = rng.choice([0, 0, 1, 2, 5, 100]), rng.choice([0, 0, 0, 0, 1, 2])
    in_ = None
    if rng.random() < 0.2:
        position = rng.randrange(count)
        choices = tuple(_not_null(rng, columns[position]) for _ in range(rng.randint(1, 5)))
        in_ = (position, choices)
        if position == count - 1 and rng.random() < 0.5:
            values.pop()  # the client fills it in
    elif rng.random() < 0.01:
        values = [columns[0].draw_or_null(rng)] * (len(columns) + 1)
    filters = []
    for _ in range(rng.choice([0, 0, 0, 1, 1, 2])):
        column = rng.choice(list(schema.columns.values()))
        comparison: FilterOperation = rng.choice(["=", "!=", ">", ">=", "<", "<="])
        filters.append(Filter(column.name, comparison, column.draw_or_null(rng), rng.random() < 0.3))
    return Search(key, operation, tuple(values), limit, offset, in_, tuple(filters))


def _not_null(rng: random.Random, column: Any) -> Any:
    while (value := column.draw(rng)) is None:
        pass
    return value


# ---- the model's answer


def expect(operation: Operation, table: Table, answer: Answer) -> Answer:
    """What the answer should be. ``answer`` is consulted only for the ids that the server generated."""
    try:
        return _expect(operation, table, answer)
    except Refused as refusal:
        return refusal.args


def _expect(operation: Operation, table: Table, answer: Answer) -> Answer:
    def values(rows: Sequence[Any]) -> list[list[Any]]:
        return [[row[name] for name in operation.fields] for row in rows]

    search = operation.search
    if search is None:
        if operation.kind in ("get", "get_many"):
            found = [list(table.find(Search(operation.schema.primary, "=", key))) for key in operation.rows]
            return [values(rows) for rows in found]
        outcomes: list[Any] = []
        for position, row in enumerate(operation.rows):
            told = answer[position] if len(answer) == len(operation.rows) else None
            try:
                outcomes.append(
                    table.insert(dict(zip(operation.fields, row, strict=True)), told if isinstance(told, int) else None)
                )
            except Refused as refusal:
                outcomes.append(refusal.args)
        return outcomes
    changes = dict(zip(operation.fields, operation.changes, strict=False))
    if operation.kind == "find":
        return values(list(table.find(search)))
    if operation.kind in ("incr", "decr"):
        count, before = table.add(search, 1 if operation.kind == "incr" else -1, changes)
        return values(before) if operation.original else count
    before = table.update(search, changes) if operation.kind == "update" else table.delete(search)
    return values(before) if operation.original else len(before)


# ---- the client's answer


async def carry_out(operation: Operation, clients: Clients) -> Answer:
    try:
        return await (_by_socket if operation.via == "socket" else _by_manager)(operation, clients)
    except OperationalError as error:
        return [_refusal(error)] if operation.kind == "insert" else _refusal(error)


def _refusal(error: HandlerSocketError) -> Answer:
    assert isinstance(error, OperationalError), error
    return (error.code, error.message)


def _bytes(value: Any) -> Any:
    return value.encode() if isinstance(value, str) else value


async def _by_manager(operation: Operation, clients: Clients) -> Answer:
    hs = clients.managers[operation.text]
    fields, search, table = operation.fields, operation.search, operation.schema.name
    place = (DATABASE, table)

    def rows(found: Sequence[Any]) -> list[list[Any]]:
        for row in found:
            assert tuple(name for name, _ in row) == fields
        return [[_bytes(value) for _, value in row] for row in found]

    handle = hs.table(DATABASE, table, fields, search.key.name if search else None)
    if search is None:
        fast = operation.via == "table"
        if operation.kind == "get":
            key = operation.rows[0][0]
            row = await (handle.get(key) if fast else hs.get(*place, fields, key))
            return [rows([row]) if row else []]
        if operation.kind == "get_many":
            keys = [key for (key,) in operation.rows]
            several = await (handle.get_many(keys) if fast else hs.get_many(*place, fields, keys))
            return [rows([row]) if row else [] for row in several]
        if operation.kind == "insert":
            values = operation.rows[0]
            pairs = list(zip(fields, values, strict=True))
            return [await (handle.insert(values) if fast else hs.insert(*place, pairs))]
        outcomes = await (handle.insert_many(operation.rows) if fast else hs.insert_many(*place, fields, operation.rows))
        return [_refusal(outcome) if isinstance(outcome, HandlerSocketError) else outcome for outcome in outcomes]
    options: dict[str, Any] = {"limit": search.limit, "offset": search.offset, "in_": search.in_, "filters": search.filters}
    arguments: tuple[Any, ...] = (search.operation, search.values)
    if operation.kind != "find":
        options["return_original"] = operation.original
    if operation.kind not in ("find", "delete"):
        arguments = (*arguments, operation.changes)
    if operation.via == "table":
        answer = await getattr(handle, operation.kind)(*arguments, **options)
    else:
        arguments = (search.operation, fields, *arguments[1:])
        answer = await getattr(hs, operation.kind)(*place, *arguments, index_name=search.key.name, **options)
    if isinstance(answer, int):
        return answer
    if operation.kind in ("incr", "decr"):
        flat = [_bytes(value) for value in answer]
        return [flat[start : start + len(fields)] for start in range(0, len(flat), len(fields))]
    return rows(answer)


async def _by_socket(operation: Operation, clients: Clients) -> Answer:
    writer, search, fields = clients.writers[operation.text], operation.search, operation.fields
    # A find is served on both listeners.
    socket = clients.readers[operation.text] if operation.kind == "find" and len(fields) % 2 else writer
    names = tuple(dict.fromkeys(str(condition.column) for condition in search.filters)) if search else ()
    number = await socket.get_index_id(DATABASE, operation.schema.name, fields, search.key.name if search else None, names)
    if search is None:
        return [await writer.insert(number, operation.rows[0])]
    options: dict[str, Any] = {"limit": search.limit, "offset": search.offset, "in_": search.in_, "filters": search.filters}
    if operation.kind == "find":
        answer: Any = await socket.find(number, search.operation, search.values, **options)
    else:
        modification: Any = MODIFICATIONS[operation.kind] + ("?" if operation.original else "")
        answer = await writer.find_modify(number, search.operation, search.values, modification, operation.changes, **options)
    return answer if isinstance(answer, int) else [[_bytes(value) for value in row] for row in answer]
