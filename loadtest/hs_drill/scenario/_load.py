"""Who puts the load on, and how hard: the key `load` of a scenario.

In a closed loop users do one operation after the other: slow servers get less load. In an open loop operations arrive at a
rate, whatever the servers make of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, Field, model_validator

from ._base import Model, PlacedError, Seconds, SecondsOrZero

__all__ = ["Load", "Stage", "ThinkTime"]

DURATION = 20.0
SPAWN_RATE = 64.0
SHARES = 100
"""Users of an open loop: each of them stands for a percent of the rate."""

Rate = Annotated[float, Field(ge=0, le=10_000_000)]


def _time_alone(value: object) -> object:
    return value if isinstance(value, Mapping | BaseModel) else {"min": value, "max": value}


class ThinkTime(Model):
    """How long a user waits between two operations: between `min` and `max`, every time as likely. A bare duration is both."""

    min: SecondsOrZero = 0.0
    max: SecondsOrZero

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.min > self.max:
            raise ValueError(f"min cannot be more than max: {self.min:g} s is more than {self.max:g} s")
        return self


class Stage(Model):
    """From where the stage before has ended, the load goes evenly to this one's `users` or `rate`."""

    for_: Annotated[SecondsOrZero, Field(alias="for")]
    """How long that takes; 0 is a jump."""
    users: Annotated[int, Field(ge=1, le=100_000)] | None = None
    rate: Rate | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.users is None) == (self.rate is None):
            raise ValueError("needs `users` or `rate`, and not both")
        return self


class Load(Model):
    """Users that each do one operation after the other, or operations that arrive at a rate."""

    users: Annotated[int, Field(ge=1, le=100_000)] | None = None
    """1 if not given. In an open loop they are shares of the rate: 100 if not given, and if Locust is told to have 50, half of
    the rate arrives."""
    spawn_rate: Annotated[float, Field(gt=0, le=100_000)] | None = None
    """Users started per second; 64 if not given, and in an open loop all at once."""
    duration: Seconds | None = None
    """How long the load lasts, the warm-up included; text such as `20s` or `1m30s` is accepted. 20 s if not given, or the sum
    of the stages."""
    warm_up: SecondsOrZero = 0.0
    """The first so many seconds are not counted: not in statistics, percentiles and expectations. Writes are audited in them
    as later."""
    think_time: Annotated[ThinkTime, BeforeValidator(_time_alone)] | None = None
    """How long a user waits after each operation. It does not, if not given."""
    pacing: Seconds | None = None
    """From the start of a user's operation to the start of its next one. Where the operation took longer, the next one starts
    at once."""
    rate: Rate | None = None
    """Operations per second that arrive, all workers together: an open loop. Latency counts from when an operation should have
    started."""
    arrivals: Literal["poisson", "even"] = "poisson"
    """`poisson`: as if many independent clients sent them. `even`: one after the other in equal steps."""
    max_in_flight: int = Field(default=1000, ge=1, le=100_000)
    """So many operations of an open loop at once, in each worker; those that arrive then wait."""
    max_wait: Seconds = 3.0
    """An operation of an open loop that waits longer is not started any more, and counts as an error."""
    stages: list[Stage] = Field(default=[])
    """How users or rate change over time. The first one starts from `users` or `rate`; from no rate, if that is not given."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        kinds = {kind for stage in self.stages for kind in ("users", "rate") if getattr(stage, kind) is not None}
        if len(kinds) > 1 or (kinds == {"users"} and self.rate is not None):
            raise ValueError("stages are about users or about the rate, all alike, and so is what they start from")
        if self.stages and self.duration is not None:
            raise PlacedError(("duration",), "is the sum of the stages: leave it out")
        if not self.lasts:
            raise ValueError("the stages last no time at all")
        if self.rate == 0 and not self.stages:
            raise PlacedError(("rate",), "must be more than 0, or nothing happens")
        if self.open and (self.think_time is not None or self.pacing is not None):
            raise ValueError("think_time and pacing are of users that wait for answers: they have no meaning beside a rate")
        if not self.open and self.model_fields_set & {"arrivals", "max_in_flight", "max_wait"} - self._at_default():
            raise ValueError("arrivals, max_in_flight and max_wait are of an open loop: they need a rate")
        if self.think_time is not None and self.pacing is not None:
            raise PlacedError(("pacing",), "is from start to start, think_time waits after each operation: give one of them")
        if self.warm_up >= self.lasts:
            raise PlacedError(("warm_up",), f"must be less than the run ({self.lasts:g} s), or nothing is counted")
        return self

    def _at_default(self) -> set[str]:
        return {name for name, field in type(self).model_fields.items() if getattr(self, name) == field.default}

    @property
    def open(self) -> bool:
        """Whether operations arrive at a rate."""
        return self.rate is not None or any(stage.rate is not None for stage in self.stages)

    @property
    def lasts(self) -> float:
        """Seconds."""
        if self.stages:
            return sum(stage.for_ for stage in self.stages)
        return DURATION if self.duration is None else self.duration

    @property
    def locust_users(self) -> int:
        """How many of Locust's users make the load as it is written here."""
        return self.users or (SHARES if self.open else 1)

    @property
    def locust_spawn_rate(self) -> float:
        return self.spawn_rate or (self.locust_users if self.open else SPAWN_RATE)

    def course(self) -> list[tuple[float, float]]:
        """The users or the rate over time, from one (second, value) to the next; the last value holds."""
        at, value = 0.0, float(self.rate or 0.0) if self.open else float(self.locust_users)
        points = [(at, value)]
        for stage in self.stages:
            at += stage.for_
            value = float(stage.rate if stage.rate is not None else stage.users or 0)
            points.append((at, value))
        return points
