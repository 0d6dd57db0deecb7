"""Rows as users get them, made from the values of an answer."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, TypeAlias

from .._protocol import Codec, Index, parse_each

#: A row: its fields and their values, in the order that was asked for. ``dict(row)`` makes it a dict.
Row: TypeAlias = list[tuple[str, Any]]


def named(values: list[Any], index: Index) -> list[Row]:
    """Rows made from the values of an answer, which lie flat."""
    # The fastest of the ways that were measured: no Python loop, and no list of all pairs in between.
    pairs = zip(itertools.cycle(index.columns), values)
    return list(map(list, zip(*[pairs] * index.width, strict=True)))


def named_each(lines: Sequence[bytes], index: Index, codec: Codec) -> list[Row]:
    """The one row in each of many answers, ``[]`` where there is none."""
    columns = index.columns
    return [list(zip(columns, values)) for values in parse_each(lines, index, codec)]  # noqa: B905  (see Table.get)
