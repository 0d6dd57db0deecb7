"""Pings: asks each server for an answer, whatever the state of the pools is."""

from __future__ import annotations

from dataclasses import dataclass

import trio
from trio.lowlevel import enable_ki_protection

from ._background import gravest
from ._link import Link
from ._pool import Pool
from ._reasons import reason_of


@dataclass(frozen=True)
class Ping:
    """What a ping of one server gave. Exactly one of ``seconds`` and ``error`` is None."""

    server: str
    """Its address, as in ``statistics()``."""
    seconds: float | None
    """How long its answer to the first request, which carries the secret, took."""
    error: str | None
    """Why there was no answer, or not the right one."""


@dataclass(frozen=True)
class Pings:
    """What each server answered. Returned by :meth:`Manager.ping`."""

    readers: tuple[Ping, ...]
    """The servers for reads, in order of preference."""
    writers: tuple[Ping, ...]
    """The servers for writes, in order of preference."""


def _servers(pool: Pool) -> list[Link]:
    """A link to each server."""
    return list({link.server: link for group in pool.groups for link in group}.values())


@enable_ki_protection
async def ping_all(reader: Pool, writer: Pool) -> Pings:
    """Pings every server, all at once. A checkpoint. Raises ConnectionError if the pools are closed."""
    await trio.lowlevel.checkpoint()
    reader.check_open()
    readers, writers = _servers(reader), _servers(writer)
    found: dict[Link, Ping] = {}

    async def ping(link: Link) -> None:
        try:
            found[link] = Ping(link.peer, await link.ping(), None)
        except Exception as error:  # a user's own `connect=` may raise anything
            found[link] = Ping(link.peer, None, reason_of(error))

    try:
        async with trio.open_nursery() as nursery:
            for link in (*readers, *writers):
                nursery.start_soon(ping, link)
    except BaseExceptionGroup as group:  # Ctrl-C, or SystemExit from a user's own `connect=`: no group reaches the user
        raise gravest(group) from None
    return Pings(tuple(found[link] for link in readers), tuple(found[link] for link in writers))
