"""Limits that a scenario states: shares, rates and durations, by phase of the run and by percentile."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Annotated, Generic, TypeVar

from pydantic import BaseModel, BeforeValidator, Field

from hs_drill.metrics import PERCENTILES, PHASES

from ._base import Model, Seconds

__all__ = ["ByPhase", "Percentiles", "Phases", "Rate", "Share"]

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
