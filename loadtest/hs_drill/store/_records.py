"""The layout of a history's records: one per operation, all of the same size, and the codes in them."""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Any, NamedTuple, Self

__all__ = [
    "ANOTHER",
    "FIRST_OWN_CODE",
    "MOST_OPERATIONS",
    "NO_COUNT",
    "PIECE",
    "READS",
    "RECORD",
    "RECORD_1",
    "REMOVALS",
    "STEPS",
    "TAIL",
    "MixOperation",
    "Operation",
    "Outcome",
    "Record",
    "operation_code",
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
    """The kinds of operations. The numbers are part of the file format: add, never change."""

    GET = 1
    FIND = 2
    GET_MANY = 3
    INSERT = 4
    UPDATE = 5
    DELETE = 6
    INCR = 7
    DECR = 8
    # 9 to 59 are operations that have names of their own: see `MixOperation`.
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
_FIRST_NAMED = Operation.DECR + 1
MOST_OPERATIONS = Operation.ERROR - _FIRST_NAMED
"""How many operations of a mix can have names of their own."""


def operation_code(name: str, do: str, place: int) -> int:
    """The number that stands for an operation in records. An operation named after its kind (`get: 70`) has the kind's number.

    Others are numbered by their place in the mix.
    """
    return Operation[do.upper()] if name == do else _FIRST_NAMED + place


class MixOperation(NamedTuple):
    """An operation of the mix, as the header of a history lists it."""

    code: int
    """See `operation_code`."""
    name: str
    do: Operation
    """Its kind."""
    counter: int | None = None
    """The place, among the table's counters, of the one that it steps or that its reads show."""
    sets: tuple[str, ...] = ()
    """The columns that an update sets."""
    primary: bool = False
    """Whether it reads from the server that acknowledged its engine's last write."""

    @classmethod
    def of_header(cls, entry: dict[str, Any]) -> Self:
        """An entry of a header. Raises `ValueError`, `TypeError` or `KeyError` if it is none."""
        code, do = int(entry["code"]), Operation[entry["do"].upper()]
        if not 0 < code < Operation.ERROR or do >= _FIRST_NAMED or (code < _FIRST_NAMED and code != do):
            raise ValueError(f"{do.name} cannot have the code {code}")
        return cls(code, entry["name"], do, entry.get("counter"), tuple(entry.get("sets", ())), bool(entry.get("primary")))

    def to_header(self) -> dict[str, Any]:
        return {**self._asdict(), "do": self.do.name.lower()}


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
    name: str = ""
    """The operation's name, where the header lists it."""
