"""The commands of a server process: a line each. The answer is a line of JSON, ``{"ok": ...}`` or ``{"error": "why"}``.

status                          the state of the server, see ServerStatistics
lag SECONDS                     readers of this replica see transactions this much later
transfer SECONDS                transactions take this long from the source to this replica
pause / resume                  pauses replication / resumes it
follow HOST PORT [rebuild]      becomes a replica of the server with this replication port
detach                          ends replication, applies what has arrived, and still refuses writes
promote                         the same, but takes writes
read-only on|off                refuses or takes writes
synchronous N                   answers a write when N replicas have it
create JSON                     makes a table: {"database": .., "name": .., "columns": {..}, "primary_key": [..], ..}
load JSON                       stores rows: {"database": .., "name": .., "rows": [[1, "text", null, ..], ..]}
rows JSON                       for {"database": .., "name": .., "after": KEY or null, "limit": ..}: the rows after KEY in the
                                order of the primary key, a single integer; integers as numbers, the rest as text
stop                            ends the process
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import trio

from ._declaration import Table
from ._remote import Lines, RemoteSource
from ._server import EmbeddedServer


class Control:
    """Runs commands on one server. The command ``stop`` calls ``stop``."""

    def __init__(self, server: EmbeddedServer, stop: Callable[[], None]) -> None:
        self._server = server
        self._stop = stop
        self._stopping = False

    async def serve(self, listener: trio.SocketListener) -> None:
        """Takes commands until cancelled."""
        await trio.serve_listeners(self._handle, [listener])

    async def _handle(self, stream: trio.SocketStream) -> None:
        try:
            lines = Lines(stream)
            while (line := await lines.next()) is not None:
                await stream.send_all(json.dumps(await self.execute(line.decode(errors="replace"))).encode() + b"\n")
                if self._stopping:
                    self._stop()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the client left without waiting for the answer

    async def execute(self, line: str) -> dict[str, Any]:
        """The answer to a command. An invalid command changes nothing."""
        command, _, argument = line.strip().partition(" ")
        method = getattr(self, f"_do_{command.replace('-', '_')}", None)
        if method is None:
            return {"error": f"no command {command!r}"}
        try:
            return {"ok": await method(argument.strip())}
        except (ValueError, TypeError, KeyError) as error:
            return {"error": f"{command}: {error}"}

    async def _do_status(self, _: str) -> dict[str, Any]:
        return asdict(self._server.statistics())

    async def _do_lag(self, argument: str) -> None:
        self._server.replica.lag = _seconds(argument)

    async def _do_transfer(self, argument: str) -> None:
        self._server.replica.transfer = _seconds(argument)

    async def _do_pause(self, _: str) -> None:
        self._server.replica.paused = True

    async def _do_resume(self, _: str) -> None:
        self._server.replica.paused = False

    async def _do_follow(self, argument: str) -> None:
        host, port, *rest = [*argument.split(), "", ""][:3] if argument.split() else ["", "", ""]
        if not port.isdigit() or rest not in ([""], ["rebuild"]):
            raise ValueError("it takes HOST PORT [rebuild]")
        await self._server.follow(RemoteSource(self._server.name, host, int(port)), rebuild=rest == ["rebuild"])

    async def _do_detach(self, _: str) -> None:
        self._server.detach()

    async def _do_promote(self, _: str) -> None:
        self._server.promote()

    async def _do_read_only(self, argument: str) -> None:
        if argument not in ("on", "off"):
            raise ValueError("it takes on or off")
        self._server.database.read_only = argument == "on"

    async def _do_synchronous(self, argument: str) -> None:
        if not argument.isdigit():
            raise ValueError("it takes the number of replicas")
        self._server.synchronous = int(argument)

    async def _do_create(self, argument: str) -> None:
        self._server.database.create(table_of(json.loads(argument)))

    async def _do_load(self, argument: str) -> None:
        wanted = json.loads(argument)
        await self._server.load(wanted["database"], wanted["name"], wanted["rows"])

    async def _do_rows(self, argument: str) -> list[list[int | str | None]]:
        wanted = json.loads(argument)
        table = self._server.database.tables[wanted["database"], wanted["name"]]
        after = wanted["after"]
        rows = table.page([after] if isinstance(after, int | str) else after, wanted["limit"])
        return [[column.plain(value) for column, value in zip(table.columns, row, strict=True)] for row in rows]

    async def _do_stop(self, _: str) -> None:
        self._stopping = True  # after the answer


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds < 1e9:
        raise ValueError(f"{text} is not a number of seconds")
    return seconds


def table_of(description: Any) -> Table:
    """The table that JSON describes, by the attributes of :class:`Table`. Raises ValueError."""
    if not isinstance(description, dict):
        raise ValueError(f"a table is an object with database, name, columns, ..., not {description!r}")
    try:
        return Table(**description)
    except TypeError as error:
        raise ValueError(f"no description of a table: {error}") from None
