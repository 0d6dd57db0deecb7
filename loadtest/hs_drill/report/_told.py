"""Tells each finding of the audit once, where several checks and expectations are about the same row and the same write."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ._words import row_of

__all__ = ["Told", "without_first"]


class Told:
    """Which findings a reader knows already. `checks` are those of the audit, as `result.json` has them."""

    def __init__(self, checks: Mapping[str, Any] | None) -> None:
        self._first = list(_first_findings(checks))
        self._under: dict[str, str] = {}
        """In words, and the name of the expectation or check that told it."""

    def line(self, name: str, line: str) -> str:
        """A line about an expectation or a check. What it tells of a finding is left out if it was told before."""
        for finding in self._first:
            words = _words(finding)
            if words in line:
                under = self._under.setdefault(words, name)
                if under != name:
                    line = line.replace(f": {words}", f" ({row_of(finding)}, told under {under})")
        return line

    def under(self, name: str, finding: Mapping[str, Any]) -> str:
        """The expectation or check that told this finding before; "" if it is told only now, under `name`."""
        words = _words(finding)
        if words in self._under:
            return self._under[words]
        self._under[words] = name
        return ""


def without_first(line: str, checks: Mapping[str, Any] | None) -> str:
    """A line about an expectation or a check, for where the findings themselves are told beside it."""
    for finding in _first_findings(checks):
        line = line.replace(f": {_words(finding)}", "")
    return line


def _first_findings(checks: Mapping[str, Any] | None) -> Iterator[Mapping[str, Any]]:
    """Those that the explanations of checks tell."""
    for check in (checks or {}).values():
        yield from check["findings"][:1]


def _words(finding: Mapping[str, Any]) -> str:
    """A finding as the audit's explanations have it."""
    when = "" if finding["time"] is None else f" at {finding['time']:.3f} s"
    after = f", {finding['after']}" if finding.get("after") else ""
    during = f" during {', '.join(finding['faults'])}" if finding["faults"] else after
    return f"{row_of(finding)}{when}{during}: {finding['line']}"
