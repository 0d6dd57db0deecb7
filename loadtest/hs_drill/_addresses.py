"""The addresses of a server's two HandlerSocket listeners, for the client."""

from __future__ import annotations

import trio_hs
from hs_drill._cluster import Server

__all__ = ["read_address", "write_address"]


def read_address(server: Server) -> trio_hs.Server:
    return trio_hs.Server("inet", server.host, server.read_port, secret=server.read_secret or None)


def write_address(server: Server) -> trio_hs.Server:
    return trio_hs.Server("inet", server.host, server.write_port, secret=server.write_secret or None)
