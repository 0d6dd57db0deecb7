"""Writes to declared columns: refuses those that would leave wrong data, and encodes what an insert or a step holds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .._protocol import NULL
from ._declaration import Column, Columns


def require_writable(operation: str, columns: Columns, fields: Iterable[Column] | None) -> None:
    """Raises ValueError for a write that would leave wrong data. ``fields`` is what it sets, None for a delete."""
    for name, key in columns.indexes.items():
        for part in key:
            if part.column.generated == "virtual":
                raise ValueError(
                    f"{operation} is refused: index {name} covers the virtual column {part.column.name}, and HandlerSocket "
                    "writes do not keep such an index up; it would lose rows, and later writes would fail with 126"
                )
    if fields is None:
        return
    for column in columns:
        if column.generated == "stored":
            raise ValueError(
                f"{operation} is refused: the server does not compute the stored column {column.name} for HandlerSocket "
                "writes; it would hold wrong data"
            )
    for column in fields:
        if column.generated:
            raise ValueError(f"{operation} is refused: the field {column.name} is generated; take a handle without it to write")


def encode_inserted(column: Column, value: Any) -> bytes:
    """The token of a value to insert. In an auto_increment column NULL and 0 both mean the next number (measured)."""
    if column.auto_increment:
        if value is None:
            return NULL
        if value == 0:
            raise ValueError(
                f"column {column.name} is auto_increment: the server would take 0 for the next number; None asks for that"
            )
    return column.encode(value)


def encode_step(column: Column, step: Any) -> bytes:
    """The token of a number to add or subtract. Raises ValueError for a column that the server cannot add to without loss."""
    kind = f"{column.type}{' unsigned' if column.unsigned else ''}"
    if not column.is_integer or kind == "bigint unsigned":
        raise ValueError(
            f"column {column.name} is a {kind}: the server adds whole numbers in 64 bits with a sign; it would drop the "
            "fraction of any other, and turn 2**63 into 0"
        )
    if not isinstance(step, int):
        raise TypeError(f"the step of column {column.name} must be an int, not {type(step).__name__}")
    if column.unsigned and step < 0:
        raise ValueError(f"column {column.name} is unsigned: add or subtract a step of 0 or more, not {step}")
    return column.encode(step)
