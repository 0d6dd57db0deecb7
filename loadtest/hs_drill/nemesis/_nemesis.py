"""What puts a scenario's faults on the servers of a run, on time, and takes every one off again, whatever happened.

A fault that could not be put on is an event too: a run in which it never struck has shown nothing.
"""

from __future__ import annotations

import logging
import math
import random
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial

import trio

from hs_drill._cluster import ClusterError
from hs_drill._trio_child import first_error
from hs_drill.scenario import Fault, Moment, faults, targets_of, timeline
from hs_drill.servers import Control

from ._actions import Actions
from ._network import COUNTED
from ._strike import Do, Strike

__all__ = ["Nemesis"]

logger = logging.getLogger("hs_drill.nemesis")

HEAL_SECONDS = 60.0
"""What the last healing of everything may take together ..."""
HEAL_ONE_SECONDS = 30.0
"""... and that of one fault or server, so that one which hangs does not cost the others theirs."""
MARK_SECONDS = 0.05
"""How long before a fault strikes or heals the engines are told to begin a new batch. One that learns of it later counts that
batch in no phase: a phase has less then, and still nothing that is not of it."""

FAILOVERS = (faults.Promote, faults.SwitchOver, faults.Rejoin)


@dataclass
class _Active:
    """A fault that has to be healed, or whose strike has not ended yet."""

    event: Strike
    moment: Moment
    heal: Do | None = None
    """Known before the strike begins: one that fails or is cancelled may have been carried out in part."""


class Nemesis:
    """The faults of one run.

    Args:
      control: the servers.
      actions: what each fault does to them.
      schedule: the scenario's faults.
      rng: draws what `one reader` means.
      tell: is told of every event, when it starts and again whenever it has changed.
      mark: is called a little before faults strike and heal, and when they have: what operations do until then is told apart
        from what they do later.
      clock: tells the events' times: not trio's, which begins anywhere, but the one that histories have too.
    """

    def __init__(
        self,
        control: Control,
        actions: Actions,
        schedule: Sequence[Fault],
        *,
        rng: random.Random,
        tell: Callable[[Strike], None],
        mark: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.events: list[Strike] = []
        self._control = control
        self._actions = actions
        self._schedule = schedule
        self._rng = rng
        self._tell = tell
        self._mark = mark
        self._clock = clock
        self._active: list[_Active] = []
        self._load_ended = False
        # What is done to one server is done in order; servers do not wait for each other.
        self._locks = {server.name: trio.Lock() for server in control.cluster.servers}
        # But who is the primary is one thing: a rejoin that comes while a promotion is under way would find the old one.
        self._failovers = trio.Lock()

    async def run(self, duration: float) -> None:
        """Carry out the schedule from now on. However it ends, everything has healed then, or an event says why not."""
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
                            nursery.start_soon(self._heal, active)
                    elif not self._load_ended:
                        self._strike_all(moment, nursery)
                await trio.sleep_until(begin + duration)
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + HEAL_SECONDS):
                await self.heal_all()
            for active in self._active:
                self._failed(active.event, "was still on at the end")

    def end_strikes(self) -> None:
        """The load was told to end: nothing strikes any more, while the last answers come; healing goes on."""
        self._load_ended = True

    def never_struck(self) -> list[str]:
        """The scenario's faults whose time never came, in words."""
        struck = {event.number for event in self.events}
        return [
            f"{fault} never struck: the run ended before {fault.at:g} s"
            for number, fault in enumerate(self._schedule)
            if number not in struck
        ]

    def without_effect(self) -> list[str]:
        """The scenario's faults that were on and did nothing, in words."""
        effects: dict[int, int] = {}
        for event in self.events:
            if event.effects is not None and not event.error:
                effects[event.number] = effects.get(event.number, 0) + event.effects
        useless = [self._schedule[number] for number, effect in sorted(effects.items()) if not effect]
        return [f"{fault} had no effect: {COUNTED[type(fault)].none}" for fault in useless]

    def _strike_all(self, moment: Moment, nursery: trio.Nursery) -> None:
        fault = self._schedule[moment.number]
        names = [server.name for server in self._control.cluster.servers]
        for name in targets_of(fault.target, names, self._control.primary, self._rng):
            event = Strike(moment.number, fault.name, name, self._clock(), occurrence=moment.occurrence)
            active = _Active(event, moment)
            self.events.append(event)
            self._active.append(active)
            self._tell(event)
            nursery.start_soon(self._strike, fault, active)

    async def _strike(self, fault: Fault, active: _Active) -> None:
        event = active.event
        try:
            async with self._locks[event.server], self._failovers if isinstance(fault, FAILOVERS) else nullcontext():
                strike, active.heal = self._actions.of(fault, event)
                await strike()
        except Exception as error:
            self._failed(event, _words(error))
            if active.heal is None:
                self._active.remove(active)
            return
        event.struck = self._clock()
        if active.heal is None:
            self._active.remove(active)
            event.end = event.struck
        self._tell(event)
        self._mark()

    async def _heal(self, active: _Active) -> None:
        # The lock is fair, and the strike asked for it before: when we have it, the strike has ended.
        async with self._locks[active.event.server]:
            # What failed to strike heals at the end: to start a server now, say, that another fault has killed, would be wrong.
            if active in self._active and active.heal is not None and not active.event.error:
                await self._end(active, active.heal)

    async def _end(self, active: _Active, heal: Do) -> None:
        event = active.event
        self._begin_healing(event)
        try:
            await heal()
        except Exception as error:
            self._failed(event, f"did not heal: {_words(error)}")
            return
        self._active.remove(active)
        if not event.error:
            event.end = self._clock()
            self._tell(event)
            self._mark()

    def _begin_healing(self, event: Strike) -> None:
        """Before anything is done about it."""
        if event.struck is not None and event.healing is None and not event.error:
            event.healing = self._clock()
            self._tell(event)

    def _failed(self, event: Strike, why: str) -> None:
        if not event.error:  # the first reason is the one that explains the others
            event.error = why
            self._tell(event)

    async def heal_all(self) -> None:
        """Start what is down, and end every fault that is still on, the last one first. Shielded by the caller."""
        for active in self._active:
            self._begin_healing(active.event)
        self._actions.heal_network()
        names = [server.name for server in self._control.cluster.servers]
        for name in names:  # before all else, for a paused server would make the rest wait
            if self._control.state(name) == "paused":
                await self._see_to(name, partial(self._control.resume, name))
        for name in names:
            if self._control.state(name) == "down":
                await self._see_to(name, partial(self._control.start, name))
        for active in reversed(self._active[:]):
            event = active.event
            if event.struck is None:
                self._failed(event, "was cut off by the end of the run")
            if active.heal is None:
                self._active.remove(active)
                continue
            with trio.move_on_after(HEAL_ONE_SECONDS):
                await self._end(active, active.heal)

    async def _see_to(self, name: str, what: Do) -> None:
        with trio.move_on_after(HEAL_ONE_SECONDS) as scope:
            try:
                await what()
            except Exception as error:
                logger.error("%s: %s", name, _words(error))
        if scope.cancelled_caught:
            logger.error("%s: could not be healed within %g s", name, HEAL_ONE_SECONDS)


def _key(moment: Moment) -> tuple[int, int]:
    return moment.number, moment.occurrence


def _words(error: BaseException) -> str:
    error = first_error(error)
    return str(error) if isinstance(error, ClusterError) else f"{type(error).__name__}: {error}"
