"""The operations of a scenario, each whole: what its mix says, with what it leaves out filled in from the table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from ._mix import KINDS, Decr, Find, FindOperation, Get, GetMany, Incr, Keys, Operation, Update
from ._table import DRILL_COLUMNS, TableSpec

if TYPE_CHECKING:
    from ._model import Scenario

__all__ = ["OperationSpec", "operation_words", "operations_of"]

Kind = Literal["get", "find", "get_many", "insert", "incr", "decr", "update", "delete"]


@dataclass(frozen=True)
class OperationSpec:
    """One operation that takes part in the load."""

    name: str
    do: Kind
    weight: float
    keys: Keys | None = None
    """Which rows it draws, if not those of the scenario's `keys`."""
    primary: bool = False
    """Whether a read goes to the primary, and not to the readers."""
    columns: tuple[str, ...] = ()
    """What a read returns."""
    index: str | None = None
    """Of a find; None is the primary key."""
    operation: FindOperation = ">="
    """Of a find."""
    by: tuple[str, ...] = ()
    """Of a find: the first columns of the index, which it compares."""
    limit: int = 0
    """Of a find."""
    count: int = 0
    """Of a get_many."""
    column: str = ""
    """Of an incr or decr: its counter."""
    step: int = 0
    """Of an incr or decr."""
    set: tuple[str, ...] = ()
    """Of an update: the columns that it writes."""


def operation_words(name: str) -> tuple[str, str]:
    """One operation of this name, and several; `all` stands for any."""
    one = "operation" if name == "all" else name if name in KINDS else f"{name} operation"
    return one, f"{one}s"


def operations_of(scenario: Scenario) -> tuple[OperationSpec, ...]:
    """The operations with a weight above 0; none without a mix."""
    if scenario.mix is None:
        return ()
    return tuple(_whole(name, operation, scenario.table) for name, operation in scenario.mix.operations().items())


def _whole(name: str, operation: Operation, table: TableSpec) -> OperationSpec:
    every = tuple(table.columns) if table.declared else DRILL_COLUMNS
    spec = OperationSpec(name, operation.do, operation.weight, getattr(operation, "keys", None))
    if isinstance(operation, Get | Find | GetMany):
        spec = replace(spec, primary=operation.from_ == "primary")
    match operation:
        case Get():
            return replace(spec, columns=tuple(operation.columns or every))
        case GetMany():
            return replace(spec, columns=tuple(operation.columns or every), count=operation.count)
        case Find():
            index, parts = _index(operation, table)
            return replace(
                spec,
                columns=tuple(operation.columns or every),
                index=index,
                operation=operation.operation or ">=",
                by=tuple(operation.by or parts),
                limit=operation.limit,
            )
        case Incr() | Decr():
            return replace(spec, column=operation.column or ("" if table.declared else "n"), step=operation.step)
        case Update():
            return replace(spec, set=tuple(operation.set or ([] if table.declared else ["payload"])))
    return spec


def _index(operation: Find, table: TableSpec) -> tuple[str | None, Sequence[str]]:
    """The index of a find, None for the primary key, and its columns. None are known of one that the table does not have."""
    if not table.declared:
        return "grp", ["grp", "id"]
    if operation.index in (None, "PRIMARY"):
        return None, table.primary
    return operation.index, table.indexes.get(operation.index, [])
