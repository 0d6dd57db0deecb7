"""What a scenario expects of its run: the key `expect`. `verdict` compares it with what happened."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, Field, field_validator

from hs_drill.metrics import NOT_STARTED, NOT_THERE, UNANSWERED

from ._base import Model, PlacedError, Seconds, SecondsOrZero, show
from ._limits import ByPhase, Phases, Rate, Share
from ._mix import Latency

__all__ = [
    "BEFORE_SECONDS",
    "ERROR_ALIASES",
    "ERROR_CLASSES",
    "ERROR_KINDS",
    "SESSION_GUARANTEES",
    "Expect",
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


SESSION_GUARANTEES = ("monotonic_reads", "read_your_writes", "monotonic_writes", "writes_follow_reads")
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
    outage: Seconds | None = None
    """No operation that succeeds often goes longer than this without a success, nor do all of them together."""
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
    read_your_writes: bool = False
    """No user misses an own write."""
    monotonic_writes: bool = False
    """Nobody sees the writes of one user in another order."""
    writes_follow_reads: bool = False
    """Nobody sees a write, and then what its user had read before it."""
    no_resurrection: bool = False
    """No deleted row comes back."""
    linearizable: bool | None = None
    """Reads of the primary show what an order of the writes explains. `true`: they must, also where writes were lost, and there
    must be such reads. `false`: they need not. If not given, they must where no lost write explains it."""
    replicas_agree: bool = False
    """At the end every other server holds the same rows as the primary."""
    fenced: bool = False
    """After each promotion on `external` servers, the former primary is closed for writes and acknowledges none."""

    @field_validator("outage")
    @classmethod
    def _judgeable(cls, outage: float | None) -> float | None:
        if outage is not None and outage < 1:
            raise ValueError(f"must be 1s or more, because successes are counted in quarters of a second, not {outage:g} s")
        return outage

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
            **{name: bool(getattr(self, name)) for name in (*SESSION_GUARANTEES, "no_resurrection")},
            "linearizable": self.linearizable is True,
            "replicas_agree": self.replicas_agree,
            "fenced": self.fenced,
        }
        return [name for name, wanted in asked.items() if wanted]
