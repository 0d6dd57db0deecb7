"""What a scenario expects of its run: the key `expect`. `verdict` compares it with what happened."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping
from typing import Annotated, Generic, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, Field, field_validator

from hs_drill.metrics import NOT_STARTED, NOT_THERE, PERCENTILES, PHASES, UNANSWERED

from ._base import Model, PlacedError, Seconds, SecondsOrZero, show

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
"""Seconds that must be counted before the first fault, so that `recovery.steady` has something to compare with."""

# trio_hs's errors. Importing them would import trio, which Locust's process must not do. A test compares both.
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
    """Whether an error of this kind counts as `expected`: it is the same kind, or a subclass."""
    expected = ERROR_ALIASES.get(expected, expected)
    while kind and kind != expected:
        kind = ERROR_CLASSES.get(kind, "")
    return kind == expected


T = TypeVar("T")


def _from_limit(value: object) -> object:
    return value if isinstance(value, Mapping | BaseModel) else {"run": value}


class Phases(Model, Generic[T]):
    """Limits for the whole run, and for before, during and after the faults. A bare value is for the whole run."""

    run: T | None = None
    before: T | None = None
    """Until the first fault starts."""
    during: T | None = None
    """While a fault is on."""
    after: T | None = None
    """Once the first fault has ended, while no fault is on."""

    def limits(self) -> dict[str, T]:
        """Phase -> limit, for the phases with a limit."""
        every = {phase: getattr(self, phase) for phase in PHASES}
        return {phase: limit for phase, limit in every.items() if limit is not None}


def _parse_share(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return value
    share = value
    if isinstance(value, str):
        percent = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*%\s*", value)
        share = round(float(percent[1]) / 100, 12) if percent else math.nan
    if not 0 <= float(share) <= 1:
        raise ValueError(f"must be a share such as 99.9% or 0.999, not {value!r}")
    return share


Share = Annotated[float, BeforeValidator(_parse_share), Field(ge=0, le=1)]
Rate = Annotated[float, Field(ge=0, le=1e9)]
ByPhase = BeforeValidator(_from_limit)
_Durations = Annotated[Phases[Seconds], ByPhase]


class Percentiles(Model):
    """Limits to the latencies of operations that succeeded."""

    p50: _Durations = Phases[Seconds]()
    p90: _Durations = Phases[Seconds]()
    p95: _Durations = Phases[Seconds]()
    p99: _Durations = Phases[Seconds]()
    p999: Annotated[_Durations, Field(alias="p99.9")] = Phases[Seconds]()
    max: _Durations = Phases[Seconds]()

    def limits(self) -> dict[str, dict[str, float]]:
        """Name of the percentile -> phase -> seconds."""
        return {name: getattr(self, name.replace(".", "")).limits() for name in PERCENTILES}


class Latency(Model):
    """Limits by operation; `all` is for all operations together."""

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
        """The operations with a limit; `all` may be one."""
        return [name for name in type(self).model_fields if any(getattr(self, name).limits().values())]


def _from_duration(value: object) -> object:
    return value if isinstance(value, Mapping | BaseModel) else {"steady": value}


class Recovery(Model):
    """How long after its start a fault may be felt. With several faults this holds for each. A bare duration is `steady`."""

    first_success: Seconds | None = None
    """Until every operation that failed has succeeded again."""
    steady: Seconds | None = None
    """Until no operation fails any more, and each has at least a quarter of its throughput from before the first fault."""


def _from_count(value: object) -> object:
    return value if isinstance(value, Mapping) else {"all": value}


Count = int | Literal["any"]


def _check_count(value: object) -> object:
    if isinstance(value, bool) or not (value is None or value == "any" or (isinstance(value, int) and value >= 0)):
        shown = show(value) if isinstance(value, bool) else repr(value)
        raise ValueError(f"must be a whole number, 0 or more, or any, not {shown}")
    return value


AtMost = Annotated[Count | None, BeforeValidator(_check_count)]


class Expect(Model):
    """What the run must show."""

    availability: Annotated[Phases[Share], ByPhase] = Phases[Share]()
    """At least this share of the operations succeeds."""
    throughput: Annotated[Phases[Rate], ByPhase] = Phases[Rate]()
    """At least this many operations succeed per second, on average."""
    latency: Latency = Latency()
    errors: Annotated[dict[str, Annotated[int, Field(ge=0)]], BeforeValidator(_from_count)] = Field(default={})
    """At most this many errors of a kind, or of `all` kinds together. A kind is a class of trio_hs's errors (with its
    subclasses), `the row is not there`, `not started in time` or `no answer when the run ended`."""
    recovery: Annotated[Recovery, BeforeValidator(_from_duration)] = Recovery()
    lost: AtMost = None
    """At most this many acknowledged writes are lost; 0 if not given and the run is audited."""
    applied_twice: AtMost = None
    """At most this many increments and decrements are applied twice; 0 if not given and the run is audited."""
    unexpected: AtMost = None
    """At most this many rows or reads show a value that was never written; 0 if not given and the run is audited."""
    staleness: SecondsOrZero | None = None
    """No read lags behind an acknowledged write by more than this."""
    monotonic_reads: bool = False
    """No user sees a row go back in time."""
    replicas_agree: bool = False
    """At the end every other server holds the same rows as the primary."""

    @field_validator("errors")
    @classmethod
    def _known_kinds(cls, errors: dict[str, int]) -> dict[str, int]:
        for kind in errors:
            if kind not in (*ERROR_KINDS, *ERROR_ALIASES, "all"):
                close = difflib.get_close_matches(kind, ERROR_KINDS, n=1)
                there = f"did you mean {close[0]}?" if close else f"there are all, {', '.join(ERROR_KINDS)}"
                raise PlacedError((kind,), f"no such kind of error; {there}")
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
