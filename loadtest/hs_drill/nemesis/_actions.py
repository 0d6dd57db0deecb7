"""What each fault does to a server, and what undoes it."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from functools import partial
from typing import Any

import pymysql
import pymysql.cursors
import trio

from hs_drill._cluster import ClusterError, Server
from hs_drill._sql_text import table_name
from hs_drill.scenario import Fault, faults
from hs_drill.servers import Control, connect_sql, execute_sql

from ._network import Proxies, network_steps
from ._own_commands import await_failover, command_name, command_steps
from ._strike import Step, Strike

__all__ = ["Actions", "Suspended"]

LOCK_WAIT_TIMEOUT = 1205
"""MariaDB's error code when ALTER TABLE did not get the table's lock in time."""
REPLICATE_SECONDS = 30.0
"""Limit for replicas to catch up while clients are suspended."""
UNDO_SECONDS = 10.0
"""Limit for making a server serve again after a shutdown or a switch-over that failed half way."""

Suspended = Callable[[], AbstractAsyncContextManager[None]]
"""Suspends all clients for a block: they have no connections then, and their operations wait."""


class Actions:
    """The steps of every fault, on one run's servers and proxies.

    Args:
      control: the servers.
      table: the database and name of the table under load.
      row: the condition in SQL for the row with a number.
      proxies: empty if no fault is in the network.
      suspended: suspends all clients for a block.
      on_promotion: called with the name of each new primary.
    """

    def __init__(
        self,
        control: Control,
        table: tuple[str, str],
        proxies: Proxies,
        *,
        row: Callable[[int], str],
        suspended: Suspended,
        on_promotion: Callable[[str], None],
    ) -> None:
        self._control = control
        self._table = table
        self._row = row
        self._proxies = proxies
        self._suspended = suspended
        self._on_promotion = on_promotion

    def heal_network(self) -> None:
        """Heal every network fault."""
        for proxy in self._proxies.values():
            proxy.heal()

    def limit(self, fault: Fault, number: int) -> float:
        """The most seconds that a command of the user's own takes to heal the fault, about; 0 if none does."""
        by_command = self._control.by_command
        return 0.0 if by_command is None else by_command.limit(command_name(fault, number))

    def of(self, fault: Fault, strike: Strike) -> tuple[Step, Step | None]:
        """The step that injects a fault, and the one that heals it; None if it happens at once.

        The second one also works for a fault that was injected in part, or is no longer on.
        """
        control, name = self._control, strike.server
        if control.by_command is not None and (fault.by_command or isinstance(fault, faults.Command)):
            return command_steps(control.by_command, fault, strike)
        match fault:
            case faults.External():
                return await_failover(control, fault.for_, strike), None
            case faults.Kill():
                return partial(control.kill, name), partial(self._bring_up, name)
            case faults.Stop(drain=drain):
                return partial(self._shut_down if drain else control.stop, name), partial(self._bring_up, name)
            case faults.Restart(drain=drain):
                return partial(self._restart_drained if drain else control.restart, name), None
            case faults.Pause():
                return partial(control.pause, name), partial(self._resume_if_paused, name)
            case faults.Promote():
                return partial(self._promote, name), None
            case faults.SwitchOver(suspend=suspend):
                return partial(self._switch_over_in_place if suspend else self._switch_over, name, strike), None
            case faults.Rejoin():
                return partial(self._rejoin, name, strike), None
            case faults.StopReplication():
                return partial(control.stop_replication, name), self._unless_promoted(
                    name, partial(control.start_replication, name)
                )
            case faults.Lag(seconds=seconds):
                return partial(control.set_lag, name, seconds), self._unless_promoted(name, partial(control.set_lag, name, 0))
            case faults.WriterLock():
                lock = _SqlLock(control.require(name, "running"), "SELECT GET_LOCK('handlersocket_wr', 5)")
                return lock.take, lock.release
            case faults.RowLock(key=key):
                row = f"SELECT 1 FROM {self._table_name} WHERE {self._row(key)} FOR UPDATE"
                lock = _SqlLock(control.require(name, "running"), "START TRANSACTION", row)
                return lock.take, lock.release
            case faults.AlterTable():
                return partial(self._alter, name, fault, strike), None
            case faults.StopListener():
                return partial(_stop_listener, control.require(name, "running")), partial(self._kill_and_start, name)
            case faults.NetworkFault():
                return network_steps(fault, self._proxies, strike)
            case _:
                raise AssertionError(f"no such fault: {fault!r}")

    @property
    def _table_name(self) -> str:
        return table_name(*self._table)

    async def _bring_up(self, name: str) -> None:
        if self._control.state(name) == "down":  # a rejoin or another fault's healing may have started it
            await self._control.start(name)
        else:
            await self._control.wait_up(name)

    async def _shut_down(self, name: str) -> None:
        """End HandlerSocket, then the server. If that fails half way, restart the server."""
        self._control.require(name, "running")
        try:
            await self._control.stop_serving(name)
            await self._control.stop(name)
        except BaseException:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + UNDO_SECONDS):
                await self._kill_and_start(name)  # HandlerSocket may have ended
            raise

    async def _restart_drained(self, name: str) -> None:
        await self._shut_down(name)
        await self._control.start(name)

    async def _resume_if_paused(self, name: str) -> None:
        if self._control.state(name) == "paused":  # it may have been killed since
            await self._control.resume(name)

    def _unless_promoted(self, name: str, heal: Step) -> Step:
        """Heal a replica, unless it has been promoted: then there is nothing left to heal."""

        async def heal_replica() -> None:
            if name != self._control.primary:
                await heal()

        return heal_replica

    async def _kill_and_start(self, name: str) -> None:
        if self._control.state(name) != "down":
            await self._control.kill(name)
        await self._control.start(name)

    async def _rejoin(self, name: str, strike: Strike) -> None:
        joined = await self._control.rejoin(name)
        strike.note = f"{'rebuilt: ' if joined.rebuilt else ''}{joined.reason}"

    async def _promote(self, name: str) -> None:
        await self._control.promote(name)
        self._on_promotion(name)

    def _primary_to_replace(self, name: str) -> str:
        """The primary, if the named server can take its place. Raises `ClusterError`."""
        old = self._control.primary
        if name == old:
            raise ClusterError(f"{name} is the primary already")
        self._control.require(name, "running")  # before the primary goes down
        return old

    async def _switch_over(self, name: str, strike: Strike) -> None:
        old = self._primary_to_replace(name)
        await self._shut_down(old)
        await self._promote(name)
        await self._rejoin(old, strike)

    async def _switch_over_in_place(self, name: str, strike: Strike) -> None:
        old = self._primary_to_replace(name)
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
        await self._rejoin(old, strike)
        strike.note = f"{suspended}; {strike.note}"

    async def _alter(self, name: str, fault: faults.AlterTable, strike: Strike) -> None:
        server = self._control.require(name, "running")
        begin = trio.current_time()
        alter = f"ALTER TABLE {self._table_name} COMMENT 'drilled {begin:.3f}'"
        async with self._suspended() if fault.suspend else nullcontext():
            try:
                await execute_sql(server, f"SET SESSION lock_wait_timeout={math.ceil(fault.patience)}", alter)
            except ClusterError as error:
                if fault.suspend or f"SQL error {LOCK_WAIT_TIMEOUT}:" not in str(error):
                    raise
                strike.note = (
                    f"gave up after {trio.current_time() - begin:.1f} s: other clients had the table open all the time"
                )
                return
            if fault.suspend:  # clients that read from a replica would block ALTER TABLE there, and all that follows
                await self._control.wait_replicated(REPLICATE_SECONDS)
        during = ", with clients suspended" if fault.suspend else ""
        strike.note = f"executed after {trio.current_time() - begin:.1f} s{during}"


class _SqlLock:
    """A lock that lasts as long as its SQL connection."""

    def __init__(self, server: Server, *statements: str) -> None:
        self._server = server
        self._statements = statements
        self._connection: Any = None

    async def take(self) -> None:
        """Execute the statements; the last one must return something true. Raises `ClusterError`."""
        try:
            await trio.to_thread.run_sync(self._take)  # not abandoned when cancelled: `release` needs it
        except (pymysql.MySQLError, OSError) as error:
            raise ClusterError(f"{self._server.name}: {error}") from error

    def _take(self) -> None:
        server = self._server
        self._connection = connect_sql(server, read_timeout=10, cursorclass=pymysql.cursors.Cursor)
        with self._connection.cursor() as cursor:
            for statement in self._statements:
                cursor.execute(statement)
            if not (cursor.fetchone() or (None,))[0]:
                raise ClusterError(f"{server.name}: {self._statements[-1]}: got no lock")

    async def release(self) -> None:
        """Close the connection. Without effect if there is none."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await trio.to_thread.run_sync(_close, connection)


def _close(connection: Any) -> None:
    try:
        connection.close()
    except (pymysql.MySQLError, OSError):
        pass


async def _stop_listener(server: Server) -> None:
    """Stop the read listener: a first byte `Q` silently stops all of its workers for good (measured)."""
    try:
        async with await trio.open_tcp_stream(server.host, server.read_port) as stream:
            await stream.send_all(b"Q\n")
            with trio.move_on_after(1):
                await stream.receive_some()
    except OSError as error:
        raise ClusterError(f"{server.name}: cannot reach its read listener: {error}") from error
