"""Statistics on their way from an engine to Locust: counts by latency, collapsed over a fraction of a second.

Latencies are whole microseconds. Nothing is rounded further on the way, so a batch can be merged with any other, in any
order, and say the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Self

__all__ = ["NOT_THERE", "OTHER_ERRORS", "Batch", "OperationBatch"]

MAX_ERRORS = 100
"""Distinct error messages that are kept apart per operation; the rest is counted together."""
OTHER_ERRORS = "(other errors)"
NOT_THERE = "the row is not there"
"""The message when an operation on a row found none. All others begin with the name of their class and a colon."""


@dataclass
class OperationBatch:
    """What one operation did."""

    ok: Counter[int] = field(default_factory=Counter)
    """Latency in microseconds -> how many operations succeeded with it."""
    failed: Counter[int] = field(default_factory=Counter)
    """The same for operations that failed."""
    errors: Counter[str] = field(default_factory=Counter)
    """Message -> how many operations failed with it. Its sum is that of `failed`."""

    def add(self, other: OperationBatch) -> None:
        self.ok.update(other.ok)
        self.failed.update(other.failed)
        for message, count in other.errors.items():
            known = message in self.errors or len(self.errors) < MAX_ERRORS
            self.errors[message if known else OTHER_ERRORS] += count

    def __bool__(self) -> bool:
        return bool(self.ok or self.failed)


@dataclass
class Batch:
    """What an engine did between two moments."""

    start: float
    """Unix time, seconds."""
    end: float
    operations: dict[str, OperationBatch] = field(default_factory=dict)

    def add(self, other: Batch) -> None:
        self.start = min(self.start, other.start)
        self.end = max(self.end, other.end)
        for name, operation in other.operations.items():
            self.operations.setdefault(name, OperationBatch()).add(operation)

    def to_wire(self) -> dict[str, Any]:
        """For msgpack."""
        operations = {
            name: [dict(operation.ok), dict(operation.failed), dict(operation.errors)]
            for name, operation in self.operations.items()
        }
        return {"start": self.start, "end": self.end, "operations": operations}

    @classmethod
    def from_wire(cls, data: dict[str, Any]) -> Self:
        operations = {
            name: OperationBatch(Counter(ok), Counter(failed), Counter(errors))
            for name, (ok, failed, errors) in data["operations"].items()
        }
        return cls(data["start"], data["end"], operations)


def microseconds(nanoseconds: Iterable[int]) -> Counter[int]:
    """Collapse measured nanoseconds."""
    return Counter([latency // 1000 for latency in nanoseconds])
