"""Python code as its users format it."""

from __future__ import annotations

import subprocess
import sys


def formatted(source: str) -> str:
    """The code as ruff formats it, with sorted imports."""
    for command in (["check", "--select", "I,F", "--fix"], ["format"]):
        source = subprocess.run(
            [sys.executable, "-m", "ruff", command[0], "--isolated", "--quiet", *command[1:], "-"],
            input=source,
            text=True,
            capture_output=True,
            check=True,
        ).stdout
    return source
