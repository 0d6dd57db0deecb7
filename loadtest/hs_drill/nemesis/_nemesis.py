"""What puts a scenario's faults on the servers of a run, on time, and takes every one off again, whatever happened.

A fault that could not be put on is an event too: a run in which it never struck has shown nothing.
"""

from __future__ import annotations

import logging
import math
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import pymysql
import trio

from hs_drill._cluster import ClusterError, Server
from hs_drill._trio_child import first_error
from hs_drill.proxy import Proxy, ProxyStatistics
from hs_drill.scenario import Fault, Moment, faults, targets_of, timeline
from hs_drill.servers import Control, execute_sql, quoted

from ._network import disturbance_of

__all__ = ["Nemesis", "Strike", "Suspended"]

logger = logging.getLogger("hs_drill.nemesis")

LOCK_WAIT_TIMEOUT = 1205
"""What MariaDB answers to an ALTER TABLE that did not get the table in time."""
REPLICATE_SECONDS = 30.0
"""What replicas may take to catch up while clients are suspended."""
HEAL_SECONDS = 60.0
"""What the last healing of everything may take together ..."""
HEAL_ONE_SECONDS = 30.0
"""... and that of one fault or server, so that one which hangs does not cost the others theirs."""

UNDO_SECONDS = 10.0
"""What it may take to have a server serve again, after a shutdown or a switch-over that failed half way."""


@dataclass(frozen=True)
class _Counted:
    """The effects of a fault whose effects are known for certain."""

    what: str
    of: Callable[[ProxyStatistics], int]
    """How many a proxy has seen so far."""
    none: str
    """What to say where there was none, and what to do about it."""


_NO_CONNECTION = "no connection was open then: aim it at a server that carries load, when it does"
COUNTED: dict[type[Fault], _Counted] = {
    faults.DropReplies: _Counted(
        "replies lost",
        lambda seen: seen.cut,
        "no reply was lost, for none came after so many others: lower `after`, or aim it at a server that carries load",
    ),
    faults.Reset: _Counted("connections reset", lambda seen: seen.reset, _NO_CONNECTION),
    faults.HalfOpen: _Counted("connections made half-open", lambda seen: seen.half_open, _NO_CONNECTION),
}

MARK_SECONDS = 0.05
"""How long before a fault strikes or heals the engines are told to begin a new batch. One that learns of it later counts that
batch in no phase: a phase has less then, and still nothing that is not of it."""

FAILOVERS = (faults.Promote, faults.SwitchOver, faults.Rejoin)

Do = Callable[[], Awaitable[object]]
Suspended = Callable[[], AbstractAsyncContextManager[None]]


@dataclass
class Strike:
    """A fault on one server, as it happened. Times are `CLOCK_MONOTONIC` in seconds."""

    number: int
    """Which of the scenario's faults."""
    fault: str
    server: str
    start: float
    """When it was asked for."""
    struck: float | None = None
    """When it was on (or done, for one that happens at once)."""
    end: float | None = None
    """When it had healed."""
    error: str = ""
    """Why it could not be put on or taken off."""
    note: str = ""
    """What else is to be told."""
    effects: int | None = None
    """How many replies or connections it has hit; None where that is not counted."""
    occurrence: int = 0
    """Which time it is, counted from 0."""
    healing: float | None = None
    """When its healing began; None for one that happens at once."""


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
      proxies: in front of each listener, by the server's name and `read` or `write`; may be empty without network faults.
      table: the database and name of the table under load.
      schedule: the scenario's faults.
      rng: draws what `one reader` means.
      suspended: makes all clients let go of the servers, for the time of a block.
      tell: is told of every event, when it starts and again whenever it has changed.
      promoted: is told who is the primary now.
      mark: is called a little before faults strike and heal, and when they have: what operations do until then is told apart
        from what they do later.
      clock: tells the events' times: not trio's, which begins anywhere, but the one that histories have too.
    """

    def __init__(
        self,
        control: Control,
        proxies: Mapping[tuple[str, str], Proxy],
        table: tuple[str, str],
        schedule: Sequence[Fault],
        rng: random.Random,
        suspended: Suspended,
        tell: Callable[[Strike], None],
        promoted: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
        mark: Callable[[], None] = lambda: None,
    ) -> None:
        self.events: list[Strike] = []
        self._control = control
        self._proxies = proxies
        self._table = table
        self._schedule = schedule
        self._rng = rng
        self._suspended = suspended
        self._tell = tell
        self._promoted = promoted
        self._clock = clock
        self._mark = mark
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
                strike, active.heal = self._package(fault, event)
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
        for proxy in self._proxies.values():
            proxy.heal()
        names = [server.name for server in self._control.cluster.servers]
        for name in names:  # before all else, for a paused server would make the rest wait
            await self._see_to(name, partial(self._resume, name))
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

    # ---- what each fault is

    def _package(self, fault: Fault, event: Strike) -> tuple[Do, Do | None]:
        """What puts a fault on, and what ends it, if anything does; that must be right also when it is not on (any more)."""
        control, name = self._control, event.server
        match fault:
            case faults.Kill():
                return partial(control.kill, name), partial(self._start, name)
            case faults.Stop(drain=drain):
                return partial(self._shut_down if drain else control.stop, name), partial(self._start, name)
            case faults.Restart(drain=drain):
                return partial(self._restart_drained if drain else control.restart, name), None
            case faults.Pause():
                return partial(control.pause, name), partial(self._resume, name)
            case faults.Promote():
                return partial(self._promote, name), None
            case faults.SwitchOver(suspend=suspend):
                return partial(self._switch_over_in_place if suspend else self._switch_over, name, event), None
            case faults.Rejoin():
                return partial(self._rejoin, name, event), None
            case faults.StopReplication():
                return partial(control.stop_replication, name), self._of_replica(name, partial(control.start_replication, name))
            case faults.Lag(seconds=seconds):
                return partial(control.set_lag, name, seconds), self._of_replica(name, partial(control.set_lag, name, 0))
            case faults.WriterLock():
                held = _Held(control.require(name, "running"), "SELECT GET_LOCK('handlersocket_wr', 5)")
                return held.begin, held.close
            case faults.RowLock(key=key):
                row = f"SELECT 1 FROM {self._table_name} WHERE id = {key} FOR UPDATE"
                held = _Held(control.require(name, "running"), "START TRANSACTION", row)
                return held.begin, held.close
            case faults.AlterTable():
                return partial(self._alter, name, fault, event), None
            case faults.StopListener():
                return partial(_stop_listener, control.require(name, "running")), partial(self._restart_hard, name)
            case faults.NetworkFault():
                return self._disturbance(fault, name, event)
            case _:
                raise AssertionError(f"no such fault: {fault!r}")

    @property
    def _table_name(self) -> str:
        return ".".join(map(quoted, self._table))

    async def _start(self, name: str) -> None:
        if self._control.state(name) == "down":  # a rejoin, or another fault's healing, may have started it meanwhile
            await self._control.start(name)
        else:
            await self._control.wait_up(name)

    async def _shut_down(self, name: str) -> None:
        """End its HandlerSocket, and then the server; one of which only the first half succeeds is started anew."""
        self._control.require(name, "running")
        try:
            await self._control.stop_serving(name)
            await self._control.stop(name)
        except BaseException:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + UNDO_SECONDS):
                await self._restart_hard(name)  # it may serve nobody any more
            raise

    async def _restart_drained(self, name: str) -> None:
        await self._shut_down(name)
        await self._control.start(name)

    async def _resume(self, name: str) -> None:
        if self._control.state(name) == "paused":  # it may have been killed meanwhile
            await self._control.resume(name)

    def _of_replica(self, name: str, heal: Do) -> Do:
        """The healing of what a server no longer has once it is promoted."""

        async def unless_promoted() -> None:
            if name != self._control.primary:
                await heal()

        return unless_promoted

    async def _restart_hard(self, name: str) -> None:
        if self._control.state(name) != "down":
            await self._control.kill(name)
        await self._control.start(name)

    async def _rejoin(self, name: str, event: Strike) -> None:
        joined = await self._control.rejoin(name)
        event.note = f"{'rebuilt: ' if joined.rebuilt else ''}{joined.reason}"

    async def _promote(self, name: str) -> None:
        await self._control.promote(name)
        self._promoted(name)

    def _to_be_replaced(self, name: str) -> str:
        """The primary, whose place the named server can take."""
        old = self._control.primary
        if name == old:
            raise ClusterError(f"{name} is the primary already")
        self._control.require(name, "running")  # before the primary is gone
        return old

    async def _switch_over(self, name: str, event: Strike) -> None:
        old = self._to_be_replaced(name)
        await self._shut_down(old)
        await self._promote(name)
        await self._rejoin(old, event)

    async def _switch_over_in_place(self, name: str, event: Strike) -> None:
        old = self._to_be_replaced(name)
        begin = trio.current_time()
        async with self._suspended():
            try:
                await self._control.close_for_writes()
                await self._control.wait_replicated(REPLICATE_SECONDS)
                await self._promote(name)
            except BaseException:
                if self._control.primary == old:
                    with trio.CancelScope(shield=True, deadline=trio.current_time() + UNDO_SECONDS):
                        await self._control.open_for_writes()
                raise
        suspended = f"clients were suspended for {trio.current_time() - begin:.1f} s"
        await self._rejoin(old, event)
        event.note = f"{suspended}; {event.note}"

    async def _alter(self, name: str, fault: faults.AlterTable, event: Strike) -> None:
        server = self._control.require(name, "running")
        begin = trio.current_time()
        alter = f"ALTER TABLE {self._table_name} COMMENT 'drilled {begin:.3f}'"
        async with self._suspended() if fault.suspend else nullcontext():
            try:
                await execute_sql(server, f"SET SESSION lock_wait_timeout={math.ceil(fault.patience)}", alter)
            except ClusterError as error:
                if fault.suspend or f"SQL error {LOCK_WAIT_TIMEOUT}:" not in str(error):
                    raise
                event.note = f"gave up after {trio.current_time() - begin:.1f} s: somebody had the table open all the time"
                return
            if fault.suspend:  # clients that read from a replica would hold it up there, and all that comes behind it
                await self._control.wait_replicated(REPLICATE_SECONDS)
        during = ", for which clients were suspended" if fault.suspend else ""
        event.note = f"carried out after {trio.current_time() - begin:.1f} s{during}"

    def _disturbance(self, fault: faults.NetworkFault, name: str, event: Strike) -> tuple[Do, Do | None]:
        listeners = ("read", "write") if fault.listener == "both" else (fault.listener,)
        both = [(self._proxies[(name, listener)], disturbance_of(fault)) for listener in listeners]

        counted = COUNTED.get(type(fault))
        before = 0

        def seen() -> int:
            return 0 if counted is None else sum(counted.of(proxy.statistics()) for proxy, _ in both)

        def count() -> None:
            if counted is not None:
                event.effects = seen() - before
                event.note = f"{counted.what}: {event.effects:,}"

        async def strike() -> None:
            nonlocal before
            before = seen()
            for proxy, disturbance in both:
                proxy.start(disturbance)
            if not fault.lasts:
                count()

        async def heal() -> None:
            for proxy, disturbance in both:
                proxy.heal(disturbance)
            count()

        return strike, heal if fault.lasts else None


def _key(moment: Moment) -> tuple[int, int]:
    return moment.number, moment.occurrence


def _words(error: BaseException) -> str:
    error = first_error(error)
    return str(error) if isinstance(error, ClusterError) else f"{type(error).__name__}: {error}"


class _Held:
    """Statements whose effect lasts as long as their connection."""

    def __init__(self, server: Server, *statements: str) -> None:
        self._server = server
        self._statements = statements
        self._connection: Any = None

    async def begin(self) -> None:
        """Carry them out. The last one must give something true. Raises `ClusterError`."""
        try:
            await trio.to_thread.run_sync(self._begin)  # to its end, also when cancelled: `close` needs it
        except (pymysql.MySQLError, OSError) as error:
            raise ClusterError(f"{self._server.name}: {error}") from error

    def _begin(self) -> None:
        server = self._server
        self._connection = pymysql.connect(
            host=server.host,
            port=server.sql_port or 0,
            user=server.admin_user,
            password=server.admin_password,
            connect_timeout=5,
            read_timeout=10,
        )
        with self._connection.cursor() as cursor:
            for statement in self._statements:
                cursor.execute(statement)
            if not (cursor.fetchone() or (None,))[0]:
                raise ClusterError(f"{server.name}: {self._statements[-1]}: not had")

    async def close(self) -> None:
        """Undo them, by closing the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await trio.to_thread.run_sync(_close, connection)


def _close(connection: Any) -> None:
    try:
        connection.close()
    except (pymysql.MySQLError, OSError):
        pass


async def _stop_listener(server: Server) -> None:
    """A first byte `Q` stops every worker of the listener for good (measured), without a word."""
    try:
        async with await trio.open_tcp_stream(server.host, server.read_port) as stream:
            await stream.send_all(b"Q\n")
            with trio.move_on_after(1):
                await stream.receive_some()
    except OSError as error:
        raise ClusterError(f"{server.name}: cannot reach its listener for reads: {error}") from error
