"""Other servers for pools that are in use: connects to them first, and then puts them in place, in one step.

Requests under way stay on the connections that carry them. A connection to a server that is removed takes no new ones, and
closes after its last answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import trio
from trio.lowlevel import enable_ki_protection

from ..exceptions import AuthenticationError, ConnectionError
from ._connection import Connection
from ._link import Link
from ._none_usable import none_usable
from ._pool import Pool
from ._servers import Server


class _Change:
    """The change of one pool. Servers that it has already keep their links, and so all that is known of them.

    Attributes:
      careful: whether the pool has a usable server, so that there is time to connect to the new ones first.
    """

    def __init__(self, pool: Pool, servers: Sequence[Sequence[Server]]) -> None:
        self.pool = pool
        self.members = pool.members_of(servers)
        self.careful = pool.serving
        self._failures = {link: link.failed_attempts for link in self.members.links}  # before the change
        self._removed: list[Link] = []
        self._draining: set[Connection] = set()
        if self.careful:
            for link in self.members.new:
                link.start()

    @property
    def connecting(self) -> bool:
        """Whether a new server has neither answered nor failed yet. Of those that stay, one that is down may be up again, but
        that matters only if there is no other."""
        links = self.members.new if self._usable else self.members.links
        return self.careful and any(link.connection is None and link.failed_attempts == self._failures[link] for link in links)

    @property
    def _usable(self) -> bool:
        return any(link.connection is not None for link in self.members.links)

    @property
    def in_time(self) -> bool:
        """Whether callers can wait for the new servers."""
        return self.pool.serving or not self.careful

    def check(self) -> None:
        """Raises if the pool is closed, or has a usable server now and would have none."""
        self.pool.check_open()
        if not self.careful or not self.pool.serving or self._usable or self.connecting:
            return
        error = none_usable(self.members.links, self.members.links)()
        if isinstance(error, AuthenticationError):
            raise error
        kind = "writers" if self.pool.for_writes else "readers"
        raise ConnectionError(f"set_servers({kind}=) changed nothing: {error}", server=error.server)

    def commit(self) -> None:
        """From now on nothing is sent to the servers that are removed."""
        pool, staying = self.pool, set(self.members.links)
        self._removed = [link for link in pool.links if link not in staying]
        connections = {link.connection for link in self._removed}
        pool.put(self.members)
        for link in self._removed:
            link.remove()
        pool.changed()
        self._draining = {
            retiring for retiring in pool.retiring if retiring in connections or retiring.peer not in self.members.to
        }

    def abandon(self) -> None:
        for link in self.members.new:
            link.remove()

    @property
    def draining(self) -> bool:
        """Whether a server that was removed still has requests to answer, or is still being connected to."""
        return not (self._draining.isdisjoint(self.pool.retiring) and all(link.ended.is_set() for link in self._removed))


@enable_ki_protection
async def replace_servers(turn: trio.Lock, wanted: Sequence[tuple[Pool, Sequence[Sequence[Server]]]]) -> None:
    """Gives each pool its new servers, all in one step, and waits until those that are removed have answered.

    Raises ConnectionError or AuthenticationError, with nothing changed. Cancelled before that step, it changes nothing; after
    it, only the waiting ends. Calls with the same ``turn`` take effect one after the other.
    """
    news = trio.lowlevel.ParkingLot()
    pools = [pool for pool, _ in wanted]
    with _watched(pools, news.unpark_all):
        async with turn:
            changes = [_Change(pool, servers) for pool, servers in wanted]
            try:
                # If a pool loses its last server meanwhile, its callers need the new ones at once.
                while any(change.connecting for change in changes) and all(change.in_time for change in changes):
                    await news.park()
                for change in changes:
                    change.check()
            except BaseException:
                for change in changes:
                    change.abandon()
                raise
            for change in changes:
                change.commit()
        while any(change.draining for change in changes):
            await news.park()


@contextmanager
def _watched(pools: Sequence[Pool], watcher: Callable[[], object]) -> Iterator[None]:
    """Calls ``watcher`` at each change of the pools within the block."""
    for pool in pools:
        pool.watchers.append(watcher)
    try:
        yield
    finally:
        for pool in pools:
            pool.watchers.remove(watcher)
