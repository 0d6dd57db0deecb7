"""Numbers with their nouns."""

from __future__ import annotations

__all__ = ["counted"]


def counted(number: float, one: str, many: str | None = None) -> str:
    """`1 row`, `2 rows`, `1,000 rows`. `many` is the plural if that is not `one` with an s."""
    shown = f"{number:,.0f}"
    return f"{shown} {one if shown == '1' else f'{one}s' if many is None else many}"
