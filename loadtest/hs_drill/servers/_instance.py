"""One server that the run has started, as a process or a container: it can be killed, stopped, paused and resumed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

from hs_drill._cluster import Server

__all__ = ["KILL_SECONDS", "STOP_SECONDS", "Instance", "State"]

State = Literal["running", "paused", "down"]

STOP_SECONDS = 20.0
"""How long a server may take to shut down cleanly."""
KILL_SECONDS = 10.0
"""How long a killed server may take to be gone."""


class Instance(ABC):
    """A server of the run, whatever it runs in. Operations raise `ClusterError` if they fail or take too long."""

    server: Server
    """Its description as of now: a start changes `pid`, and perhaps ports and secrets."""

    @property
    @abstractmethod
    def state(self) -> State:
        """Whether it runs. A crashed server is down."""

    @abstractmethod
    def exit_code(self) -> int | None:
        """None while it runs; negative when a signal ended it."""

    @abstractmethod
    async def read_log(self) -> str:
        """What it has written to its log since its last start."""

    @abstractmethod
    async def kill(self) -> None:
        """End it at once, and wait until it is gone."""

    @abstractmethod
    async def stop(self) -> None:
        """Shut it down cleanly, and wait until it is gone."""

    @abstractmethod
    async def pause(self) -> None:
        """Freeze it: the kernel still accepts connections for it."""

    @abstractmethod
    async def resume(self) -> None:
        """Let it run again."""
