"""The bases of users in Python, as the engine runs them."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from typing import Any, ClassVar

import trio_hs
from hs_drill.scenario import Scenario
from hs_drill.user_classes import WaitTime, constant

from ._audited_rows import AuditedRows
from ._pace import User
from ._user_results import Measure, UserResults

__all__ = ["HandlerSocketUser", "TrioUser", "concrete"]


class TrioUser:
    """A user that is a trio task in the load engine. Subclass it, and mark its tasks with `@task`.

    A user executes `on_start`, then one task after the other, drawn by their weights, and waits after each. When it is stopped
    it finishes its task, and executes `on_stop`.
    """

    abstract: ClassVar[bool] = True
    """Whether the class is only a base of others. Not inherited."""
    weight: ClassVar[float] = 1
    """How many of Locust's users are of this class, relative to the other classes."""
    fixed_count: ClassVar[int] = 0
    """If above 0: exactly so many users, and `weight` does not count."""
    host: ClassVar[str | None] = None
    """Unused here. Locust's web UI shows it."""
    wait_time: ClassVar[WaitTime] = constant(0)
    """How long a user waits after a task: `between`, `constant`, `constant_pacing`, `constant_throughput`, `poisson`, or a
    method that returns seconds."""

    _random: random.Random
    """The same as `random`, whatever the code does with that."""
    hs: trio_hs.Manager
    """The client of the scenario's servers: all of `trio_hs`. What it sends is not audited."""
    user: int
    """The user's number in this engine."""
    random: random.Random
    """Seeded by the scenario, the worker, the class and the number."""
    scenario: Scenario

    _rows: AuditedRows | None = None
    _pace: User
    _results: UserResults
    _counted: list[BaseException]
    """What ended measured operations of the current task, and must not be counted again."""

    async def on_start(self) -> None:
        """Called before the first task. If it raises, it is called again a second later."""

    async def on_stop(self) -> None:
        """Called after the last task."""

    @property
    def rows(self) -> AuditedRows:
        """Audited operations on the scenario's table. RuntimeError if the run has no audit, or the table is one that exists."""
        if self._rows is None:
            why = "say `audit: true` in the scenario" if not self.scenario.audited else "and not for a table that exists"
            raise RuntimeError(f"self.rows is for audited runs: {why}")
        return self._rows

    def __init__(self) -> None:
        # Locust's constant_pacing and constant_throughput look at these.
        self._cp_last_run, self._cp_last_wait_time = time.perf_counter(), 0.0

    def measure(self, name: str) -> Measure:
        """`async with self.measure("browse"):` counts the block as one operation of that name. It fails if the block raises."""
        return Measure(self._results, name, self._counted)


class HandlerSocketUser:
    """A user that executes the scenario's mix. A subclass gives that class a name and a weight beside others."""

    abstract: ClassVar[bool] = True
    weight: ClassVar[float] = 1
    fixed_count: ClassVar[int] = 0


def concrete(base: type[Any]) -> Iterator[type[Any]]:
    """The subclasses of which Locust makes users."""
    for cls in base.__subclasses__():
        if not vars(cls).get("abstract", False):
            yield cls
        yield from concrete(cls)
