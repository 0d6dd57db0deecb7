"""Which servers take the requests of a pool, and the report when that changes."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from .._instruments import Instruments

logger = logging.getLogger("trio_hs")

#: Servers that a line of the log names.
NAMED = 5


class InUse:
    """The servers that take the requests. One whose connection is only renewed stays among them meanwhile."""

    def __init__(self, requests: str, instruments: Instruments) -> None:
        self._servers: frozenset[str] = frozenset()
        self._removed: frozenset[str] = frozenset()
        self._requests = requests
        self._instruments = instruments

    def remove(self, servers: Iterable[str]) -> None:
        """These are used no more, because the user said so: that is no reason to warn."""
        self._removed = frozenset(servers)

    def update(self, connected: Iterable[str], renewing: Iterable[str]) -> None:
        """Reports a failover if the servers are other ones than before."""
        before = self._servers
        servers = frozenset(connected) | before.intersection(renewing)
        if servers == before:
            return
        self._servers = servers
        lost = before - servers
        all_servers = tuple(sorted(servers))
        extra = {"servers": all_servers}
        if lost and servers:
            level, text = logging.WARNING, "failover: %s go to %s, and no longer to %s"
            if lost <= self._removed:
                level, text = logging.INFO, "%s go to %s, and no longer to %s"
            logger.log(level, text, self._requests, _named(servers), _named(lost), extra=extra)
        elif lost:
            logger.warning("failover: %s go nowhere, and no longer to %s", self._requests, _named(lost), extra=extra)
        else:
            logger.info("%s also go to %s", self._requests, _named(servers - before), extra=extra)
        self._instruments.call("failover", all_servers)


def _named(servers: frozenset[str]) -> str:
    some = sorted(servers)[:NAMED]
    return ", ".join(some) + (f" and {len(servers) - NAMED} more" if len(servers) > NAMED else "")
