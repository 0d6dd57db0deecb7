"""A trio client for HandlerSocket, the plugin that reads and writes MariaDB's InnoDB rows without SQL.

A request goes down five layers, each of which knows only those below it:

- ``Table`` checks and encodes the arguments of an operation. It knows its index, but no server.
- ``Dispatcher`` (``_dispatch``) executes one operation: it chooses a pool, retries and hedges.
- ``Pool`` (``_network``) keeps connections to its servers alive and decides which one takes the next request.
- ``Connection`` (``_network``) sends the requests of many tasks as one pipeline and matches answers by their order.
- ``Transport`` (``_network``) moves bytes. Nothing else touches a socket.

``_protocol`` turns values into bytes and back, ``_columns`` checks the values of declared columns; neither does I/O.
"""

from typing import TYPE_CHECKING

from ._columns import Column, Columns, IndexPart, KeyPart
from ._lazy import lazily
from ._protocol import Filter, FilterOperation, FindOperation, ModifyOperation, Ordered, Value
from .exceptions import (
    AuthenticationError,
    ColumnNotFoundError,
    ConnectionError,
    DecodingError,
    DuplicateKeyError,
    ForeignKeyError,
    HandlerSocketError,
    IndexedConnectionError,
    IndexNotFoundError,
    LockTimeoutError,
    OperationalError,
    ProtocolError,
    ReadOnlyError,
    RecoverableConnectionError,
    RemoteTableError,
    TableNotFoundError,
    UnsupportedOperationError,
)

if TYPE_CHECKING:
    from ._declared_table import DeclaredTable, In
    from ._dispatch import RetryPolicy, Row
    from ._instruments import Call, Instrument, Outcome
    from ._network import (
        Connect,
        ConnectionPool,
        Ping,
        Pings,
        Secret,
        Server,
        Servers,
        ServerStatistics,
        Statistics,
        Transport,
        connect_transport,
    )
    from ._scan import Scan
    from ._table import Table
    from .manager import Manager, open_manager
    from .sockets import Find, FindModify, Insert, ReadSocket, WriteSocket, open_read_socket, open_write_socket
else:
    # Imported when they are first used, for they need trio. What is above does not, so a program may declare columns in a
    # process in which trio cannot run.
    __getattr__ = lazily(
        __name__,
        {
            "_declared_table": "DeclaredTable In",
            "_dispatch": "RetryPolicy Row",
            "_instruments": "Call Instrument Outcome",
            "_network": "Connect ConnectionPool Ping Pings Secret Server Servers ServerStatistics Statistics Transport "
            "connect_transport",
            "_scan": "Scan",
            "_table": "Table",
            "manager": "Manager open_manager",
            "sockets": "Find FindModify Insert ReadSocket WriteSocket open_read_socket open_write_socket",
        },
    )

__version__ = "0.1.0"

__all__ = [
    "AuthenticationError",
    "Call",
    "Column",
    "ColumnNotFoundError",
    "Columns",
    "Connect",
    "ConnectionError",
    "ConnectionPool",
    "DeclaredTable",
    "DecodingError",
    "DuplicateKeyError",
    "Filter",
    "FilterOperation",
    "Find",
    "FindModify",
    "FindOperation",
    "ForeignKeyError",
    "HandlerSocketError",
    "In",
    "IndexNotFoundError",
    "IndexPart",
    "IndexedConnectionError",
    "Insert",
    "Instrument",
    "KeyPart",
    "LockTimeoutError",
    "Manager",
    "ModifyOperation",
    "OperationalError",
    "Ordered",
    "Outcome",
    "Ping",
    "Pings",
    "ProtocolError",
    "ReadOnlyError",
    "ReadSocket",
    "RecoverableConnectionError",
    "RemoteTableError",
    "RetryPolicy",
    "Row",
    "Scan",
    "Secret",
    "Server",
    "ServerStatistics",
    "Servers",
    "Statistics",
    "Table",
    "TableNotFoundError",
    "Transport",
    "UnsupportedOperationError",
    "Value",
    "WriteSocket",
    "__version__",
    "connect_transport",
    "open_manager",
    "open_read_socket",
    "open_write_socket",
]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
