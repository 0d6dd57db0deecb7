"""Numbers with their nouns, for messages."""

from __future__ import annotations

__all__ = ["counted"]


def counted(number: int, one: str, many: str | None = None) -> str:
    """`1 row`, `2 rows`. `many` is the plural if that is not `one` with an s."""
    return f"{number} {one if number == 1 else f'{one}s' if many is None else many}"
