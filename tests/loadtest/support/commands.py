"""Commands of a user's own whose effects are files, and servers on which nothing runs."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from hs_drill._cluster import ClusterError
from hs_drill.servers import _by_command
from hs_drill.servers._commands import Command
from hs_drill.servers._effects import Effect


class FileEffect(Effect):
    """A server is down when there is a file with its name. With the file `moot` there is nothing left to heal."""

    place: Path

    async def begin(self) -> None:
        await trio.lowlevel.checkpoint()
        if self._down():
            raise ClusterError(f"{self.server.name} is down already")

    async def watch(self) -> None:
        await trio.sleep_forever()

    async def unseen(self) -> str:
        await trio.lowlevel.checkpoint()
        return "" if self._down() else f"{self.server.name} answers"

    async def moot(self) -> bool:
        await trio.lowlevel.checkpoint()
        return (self.place / "moot").exists()

    async def unhealed(self) -> str:
        await trio.lowlevel.checkpoint()
        return f"{self.server.name} refuses" if self._down() else ""

    def _down(self) -> bool:
        return (self.place / self.server.name).exists()


class PromotedEffect(FileEffect):
    """The same, for a fault that makes the server the primary."""

    promotes = True


def effects_as_files(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FileEffect, "place", place, raising=False)
    monkeypatch.setattr(_by_command, "EFFECTS", {"kill": FileEffect, "promote": PromotedEffect})
    monkeypatch.setattr(_by_command, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(_by_command, "LEAST_SECONDS", 0.2)


def shell(run: str, heal: str = "", timeout: float = 60.0) -> Command:
    """Commands in which `$1` is the server's name."""
    argv = ("sh", "-c", run, "sh", "{server}")
    return Command(argv, ("sh", "-c", heal, "sh", "{server}") if heal else (), timeout)
