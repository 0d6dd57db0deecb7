"""A trio client for HandlerSocket, the plugin that reads and writes MariaDB's InnoDB rows without SQL."""

from ._columns import Column, Columns, IndexPart
from ._declared_table import DeclaredTable, In
from ._dispatch import RetryPolicy, Row
from ._instruments import Instrument
from ._network import Connect, Server, Servers, ServerStatistics
from ._protocol import Filter, Value
from ._table import Table
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
from .manager import Manager, Statistics, open_manager
from .sockets import (
    Find,
    FindModify,
    Insert,
    ReadSocket,
    WriteSocket,
    open_read_socket,
    open_write_socket,
)

__version__ = "0.1.0"

__all__ = [
    "AuthenticationError",
    "Column",
    "ColumnNotFoundError",
    "Columns",
    "Connect",
    "ConnectionError",
    "DeclaredTable",
    "DecodingError",
    "DuplicateKeyError",
    "Filter",
    "Find",
    "FindModify",
    "ForeignKeyError",
    "HandlerSocketError",
    "In",
    "IndexNotFoundError",
    "IndexPart",
    "IndexedConnectionError",
    "Insert",
    "Instrument",
    "LockTimeoutError",
    "Manager",
    "OperationalError",
    "ProtocolError",
    "ReadOnlyError",
    "ReadSocket",
    "RecoverableConnectionError",
    "RemoteTableError",
    "RetryPolicy",
    "Row",
    "Server",
    "ServerStatistics",
    "Servers",
    "Statistics",
    "Table",
    "TableNotFoundError",
    "UnsupportedOperationError",
    "Value",
    "WriteSocket",
    "__version__",
    "open_manager",
    "open_read_socket",
    "open_write_socket",
]
