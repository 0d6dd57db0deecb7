"""One expectation of a scenario, and its result."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

__all__ = ["Judged", "Result", "unknown"]


class Result(Enum):
    PASS = "pass"
    MISS = "miss"
    UNKNOWN = "unknown"
    NOT_APPLICABLE = "not applicable"
    """Nothing could have violated it, and the scenario does not state it."""


@dataclass(frozen=True)
class Judged:
    """An expectation and its result."""

    name: str
    """Its place in the scenario's `expect`, such as `latency.get.p99.during`."""
    result: Result
    measured: float | None
    """A share, a number, or seconds, as the limit is. None when nothing was measured."""
    limit: float | None
    """None for `any`."""
    line: str
    """How it was judged, in words."""
    audit: bool = False
    """Whether it is about the safety of writes, so that a miss means exit code 3."""


def unknown(name: str, limit: float | None, line: str, *, audit: bool = False) -> Judged:
    return Judged(name, Result.UNKNOWN, None, limit, line, audit)
