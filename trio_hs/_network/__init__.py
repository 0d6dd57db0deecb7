"""Everything with sockets: pools, their connections, and the byte streams below."""

from ._background import background_nursery
from ._connection import Connection
from ._outcomes import answer_of, failure_of, garbled, refusal_of, turned_away
from ._pool import DEFAULT_TIMEOUT, Patience, Pool, ServerStatistics, open_pool
from ._request import Request
from ._servers import Server, Servers, parse_servers
from ._settings import check_secret, check_thread, require_trio
from ._transport import Connect, SocketTransport, Transport, connect_transport

__all__ = [
    "DEFAULT_TIMEOUT",
    "Connect",
    "Connection",
    "Patience",
    "Pool",
    "Request",
    "Server",
    "ServerStatistics",
    "Servers",
    "SocketTransport",
    "Transport",
    "answer_of",
    "background_nursery",
    "check_secret",
    "check_thread",
    "connect_transport",
    "failure_of",
    "garbled",
    "open_pool",
    "parse_servers",
    "refusal_of",
    "require_trio",
    "turned_away",
]
