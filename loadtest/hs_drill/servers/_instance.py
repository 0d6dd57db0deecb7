"""One server that the run has started: a process or a container, which can be killed, stopped, paused and resumed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

from hs_drill._cluster import Server

__all__ = ["KILL_SECONDS", "STOP_SECONDS", "Instance", "State"]

State = Literal["running", "paused", "down"]

STOP_SECONDS = 20.0
"""At most this long may a server take to shut down in order."""
KILL_SECONDS = 10.0
"""At most this long may a killed server take to be gone."""


class Instance(ABC):
    """A server of the run, whatever it runs in. Operations that do not succeed in time raise `ClusterError`."""

    server: Server
    """As it is now: a start changes its `pid`, and perhaps its ports and secrets."""

    @property
    @abstractmethod
    def state(self) -> State:
        """A server that crashed is down."""

    @abstractmethod
    def exit_code(self) -> int | None:
        """None while it runs; negative when a signal ended it."""

    @abstractmethod
    async def read_log(self) -> str:
        """What it has written since its last start."""

    @abstractmethod
    async def kill(self) -> None:
        """End it at once, and wait until it is gone."""

    @abstractmethod
    async def stop(self) -> None:
        """Shut it down in order, and wait until it is gone."""

    @abstractmethod
    async def pause(self) -> None:
        """Freeze it: the kernel still accepts connections for it."""

    @abstractmethod
    async def resume(self) -> None:
        """Let it run again."""
