"""For users' own tests: a HandlerSocket server in trio, in memory, that answers as MariaDB does.

It runs inside the test (with or without sockets, also under trio's ``MockClock``) or as a process of its own
(``python -m trio_hs.testing``). docs/testing.md shows how, and lists where it differs from MariaDB.
"""

from ._declaration import Table
from ._faults import Faults
from ._replication import Position, Replica, ReplicationError
from ._server import EmbeddedServer, ServerStatistics, network, open_server

__all__ = [
    "EmbeddedServer",
    "Faults",
    "Position",
    "Replica",
    "ReplicationError",
    "ServerStatistics",
    "Table",
    "network",
    "open_server",
]
