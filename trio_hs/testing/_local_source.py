"""A server of this process as the source of replicas."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

import trio

from ._replication import Log, Position, ReplicationError, Transaction
from ._table import Change, Database


class Primary(Protocol):
    """What a source needs from the server whose transactions it hands out."""

    name: str
    database: Database
    log: Log

    @property
    def running(self) -> bool: ...

    def acknowledge(self, replica: str, position: Position) -> None:
        """A replica has everything up to ``position``."""


class LocalSource:
    """Another server of this process, as a replica's source."""

    def __init__(self, server: Primary) -> None:
        self.name = server.name
        self._server = server

    def _check(self) -> None:
        if not self._server.running:
            raise ConnectionRefusedError(f"{self.name} is down")

    async def copy(self, position: Position, rebuild: bool) -> tuple[Position, list[Change]] | None:
        await trio.lowlevel.checkpoint()
        self._check()
        return copy_for(self._server, position, rebuild)

    async def next(self, position: Position, transfer: Callable[[], float]) -> tuple[Transaction, float]:
        await trio.lowlevel.checkpoint()
        log = self._server.log
        while True:
            self._check()
            if not log.holds(position):
                raise ConnectionResetError(f"{self.name} has lost {position}")
            if found := self.due(position, transfer()):
                return found
            following = log.after(position)
            with trio.move_on_at(math.inf if following is None else following[1] + transfer()):
                await log.changed.park()

    def due(self, position: Position, transfer: float) -> tuple[Transaction, float] | None:
        """The transaction after ``position``, which the log holds, and when it was committed, if ``transfer`` seconds ago."""
        found = self._server.log.after(position)
        return found if found is not None and found[1] + transfer <= trio.current_time() else None

    def acknowledge(self, replica: str, position: Position) -> None:
        if self._server.running:
            self._server.acknowledge(replica, position)

    def close(self) -> None:
        pass


def copy_for(server: Primary, position: Position, rebuild: bool) -> tuple[Position, list[Change]] | None:
    """See :meth:`Source.copy`."""
    log = server.log
    if log.holds(position):
        return None
    if position.number and not rebuild:
        raise ReplicationError(
            f"it is at {position}, which is not in the log of {server.name} (that is at {log.position}): it needs a rebuild"
        )
    return log.position, server.database.copy()
