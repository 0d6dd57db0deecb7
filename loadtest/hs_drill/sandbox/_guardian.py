"""The guardian, which removes what a run leaves on this machine, and the launcher of its processes. Two small programs.

They are run by path, with the standard library alone:

    python -I -S _guardian.py launch PARENT UID GID -- PROGRAM ARGUMENT...
    python -I -S _guardian.py guard DIRECTORY [ENGINE]   (standard input: a pipe that the owner of the run holds open)

`launch` becomes PROGRAM, under the given user, and dies with the thread that started it.

`guard` waits until its standard input ends, because the owner closed it or was killed. Then it kills the run's remaining
processes, and removes the run's directory, and its containers and networks from the engine with the socket ENGINE. So a run
cleans up in the same way whether it returned, was cancelled or was killed with SIGKILL.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from threading import Thread
from typing import Any
from urllib.parse import quote

RUN_VARIABLE = "TRIO_HS_RUN"
"""Environment variable of every process of a run, and of the processes that those start: the run's directory."""

CLAIM = "claim"
"""The file in the run's directory that the run keeps locked: see `_claim`."""

RUN_LABEL = "trio-hs.run"
"""Label of every container and network of a run: the run's directory."""

_PR_SET_PDEATHSIG = 1
_GUARD_SECONDS = 30
_SETTLE_SECONDS = 0.2


def launch(parent: int, uid: int, gid: int, program: list[str]) -> None:
    """Become `program`, as the user `uid` unless that is negative. Returns only on failure."""
    # Not with Popen(user=): the server's user may not be allowed to read this Python interpreter.
    if uid >= 0:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    os.umask(0o077)
    # Python ignores these two signals, and exec keeps them ignored.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    # After setuid, which clears it; exec keeps it, unless the program is set-uid.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # the parent died before the line above
        return
    os.execv(program[0], program)


def guard(directory: str, engine: str | None) -> bool:
    """Wait until the owner ends, then remove everything of the run. False if something could not be removed in time."""
    for number in (signal.SIGTERM, signal.SIGHUP):  # systemd sends SIGTERM to every process of a service at once
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.buffer.read()
    deadline = time.monotonic() + _GUARD_SECONDS
    removed = engine is None or _remove_containers(engine, directory, deadline)
    return clear(directory, deadline) and removed


def clear(directory: str, deadline: float) -> bool:
    """Kill the run's processes, and remove its directory. False if something could not be removed in time."""
    while time.monotonic() < deadline:
        left = list(_processes_of(directory))
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        _remove_directory(directory)
        if not left and not os.path.lexists(directory):
            return True
        time.sleep(0.02)  # a dying server may still have added a file
    return False


def _remove_directory(directory: str) -> None:
    """Remove as much of it as possible. The claim goes last, because no run removes a directory without one."""
    try:
        with os.scandir(directory) as entries:
            inside = [entry for entry in entries if entry.name != CLAIM]
    except OSError:
        inside = []
    for entry in inside:
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path, ignore_errors=True)
        else:
            with suppress(OSError):
                os.unlink(entry.path)
    with suppress(OSError):
        if os.listdir(directory) in ([], [CLAIM]):
            shutil.rmtree(directory, ignore_errors=True)


def _remove_containers(engine: str, directory: str, deadline: float) -> bool:
    """Remove the run's containers and networks from the engine. False if that could not be done in time."""
    filters = "filters=" + quote(json.dumps({"label": [f"{RUN_LABEL}={directory}"]}))
    quiet = 0
    while time.monotonic() < deadline:
        try:
            containers = _ask(engine, "GET", f"/containers/json?all=1&{filters}")
            removals = [Thread(target=_try, args=(engine, f"/containers/{c['Id']}?force=1&v=1")) for c in containers]
            for removal in removals:
                removal.start()
            for removal in removals:
                removal.join()
            networks = _ask(engine, "GET", f"/networks?{filters}")
            for network in networks:
                _try(engine, f"/networks/{network['Id']}")
        except (OSError, HTTPException, ValueError):
            time.sleep(0.2)
            continue
        # Look twice: the engine may still be creating what a killed owner had requested.
        quiet = 0 if containers or networks else quiet + 1
        if quiet == 2:
            return True
        time.sleep(_SETTLE_SECONDS)
    return False


def _try(engine: str, path: str) -> None:
    try:
        _ask(engine, "DELETE", path)
    except (OSError, HTTPException, ValueError):
        pass  # the next look shows whether it is gone


def _ask(engine: str, method: str, path: str) -> Any:
    """Return the engine's answer, decoded from JSON. Raises OSError, HTTPException and ValueError."""
    connection = HTTPConnection("localhost", timeout=10)
    connection.sock = socket.socket(socket.AF_UNIX)
    try:
        connection.sock.settimeout(10)
        connection.sock.connect(engine)
        connection.request(method, path)
        body = connection.getresponse().read()
        return json.loads(body) if body else None
    finally:
        connection.close()


def _processes_of(directory: str) -> Iterator[int]:
    """The run's processes, found by their environment: a reused process id or a visitor in the directory does not count."""
    mark = f"{RUN_VARIABLE}={directory}".encode()
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/environ", "rb") as file:
                    if mark in file.read().split(b"\0"):
                        yield int(entry)
            except OSError:  # it is gone, or belongs to another user
                pass


if __name__ == "__main__":
    if sys.argv[1] == "launch":
        launch(int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), sys.argv[6:])
        sys.exit(1)
    sys.exit(0 if guard(sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else None) else 1)
