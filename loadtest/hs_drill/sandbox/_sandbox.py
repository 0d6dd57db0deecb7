"""What a run owns on this machine: one directory, processes and ports; and the guardian that cleans up after us."""

from __future__ import annotations

import logging
import os
import pwd
import random
import re
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import trio

from hs_drill._cluster import ClusterError
from hs_drill._counted import counted

from . import _guardian
from ._claim import DIRECTORY_MODE, claim, directory_for, remove_abandoned

logger = logging.getLogger("hs_drill.run")

HOST = "127.0.0.1"
LEAST_FREE_BYTES = 1 << 30
SERVER_BYTES = 160 << 20
"""Memory of one MariaDB server of a run: 72 MiB when idle, and its buffer pool grows by about 50."""
STOP_SECONDS = 10.0
POLL_SECONDS = 0.02


@dataclass(frozen=True)
class Account:
    """The user that the servers run as."""

    name: str
    uid: int
    gid: int


def server_account() -> Account | None:
    """The user `mysql` if we are root and it exists, else None: our own user. (mariadbd does not run as root by default.)"""
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam("mysql")
    except KeyError:
        return None
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


class Sandbox:
    """One directory, the processes that work in it, the ports they listen on, and the guardian that cleans up after us.

    The guardian also removes the run's containers and networks from the engine with the socket `engine`.

    Every method that starts something is synchronous and protected from Ctrl-C, so that nothing is started without being
    recorded.
    """

    @trio.lowlevel.enable_ki_protection
    def __init__(self, account: Account | None, engine: str | None = None) -> None:
        self.account = account
        self.directory = directory_for(secrets.token_hex(6))
        self._claim = -1
        self._processes: list[subprocess.Popen[bytes]] = []
        self._reserved: list[socket.socket] = []
        # Start the guardian before the directory exists: then our death never leaves one behind. It gets a session of its own,
        # so that neither Ctrl-C nor a kill of our process group reaches it.
        self._guardian = subprocess.Popen(
            [sys.executable, "-I", "-S", _guardian.__file__, "guard", str(self.directory), *([engine] if engine else [])],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
        )
        try:
            self.directory.mkdir(mode=DIRECTORY_MODE)
            try:
                self._claim = claim(self.directory)
            except OSError as error:  # some file systems have no locks
                logger.info("if this run is killed with its guardian, %s stays: %s", self.directory, error)
            self.give(self.directory)
        except OSError as error:
            self._end_all()
            self._guardian.wait(STOP_SECONDS)
            raise ClusterError(f"cannot use {self.directory.parent} for the servers' data: {error}") from error

    def give(self, path: Path) -> None:
        """Make the servers' user the owner of `path`."""
        if self.account is not None:
            os.chown(path, self.account.uid, self.account.gid)

    def write_secret_file(self, path: Path, text: str) -> None:
        path.unlink(missing_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w") as file:
            file.write(text)
        self.give(path)

    @trio.lowlevel.enable_ki_protection
    def spawn(self, argv: list[str], log: Path) -> subprocess.Popen[bytes]:
        """Start a program of the run, and append its output to `log`.

        Call this from trio's own thread. `trio.run_process` would fork in a worker thread: the kernel ties a program's death
        signal to the thread that forked it, and idle worker threads end after a while.
        """
        account = self.account or Account("", -1, -1)
        command = [sys.executable, "-I", "-S", _guardian.__file__, "launch"]
        with open(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as output:
            process = subprocess.Popen(
                [*command, str(os.getpid()), str(account.uid), str(account.gid), "--", *argv],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self.directory,
                env={
                    **os.environ,
                    _guardian.RUN_VARIABLE: str(self.directory),
                    "TMPDIR": str(self.directory),
                    "LC_ALL": "C",
                },
                process_group=0,  # the terminal's Ctrl-C must reach only this process, which ends the servers
            )
            self._processes.append(process)
        return process

    @trio.lowlevel.enable_ki_protection
    def reserve_port(self) -> int:
        """Reserve a port of `HOST` until the run ends, whether a server listens there or is down.

        A socket that is bound and never listens holds it. The kernel gives the port to no other program, but a server that
        sets SO_REUSEADDR, as mariadbd and HandlerSocket do, may bind it beside us.
        """
        for port in random.sample(_fixed_ports(), 100):
            holder = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            try:
                # First without SO_REUSEADDR: that fails if another program or another run has the port.
                holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
                holder.bind((HOST, port))
            except OSError:
                holder.close()
                continue
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._reserved.append(holder)
            return port
        raise ClusterError(f"no free port on {HOST} among 100 tried")

    async def close(self) -> None:
        """Kill the processes, and wait until they and the directory are gone. Shielded; takes at most `STOP_SECONDS`.

        An orderly stop would take more than a second, for data that are thrown away.
        """
        self._end_all()
        with trio.move_on_after(STOP_SECONDS, shield=True):
            await until_ended(*self._processes, self._guardian)
            if self._claim >= 0:
                os.close(self._claim)
            return
        pids = [process.pid for process in self._processes if process.poll() is None]
        logger.warning("not removed within %s s: directory %s, processes %s", STOP_SECONDS, self.directory, pids)

    @trio.lowlevel.enable_ki_protection
    def _end_all(self) -> None:
        for process in self._processes:
            process.kill()
        for holder in self._reserved:
            holder.close()
        assert self._guardian.stdin is not None
        self._guardian.stdin.close()  # it removes the directory now


async def until_ended(*processes: subprocess.Popen[bytes]) -> None:
    """Wait until all of them have ended. Polls `waitpid`."""
    while any(process.poll() is None for process in processes):  # noqa: ASYNC110  (not a hot path)
        await trio.sleep(POLL_SECONDS / 2)


@cache
def _fixed_ports() -> tuple[int, ...]:
    """Ports outside the kernel's range for the local ends of connections.

    A restarted server needs its old ports again, and under load thousands of connections use that range.
    """
    try:
        low, high = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    except (OSError, ValueError):
        low, high = 32768, 60999
    ports = tuple(port for port in range(10000, 65536) if not low <= port <= high)
    return ports if len(ports) >= 1000 else tuple(range(10000, 65536))


@asynccontextmanager
async def open_sandbox(
    account: Account | None, progress: Callable[[str], None], engine: str | None = None
) -> AsyncIterator[Sandbox]:
    """A sandbox that is gone when the block has ended. Raises `ClusterError`.

    Before, it removes the directories of killed runs, and reports that to `progress`.
    """
    await remove_leftover_directories(progress)
    sandbox = Sandbox(account, engine)
    try:
        yield sandbox
    finally:
        # In a task of its own: a second Ctrl-C is raised in the main task, shielded or not, and would cut the cleanup short.
        async with trio.open_nursery() as nursery:
            nursery.cancel_scope.shield = True
            nursery.start_soon(sandbox.close)


async def remove_leftover_directories(progress: Callable[[str], None]) -> bool:
    """Remove the directories of this user's killed runs, report them in a line, and return whether there were any."""
    owners = {os.geteuid()} | ({account.uid} if (account := server_account()) is not None else set())
    removed = await trio.to_thread.run_sync(remove_abandoned, owners)
    if removed:
        progress(f"removed directories of killed runs: {', '.join(removed)}")
    return bool(removed)


def check_temporary_directory(account: Account | None) -> None:
    """Raise `ClusterError` if the directory for temporary files is nearly full, or closed to the servers' user."""
    directory = Path(tempfile.gettempdir()).absolute()
    free = shutil.disk_usage(directory).free
    if free < LEAST_FREE_BYTES:
        raise ClusterError(
            f"only {free >> 20} MiB free in {directory}, the servers need {LEAST_FREE_BYTES >> 20}: "
            "make room, or set TMPDIR to a directory with more"
        )
    for parent in [directory, *directory.parents]:
        if account is not None and not _may_enter(parent, account):
            raise ClusterError(
                f"the servers' user, {account.name}, may not enter {parent}: "
                "set TMPDIR to a directory that every user may enter, such as /tmp"
            )


def check_memory(servers: int) -> None:
    """Raise `ClusterError` if this many MariaDB servers do not fit into free memory."""
    needed = servers * SERVER_BYTES
    free = available_memory()
    if free is not None and free < needed:
        raise ClusterError(
            f"only {free >> 20} MiB of memory free, {counted(servers, 'server needs', 'servers need')} {needed >> 20}: "
            "end other programs, or ask for fewer readers"
        )


def available_memory() -> int | None:
    """Bytes available without swapping; None if the kernel does not report it."""
    try:
        found = re.search(r"^MemAvailable:\s*(\d+) kB$", Path("/proc/meminfo").read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) << 10 if found else None


def _may_enter(directory: Path, account: Account) -> bool:
    status = directory.stat()
    if status.st_uid == account.uid:
        return bool(status.st_mode & 0o100)
    return bool(status.st_mode & (0o010 if status.st_gid == account.gid else 0o001))
