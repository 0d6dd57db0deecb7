"""The operations of a scenario, each whole: what its mix says, with what it leaves out filled in from the table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ._mix import KINDS, Find, FindOperation, Keys, Operation
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
    """The operations with a weight above 0."""
    return tuple(_whole(name, operation, scenario.table) for name, operation in scenario.mix.operations().items())


def _whole(name: str, operation: Operation, table: TableSpec) -> OperationSpec:
    every = tuple(table.columns) if table.declared else DRILL_COLUMNS
    asked = getattr(operation, "columns", None)
    reads = operation.do in ("get", "find", "get_many")
    index = by = None
    if isinstance(operation, Find):
        index = None if operation.index == "PRIMARY" else operation.index if table.declared else "grp"
        of_index = table.indexes.get(index, []) if index else table.primary
        by = operation.by or (of_index if table.declared else ["grp", "id"])
    return OperationSpec(
        name=name,
        do=operation.do,
        weight=operation.weight,
        keys=getattr(operation, "keys", None),
        columns=(tuple(asked) if asked else every) if reads else (),
        index=index,
        operation=getattr(operation, "operation", None) or ">=",
        by=tuple(by or ()),
        limit=getattr(operation, "limit", 0),
        count=getattr(operation, "count", 0),
        column=getattr(operation, "column", None) or ("n" if operation.do in ("incr", "decr") and not table.declared else ""),
        step=getattr(operation, "step", 0),
        set=tuple(getattr(operation, "set", None) or (["payload"] if operation.do == "update" and not table.declared else [])),
    )
