"""Objectives of a search for capacity: `get.p99 <= 5ms`, `errors = 0`. What they ask of a step's run, and how long it must be.

An objective becomes an expectation of the step's scenario, so each step's run judges it, and its report shows it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hs_drill.metrics import ALL, PERCENTILES
from hs_drill.scenario import Scenario, seconds
from hs_drill.verdict import parts_of

__all__ = ["BEYOND", "KEPT_UP", "Objective", "ObjectiveError", "expectations", "needed", "parse_objectives"]

BEYOND = 100
"""Operations beyond a percentile for it to mean something. By chance their number varies by its square root, so by a tenth:
what is measured as p99 is then between the true p98.9 and p99.1."""
KEPT_UP = 0.99
"""The share of the offered operations that must succeed in the time of the step, if no error is allowed."""
DEVIATIONS = 3
"""Arrivals are random, so fewer than the rate may have been offered: by up to so many standard deviations."""
_OBJECTIVE = re.compile(r"\s*(?P<figure>\S.*?)\s*(?P<sign><=|>=|==|=|<|>)\s*(?P<limit>\S.*?)\s*")
_PERCENT = re.compile(r"(\d+(?:\.\d+)?)\s*%")
HOW = "write it as 'get.p99 <= 5ms', 'errors = 0' or 'errors <= 0.1%'"


class ObjectiveError(Exception):
    """An objective makes no sense. One line for the user."""


@dataclass(frozen=True)
class Objective:
    """The limit of one figure."""

    text: str
    operation: str
    """One of the mix, or `all`."""
    percentile: str
    """Such as `p99`; empty for the share of errors."""
    limit: float
    """Seconds, or a share."""

    @property
    def figure(self) -> str:
        """As `compare` names it."""
        return f"{self.operation}.{self.percentile or 'errors'}"

    @classmethod
    def parse(cls, text: str) -> Objective:
        """Raises `ObjectiveError`."""
        found = _OBJECTIVE.fullmatch(text)
        if found is None:
            raise ObjectiveError(f"{text!r} is not an objective: {HOW}")
        shown = " ".join(text.split())
        figure = "all.errors" if found["figure"] == "errors" else found["figure"]
        operation, what, phase = parts_of(figure)
        if phase != "run":
            raise ObjectiveError(f"{shown}: a search has no faults, so there is nothing {phase} them: leave .{phase} out")
        if what == "errors":
            return cls(shown, ALL, "", _share(shown, operation, found["sign"], found["limit"]))
        if what == "max":
            raise ObjectiveError(f"{shown}: the longest of all operations grows with their number; limit a percentile")
        if what not in PERCENTILES:
            known = [name for name in PERCENTILES if name != "max"]
            raise ObjectiveError(
                f"{shown}: {found['figure']} cannot be an objective; limit OPERATION.{'|'.join(known)}, or errors"
            )
        return cls(shown, operation, what, _duration(shown, found["sign"], found["limit"]))


def _share(text: str, operation: str, sign: str, limit: str) -> float:
    if operation != ALL:
        raise ObjectiveError(f"{text}: errors of one operation cannot be an objective; limit those of all: errors <= 0.1%")
    percent = _PERCENT.fullmatch(limit)
    if sign in ("=", "==", "<=") and limit == "0":
        return 0.0
    if sign != "<=" or percent is None or float(percent[1]) >= 100:
        raise ObjectiveError(f"{text}: limit errors as 'errors = 0' or 'errors <= 0.1%'")
    return float(percent[1]) / 100


def _duration(text: str, sign: str, limit: str) -> float:
    try:
        value = seconds(limit)
    except ValueError:
        value = None
    if sign != "<=" or not isinstance(value, float) or not value:
        raise ObjectiveError(f"{text}: limit a latency as '<= 5ms' or '<= 1.5s'")
    return value


def parse_objectives(texts: Sequence[str], scenario: Scenario) -> list[Objective]:
    """Raises `ObjectiveError`, also for an operation that the scenario's mix does not have."""
    objectives = [Objective.parse(text) for text in texts]
    known = (ALL, *scenario.weights)
    seen: dict[str, str] = {}
    for one in objectives:
        if one.operation not in known:
            raise ObjectiveError(f"{one.text}: the mix has no {one.operation}; there are {', '.join(known)}")
        if one.figure in seen:
            raise ObjectiveError(f"{one.text}: {one.figure} has a limit already: {seen[one.figure]}")
        seen[one.figure] = one.text
    return objectives


def needed(
    objectives: Sequence[Objective], weights: Mapping[str, float], precision: float, *, poisson: bool
) -> tuple[int, str]:
    """How many operations a step must have so that its figures mean something, and why; 0 if any number will do."""
    most, why = 0, ""
    if poisson:
        # By chance more or fewer arrive than the rate says. That must not hide a queue that grows.
        most = math.ceil((2 * DEVIATIONS / precision) ** 2)
        why = f"by chance {most:,} random arrivals are up to {precision * 50:g} % more or fewer"
    for one in objectives:
        share = 1.0 if one.operation == ALL else weights[one.operation] / sum(weights.values())
        beyond = one.limit if not one.percentile else 1 - PERCENTILES[one.percentile] / 100
        count = math.ceil(round(BEYOND / (beyond * share), 6)) if beyond else 0
        if count > most:
            what = f"beyond {one.figure}" if one.percentile else "that may fail"
            most, why = count, f"{BEYOND} operations {what} need {count:,} in all"
    return most, why


def expectations(objectives: Sequence[Objective], rate: float, seconds: float, *, poisson: bool) -> dict[str, Any]:
    """What a step at a rate must show: `expect` of its scenario. Beside the objectives, that the servers keep up with the rate.

    An objective such as `errors = 0` alone does not show that: until the first operation is given up, the queue may grow for
    seconds. What counts is what succeeded before the load ended, which in a run without faults is the phase `before`.
    """
    expect: dict[str, Any] = {}
    allowed = 0.0
    for one in objectives:
        if one.percentile:
            expect.setdefault("latency", {}).setdefault(one.operation, {})[one.percentile] = one.limit
        elif one.limit:
            expect["availability"], allowed = 1 - one.limit, one.limit
        else:
            expect["errors"] = {"all": 0}
    chance = DEVIATIONS / math.sqrt(rate * seconds) if poisson else 0.0
    # At the end of the load an operation may be under way, and have no counterpart at its beginning.
    expect["throughput"] = {"before": max(rate * (KEPT_UP * (1 - allowed) - chance) - 1 / seconds, 0.0)}
    return expect
