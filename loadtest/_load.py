"""Who puts the load on, and how hard: the key `load` of a scenario."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import BaseModel, BeforeValidator, Field, model_validator

from loadtest._model import Model, Seconds, SecondsOrZero

__all__ = ["Load", "ThinkTime"]


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


class Load(Model):
    """Users that each do one operation after the other."""

    users: int = Field(default=1, ge=1, le=100_000)
    spawn_rate: float = Field(default=64.0, gt=0, le=100_000)
    """Users started per second."""
    duration: Seconds = 20.0
    """How long the load lasts, the warm-up included; text such as `20s` or `1m30s` is accepted."""
    warm_up: SecondsOrZero = 0.0
    """The first so many seconds are not counted: not in statistics, percentiles and expectations. Writes are audited in them
    as later."""
    think_time: Annotated[ThinkTime, BeforeValidator(_time_alone)] | None = None
    """How long a user waits after each operation. It does not, if not given."""
    pacing: Seconds | None = None
    """From the start of a user's operation to the start of its next one. Where the operation took longer, the next one starts
    at once."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.think_time is not None and self.pacing is not None:
            raise ValueError("think_time waits after each operation, pacing from start to start: give one of them")
        if self.warm_up >= self.duration:
            raise ValueError(f"warm_up must be less than duration ({self.duration:g} s), or nothing is counted")
        return self
