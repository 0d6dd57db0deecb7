"""What a scenario says of its own verdict, in a comment at its beginning: `# verdict: pass`."""

from __future__ import annotations

import re
from pathlib import Path

from loadtest._judge import AUDIT_FAILED, EXPECTATION_MISSED, INCONCLUSIVE, PASSED

__all__ = ["VERDICTS", "StatedVerdictError", "stated_exit_code"]

VERDICTS = {
    "pass": PASSED,
    f"expectation missed (exit code {EXPECTATION_MISSED})": EXPECTATION_MISSED,
    f"audit failed (exit code {AUDIT_FAILED})": AUDIT_FAILED,
    f"inconclusive (exit code {INCONCLUSIVE})": INCONCLUSIVE,
}


class StatedVerdictError(Exception):
    """It says something that is no verdict; one line for the user."""


def stated_exit_code(path: Path) -> int | None:
    """The exit code that it states; None when it states none. Raises `StatedVerdictError` and OSError."""
    stated = re.findall(r"^# verdict: (.*?)\s*$", path.read_text(encoding="utf-8"), re.MULTILINE)
    if not stated:
        return None
    if len(stated) > 1 or stated[0] not in VERDICTS:
        raise StatedVerdictError(f"{path}: states `# verdict: {'` and `'.join(stated)}`; it is one of {', '.join(VERDICTS)}")
    return VERDICTS[stated[0]]
