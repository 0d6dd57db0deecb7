"""Everything with sockets: pools, their connections, and the byte streams below."""

from ._background import background_nursery
from ._connection import Connection
from ._open_pool import open_pool
from ._outcomes import answer_of, failure_of, garbled, refusal_of, turned_away
from ._pings import Ping, Pings, ping_all
from ._pool import DEFAULT_TIMEOUT, Pool
from ._replacement import replace_servers
from ._request import Request
from ._secrets import Secret, check_secret
from ._servers import NO_SERVERS, Server, Servers, parse_server, parse_servers
from ._settings import check_connections, check_flags, check_seconds, check_thread, require_trio
from ._statistics import ConnectionPool, ServerStatistics, Statistics
from ._transport import Connect, SocketTransport, Transport, connect_transport, how_to_connect
from ._waiters import Patience

__all__ = [
    "DEFAULT_TIMEOUT",
    "NO_SERVERS",
    "Connect",
    "Connection",
    "ConnectionPool",
    "Patience",
    "Ping",
    "Pings",
    "Pool",
    "Request",
    "Secret",
    "Server",
    "ServerStatistics",
    "Servers",
    "SocketTransport",
    "Statistics",
    "Transport",
    "answer_of",
    "background_nursery",
    "check_connections",
    "check_flags",
    "check_seconds",
    "check_secret",
    "check_thread",
    "connect_transport",
    "failure_of",
    "garbled",
    "how_to_connect",
    "open_pool",
    "parse_server",
    "parse_servers",
    "ping_all",
    "refusal_of",
    "replace_servers",
    "require_trio",
    "turned_away",
]
