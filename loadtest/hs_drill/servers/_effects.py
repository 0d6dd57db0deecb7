"""What a command of the user's own must have changed on a server, for each fault that it may inject, and what its healing.

An exit status proves nothing: the command may have worked on another server, or not at all.
"""

from __future__ import annotations

from collections.abc import Mapping

import trio

from hs_drill._cluster import ClusterError, Server

from ._control import bounded
from ._ports import ask_ports, described, refuses
from ._sql import execute_sql
from ._writable import Source, sources_of, takes_writes, why_not_writable

__all__ = ["EFFECTS", "Effect"]

ANSWER_SECONDS = 5.0
POLL_SECONDS = 0.05
LOOKS = 5
"""How often it is looked whether a server answers, before it is said that it does not."""


class Effect:
    """What one fault does to a server. To be looked for once.

    `unseen` and `unhealed` say in words what is seen instead; "" once the effect, or the end of it, was seen. They take a few
    seconds at most, and may raise `ClusterError`, which means that it was not seen either.
    """

    promotes = False
    """Whether it makes the server the primary."""

    def __init__(self, server: Server, primary: Server) -> None:
        self.server = server
        self.primary = primary
        """The primary before the command."""

    async def begin(self) -> None:
        """Look at the server before the command. Raises `ClusterError` if the command could change nothing there."""
        await trio.lowlevel.checkpoint()

    async def watch(self) -> None:
        """Look at the server while the command runs, until cancelled."""
        await trio.lowlevel.checkpoint()

    async def unseen(self) -> str:
        raise NotImplementedError

    async def unhealed(self) -> str:
        raise NotImplementedError

    async def moot(self) -> bool:
        """Whether there is nothing left to heal, because something else has happened to the server since."""
        await trio.lowlevel.checkpoint()
        return False

    async def _all_answer(self) -> str:
        found = await ask_ports(self.server)
        return "" if set(found.values()) == {"answers"} else described(self.server, found)

    async def _in_a_few_looks(self) -> str:
        """Like `_all_answer`, for before the fault: a busy server may answer later than one look waits."""
        reason = ""
        for _ in range(LOOKS):
            reason = await self._all_answer()
            if not reason:
                break
        return reason

    def _require_sql(self, server: Server) -> None:
        if server.sql_port is None:
            raise ClusterError(f"whether it worked cannot be seen without the sql_port of {server.name}")

    async def _sources(self) -> Mapping[str, Source]:
        with bounded(f"asking {self.server.name} how it replicates", ANSWER_SECONDS):
            return await sources_of(self.server)


class _Down(Effect):
    """kill, stop: no port answers, and none accepts a connection. Healed: all answer."""

    async def begin(self) -> None:
        if reason := await self._not_up():
            raise ClusterError(f"{self.server.name} is down already: {reason}")

    async def _not_up(self) -> str:
        found = await ask_ports(self.server)
        return "" if {"answers", "is silent"} & set(found.values()) else described(self.server, found)

    async def unseen(self) -> str:
        found = await ask_ports(self.server)
        up = {port: answer for port, answer in found.items() if answer in ("answers", "is silent")}
        return described(self.server, up)

    async def unhealed(self) -> str:
        return await self._all_answer()


class _Paused(Effect):
    """pause: connections are accepted, and none is answered. Healed: all are."""

    async def begin(self) -> None:
        if reason := await self._in_a_few_looks():
            raise ClusterError(f"{self.server.name} does not answer before it is paused: {reason}")

    async def unseen(self) -> str:
        found = await ask_ports(self.server)
        answers = set(found.values())
        return "" if "is silent" in answers <= {"is silent", "is unreachable"} else described(self.server, found)

    async def unhealed(self) -> str:
        return await self._all_answer()


class _Restarted(Effect):
    """restart: a connection was refused in between, or the server has been up for less time. And all ports answer again."""

    def __init__(self, server: Server, primary: Server) -> None:
        super().__init__(server, primary)
        self._refused = False
        self._up = 0
        self._asked = 0.0

    async def begin(self) -> None:
        if reason := await self._in_a_few_looks():
            raise ClusterError(f"{self.server.name} does not answer before it is restarted: {reason}")
        if self.server.sql_port is not None:
            self._up = await self._uptime()
            self._asked = trio.current_time()

    async def watch(self) -> None:
        while not self._refused:
            self._refused = await refuses(self.server)
            await trio.sleep(POLL_SECONDS)

    async def unseen(self) -> str:
        if reason := await self._all_answer():
            return reason
        if self._refused:
            return ""
        name = self.server.name
        if self.server.sql_port is None:
            return f"{name} has refused no connection"
        since = trio.current_time() - self._asked
        now = await self._uptime()
        # Whole seconds, rounded down: without a restart it is above `up + since - 1`.
        return "" if now < self._up + since - 1 else f"{name} has refused no connection, and has been up for {now} s"

    async def _uptime(self) -> int:
        with bounded(f"asking {self.server.name} since when it is up", ANSWER_SECONDS):
            (row,) = await execute_sql(self.server, "SHOW GLOBAL STATUS LIKE 'Uptime'")
        return int(row["Value"])


class _Promoted(Effect):
    """promote: the server takes writes, and replicates from no other one."""

    promotes = True

    async def begin(self) -> None:
        self._require_sql(self.server)
        if not await why_not_writable(self.server):
            raise ClusterError(f"{self.server.name} takes writes and replicates from no server already")

    async def unseen(self) -> str:
        with bounded(f"asking {self.server.name} whether it takes writes", ANSWER_SECONDS):
            reason = await why_not_writable(self.server)
        return reason and f"{self.server.name} is not the primary: {reason}"


class _SwitchedOver(_Promoted):
    """switch-over: and the old primary takes no writes, or does not answer."""

    async def begin(self) -> None:
        if self.server.name == self.primary.name:
            raise ClusterError(f"{self.server.name} is the primary already")
        self._require_sql(self.primary)
        await super().begin()

    async def unseen(self) -> str:
        return await super().unseen() or await self._old_unseen()

    async def _old_unseen(self) -> str:
        old = self.primary
        try:
            with bounded(f"asking {old.name} whether it takes writes", ANSWER_SECONDS):
                return "" if await why_not_writable(old) else f"{old.name} still takes writes"
        except ClusterError as error:
            return str(error) if "answers" in (await ask_ports(old)).values() else ""


class _Rejoined(Effect):
    """rejoin: the server is read-only, and fetches and applies from another one."""

    async def begin(self) -> None:
        self._require_sql(self.server)
        try:
            reason = await self.unseen()
        except ClusterError:  # it is down
            return
        if not reason:
            raise ClusterError(f"{self.server.name} is read-only and replicates already")

    async def unseen(self) -> str:
        name = self.server.name
        with bounded(f"asking {name} whether it is read-only", ANSWER_SECONDS):
            if await takes_writes(self.server):
                return f"{name} is not read-only"
        return _unhealthy(name, await self._sources())


class _ReplicationStopped(Effect):
    """stop-replication: one of the two threads has stopped. Healed: both run."""

    async def begin(self) -> None:
        self._require_sql(self.server)
        if reason := _unhealthy(self.server.name, await self._sources()):
            raise ClusterError(f"{reason}, before it is stopped")

    async def unseen(self) -> str:
        sources = (await self._sources()).values()
        return "" if any(source.stopped for source in sources) else f"{self.server.name} still replicates"

    async def moot(self) -> bool:
        """It was promoted meanwhile."""
        try:
            with bounded(f"asking {self.server.name} whether it takes writes", ANSWER_SECONDS):
                return not await why_not_writable(self.server)
        except ClusterError:
            return False

    async def unhealed(self) -> str:
        return _unhealthy(self.server.name, await self._sources())


def _unhealthy(name: str, sources: Mapping[str, Source]) -> str:
    if not sources:
        return f"{name} replicates from no server"
    sick = [f"{source.address} ({source.threads})" for source in sources.values() if not source.healthy]
    return f"{name} does not replicate from {' and '.join(sick)}" if sick else ""


EFFECTS: Mapping[str, type[Effect]] = {
    "kill": _Down,
    "stop": _Down,
    "pause": _Paused,
    "restart": _Restarted,
    "promote": _Promoted,
    "switch-over": _SwitchedOver,
    "rejoin": _Rejoined,
    "stop-replication": _ReplicationStopped,
}
"""By the name of the fault."""
