"""Guesses from some of a table's rows how to make values like theirs: the key `values` of each column."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import trio_hs
from hs_drill._sql_text import literal
from hs_drill.scenario import BINARIES

__all__ = ["lengths", "like", "null_share", "some_uuids"]

FEW = 8
"""A text column with at most this many distinct values is a choice among them."""
ENOUGH_ROWS = 50
"""Of fewer rows nothing is said about how many distinct values there are."""
MOST_LETTERS = 200
LONGEST = 16_000
_DEFAULTS: dict[str, tuple[Any, Any]] = {
    "decimal": (0, 1),
    "float": (0, 1),
    "double": (0, 1),
    "bit": (0, 1),
    "year": (2000, 2025),
    "date": ("2024-01-01", "2025-12-31"),
    "datetime": ("2024-01-01 00:00:00", "2025-12-31 00:00:00"),
    "timestamp": ("2024-01-01 00:00:00", "2025-12-31 00:00:00"),
    "time": ("00:00:00", "23:59:59"),
    "inet4": ("192.0.2.1", "192.0.2.254"),
    "inet6": ("2001:db8::1", "2001:db8::ffff"),
    **dict.fromkeys(("tinyint", "smallint", "mediumint", "int", "bigint"), (0, 100)),
}


def null_share(values: Sequence[Any]) -> str | None:
    """The share of NULL as a scenario writes it; None if there is none."""
    share = sum(value is None for value in values) / max(len(values), 1)
    return f"{share * 100:.2g}%" if 0 < share < 1 else None


def like(column: trio_hs.Column, values: Sequence[Any]) -> Any:
    """How to make values like these, as YAML has it; None if all are NULL. `values` may be empty, and have None."""
    found = [value for value in values if value is not None]
    if values and not found:
        return None
    match column.type:
        case "enum":
            seen = Counter(found)
            return {"choice": {member: max(seen[member], 1) for member in column.members}}
        case "set":
            combined = Counter(",".join(sorted(value, key=column.members.index)) for value in found)
            return {"choice": dict(combined.most_common(20)) or {column.members[0]: 1}}
        case "uuid":
            return "uuid"
        case "json":
            return _few(found) or {"choice": [_document(size) for size in _sizes(*lengths([*map(len, found)], 20, 50))]}
    if column.type in _DEFAULTS:
        return {"between": _bounds(column, found)}
    return _text(column, found)


def _bounds(column: trio_hs.Column, found: Sequence[Any]) -> list[Any]:
    if not found or column.type in ("inet4", "inet6"):  # addresses are people's
        return list(_DEFAULTS[column.type])
    low, high = min(found), max(found)
    return [_scalar(low), _scalar(high)]


def _scalar(value: Any) -> Any:
    """A value as a scenario writes it."""
    match value:
        case bool() | int() | float():
            return value
        case Decimal():
            return format(value, "f")
        case datetime() | date() | timedelta():
            return literal(value).strip("'")
    return str(value)


def _few(found: Sequence[Any]) -> dict[str, Any] | None:
    """A choice of these, if there are enough rows to say that there are few values."""
    distinct = Counter(found)
    if len(found) < ENOUGH_ROWS or len(distinct) > FEW or "" in distinct:
        return None
    return {"choice": dict(distinct.most_common())}


def _sizes(low: int, high: int) -> list[int]:
    """Some sizes between two, without repetition."""
    return sorted({low + (high - low) * step // (FEW - 1) for step in range(FEW)})


def _document(size: int) -> str:
    """A JSON document with this number of characters."""
    frame = '{"text":""}'
    return frame.replace('""', f'"{"x" * (size - len(frame))}"') if size >= len(frame) else "1" * max(size, 1)


def some_uuids() -> dict[str, Any]:
    """A choice of UUIDs, none of them from the table, for a column that does not number the rows."""
    return {"choice": [str(UUID(int=number)) for number in range(1, FEW + 1)]}


def _text(column: trio_hs.Column, found: Sequence[Any]) -> Any:
    binary = column.type in BINARIES
    if not binary and (few := _few(found)):
        return few
    most = min(column.length or LONGEST, LONGEST)
    low, high = (most, most) if column.type == "binary" else lengths([*map(len, found)], min(10, most), min(40, most))
    size: dict[str, Any] = {"min": min(low, most), "max": min(high, most)}
    letters = sorted({letter for value in found for letter in value if letter.isprintable()}) if not binary else []
    if any(not letter.isascii() for letter in letters):
        # Those beyond ASCII first: they are what differs in size.
        size["alphabet"] = "".join(sorted(letters, key=str.isascii)[:MOST_LETTERS])
    return {"text": size}


def lengths(found: Sequence[int], low: int, high: int) -> tuple[int, int]:
    """The shortest and the longest; `low` and `high` if there is none."""
    return (min(min(found), LONGEST), min(max(found), LONGEST)) if found else (low, high)
