"""Reads of the primary: of the server that acknowledged the last write of the engine's mix.

A server's listener for reads refuses nothing after a failover, so only the writes show which server is the primary: a former
one that is fenced refuses them. Until a write was acknowledged, the writer is read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from ._binding import Binding, BoundOperation, TableOf

__all__ = ["Acknowledged", "PrimaryReads", "read_from"]


@dataclass
class Acknowledged:
    """The name of the server that acknowledged the last write; at first that of the writer."""

    last: str


@dataclass(frozen=True)
class PrimaryReads:
    """How to read from each server that may be the primary."""

    tables_of: Mapping[str, TableOf]
    """By the server's name."""
    acknowledged: Acknowledged

    def bound(self, binding: Binding, bind: Callable[[Binding], BoundOperation]) -> BoundOperation:
        """The read that `bind` binds, as one that goes to the primary."""
        by_server = {name: bind(binding.with_tables(tables)) for name, tables in self.tables_of.items()}
        calls, acknowledged = {name: one.call for name, one in by_server.items()}, self.acknowledged
        any_of_them = next(iter(by_server.values()))
        return replace(any_of_them, call=lambda drawn, intent: calls[acknowledged.last](drawn, intent))


def read_from(primary: PrimaryReads | None, binding: Binding, bind: Callable[[Binding], BoundOperation]) -> BoundOperation:
    """The read that `bind` binds: of the primary, or of the readers if that is None."""
    return bind(binding) if primary is None else primary.bound(binding, bind)
