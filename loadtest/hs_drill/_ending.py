"""How a process ended, in words."""

from __future__ import annotations

import signal

__all__ = ["ending"]


def ending(code: int) -> str:
    """For an exit code as `subprocess` has it: negative for a signal."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
