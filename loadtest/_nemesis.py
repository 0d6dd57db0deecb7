"""What puts a scenario's faults on the servers of a run, on time, and takes every one off again, whatever happened.

A fault that could not be put on is an event too: a run in which it never struck has shown nothing.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pymysql
import trio

from loadtest import _faults as faults
from loadtest._cluster import ClusterError, Server
from loadtest._control import Control
from loadtest._faults import Fault, Moment, resolve, timeline
from loadtest._proxy import Proxy
from loadtest._sql import execute_sql, quoted

__all__ = ["Event", "Nemesis"]

logger = logging.getLogger("loadtest.nemesis")

HEAL_SECONDS = 60.0
"""What the last healing of everything may take together."""
STATEMENT_SECONDS = 10
"""What an ALTER TABLE waits for those who have the table open."""

Heal = Callable[[], Awaitable[object]]


@dataclass
class Event:
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


@dataclass
class _Active:
    event: Event
    moment: Moment
    heal: Heal | None = None
    started: trio.Event = field(default_factory=trio.Event)


class Nemesis:
    """The faults of one run.

    Args:
      control: the servers.
      proxies: in front of each listener, by the server's name and `read` or `write`; may be empty without network faults.
      table: the database and name of the table under load.
      schedule: the scenario's faults.
      rng: draws what `one reader` means.
      tell: is told of every event, when it starts and again whenever it has changed.
    """

    def __init__(
        self,
        control: Control,
        proxies: Mapping[tuple[str, str], Proxy],
        table: tuple[str, str],
        schedule: Sequence[Fault],
        rng: random.Random,
        tell: Callable[[Event], None],
    ) -> None:
        self.events: list[Event] = []
        self._control = control
        self._proxies = proxies
        self._table = table
        self._schedule = schedule
        self._rng = rng
        self._tell = tell
        self._active: list[_Active] = []
        # What is done to one server is done in order; servers do not wait for each other.
        self._locks = {server.name: trio.Lock() for server in control.cluster.servers}

    async def run(self, duration: float) -> None:
        """Carry out the schedule from now on. However it ends, everything has healed then, or an event says why not."""
        begin = trio.current_time()
        try:
            async with trio.open_nursery() as nursery:
                for moment in timeline(self._schedule, duration):
                    await trio.sleep_until(begin + moment.at)
                    if moment.heals:
                        for active in [a for a in self._active if (a.moment.number, a.moment.occurrence) == _key(moment)]:
                            nursery.start_soon(self._heal, active)
                    else:
                        self._strike_all(moment, nursery)
                await trio.sleep_until(begin + duration)
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + HEAL_SECONDS):
                await self.heal_all()

    def _strike_all(self, moment: Moment, nursery: trio.Nursery) -> None:
        fault = self._schedule[moment.number]
        names = [server.name for server in self._control.cluster.servers]
        for name in resolve(fault.target, names, self._control.primary, self._rng):
            event = Event(moment.number, fault.name, name, trio.current_time())
            active = _Active(event, moment)
            self.events.append(event)
            self._active.append(active)
            self._tell(event)
            nursery.start_soon(self._strike, fault, active)

    async def _strike(self, fault: Fault, active: _Active) -> None:
        event = active.event
        try:
            async with self._locks[event.server]:
                active.heal = await self._begin(fault, event)
            event.struck = trio.current_time()
        except ClusterError as error:
            event.error = str(error)
        if active.heal is None:
            self._active.remove(active)
            event.end = event.struck
        active.started.set()
        self._tell(event)

    async def _heal(self, active: _Active) -> None:
        await active.started.wait()
        if active not in self._active or active.heal is None:
            return
        self._active.remove(active)
        event = active.event
        try:
            async with self._locks[event.server]:
                await active.heal()
            event.end = trio.current_time()
        except ClusterError as error:
            event.error = f"did not heal: {error}"
        self._tell(event)

    async def heal_all(self) -> None:
        """End every fault that is still on, the last one first, and start what is down. Shielded by the caller."""
        for proxy in self._proxies.values():
            proxy.heal()
        for active in reversed(self._active[:]):
            if active.heal is None:  # cancelled while it was put on: see to the server itself, below
                self._active.remove(active)
            else:
                active.started.set()
                await self._heal(active)
        for server in self._control.cluster.servers:
            try:
                if self._control.state(server.name) == "paused":
                    await self._control.resume(server.name)
                if self._control.state(server.name) == "down":
                    await self._control.start(server.name)
            except ClusterError as error:
                logger.error("%s", error)

    # ---- what each fault is

    async def _begin(self, fault: Fault, event: Event) -> Heal | None:
        """Put a fault on; gives what ends it. Raises `ClusterError`."""
        control, name = self._control, event.server
        match fault:
            case faults.Kill():
                await control.kill(name)
                return partial(self._start, name)
            case faults.Stop():
                await control.stop(name)
                return partial(self._start, name)
            case faults.Restart():
                await control.restart(name)
            case faults.Pause():
                await control.pause(name)
                return partial(control.resume, name)
            case faults.Promote():
                await control.promote(name)
            case faults.Rejoin():
                joined = await control.rejoin(name)
                event.note = f"{'rebuilt: ' if joined.rebuilt else ''}{joined.reason}"
            case faults.StopReplication():
                await control.stop_replication(name)
                return partial(control.start_replication, name)
            case faults.Lag(seconds=seconds):
                await control.set_lag(name, seconds)
                return partial(control.set_lag, name, 0)
            case faults.WriterLock():
                return await _hold(control.require(name, "running"), "SELECT GET_LOCK('handlersocket_wr', 5)")
            case faults.RowLock(key=key):
                row = f"SELECT 1 FROM {self._table_name} WHERE id = {key} FOR UPDATE"
                return await _hold(control.require(name, "running"), "START TRANSACTION", row)
            case faults.AlterTable():
                await self._alter(control.require(name, "running"))
            case faults.StopListener():
                await _stop_listener(control.require(name, "running"))
                return partial(self._restart_hard, name)
            case faults.Network():
                return self._disturb(fault, name)
            case _:
                raise AssertionError(f"no such fault: {fault!r}")
        return None

    @property
    def _table_name(self) -> str:
        return ".".join(map(quoted, self._table))

    async def _start(self, name: str) -> None:
        if self._control.state(name) == "down":  # a rejoin may have started it meanwhile
            await self._control.start(name)

    async def _restart_hard(self, name: str) -> None:
        await self._control.kill(name)
        await self._control.start(name)

    async def _alter(self, server: Server) -> None:
        comment = f"drilled {trio.current_time():.3f}"
        await execute_sql(
            server,
            f"SET SESSION lock_wait_timeout={STATEMENT_SECONDS}",
            f"ALTER TABLE {self._table_name} COMMENT '{comment}'",
        )

    def _disturb(self, fault: faults.Network, name: str) -> Heal:
        listeners = ("read", "write") if fault.listener == "both" else (fault.listener,)
        started = [(self._proxies[(name, listener)], fault.proxy_fault()) for listener in listeners]
        for proxy, disturbance in started:
            proxy.start(disturbance)

        async def heal() -> None:
            for proxy, disturbance in started:
                proxy.heal(disturbance)

        return heal


def _key(moment: Moment) -> tuple[int, int]:
    return moment.number, moment.occurrence


async def _hold(server: Server, *statements: str) -> Heal:
    """Carry out statements in a connection that stays open; gives what closes it, which undoes them."""

    def begin() -> Any:
        connection = pymysql.connect(
            host=server.host,
            port=server.sql_port or 0,
            user=server.admin_user,
            password=server.admin_password,
            connect_timeout=5,
            read_timeout=30,
        )
        try:
            with connection.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)
                if not (cursor.fetchone() or (None,))[0]:
                    raise ClusterError(f"{server.name}: {statements[-1]}: not had")
        except BaseException:
            connection.close()
            raise
        return connection

    try:
        connection = await trio.to_thread.run_sync(begin)
    except (pymysql.MySQLError, OSError) as error:
        raise ClusterError(f"{server.name}: {error}") from error

    async def heal() -> None:
        await trio.to_thread.run_sync(_close, connection)

    return heal


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
