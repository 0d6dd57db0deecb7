"""The writes of a mix, bound to the client: insert, incr, decr, update and delete."""

from __future__ import annotations

from collections.abc import Awaitable, Iterator
from typing import Any

import trio_hs
from hs_drill.scenario import OperationSpec

from ._binding import Binding, BoundOperation, Intent

__all__ = ["bind_delete", "bind_insert", "bind_step", "bind_update"]


def bind_insert(binding: Binding, code: int, numbers: Iterator[int], versions: Iterator[int]) -> BoundOperation:
    """`numbers` are those of the rows to insert."""
    rows = binding.rows
    insert_row, make = binding.table(rows.columns).insert, rows.maker(rows.columns, binding.as_)
    newest, inserted = binding.newest, binding.inserted

    async def insert(_: int, intent: Intent) -> bool:
        intent.key = number = next(numbers)
        intent.value = version = next(versions)
        await insert_row(make(number, version))
        newest.add(number)
        inserted.append(number)
        return True

    return BoundOperation(insert, code)


def bind_update(binding: Binding, spec: OperationSpec, code: int, versions: Iterator[int]) -> BoundOperation:
    table, keys, make = binding.table(spec.set), binding.keys, binding.rows.maker(spec.set, binding.as_)

    def update(number: int, intent: Intent) -> Awaitable[Any]:
        intent.value = version = next(versions)
        return table.update("=", [number] if keys is None else keys(number), make(number, version))

    return BoundOperation(update, code)


def bind_step(binding: Binding, spec: OperationSpec, code: int) -> BoundOperation:
    """An incr or a decr."""
    table, keys, step, steps = binding.table([spec.column]), binding.keys, spec.step, [spec.step]
    declared = binding.rows.columns_declared
    # The server acknowledges a decrement of an unsigned 0, and leaves it (measured). A counter below the step is not found.
    unsigned = declared is not None and declared.column(spec.column).unsigned
    filters = [trio_hs.Filter(spec.column, ">=", step)] if unsigned else ()

    def incr(number: int, intent: Intent) -> Awaitable[Any]:
        intent.value = step
        return table.incr("=", [number] if keys is None else keys(number), steps)

    async def decr(number: int, intent: Intent) -> bool:
        intent.value = step
        if not await table.decr("=", [number] if keys is None else keys(number), steps, filters=filters):
            # A counter that would change its sign stays as it is, and the server counts 0 rows. That is not a failure.
            intent.value = 0
        return True

    return BoundOperation(incr if spec.do == "incr" else decr, code)


def bind_delete(binding: Binding, code: int, instead: BoundOperation) -> BoundOperation:
    """Deletes rows that this engine has inserted. `instead`: an insert, for when there is none left."""
    table, keys, inserted = binding.table(binding.rows.primary), binding.keys, binding.inserted

    def delete(_: int, intent: Intent) -> Awaitable[Any]:
        if not inserted:  # rare, for inserts have at least the weight of deletes
            intent.operation = instead.code
            return instead.call(0, intent)
        intent.key = number = inserted.popleft()
        return table.delete("=", [number] if keys is None else keys(number))

    return BoundOperation(delete, code)
