"""What a scenario expects of its run: the key `expect` of the file. `verdict` compares it with what happened."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping
from typing import Annotated, Generic, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, Field, field_validator

from hs_drill.metrics import NOT_STARTED, NOT_THERE, PERCENTILES, PHASES, UNANSWERED

from ._base import Model, Seconds, SecondsOrZero

__all__ = [
    "BEFORE_SECONDS",
    "ERROR_ALIASES",
    "ERROR_CLASSES",
    "ERROR_KINDS",
    "Expect",
    "Latency",
    "Percentiles",
    "Phases",
    "Recovery",
    "is_kind",
]

BEFORE_SECONDS = 1.0
"""What is counted before the first fault must be as long, for `recovery.steady` to be compared with it."""

# trio_hs's errors, which this cannot import: Locust's process, where scenarios are read, has no place for trio. A test keeps
# the two alike.
ERROR_CLASSES = {
    "HandlerSocketError": "",
    "ConnectionError": "HandlerSocketError",
    "IndexedConnectionError": "ConnectionError",
    "DecodingError": "HandlerSocketError",
    "ProtocolError": "HandlerSocketError",
    "OperationalError": "HandlerSocketError",
    "AuthenticationError": "OperationalError",
    "ColumnNotFoundError": "OperationalError",
    "DuplicateKeyError": "OperationalError",
    "ForeignKeyError": "OperationalError",
    "IndexNotFoundError": "OperationalError",
    "LockTimeoutError": "OperationalError",
    "ReadOnlyError": "OperationalError",
    "RemoteTableError": "OperationalError",
    "TableNotFoundError": "OperationalError",
    "UnsupportedOperationError": "OperationalError",
}
"""Class -> its base."""
ERROR_ALIASES = {"RecoverableConnectionError": "IndexedConnectionError"}
ERROR_KINDS = (*ERROR_CLASSES, NOT_THERE, NOT_STARTED, UNANSWERED)


def is_kind(kind: str, expected: str) -> bool:
    """Whether an error of a kind counts as one of the `expected` kind: of that class, or of a class below it."""
    expected = ERROR_ALIASES.get(expected, expected)
    while kind and kind != expected:
        kind = ERROR_CLASSES.get(kind, "")
    return kind == expected


T = TypeVar("T")


def _whole_run(value: object) -> object:
    return value if isinstance(value, Mapping | BaseModel) else {"run": value}


class Phases(Model, Generic[T]):
    """A limit for the whole run, or for what comes before, during and after the faults. A bare value is the whole run's."""

    run: T | None = None
    before: T | None = None
    """Until the first fault starts."""
    during: T | None = None
    """While a fault is on."""
    after: T | None = None
    """While no fault is on after the first one has ended."""

    def limits(self) -> dict[str, T]:
        """Phase -> limit, for the phases that have one."""
        every = {phase: getattr(self, phase) for phase in PHASES}
        return {phase: limit for phase, limit in every.items() if limit is not None}


def _share(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return value
    share = value
    if isinstance(value, str):
        percent = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*%\s*", value)
        share = round(float(percent[1]) / 100, 12) if percent else math.nan
    if not 0 <= float(share) <= 1:
        raise ValueError(f"must be a share such as 99.9% or 0.999, not {value!r}")
    return share


Share = Annotated[float, BeforeValidator(_share), Field(ge=0, le=1)]
Rate = Annotated[float, Field(ge=0, le=1e9)]
ByPhase = BeforeValidator(_whole_run)
_Durations = Annotated[Phases[Seconds], ByPhase]


class Percentiles(Model):
    """Limits to the latencies of what succeeded."""

    p50: _Durations = Phases[Seconds]()
    p90: _Durations = Phases[Seconds]()
    p95: _Durations = Phases[Seconds]()
    p99: _Durations = Phases[Seconds]()
    p999: Annotated[_Durations, Field(alias="p99.9")] = Phases[Seconds]()
    max: _Durations = Phases[Seconds]()

    def limits(self) -> dict[str, dict[str, float]]:
        """Percentile, as it is written -> phase -> seconds."""
        return {name: getattr(self, name.replace(".", "")).limits() for name in PERCENTILES}


class Latency(Model):
    """Limits by operation; `all` is over all of them together."""

    all: Percentiles = Percentiles()
    get: Percentiles = Percentiles()
    find: Percentiles = Percentiles()
    get_many: Percentiles = Percentiles()
    insert: Percentiles = Percentiles()
    incr: Percentiles = Percentiles()
    decr: Percentiles = Percentiles()
    update: Percentiles = Percentiles()
    delete: Percentiles = Percentiles()

    def operations(self) -> list[str]:
        """Those that have a limit, `all` included."""
        return [name for name in type(self).model_fields if any(getattr(self, name).limits().values())]


def _steady(value: object) -> object:
    return value if isinstance(value, Mapping | BaseModel) else {"steady": value}


class Recovery(Model):
    """How long after a fault's start it may take; of several faults, each. A bare duration is that of `steady`."""

    first_success: Seconds | None = None
    """Until every operation that failed has succeeded again once."""
    steady: Seconds | None = None
    """Until no operation fails any more, and each carries at least a quarter of what it did before the first fault."""


def _all_kinds(value: object) -> object:
    return value if isinstance(value, Mapping) else {"all": value}


Count = int | Literal["any"]


def _count(value: object) -> object:
    if isinstance(value, bool) or not (value is None or value == "any" or (isinstance(value, int) and value >= 0)):
        raise ValueError(f"must be a whole number from 0 on, or any, not {value!r}")
    return value


AtMost = Annotated[Count | None, BeforeValidator(_count)]


class Expect(Model):
    """What must hold at the end."""

    availability: Annotated[Phases[Share], ByPhase] = Phases[Share]()
    """At least this share of the operations succeeds."""
    throughput: Annotated[Phases[Rate], ByPhase] = Phases[Rate]()
    """At least so many operations succeed per second, on average."""
    latency: Latency = Latency()
    errors: Annotated[dict[str, Annotated[int, Field(ge=0)]], BeforeValidator(_all_kinds)] = Field(default={})
    """At most so many errors of a kind (the class of trio_hs's error, which includes the classes below it, `the row is not
    there`, `not started in time` or `no answer when the run ended`), or of `all` together."""
    recovery: Annotated[Recovery, BeforeValidator(_steady)] = Recovery()
    lost: AtMost = None
    """At most so many acknowledged writes are lost. None: 0 where the run is audited."""
    applied_twice: AtMost = None
    """At most so many increments and decrements are applied twice. None as above."""
    unexpected: AtMost = None
    """At most so many rows or reads show what nobody wrote. None as above."""
    staleness: SecondsOrZero | None = None
    """Seconds by which no read may lag behind an acknowledged write."""
    monotonic_reads: bool = False
    """No user sees a row go back in time."""
    replicas_agree: bool = False
    """At the end every other server holds what the primary holds."""

    @field_validator("errors")
    @classmethod
    def _known_kinds(cls, errors: dict[str, int]) -> dict[str, int]:
        for kind in errors:
            if kind not in (*ERROR_KINDS, *ERROR_ALIASES, "all"):
                close = difflib.get_close_matches(kind, ERROR_KINDS, n=1)
                there = f"did you mean {close[0]}?" if close else f"there are all, {', '.join(ERROR_KINDS)}"
                raise ValueError(f"no such kind of error: {kind!r}; {there}")
        return errors

    def needing_audit(self) -> list[str]:
        """The expectations that only an audit can judge."""
        asked = {
            "lost": self.lost is not None,
            "applied_twice": self.applied_twice is not None,
            "unexpected": self.unexpected is not None,
            "staleness": self.staleness is not None,
            "monotonic_reads": self.monotonic_reads,
            "replicas_agree": self.replicas_agree,
        }
        return [name for name, wanted in asked.items() if wanted]
