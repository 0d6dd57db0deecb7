"""The error of callers that find no usable server."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from ..exceptions import AuthenticationError, ConnectionError, HandlerSocketError, operational_error
from ._link import Link


def none_usable(asked: Sequence[Link], links: Sequence[Link]) -> Callable[[], HandlerSocketError]:
    """Makes the error as of now, for each of many callers. ``asked`` are those of the links that requests may go to."""
    servers = {link.server: link for link in asked}
    others = {link.server: None for link in links if link.server not in servers}
    alone = str(next(iter(servers))) if len(servers) + len(others) == 1 else None
    errors = [link.error for link in servers.values()]
    first = errors[0]
    if isinstance(first, AuthenticationError) and all(isinstance(error, AuthenticationError) for error in errors):
        return partial(operational_error, first.code, first.message, ", ".join(map(str, servers)), alone)
    reasons = "; ".join(f"{server}: {link.trouble}" for server, link in servers.items())
    if others:
        reasons += f"; not asked, because no refusal came: {', '.join(map(str, others))}; see move_writes_on_silence"
    return partial(ConnectionError, f"no server is usable ({reasons})", server=alone)
