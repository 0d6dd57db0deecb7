"""How much load a run carries, and over what time: the key `load` of a scenario.

In a closed loop each user does one operation after the other, so slow servers get less load. In an open loop operations arrive
at a rate, however slow the servers are.
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
"""Locust's users in an open loop. Each stands for one percent of the rate."""

Rate = Annotated[float, Field(ge=0, le=10_000_000)]


def _from_duration(value: object) -> object:
    return value if isinstance(value, Mapping | BaseModel) else {"min": value, "max": value}


class ThinkTime(Model):
    """How long a user waits between two operations, drawn uniformly between `min` and `max`. A bare duration is both."""

    min: SecondsOrZero = 0.0
    max: SecondsOrZero

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.min > self.max:
            raise ValueError(f"min cannot be more than max: {self.min:g} s is more than {self.max:g} s")
        return self


class Stage(Model):
    """The load changes linearly from where the previous stage ended to the `users` or `rate` of this one."""

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
    """1 if not given. In an open loop each user is a share of the rate: 100 if not given. If Locust is told to run only half of
    them, half of the rate arrives."""
    spawn_rate: Annotated[float, Field(gt=0, le=100_000)] | None = None
    """Users started per second; 64 if not given. In an open loop all start at once if it is not given."""
    duration: Seconds | None = None
    """How long the load lasts, including the warm-up, such as `20s` or `1m30s`. If not given, 20 s or the sum of the stages."""
    warm_up: SecondsOrZero = 0.0
    """What happens in this time at the start does not count: not in statistics, percentiles or expectations. Writes are audited
    nevertheless."""
    think_time: Annotated[ThinkTime, BeforeValidator(_from_duration)] | None = None
    """How long a user waits after each operation; not at all if not given."""
    pacing: Seconds | None = None
    """Time from the start of a user's operation to the start of its next one. After an operation that took longer, the next one
    starts at once."""
    rate: Rate | None = None
    """Operations that arrive per second, for all workers together. This makes an open loop: latency counts from when an
    operation should have started."""
    arrivals: Literal["poisson", "even"] = "poisson"
    """`poisson`: as if many independent clients sent them. `even`: at equal intervals."""
    max_in_flight: int = Field(default=1000, ge=1, le=100_000)
    """At most this many operations of an open loop at once, in each worker. Others that arrive meanwhile wait."""
    max_wait: Seconds = 3.0
    """An operation of an open loop that has waited longer is not started, and counts as an error."""
    stages: list[Stage] = Field(default=[])
    """How users or rate change over time. The first stage starts from `users` or `rate`, or from no rate."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        kinds = {kind for stage in self.stages for kind in ("users", "rate") if getattr(stage, kind) is not None}
        if len(kinds) > 1 or (kinds == {"users"} and self.rate is not None):
            raise ValueError("all stages must give users, or all must give a rate; users cannot start from a rate")
        if self.stages and self.duration is not None:
            raise PlacedError(("duration",), "is the sum of the stages: leave it out")
        if not self.lasts:
            raise ValueError("the stages take no time")
        if self.rate == 0 and not self.stages:
            raise PlacedError(("rate",), "must be more than 0, or nothing happens")
        if self.open and (self.think_time is not None or self.pacing is not None):
            raise ValueError("think_time and pacing are for users that wait for answers, not for a rate")
        if not self.open and self.model_fields_set & {"arrivals", "max_in_flight", "max_wait"} - self._at_default():
            raise ValueError("arrivals, max_in_flight and max_wait are for an open loop: they need a rate")
        if self.think_time is not None and self.pacing is not None:
            raise PlacedError(("pacing",), "counts from start to start, think_time after each operation: give only one of them")
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
        """The number of Locust's users that makes exactly this load."""
        return self.users or (SHARES if self.open else 1)

    @property
    def locust_spawn_rate(self) -> float:
        return self.spawn_rate or (self.locust_users if self.open else SPAWN_RATE)

    def course(self) -> list[tuple[float, float]]:
        """The users or the rate over time: linear from one (second, value) to the next. The last value holds."""
        at, value = 0.0, float(self.rate or 0.0) if self.open else float(self.locust_users)
        points = [(at, value)]
        for stage in self.stages:
            at += stage.for_
            value = float(stage.rate if stage.rate is not None else stage.users or 0)
            points.append((at, value))
        return points
