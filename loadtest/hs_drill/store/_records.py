"""The layout of a history's records: one per operation, all of the same size, and the codes in them."""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import NamedTuple

__all__ = [
    "ANOTHER",
    "FIRST_OWN_CODE",
    "NO_COUNT",
    "PIECE",
    "READS",
    "RECORD",
    "RECORD_1",
    "REMOVALS",
    "STEPS",
    "TAIL",
    "Operation",
    "Outcome",
    "Record",
]

RECORD = struct.Struct("<qqqqIIIBBB")
"""key, value, n, end (ns), duration (us, rounded up), delay (us), user, operation * 4 + outcome, error, server."""
RECORD_1 = struct.Struct("<qqqIIIBBB")
"""The same in format 1, without n."""
TAIL = struct.Struct("BBB")
"""What follows a piece of text: operation * 4 (at the same place as in other records), index, and the length of the piece. The
last piece of a text is shorter than its room."""
PIECE = RECORD.size - TAIL.size
"""Room for text in one record."""
NO_COUNT = -(2**63)
"""In place of n, if the operation was not a read, or the read did not show n."""
ANOTHER = 255
"""Index of an error or server that is unknown, or for which no index was left."""


class Operation(IntEnum):
    """The numbers are part of the file format: add, never change."""

    GET = 1
    FIND = 2
    GET_MANY = 3
    INSERT = 4
    UPDATE = 5
    DELETE = 6
    INCR = 7
    DECR = 8
    # Records of the file itself.
    ERROR = 60
    SERVER = 61
    EVENT = 62
    END = 63


READS = frozenset((Operation.GET, Operation.FIND, Operation.GET_MANY))
STEPS = {Operation.INCR: 1, Operation.DECR: -1}
"""Operations that change a counter by their value, and its sign."""
REMOVALS = frozenset((Operation.DELETE,))
"""Writes that leave no row. All others that are no steps leave their value, a version."""


FIRST_OWN_CODE = Operation.ERROR << 2
"""Codes from here on are of the file's own records."""


class Outcome(IntEnum):
    """What is known about an operation. The numbers are part of the file format."""

    OK = 0
    """The server acknowledged it."""
    FAIL = 1
    """It was certainly not applied, or was a read that failed."""
    INFO = 2
    """Nobody knows. It may have been applied, or may still be until the end of the run."""


class Record(NamedTuple):
    """One operation."""

    worker: int
    user: int
    operation: Operation
    outcome: Outcome
    key: int
    value: int
    """The version that an insert or update wrote or a read saw, or the step of an increment or decrement."""
    intended: int
    """When it should have started, in nanoseconds. In a closed loop this is `start`."""
    start: int
    """Up to a microsecond before the true start, so that the interval is never too short."""
    end: int
    error: str
    """The kind of error; "" if there was none."""
    server: str
    """The server that answered; "" if not known."""
    n: int = NO_COUNT
    """The counter that a read saw."""
