"""The client's servers by their names in the run: who an error is about, and when a connection was lost and had again.

The client tells the latter to its log. It would also tell a `trio_hs.Instrument`, but that costs a call for every request.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import trio_hs
from hs_drill._cluster import Cluster
from hs_drill.store import HistoryWriter

__all__ = ["connections_told", "in_names", "names_of_servers", "server_of"]

KINDS = {"%s: connected": "connection-up", "%s: connection lost: %s": "connection-lost"}
"""The client's messages -> kinds of events."""


class _Handler(logging.Handler):
    def __init__(self, history: HistoryWriter, names: Mapping[str, str]) -> None:
        super().__init__(logging.INFO)
        self._history = history
        self._names = names

    def emit(self, record: logging.LogRecord) -> None:
        kind = KINDS.get(str(record.msg))
        if kind is not None and isinstance(record.args, tuple):
            address = str(record.args[0])
            self._history.event(kind, self._names.get(address, address))


def names_of_servers(cluster: Cluster) -> dict[str, str]:
    """Address of a listener, as the client writes it -> name of its server."""
    return {
        f"{server.host}:{port}": server.name for server in cluster.servers for port in (server.read_port, server.write_port)
    }


def server_of(error: trio_hs.HandlerSocketError, names: Mapping[str, str]) -> str:
    """The server that an error of the client is about; "" where it tells of none, or of several."""
    address = error.server or ""
    return names.get(address, address)  # the SQL client tells the name, not the address


def in_names(message: str, names: Mapping[str, str]) -> str:
    """A message of the client with the server's name for its address at the beginning, or behind the class of an error."""
    parts = message.split(": ", 2)
    return ": ".join([*(names.get(part, part) for part in parts[:2]), *parts[2:]])


@contextmanager
def connections_told(history: HistoryWriter, names: Mapping[str, str]) -> Iterator[None]:
    """Within the block, put `connection-up` and `connection-lost` into the history, by the servers' names."""
    handler, logger = _Handler(history, names), logging.getLogger("trio_hs")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)
