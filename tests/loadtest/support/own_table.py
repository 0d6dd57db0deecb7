"""A table of a user's, for histories that are written by hand: two counters, and two columns that one update each sets."""

from __future__ import annotations

from zlib import crc32

from hs_drill.audit import AuditedTable
from hs_drill.store import MixOperation, Operation
from hs_drill.workload import INITIAL

__all__ = ["MIX", "TABLE", "held", "left"]

MIX = (
    MixOperation(9, "page", Operation.GET, 0),
    MixOperation(10, "like page", Operation.GET, 1),
    MixOperation(11, "count view", Operation.INCR, 0),
    MixOperation(12, "like", Operation.INCR, 1),
    MixOperation(13, "unlike", Operation.DECR, 1),
    MixOperation(14, "rename", Operation.UPDATE, None, ("name", "note")),
    MixOperation(15, "reprice", Operation.UPDATE, None, ("price", "note")),
    MixOperation(16, "new", Operation.INSERT),
    MixOperation(17, "drop", Operation.DELETE),
)


def left(column: str, number: int, version: int) -> int:
    """What a version leaves in a column. Nearly every value is of one version only."""
    return crc32(f"{column}/{number}/{version}".encode())


TABLE = AuditedTable(
    counters=("views", "likes"),
    extras=("name", "price"),
    version_column="note",
    columns=("id", "name", "price", "views", "likes", "note"),
    stranger="a row with a key that no run makes",
    damaged="a row with columns that do not fit its version",
    initial=lambda number: (0, number),
    fingerprint=left,
)


def held(
    number: int, version: int, views: int = 0, likes: int | None = None, *, name: int = INITIAL, price: int = INITIAL
) -> tuple[int, ...]:
    """A row's state. `name` and `price`: the versions that left these columns."""
    likes = number if likes is None else likes
    return (version, views, likes, left("name", number, name), left("price", number, price))
