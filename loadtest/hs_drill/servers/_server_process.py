"""A server that is a process of this machine: signals, exit code, log. What it serves does not matter here."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import trio

from hs_drill._cluster import ClusterError, Server
from hs_drill.sandbox import until_ended

from ._instance import KILL_SECONDS, STOP_SECONDS, Instance, State

PAUSE_SECONDS = 10.0
"""Limit for SIGSTOP to take effect. It only catches a process that cannot be stopped, such as one that waits for its disk."""
POLL_SECONDS = 0.002


class ServerProcess(Instance):
    """One server of a run, and its current process, if any."""

    def __init__(self, server: Server, directory: Path) -> None:
        self.server = server
        self.directory = directory
        self.log = directory / "server.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.paused = False
        self._starts = 0

    @property
    def state(self) -> State:
        if self.process is None or self.process.poll() is not None:
            return "down"
        return "paused" if self.paused else "running"

    def exit_code(self) -> int | None:
        return None if self.process is None else self.process.poll()

    async def read_log(self) -> str:
        await trio.lowlevel.checkpoint()
        return read_log(self.log)

    def new_log(self) -> Path:
        """Set the log of the process before aside, and return the path for the next one's."""
        if self._starts and self.log.exists():
            self.log.rename(self.directory / f"server.{self._starts}.log")
        self._starts += 1
        return self.log

    @trio.lowlevel.enable_ki_protection
    def _send_signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)  # no effect if it has ended
        self.paused = number == signal.SIGSTOP

    async def kill(self) -> None:
        await self._end(signal.SIGKILL, KILL_SECONDS)

    async def stop(self) -> None:
        await self._end(signal.SIGTERM, STOP_SECONDS)

    async def pause(self) -> None:
        await trio.lowlevel.checkpoint()
        self._send_signal(signal.SIGSTOP)
        # SIGSTOP takes effect when the process is next given a core. Until then its threads go on: on a busy machine, a paused
        # replica may acknowledge one more commit.
        with trio.move_on_after(PAUSE_SECONDS):
            while not self._has_stopped():  # noqa: ASYNC110  (the kernel is asked)
                await trio.sleep(POLL_SECONDS)

    def _has_stopped(self) -> bool:
        """Whether no thread of the process runs any more."""
        assert self.process is not None
        try:
            return os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:
            return True  # it has ended

    async def resume(self) -> None:
        await trio.lowlevel.checkpoint()
        self._send_signal(signal.SIGCONT)

    async def _end(self, number: signal.Signals, within: float) -> None:
        """Send a signal that ends the process, and wait until it is gone."""
        assert self.process is not None
        self._send_signal(number)
        with trio.move_on_after(within):
            await until_ended(self.process)
            return
        raise ClusterError(f"{self.server.name} still runs {within:g} s after {number.name}: kill it")


def read_log(log: Path) -> str:
    try:
        return log.read_text(errors="replace")
    except OSError:
        return ""
