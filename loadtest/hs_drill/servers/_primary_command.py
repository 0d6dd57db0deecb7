"""Asks the owner's own command which server is the primary."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from hs_drill._cluster import ClusterError

from ._commands import Output, fill, run, secrets_of
from ._control import Control

__all__ = ["WhoIsPrimary", "asked_owner"]

WhoIsPrimary = Callable[[], Awaitable[str]]
"""Gives the name that the command prints, "" for none. Raises `ClusterError`."""

OWNER_SECONDS = 5.0
"""How long the command may take."""


def asked_owner(control: Control, argv: Sequence[str]) -> WhoIsPrimary | None:
    """What asks `cluster.primary.command`; None if there is none."""
    if not argv:
        return None
    output = Output(secrets_of(control.cluster.servers))  # it has no file: several answers each second are not kept

    async def ask() -> str:
        what = "cluster.primary.command"
        try:
            printed = await run(fill(argv, {"primary": control.primary}), OWNER_SECONDS, output, what)
        except ClusterError as error:
            raise ClusterError(f"{what}: {error}") from error
        return (printed.splitlines() or [""])[-1].strip()

    return ask
