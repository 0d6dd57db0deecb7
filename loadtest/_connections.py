"""When the client lost its connections to a server and had one again, for the history.

The client tells its log. It would also tell a `trio_hs.Instrument`, but that costs a call for every request.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from loadtest._cluster import Cluster
from loadtest._history import HistoryWriter

__all__ = ["connections_told"]

KINDS = {"%s: connected": "connection-up", "%s: connection lost: %s": "connection-lost"}
"""The client's messages -> kinds of events."""


class _Handler(logging.Handler):
    def __init__(self, history: HistoryWriter, names: dict[str, str]) -> None:
        super().__init__(logging.INFO)
        self._history = history
        self._names = names

    def emit(self, record: logging.LogRecord) -> None:
        kind = KINDS.get(str(record.msg))
        if kind is not None and isinstance(record.args, tuple):
            address = str(record.args[0])
            self._history.event(kind, self._names.get(address, address))


@contextmanager
def connections_told(history: HistoryWriter, cluster: Cluster) -> Iterator[None]:
    """Within the block, put `connection-up` and `connection-lost` into the history, by the servers' names."""
    names = {
        f"{server.host}:{port}": server.name for server in cluster.servers for port in (server.read_port, server.write_port)
    }
    handler, logger = _Handler(history, names), logging.getLogger("trio_hs")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)
