"""Injects a scenario's faults into servers and proxies, on time, and heals every one."""

from __future__ import annotations

from ._actions import Actions, Suspended
from ._nemesis import Nemesis
from ._network import Proxies
from ._own_commands import command_name
from ._strike import Strike

__all__ = [
    "Actions",
    "Nemesis",
    "Proxies",
    "Strike",
    "Suspended",
    "command_name",
]
