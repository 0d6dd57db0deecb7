"""Columns that MariaDB's FEDERATED engine gets wrong, so that a run must not write to them through a twin.

Measured on 10.11: see docs/replication.md. The engine sends an update or delete with the old value of every column in its
WHERE, as text in the character set of the table. A row with a value that is not equal to its own text is not found: the write
is acknowledged, and changes nothing.

Of a BLOB, TEXT or JSON that an update sets, the WHERE has the new value: HandlerSocket's copy of the old row points to the
same bytes, which the new value overwrites.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from . import _values as values
from ._base import PlacedError
from ._columns import ColumnSpec
from ._sql_types import column_of

if TYPE_CHECKING:
    from trio_hs import Column

    from ._model import Scenario

__all__ = ["mistakes_through_twin"]

SAME_BYTES = (None, "utf8mb4", "utf8", "utf8mb3", "ascii")
"""Character sets that mean the same bytes in a table of utf8mb4."""
WIDE = ("ucs2", "utf16", "utf16le", "utf32")
"""Character sets in which even ASCII has other bytes."""
CHANGES = ("update", "incr", "decr", "delete")


def mistakes_through_twin(scenario: Scenario) -> Iterator[PlacedError]:
    """The columns through which the mix would lose writes in the write-through topology."""
    writes = {operation.do for operation in scenario.operations if operation.do in ("insert", *CHANGES)}
    cluster = scenario.cluster
    if cluster.topology != "write-through" or cluster.kind == "embedded" or scenario.driver.name == "sql" or not writes:
        return
    changes = bool(writes & {*CHANGES})
    for name, spec in scenario.table.columns.items():
        setters = [operation.name for operation in scenario.operations if operation.do == "update" and name in operation.set]
        if spec.type and (wrong := _wrong(spec, column_of(name, spec.type, spec.is_nullable), changes, setters)):
            yield PlacedError(("table", "columns", name, "type"), f"{wrong}, or say cluster.topology: plain, or driver: sql")


def _wrong(spec: ColumnSpec, column: Column, changes: bool, setters: list[str]) -> str:
    if setters and (column.is_blob or column.type == "json"):
        short = "varbinary" if column.type.endswith("blob") else "varchar"
        return (
            f"cannot be {column.type} in the write-through topology, where {setters[0]} sets it and such updates are lost: "
            f"make it a {short}, leave it out of `set`"
        )
    if changes and column.type == "float":
        return "cannot be float in the write-through topology, where updates of such rows are lost: make it a double"
    if changes and column.type == "bit":
        return "cannot be bit in the write-through topology, where updates of such rows are refused: make it an int unsigned"
    if column.charset in WIDE or (column.charset not in SAME_BYTES and not _is_ascii(spec)):
        return (
            f"cannot be text in {column.charset} in the write-through topology, where writes of such rows are refused or lost: "
            "make it utf8mb4"
        )
    return ""


def _is_ascii(spec: ColumnSpec) -> bool:
    """Whether all values are ASCII, as far as the scenario says."""
    match spec.values:
        case values.Constant():
            return str(spec.values.constant).isascii()
        case values.Choice():
            return all(one.isascii() for one in spec.values.choice)
        case values.Lines():
            return (spec.values.content or "").isascii()
        case values.Text():
            return (spec.values.text.alphabet or "").isascii()
    return True
