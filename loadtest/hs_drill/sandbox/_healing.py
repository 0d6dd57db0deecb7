"""The owner's side of the healer: what is to be run if this process is killed. `_healer` is the process that runs it."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import IO, Any

import trio

from hs_drill._cluster import ClusterError

from . import _healer
from ._sandbox import until_ended

__all__ = ["Healer", "open_healer"]

logger = logging.getLogger("hs_drill.run")

CLOSE_SECONDS = 20.0
"""How long to wait at the end for the commands that the healer still runs. It goes on after that."""
UNKNOWN = "unknown: the process that runs it was killed"
"""How a command ended that the healer has not reported."""


class Healer:
    """A process of its own that runs, when we end, the commands that were added and are not done. See `open_healer`."""

    @trio.lowlevel.enable_ki_protection
    def __init__(self, secrets: Sequence[str]) -> None:
        self._numbers = count(1)
        self._left: dict[str, str] = {}
        # A session of its own, so that neither Ctrl-C nor a kill of our process group reaches it.
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", _healer.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._tell(secrets=list(secrets))

    def add(self, argv: Sequence[str], what: str, timeout: float, output: Path | None, one: str = "") -> str:
        """From now on the command is run if we end. Returns its id, for `done`. Raises `ClusterError`: then nobody would.

        `one`: the id of a command that it replaces.
        """
        one = one or f"{next(self._numbers)}"
        message = {"argv": list(argv), "what": what, "timeout": timeout, "output": None if output is None else str(output)}
        try:
            self._tell(add=one, **message)
        except OSError as error:
            raise ClusterError("the process that heals if this one is killed has ended, so nothing is begun") from error
        self._left[one] = what
        return one

    def done(self, one: str) -> None:
        """The fault of what was added was seen to have healed."""
        self._left.pop(one, None)
        with suppress(OSError):
            self._tell(done=one)

    @contextmanager
    def running(self, mark: str) -> Iterator[Callable[[int], None]]:
        """While a command with this mark in its environment runs. If we end meanwhile, it is killed before anything heals.

        The value is to be called with the command's process id, as soon as it is known: then only its process group is killed,
        otherwise each process with the mark.
        """

        def started(pid: int) -> None:
            with suppress(OSError):
                self._tell(pid=[mark, pid])

        with suppress(OSError):
            self._tell(started=mark)
        try:
            yield started
        finally:
            with suppress(OSError):
                self._tell(ended=mark)

    def _tell(self, **message: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message).encode() + b"\n")
        self._process.stdin.flush()

    async def close(self) -> None:
        """Have it run what is left, and wait for that, at most `CLOSE_SECONDS`. Shielded."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(OSError):
            self._process.stdin.close()
        with trio.move_on_after(CLOSE_SECONDS, shield=True):
            await until_ended(self._process)
        with self._process.stdout:
            if self._left:
                self._warn(self._process.stdout)

    def _warn(self, reported: IO[bytes]) -> None:
        """Say what became of the commands that were left. Nobody has looked whether they have healed."""
        if self._process.returncode is None:
            did, left = f"process {self._process.pid} still runs what is left, and does", list(self._left.values())
        else:
            messages = [json.loads(line) for line in reported if line.endswith(b"\n")]
            endings = {message["id"]: message["ending"] for message in messages}
            did = "ran at the end, and did"
            left = [f"{what} ({endings.get(one, UNKNOWN)})" for one, what in reversed(self._left.items())]
        logger.warning("%s not look whether that healed: %s; see healed.txt in the run's directory", did, ", ".join(left))


@asynccontextmanager
async def open_healer(secrets: Sequence[str]) -> AsyncIterator[Healer]:
    """A `Healer`, which runs what is left when the block ends, however it ends."""
    healer = Healer(secrets)
    try:
        yield healer
    finally:
        await healer.close()
