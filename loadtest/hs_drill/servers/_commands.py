"""Runs commands of the user's own: argument lists without a shell, each with a time limit. Their output is kept with the run.

A command gets a session of its own, so neither Ctrl-C nor a terminal reaches it, and no standard input. It inherits our
environment, which may hold secrets, and our working directory. When it does not end in time, or when we are cancelled, its
process group is killed. What it has left in the background when it ends is let alone: that may be a server that it has started.

So its output goes to a file, not to a pipe: a server that is left in the background would write to a pipe that nobody reads.
"""

from __future__ import annotations

import os
import re
import signal
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import trio

from hs_drill._cluster import ClusterError, Server
from hs_drill._process_end import describe_exit
from hs_drill.sandbox import MARK_VARIABLE

__all__ = ["Command", "Output", "fill", "run", "secrets_of"]

KEPT_BYTES = 1_000_000
"""How much output of a run's commands is kept ..."""
MOST_BYTES = 16_000_000
"""... and how much one may print."""
LOOK_SECONDS = 0.5
"""How often to look how much a command has written."""
KILL_SECONDS = 5.0
"""How long the end of a command that was killed may take."""
LAST_LINE = 300
"""The most characters of a command's last line that a message shows."""
SECRET_CHARACTERS = 4
"""Shorter secrets are not hidden: that would garble the output, and hide nothing."""
HIDDEN = "(hidden)"
NOT_KEPT = b"\n(more output was not kept)\n"
DEFAULTS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGPIPE, signal.SIGXFSZ]
"""Signals that we ignore, or may: a program would inherit that, and then a server that it starts could not be stopped."""


@dataclass(frozen=True)
class Command:
    """What to run to inject a fault, and what to heal it. The arguments may have placeholders: see `fill`."""

    run: tuple[str, ...]
    heal: tuple[str, ...] = ()
    """Empty if there is nothing to heal."""
    timeout: float = 30.0
    """Seconds until what it does must be seen, for each of the two."""


def fill(argv: Sequence[str], values: Mapping[str, str]) -> list[str]:
    """The arguments with `{name}` replaced by its value, and `{{` and `}}` by a brace. Raises `ClusterError`."""

    def replaced(match: re.Match[str]) -> str:
        if (name := match[1]) is None:
            return match[0][0]
        if name not in values:
            raise ClusterError(f"{argv[0]}: there is no {{{name}}} here (only {', '.join(sorted(values)) or 'none'})")
        return values[name]

    return [re.sub(r"\{\{|\}\}|\{(\w*)\}", replaced, argument) for argument in argv]


def secrets_of(servers: Iterable[Server]) -> list[str]:
    """The passwords and secrets of the servers that are hidden, the longest first: one may contain another."""
    each = (
        secret
        for server in servers
        for secret in (server.admin_password, server.read_secret, server.write_secret, server.load_password)
    )
    return sorted({secret for secret in each if len(secret) >= SECRET_CHARACTERS}, key=len, reverse=True)


class Output:
    """Keeps what the commands of a run print, in one file, without secrets.

    Attributes:
      path: the file; None until there is a run that keeps it.
    """

    def __init__(self, secrets: Sequence[str] = ()) -> None:
        self.path: Path | None = None
        self.secrets = list(secrets)

    def hide(self, text: str) -> str:
        """The text without secrets."""
        for secret in self.secrets:
            text = text.replace(secret, HIDDEN)
        return text

    def add(self, text: str) -> None:
        """Append a text that hides its secrets, as far as there is room. Raises no error: a full disk does not end a run."""
        if self.path is None:
            return
        with suppress(OSError), self.path.open("ab") as file:
            room = KEPT_BYTES - len(NOT_KEPT) - file.tell()
            data = text.encode(errors="replace")
            if room >= 0:
                file.write(data if len(data) <= room else data[:room] + NOT_KEPT)


Started = Callable[[int], None]
"""Called with the process id of a command right after its start."""


async def run(
    argv: Sequence[str], timeout: float, output: Output, what: str, mark: str = "", started: Started = lambda pid: None
) -> str:
    """Run a command until it ends, and append what it printed to `output`, under the heading `what`. Returns that.

    `mark` becomes its `MARK_VARIABLE`. Raises `ClusterError` with one line for the user: it cannot be started, takes more
    than `timeout` seconds, or its exit status is not 0. Cancellation kills its process group.
    """
    begin = time.monotonic()
    with tempfile.TemporaryFile() as file:
        ending = "cancelled"
        try:
            ending = await _run(argv, timeout, file, mark, started)
        finally:
            file.seek(0)
            printed = output.hide(file.read(2 * MOST_BYTES).decode(errors="replace")).strip()
            seconds = time.monotonic() - begin
            heading = output.hide(f"== {what}: {' '.join(argv)}")
            output.add(f"{heading}\n{_cut(printed)}== {ending or 'exit status 0'}, after {seconds:.1f} s\n\n")
    if ending:
        raise ClusterError(f"{output.hide(argv[0])}: {ending}{_last_line(printed)}")
    return printed


async def _run(argv: Sequence[str], timeout: float, file: IO[bytes], mark: str, started: Started) -> str:
    """How the command ended, in words; "" if its exit code was 0."""
    try:
        pid = _spawn(argv, file.fileno(), mark)
    except OSError as error:
        return f"cannot be started: {error.strerror}"
    code: int | None = None
    ending = ""
    try:
        started(pid)
        with trio.move_on_after(timeout) as scope:
            code = await _ended(pid, file)
        if scope.cancelled_caught:
            ending = f"did not end within {timeout:g} s, and was killed"
        elif code is None:
            ending = f"printed more than {MOST_BYTES // 1_000_000} MB, and was killed"
    finally:
        if code is None and not await _kill(pid):
            ending = f"{ending}, which did not end it"
    return ending or (f"exit status {code}" if code and code > 0 else describe_exit(code) if code else "")


def _spawn(argv: Sequence[str], output: int, mark: str) -> int:
    """Start the program. Not with `Popen`: its child ignores the signals that we ignore. Raises OSError."""
    inherited = [int(fd) for fd in os.listdir("/proc/self/fd") if int(fd) > 2 and _inheritable(int(fd))]
    return os.posix_spawnp(
        argv[0],
        list(argv),
        {**os.environ, MARK_VARIABLE: mark},
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, output, 1),
            (os.POSIX_SPAWN_DUP2, output, 2),
            *((os.POSIX_SPAWN_CLOSE, fd) for fd in inherited),  # the socket to Locust's process, which waits for its end
        ],
        setsid=True,
        setsigmask=[],
        setsigdef=DEFAULTS,
    )


def _inheritable(fd: int) -> bool:
    try:
        return os.get_inheritable(fd)
    except OSError:  # it is closed by now, as that of the listing itself
        return False


async def _ended(pid: int, file: IO[bytes]) -> int | None:
    """Wait for the end of a child. Returns its code, as `subprocess` gives it; None if it has printed too much."""
    descriptor = os.pidfd_open(pid)
    try:
        while os.fstat(file.fileno()).st_size <= MOST_BYTES:
            with trio.move_on_after(LOOK_SECONDS):
                await trio.lowlevel.wait_readable(descriptor)
                return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])  # noqa: ASYNC222  (it has ended)
        return None
    finally:
        os.close(descriptor)


async def _kill(pid: int) -> bool:
    """Kill the process group of a child that has not ended, and wait for its end. False if it lives on."""
    with suppress(ProcessLookupError, PermissionError):  # programs of another user, as by sudo, are not ours to kill
        os.killpg(pid, signal.SIGKILL)
    descriptor = os.pidfd_open(pid)
    try:
        with trio.move_on_after(KILL_SECONDS, shield=True):
            await trio.lowlevel.wait_readable(descriptor)
            os.waitpid(pid, 0)  # noqa: ASYNC222  (it has ended)
            return True
    finally:
        os.close(descriptor)
    return False


def _cut(printed: str) -> str:
    """What was printed, with an end of line; of much, the beginning and the end, with the cause and the last line."""
    if len(printed) > KEPT_BYTES // 2:
        printed = f"{printed[: KEPT_BYTES // 4]}\n(...)\n{printed[-KEPT_BYTES // 8 :]}"
    return f"{printed}\n" if printed else ""


def _last_line(printed: str) -> str:
    lines = [" ".join(line.split()) for line in printed.splitlines() if line.strip()]
    if not lines:
        return " (it printed nothing)"
    last = lines[-1]
    return f": {last if len(last) <= LAST_LINE else last[:LAST_LINE] + '…'}"
