"""The records of a history: one for each operation, all of one size, and the codes in them."""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import NamedTuple

__all__ = ["ANOTHER", "NO_COUNT", "PIECE", "READS", "RECORD", "RECORD_1", "TAIL", "Operation", "Outcome", "Record"]


RECORD = struct.Struct("<qqqqIIIBBB")
"""key, value, n, end (ns), duration (us, rounded up), delay (us), user, operation * 4 + outcome, error, server."""


RECORD_1 = struct.Struct("<qqqIIIBBB")
"""The same of format 1, without n."""


TAIL = struct.Struct("BBB")
"""What a piece of text has behind it: operation * 4 (at the same place as in other records), index, and how long the piece is;
in the last piece of a text shorter than there is room."""


PIECE = RECORD.size - TAIL.size


NO_COUNT = -(2**63)
"""In the place of n: the read did not show it, or the operation was none."""


ANOTHER = 255
"""Index of the error or server of which nothing is known, or for which there was no index left."""


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
    # Not operations, but the file's own records.
    ERROR = 60
    SERVER = 61
    EVENT = 62
    END = 63


READS = frozenset((Operation.GET, Operation.FIND, Operation.GET_MANY))


OWN = Operation.ERROR << 2
"""Codes from here on are the file's own."""


class Outcome(IntEnum):
    """What is known about an operation. The numbers are part of the file format."""

    OK = 0
    """The server acknowledged it."""
    FAIL = 1
    """It was certainly not applied; a read that failed."""
    INFO = 2
    """Nobody knows: it may have been applied, or may be at any time until the run's end."""


class Record(NamedTuple):
    """One operation, in full."""

    worker: int
    user: int
    operation: Operation
    outcome: Outcome
    key: int
    value: int
    """The version that an insert or update writes, or a read saw; the step of an increment or decrement."""
    intended: int
    """When it should have started, in nanoseconds; in a closed loop the start."""
    start: int
    """At most this, by less than a microsecond: intervals err to the wide side."""
    end: int
    error: str
    """The kind of the error, "" where there was none."""
    server: str
    """Who answered, "" where nobody knows."""
    n: int = NO_COUNT
    """The counter that a read saw."""
