"""Reads the files of `values: {lines: FILE}`, whose content then travels with the scenario."""

from __future__ import annotations

import stat
from pathlib import Path

__all__ = ["read_lines"]

MOST_BYTES = 64 << 10
"""Every worker gets the lines with the scenario, and every run keeps them."""


def read_lines(name: str, folder: str | Path | None) -> str:
    """The lines of a file, without empty ones at its end. Raises ValueError."""
    path = Path(folder or ".") / name
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe might never end
            raise ValueError(f"{path} is not a file")
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}; a path is relative to the scenario's file") from None
    if len(content) > MOST_BYTES:
        raise ValueError(f"{path} has more than {MOST_BYTES >> 10} KiB; every worker and every kept run has a copy: shorten it")
    try:
        text = content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n").rstrip("\n")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(f"{path}, line {line}, is not UTF-8 text") from None
    if not text:
        raise ValueError(f"{path} has no lines")
    return text
