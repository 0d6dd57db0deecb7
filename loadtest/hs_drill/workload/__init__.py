"""What the users do next, what the table's rows hold, and how every write names itself. No I/O."""

from __future__ import annotations

from ._existing_rows import ExistingRows, Sample
from ._keys import draw_keys
from ._payloads import fillers, group_of
from ._readers import reader, shown
from ._rows import As, Keys, Maker, Observer, Rows, RowState, Wrong
from ._rows_of import loaded, rows_of
from ._stream import Drawn, operations
from ._versions import (
    ABSENT,
    DAMAGED,
    FOREIGN,
    INITIAL,
    NO_COUNT,
    OPS,
    UNNUMBERED,
    UNSEEN,
    damaged,
    damaged_places,
    first_insert_key,
    insert_keys,
    of_run,
    payload_of,
    version_of,
    worker_of,
)

__all__ = [
    "ABSENT",
    "DAMAGED",
    "FOREIGN",
    "INITIAL",
    "NO_COUNT",
    "OPS",
    "UNNUMBERED",
    "UNSEEN",
    "As",
    "Drawn",
    "ExistingRows",
    "Keys",
    "Maker",
    "Observer",
    "RowState",
    "Rows",
    "Sample",
    "Wrong",
    "damaged",
    "damaged_places",
    "draw_keys",
    "fillers",
    "first_insert_key",
    "group_of",
    "insert_keys",
    "loaded",
    "of_run",
    "operations",
    "payload_of",
    "reader",
    "rows_of",
    "shown",
    "version_of",
    "worker_of",
]
