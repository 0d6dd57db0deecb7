"""Puts a scenario's faults on servers and proxies, on time, and takes every one off again."""

from __future__ import annotations

from ._nemesis import Nemesis, Strike, Suspended

__all__ = [
    "Nemesis",
    "Strike",
    "Suspended",
]
