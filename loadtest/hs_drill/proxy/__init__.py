"""A TCP proxy before one port of a server, with disturbances like toxiproxy's. Knows nothing of scenarios."""

from __future__ import annotations

from . import _disturbances as disturbances
from ._proxy import Proxy, ProxyStatistics, open_proxy

__all__ = [
    "Proxy",
    "ProxyStatistics",
    "disturbances",
    "open_proxy",
]
