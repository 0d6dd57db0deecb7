"""The reads of a mix, bound to the client: get, find and get_many."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import trio

import trio_hs
from hs_drill.scenario import OperationSpec
from hs_drill.store import NO_COUNT
from hs_drill.workload import ABSENT, INITIAL, UNSEEN, Observer

from ._binding import AnyTable, Binding, BoundOperation, Call, Intent, Observe
from ._sent_values import bytes_of
from ._sql_table import SqlTable

__all__ = ["bind_read"]


def bind_read(binding: Binding, spec: OperationSpec, code: int, *, latest: bool, may_be_empty: bool) -> BoundOperation:
    """`latest`: what is drawn is how many rows are younger than the one to read."""
    call, observe = _KINDS[spec.do](binding, spec)
    if not latest:
        return BoundOperation(call, code, observe, may_be_empty)
    number_of = binding.newest.number

    def call_latest(younger: Any, intent: Intent) -> Awaitable[Any]:
        intent.key = number = number_of(younger) if isinstance(younger, int) else [number_of(age) for age in younger]
        return call(number, intent)

    # What the run inserts reaches a replica later, and may be deleted.
    return BoundOperation(call_latest, code, observe, may_be_empty=True)


def _get(binding: Binding, spec: OperationSpec) -> tuple[Call, Observe]:
    table, keys = binding.table(spec.columns), binding.keys
    observe = _observe_one(binding.rows.observer(spec.columns))
    if keys is None:
        return lambda number, _: table.get(number), observe
    if len(binding.rows.primary) == 1:
        return lambda number, _: table.get(keys(number)[0]), observe

    async def get(number: int, _: Intent) -> Any:
        found = await table.find("=", keys(number))
        return found[0] if found else found

    return get, observe


def _find(binding: Binding, spec: OperationSpec) -> tuple[Call, Observe]:
    table = binding.table(spec.columns, spec.index)
    values, operation, limit = binding.rows.maker(spec.by, binding.as_), spec.operation, spec.limit
    observer = binding.rows.observer(spec.columns)

    def find(number: int, _: Intent) -> Awaitable[Any]:
        return table.find(operation, values(number, INITIAL), limit=limit)

    def observe(number: int, rows: list[trio_hs.Row]) -> tuple[int, int, int]:
        # The first row represents all. An empty answer says nothing about any single row.
        if not rows:
            return number, UNSEEN, NO_COUNT
        return observer(None, bytes_of(rows[0]))

    return find, observe


def _get_many(binding: Binding, spec: OperationSpec) -> tuple[Call, Observe]:
    table, keys = binding.table(spec.columns), binding.keys
    observe_one = _observe_one(binding.rows.observer(spec.columns))

    async def by_number(numbers: Sequence[int], _: Intent) -> _Found:
        return _Found(await table.get_many(numbers))

    async def by_first_column(numbers: Sequence[int], _: Intent) -> _Found:
        assert keys is not None
        return _Found(await table.get_many([keys(number)[0] for number in numbers]))

    async def by_whole_key(numbers: Sequence[int], _: Intent) -> _Found:
        assert keys is not None
        return _Found(await _find_each(table, [keys(number) for number in numbers]))

    def observe(numbers: Sequence[int], found: Sequence[trio_hs.Row]) -> tuple[int, int, int]:
        # The first missing row represents all; if none is missing, the first row does.
        at = next((at for at, row in enumerate(found) if not row), 0)
        return observe_one(numbers[at], found[at])

    if keys is None:
        return by_number, observe
    return (by_first_column if binding.first_is_unique else by_whole_key), observe


_KINDS: dict[str, Callable[[Binding, OperationSpec], tuple[Call, Observe]]] = {
    "get": _get,
    "find": _find,
    "get_many": _get_many,
}


class _Found(list[Any]):
    """The rows of a `get_many`; true if none is missing."""

    def __bool__(self) -> bool:
        return all(self)


def _observe_one(observer: Observer) -> Observe:
    def observe(number: int, row: trio_hs.Row) -> tuple[int, int, int]:
        return observer(number, bytes_of(row)) if row else (number, ABSENT, NO_COUNT)

    return observe


async def _find_each(table: AnyTable, keys: Sequence[list[Any]]) -> list[trio_hs.Row]:
    """The row for each key of several columns, `[]` without one. HandlerSocket has no request for many such keys, so they go
    out as requests of their own, together."""
    if isinstance(table, SqlTable):
        return await table.find_each(keys)
    found: list[trio_hs.Row] = [[]] * len(keys)
    errors: list[trio_hs.HandlerSocketError] = []

    async def find(at: int, key: list[Any]) -> None:
        try:
            found[at] = next(iter(await table.find("=", key)), [])
        except trio_hs.HandlerSocketError as error:
            errors.append(error)

    async with trio.open_nursery() as nursery:
        for at, key in enumerate(keys):
            nursery.start_soon(find, at, key)
    if errors:
        raise errors[0]
    return found
