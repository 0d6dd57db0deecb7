"""Shows that a directory belongs to a living run, and removes those whose run was killed together with its guardian.

A run's directory holds the servers' secrets. In it is a file that the run keeps locked. The kernel releases the lock when the
run ends, however it ends, and shows it in every container that shares the directory for temporary files. A directory without
such a file of the same user may belong to any program, and stays.
"""

from __future__ import annotations

import fcntl
import os
import re
import stat
import tempfile
import time
from pathlib import Path

from . import _guardian

__all__ = ["DIRECTORY_MODE", "claim", "directory_for", "remove_abandoned", "remove_if_abandoned"]

DIRECTORY_MODE = 0o700
REMOVE_SECONDS = 30.0
_NAME = re.compile(r"trio-hs-[0-9a-f]{12}")
_MOST_BYTES = 10_000


def directory_for(token: str) -> Path:
    """Where a run with a token of 12 hexadecimal digits keeps its servers' files."""
    return Path(tempfile.gettempdir(), f"trio-hs-{token}").absolute()


def claim(directory: Path) -> int:
    """Mark a directory as this process's; return the descriptor of the lock. Raises OSError."""
    unlocked = directory / f".{_guardian.CLAIM}"  # under the final name it is locked from the beginning
    descriptor = os.open(unlocked, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, _content(directory))
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        unlocked.rename(directory / _guardian.CLAIM)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def remove_abandoned(owners: set[int]) -> list[str]:
    """Remove the directories of this user's runs that have ended, and return their paths.

    `owners` are the users whom our runs give their directories. Blocking.
    """
    parent = directory_for("").parent
    try:
        names = sorted(entry.name for entry in os.scandir(parent) if _NAME.fullmatch(entry.name))
    except OSError:
        return []
    return [str(parent / name) for name in names if remove_if_abandoned(parent / name, owners)]


def remove_if_abandoned(directory: Path, owners: set[int]) -> bool:
    """Remove one directory if it is that of a run of this user's that has ended; see `remove_abandoned`. Blocking."""
    lock = _lock_abandoned(directory, owners) if _NAME.fullmatch(directory.name) else None
    if lock is None:
        return False
    try:
        return _guardian.clear(str(directory), time.monotonic() + REMOVE_SECONDS)
    finally:
        os.close(lock)


def _lock_abandoned(directory: Path, owners: set[int]) -> int | None:
    """Lock the directory of a run of ours that has ended, and return the descriptor of the lock; None for any other."""
    try:
        status = directory.lstat()
        looks_ours = stat.S_ISDIR(status.st_mode) and stat.S_IMODE(status.st_mode) == DIRECTORY_MODE
        if not looks_ours or status.st_uid not in owners or _has_guardian(directory):
            return None
        descriptor = os.open(directory / _guardian.CLAIM, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        if _is_ours(descriptor, directory):
            return descriptor
    except OSError:  # a living run holds it, or it has just been removed
        pass
    os.close(descriptor)
    return None


def _is_ours(descriptor: int, directory: Path) -> bool:
    """Whether the claim is that of an ended run of this user on this directory. Locks it. Raises OSError if it is locked."""
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid() or status.st_nlink != 1:
        return False
    if os.read(descriptor, _MOST_BYTES) != _content(directory):
        return False
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return True


def _content(directory: Path) -> bytes:
    return os.fsencode(f"The directory of a run of trio-hs, which keeps this file locked: {directory}\n")


def _has_guardian(directory: Path) -> bool:
    """Whether a guardian is about to remove it."""
    wanted = [b"guard", os.fsencode(directory)]
    for process in Path("/proc").glob("[0-9]*"):
        try:
            arguments = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if wanted in (arguments[n : n + 2] for n in range(len(arguments))):
            return True
    return False
