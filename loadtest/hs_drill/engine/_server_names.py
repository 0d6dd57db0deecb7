"""Servers' names in place of the client's addresses: in errors, in messages, and in the history's connection events.

Connection events come from the client's log. A `trio_hs.Instrument` would get them too, but costs a call for every request.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import trio_hs
from hs_drill._cluster import Cluster
from hs_drill.store import HistoryWriter

__all__ = ["connections_recorded", "in_names", "names_of_servers", "server_of"]

KINDS = {"%s: connected": "connection-up", "%s: connection lost: %s": "connection-lost"}
"""The client's log messages -> kinds of events."""


class _ConnectionEvents(logging.Handler):
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
    """Address of a listener, as the client writes it -> the server's name.

    One server may have several names. Reads are those of a reader, and writes those of the writer or the standby. Of servers
    behind a router the client has no address.
    """
    if (router := cluster.router) is not None:
        return {router.at(port): router.name for _, port, _ in router.listeners}
    ranked = [cluster.writer, *([cluster.standby] if cluster.standby else []), *cluster.readers]
    writes = {server.at(server.write_port): server.name for server in reversed(ranked) if server.write_port}
    return writes | {server.at(server.read_port): server.name for server in ranked}


def server_of(error: trio_hs.HandlerSocketError, names: Mapping[str, str]) -> str:
    """The server that a client's error is about; "" if it names none, or several."""
    address = error.server or ""
    return names.get(address, address)  # the SQL client's errors have the name already


def in_names(message: str, names: Mapping[str, str]) -> str:
    """Replace the server's address by its name, at the message's beginning or after the class of an error; in the client's line
    about a failover, those of all servers."""
    if message.startswith("failover: "):
        words = re.split(r"([ ,]+)", message)
        return "".join(names.get(word, word) for word in words)
    parts = message.split(": ", 2)
    return ": ".join([*(names.get(part, part) for part in parts[:2]), *parts[2:]])


@contextmanager
def connections_recorded(history: HistoryWriter, names: Mapping[str, str]) -> Iterator[None]:
    """Within the block, record connections that come up or are lost as events in the history."""
    handler, logger = _ConnectionEvents(history, names), logging.getLogger("trio_hs")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)
