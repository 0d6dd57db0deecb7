"""What the client of HandlerSocket is given of a declared column's values: bytes that the server stores as they are.

A `trio_hs.Table` knows no columns, so it would send text as UTF-8. A `trio_hs.DeclaredTable` checks and converts each value of
each call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import trio_hs
from hs_drill.workload import As

__all__ = ["sent_by_handlersocket"]


def sent_by_handlersocket(columns: trio_hs.Columns) -> As:
    """For each column's name, the function that encodes its values in the column's character set."""

    def of(name: str) -> Callable[[Any], Any]:
        column = columns.column(name)
        if column.is_integer:
            return lambda value: value
        encode = column.encode_data
        return lambda value: None if value is None else encode(value)

    return of
