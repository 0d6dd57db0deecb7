"""The addresses of servers, and the checks of those that users give."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from typing import Any, Final, TypeAlias

from .._protocol import located, value_list
from ._secrets import Secret, check_secret
from ._settings import check_seconds


@dataclass(frozen=True)
class Server:
    """The address of one HandlerSocket listener.

    Attributes:
      kind: ``"inet"`` or ``"unix"``.
      host: name or address for ``inet``, path of the socket for ``unix``. An IPv6 address may be in brackets.
      port: for ``inet``; 9998 is the listener for reads and 9999 that for writes on a server with default settings.
      timeout: seconds that this server may be silent with requests outstanding; None takes the pool's.
      secret: this listener's secret where it differs from the others', as :data:`Secret`; None takes the pool's.
    """

    kind: str
    host: str
    port: int | None = None
    timeout: float | None = None
    secret: Secret | None = field(default=None, repr=False)

    def __str__(self) -> str:
        if self.kind == "unix":
            return self.host
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


AnyServer: TypeAlias = Server | tuple[str, str] | tuple[str, str, int | None] | tuple[str, str, int | None, float | None]
#: A list of equal servers, which share the load, or a list of such groups in order of preference. One list does not mix the
#: two.
Servers: TypeAlias = Sequence[AnyServer | Sequence[AnyServer]]


class _NoServers(tuple[Any, ...]):
    """See NO_SERVERS."""

    __slots__ = ()


#: In the place of a list: there are no servers of this kind, because a URL or the environment names only the others. A default
#: in their place could take writes to a server that nobody named.
NO_SERVERS: Final[Servers] = _NoServers()


def parse_server(server: object) -> Server:
    """A :class:`Server` from one, from ``("inet", host, port[, timeout])`` or from ``("unix", path[, None[, timeout]])``.

    Raises TypeError or ValueError, which say what is wrong and what would be right.
    """
    forms = "a server is ('inet', host, port[, timeout]) or ('unix', path[, None, timeout])"
    secret = None
    if isinstance(server, Server):
        kind, host, port, timeout, secret = server.kind, server.host, server.port, server.timeout, server.secret
    elif isinstance(server, (tuple, list)) and 2 <= len(server) <= 4:
        kind, host, port, timeout = (*server, None, None)[:4]
    else:
        # Quote three items at most: a secret may follow.
        raise TypeError(f"{forms}, not {tuple(server[:3]) if isinstance(server, (tuple, list)) else server!r}")
    if kind not in ("inet", "unix"):
        raise ValueError(f"{forms}; its kind is 'inet' or 'unix', not {kind!r}")
    if not isinstance(host, str) or not host:
        raise ValueError(f"{forms}; {host!r} is not a host or path")
    try:
        host.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{forms}; {host!r} has a character that UTF-8 does not have") from None
    if kind == "inet":
        host = _without_brackets(host)
    if kind == "inet" and (not isinstance(port, int) or isinstance(port, bool) or not 0 < port < 65536):
        raise ValueError(f"{forms}; {port!r} is not a port of {host}")
    if kind == "unix" and port is not None:
        raise ValueError(f"{forms}; a unix socket has no port, but {port!r} was given")
    if kind == "unix" and not hasattr(socket, "AF_UNIX"):
        raise ValueError(f"this system has no unix sockets: give ('inet', host, port) instead of {host!r}")
    if timeout is not None:
        check_seconds(f"the timeout of {host}", timeout)
    check_secret(f"the secret of {host}", secret)
    return Server(kind, host, port, timeout, secret)


def _without_brackets(host: str) -> str:
    """The host, an IPv6 address without its brackets. Raises ValueError for a host that has its port with it."""
    address = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if ":" in host or "[" in host:
        try:
            IPv6Address(address)
        except ValueError:
            raise ValueError(
                f"{host!r} is not a host: give a name or address such as '::1', and the port as a separate item"
            ) from None
    return address


def _is_group(entry: object) -> bool:
    """Whether an entry is a group. A server, too, may be a tuple or a list, but begins with its kind."""
    return isinstance(entry, (tuple, list)) and (not entry or isinstance(entry[0], (Server, tuple, list)))


def parse_servers(servers: Servers, what: str = "servers") -> list[list[Server]]:
    """Groups of servers, in order of preference. A flat list is one group. TypeError and ValueError name ``what``."""
    if servers is NO_SERVERS:
        return []
    entries: list[Any] = value_list(servers, what, "servers, or of groups of them")
    if not entries:
        raise ValueError(f"{what} must be a list of servers, or of groups of them, and is empty")
    try:
        if all(map(_is_group, entries)):
            if not all(entries):
                raise ValueError("a group of servers is empty")
            return [[parse_server(server) for server in entry] for entry in entries]
        return [[parse_server(server) for server in entries]]
    except (TypeError, ValueError) as error:
        raise located(what, error) from None
