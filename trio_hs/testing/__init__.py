"""For users' own tests: a HandlerSocket server in trio, in memory, that answers as MariaDB does.

It runs inside the test (with or without sockets, also under trio's ``MockClock``) or as a process of its own
(``python -m trio_hs.testing``). docs/testing.md shows how, and lists where it differs from MariaDB.
"""

from typing import TYPE_CHECKING

from .._lazy import lazily
from ._declaration import Table

try:
    import sortedcontainers as _needed  # noqa: F401  (so that the import of this package fails without it, and not a later use)
except ImportError as error:  # pragma: no cover  (the tests have it)
    raise ImportError("trio_hs.testing needs sortedcontainers: pip install 'trio-hs[testing]'") from error

if TYPE_CHECKING:
    from ._faults import Faults
    from ._replication import Position, Replica, ReplicationError
    from ._server import EmbeddedServer, ServerStatistics, network, open_server
else:  # when they are first used: a server needs trio, a declaration does not
    __getattr__ = lazily(
        __name__,
        {
            "_faults": "Faults",
            "_replication": "Position Replica ReplicationError",
            "_server": "EmbeddedServer ServerStatistics network open_server",
        },
    )

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


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
