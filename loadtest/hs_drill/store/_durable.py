"""Files that outlive a crash of the machine, and a lock that a process holds on a directory while it lives."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

__all__ = ["HeldError", "Hold", "sync"]


def sync(path: Path) -> None:
    """Wait until a file, or the names in a directory, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class HeldError(Exception):
    """Another process holds the directory."""


class Hold:
    """Holds a directory, until `release` or the end of the process. Raises `HeldError`.

    Where the file system has no such locks, it holds nothing.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDONLY)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self.release()
            raise HeldError(f"{path} is held") from error
        except OSError:
            pass

    def release(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1
