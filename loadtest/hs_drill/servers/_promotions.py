"""Whether the user has promoted one of their own servers since the run began.

A server that cannot be asked may have been promoted. Taking that for a no would call writes lost that the new primary has, and
drop a table on the old primary, which then could not replicate from the new one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from hs_drill._cluster import ClusterError, Server

from ._control import bounded
from ._sql import run_all
from ._writable import promoted

__all__ = ["UNKNOWN_FATE", "Promotions", "watch_promotions"]

ANSWER_SECONDS = 5.0
UNKNOWN_FATE = "so what becomes of the run's writes will be unknown, and an audit of them inconclusive"


@dataclass(frozen=True)
class _Before:
    """A server as it was when the run began."""

    server: Server
    replicated: bool | None
    """None if it could not be asked."""
    why_unknown: str = ""


class Promotions:
    """The servers that the user may promote during a run."""

    def __init__(self, before: Sequence[_Before]) -> None:
        self._before = before

    @property
    def unwatched(self) -> list[str]:
        """The names of the servers whose promotion would go unnoticed."""
        return [one.server.name for one in self._before if one.replicated is None]

    def lines(self) -> Iterator[str]:
        """What the run cannot know, for the user."""
        for one in self._before:
            if one.replicated is None:
                yield f"{one.why_unknown}: its promotion would go unnoticed, {UNKNOWN_FATE}"

    async def suspicion(self) -> str:
        """Why another server may have been promoted since; "" if none can have been."""
        seen: dict[str, str] = {}
        unknown: dict[str, str] = {}

        async def ask(one: _Before) -> None:
            name = one.server.name
            what, trouble = await _ask(one.server)
            if trouble:
                unknown[name] = f"whether {name} has been promoted is not known: {trouble}"
            elif what and one.replicated:
                seen[name] = f"{name} replicated when the run began, and {what}: it may have been promoted"
            elif what:
                unknown[name] = f"{name} could not be asked when the run began, and {what}: it may have been promoted"

        # One that did not replicate was no replica of the writer then, so it cannot have become the primary in its place.
        await run_all(*(partial(ask, one) for one in self._before if one.replicated is not False))
        return next((found[name] for found in (seen, unknown) for name in sorted(found)), "")


async def watch_promotions(servers: Iterable[Server]) -> Promotions:
    """Ask the servers, without the writer and its aliases, whether they replicate now."""
    before: dict[str, _Before] = {}

    async def ask(server: Server) -> None:
        what, trouble = await _ask(server)
        before[server.name] = _Before(server, None if trouble else not what, trouble)

    given = list(servers)
    await run_all(*(partial(ask, server) for server in given))
    return Promotions([before[server.name] for server in given])


async def _ask(server: Server) -> tuple[str, str]:
    """What suggests that the server is no replica, and why that is not known."""
    if server.sql_port is None:
        return "", f"{server.name} cannot be asked whether it replicates, because its sql_port is not known"
    try:
        with bounded(f"asking {server.name} whether it replicates", ANSWER_SECONDS):
            return await promoted(server), ""
    except ClusterError as error:
        return "", str(error)
