"""Injects a scenario's faults into the servers of a run, on time, and heals every one, whatever happens.

A fault that cannot be injected is recorded too: a run in which it never struck has shown nothing.
"""

from __future__ import annotations

import logging
import math
import random
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial

import trio

from hs_drill._cluster import ClusterError
from hs_drill._trio_child import first_error
from hs_drill.scenario import Fault, Moment, targets_of, timeline
from hs_drill.servers import Control

from ._actions import Actions
from ._network import COUNTED
from ._strike import Step, Strike

__all__ = ["Nemesis"]

logger = logging.getLogger("hs_drill.nemesis")

HEAL_SECONDS = 60.0
"""Limit for healing everything at the end of a run ..."""
HEAL_ONE_SECONDS = 30.0
"""... and for one fault or server, so that one that hangs leaves time for the others. For commands of the user's own both are
longer, if the commands may take longer."""
MARK_SECONDS = 0.05
"""How long before a fault strikes or heals to have the engines begin a new batch. If the message reaches an engine later, its
batch counts for no phase. The phase has fewer operations then, but none of another phase."""


@dataclass
class _Active:
    """A fault that is being injected, or that must be healed."""

    strike: Strike
    moment: Moment
    heal: Step | None = None
    """Known before the fault is injected: if that fails or is cancelled, it may have been done in part."""


class Nemesis:
    """Injects and heals the faults of one run.

    Args:
      control: the servers.
      actions: what each fault does to them.
      schedule: the scenario's faults.
      rng: chooses the server of a fault whose target is `one reader`.
      report: gets every strike when it begins, and again whenever it has changed.
      mark: called shortly before faults strike or heal, and again when they have, so that the operations before and after are
        counted apart.
      clock: gives the strikes' times, by default as histories have them. trio's clock has an arbitrary start.

    Attributes:
      strikes: in the order in which they began.
    """

    def __init__(
        self,
        control: Control,
        actions: Actions,
        schedule: Sequence[Fault],
        *,
        rng: random.Random,
        report: Callable[[Strike], None],
        mark: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.strikes: list[Strike] = []
        self._control = control
        self._actions = actions
        self._schedule = schedule
        self._rng = rng
        self._report = report
        self._mark = mark
        self._clock = clock
        self._active: list[_Active] = []
        self._load_ended = False
        # Steps on one server run one after the other; servers do not wait for each other.
        self._locks: defaultdict[str, trio.Lock] = defaultdict(trio.Lock)
        # One failover at a time in the whole cluster: a rejoin during a promotion would still find the old primary.
        self._failovers = trio.Lock()

    async def run(self, duration: float) -> None:
        """Run `duration` seconds of the schedule. Even if cancelled, all has healed then, or a strike says why not."""
        begin = trio.current_time()
        marked = -math.inf
        try:
            async with trio.open_nursery() as nursery:
                for moment in timeline(self._schedule, duration):
                    if moment.at > marked:
                        await trio.sleep_until(begin + moment.at - MARK_SECONDS)
                        self._mark()
                        marked = moment.at
                    await trio.sleep_until(begin + moment.at)
                    if moment.heals:
                        for active in [a for a in self._active if _key(a.moment) == _key(moment)]:
                            nursery.start_soon(self._heal_on_time, active)
                    elif not self._load_ended:
                        self._strike_all(moment, nursery)
                await trio.sleep_until(begin + duration)
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + self._heal_seconds()):
                await self._heal_all()
            for active in self._active:
                self._fail(active.strike, "was still on at the end")

    def end_strikes(self) -> None:
        """The load is ending: inject no more faults while the last answers come. Healing goes on."""
        self._load_ended = True

    def never_struck(self) -> list[str]:
        """A line for each fault whose time never came."""
        struck = {strike.number for strike in self.strikes}
        return [
            f"{fault} never struck: the run ended before {fault.at:g} s"
            for number, fault in enumerate(self._schedule)
            if number not in struck
        ]

    def without_effect(self) -> list[str]:
        """A line for each fault that was on and did nothing."""
        effects: dict[int, int] = {}
        for strike in self.strikes:
            if strike.effects is not None and not strike.error:
                effects[strike.number] = effects.get(strike.number, 0) + strike.effects
        useless = [self._schedule[number] for number, effect in sorted(effects.items()) if not effect]
        return [f"{fault} had no effect: {COUNTED[type(fault)].without}" for fault in useless]

    def _strike_all(self, moment: Moment, nursery: trio.Nursery) -> None:
        fault = self._schedule[moment.number]
        names = [server.name for server in self._control.cluster.servers]
        for name in targets_of(fault, names, self._control.primary, self._rng):
            strike = Strike(moment.number, fault.name, name, self._clock(), occurrence=moment.occurrence)
            active = _Active(strike, moment)
            self.strikes.append(strike)
            self._active.append(active)
            self._report(strike)
            nursery.start_soon(self._strike, fault, active)

    async def _strike(self, fault: Fault, active: _Active) -> None:
        strike = active.strike
        try:
            async with self._locks[strike.server], self._failovers if fault.one_at_a_time else nullcontext():
                inject, active.heal = self._actions.of(fault, strike)
                await inject()
        except Exception as error:
            self._fail(strike, _error_text(error))
            if active.heal is None:
                self._active.remove(active)
            return
        strike.struck = self._clock()
        if active.heal is None:
            self._active.remove(active)
            strike.end = strike.struck
        self._report(strike)
        self._mark()

    async def _heal_on_time(self, active: _Active) -> None:
        # The lock is fair and the strike asked for it first: once we have it, the strike has ended.
        async with self._locks[active.strike.server]:
            # A fault that failed to strike heals at the end of the run: now, it might start a server that another has killed.
            if active in self._active and active.heal is not None and not active.strike.error:
                await self._heal(active, active.heal)

    async def _heal(self, active: _Active, heal: Step) -> None:
        strike = active.strike
        self._begin_healing(strike)
        try:
            await heal()
        except Exception as error:
            self._fail(strike, f"did not heal: {_error_text(error)}")
            return
        self._active.remove(active)
        if not strike.error:
            strike.end = self._clock()
            self._report(strike)
            self._mark()

    def _begin_healing(self, strike: Strike) -> None:
        """Record when healing begins; call it before the first step."""
        if strike.struck is not None and strike.healing is None and not strike.error:
            strike.healing = self._clock()
            self._report(strike)

    def _fail(self, strike: Strike, why: str) -> None:
        if not strike.error:  # the first reason explains the later ones
            strike.error = why
            self._report(strike)

    async def _heal_all(self) -> None:
        """Resume and start servers, and heal every fault that is still on, the last one first. Shielded by the caller."""
        for active in self._active:
            self._begin_healing(active.strike)
        self._actions.heal_network()
        names = [server.name for server in self._control.cluster.servers]
        for name in names:  # first of all: a paused server would hold up the rest
            if self._control.state(name) == "paused":
                await self._repair(name, partial(self._control.resume, name))
        for name in names:
            if self._control.state(name) == "down":
                await self._repair(name, partial(self._control.start, name))
        if self._control.by_command is None:
            await self._heal_each(self._active)
            return
        # Commands of the user's own take as long as they like, and a replica has healed only once its source has.
        async with trio.open_nursery() as nursery:
            for name in {active.strike.server for active in self._active}:
                nursery.start_soon(self._heal_each, [active for active in self._active if active.strike.server == name])

    async def _heal_each(self, faults: Sequence[_Active]) -> None:
        for active in reversed(faults[:]):
            strike = active.strike
            if strike.struck is None:
                self._fail(strike, "was cut off by the end of the run")
            if active.heal is None:
                self._active.remove(active)
                continue
            with trio.move_on_after(self._heal_one_seconds(strike)):
                await self._heal(active, active.heal)

    def _heal_one_seconds(self, strike: Strike) -> float:
        return max(HEAL_ONE_SECONDS, self._actions.limit(self._schedule[strike.number], strike.number))

    def _heal_seconds(self) -> float:
        by_server: defaultdict[str, float] = defaultdict(float)
        for active in self._active:
            by_server[active.strike.server] += self._heal_one_seconds(active.strike)
        return HEAL_SECONDS if self._control.by_command is None else max(HEAL_SECONDS, *by_server.values(), 0)

    async def _repair(self, name: str, step: Step) -> None:
        with trio.move_on_after(HEAL_ONE_SECONDS) as scope:
            try:
                await step()
            except Exception as error:
                logger.error("%s: %s", name, _error_text(error))
        if scope.cancelled_caught:
            logger.error("%s: did not recover within %g s", name, HEAL_ONE_SECONDS)


def _key(moment: Moment) -> tuple[int, int]:
    return moment.number, moment.occurrence


def _error_text(error: BaseException) -> str:
    error = first_error(error)
    return str(error) if isinstance(error, ClusterError) else f"{type(error).__name__}: {error}"
