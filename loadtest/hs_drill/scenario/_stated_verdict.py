"""The verdict that a scenario states for itself, in a comment at its beginning: `# verdict: pass`."""

from __future__ import annotations

import re
from pathlib import Path

from hs_drill._exit_codes import ExitCode

__all__ = ["VERDICTS", "StatedVerdictError", "stated_exit_code"]

VERDICTS = {
    "pass": ExitCode.PASSED,
    f"expectation missed (exit code {ExitCode.EXPECTATION_MISSED})": ExitCode.EXPECTATION_MISSED,
    f"audit failed (exit code {ExitCode.AUDIT_FAILED})": ExitCode.AUDIT_FAILED,
    f"inconclusive (exit code {ExitCode.INCONCLUSIVE})": ExitCode.INCONCLUSIVE,
}


class StatedVerdictError(Exception):
    """The scenario states no valid verdict; one line for the user."""


def stated_exit_code(path: Path) -> int | None:
    """The exit code of the stated verdict; None when there is none. Raises `StatedVerdictError` and OSError."""
    stated = re.findall(r"^# verdict: (.*?)\s*$", path.read_text(encoding="utf-8"), re.MULTILINE)
    if not stated:
        return None
    if len(stated) > 1 or stated[0] not in VERDICTS:
        raise StatedVerdictError(
            f"{path}: states `# verdict: {'` and `'.join(stated)}`; it must be one of {', '.join(VERDICTS)}"
        )
    return VERDICTS[stated[0]]
