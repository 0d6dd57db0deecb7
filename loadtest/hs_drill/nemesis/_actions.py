"""What each fault does to a server, and what undoes it."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from functools import partial
from typing import Any

import pymysql
import trio

from hs_drill._cluster import ClusterError, Server
from hs_drill.scenario import Fault, faults
from hs_drill.servers import Control, execute_sql, quoted

from ._network import Proxies, network_action
from ._strike import Do, Strike

__all__ = ["Actions", "Suspended"]

LOCK_WAIT_TIMEOUT = 1205
"""What MariaDB answers to an ALTER TABLE that did not get the table in time."""
REPLICATE_SECONDS = 30.0
"""What replicas may take to catch up while clients are suspended."""
UNDO_SECONDS = 10.0
"""What it may take to have a server serve again, after a shutdown or a switch-over that failed half way."""

Suspended = Callable[[], AbstractAsyncContextManager[None]]


class Actions:
    """The faults of one run, as steps on its servers and proxies.

    Args:
      control: the servers.
      table: the database and name of the table under load.
      suspended: makes all clients let go of the servers, for the time of a block.
      promoted: is told who is the primary now.
      proxies: in front of each listener; may be empty without network faults.
    """

    def __init__(
        self,
        control: Control,
        table: tuple[str, str],
        suspended: Suspended,
        promoted: Callable[[str], None],
        proxies: Proxies,
    ) -> None:
        self._control = control
        self._table = table
        self._suspended = suspended
        self._promoted = promoted
        self._proxies = proxies

    def heal_network(self) -> None:
        """Take every fault of the network off, at once."""
        for proxy in self._proxies.values():
            proxy.heal()

    def of(self, fault: Fault, event: Strike) -> tuple[Do, Do | None]:
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
                return network_action(fault, self._proxies, event)
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
