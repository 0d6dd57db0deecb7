"""Puts what lies beside the package in a clone, the locustfile and the scenarios, into both distributions of the harness.

Hatchling runs it. In an unpacked source distribution they lie inside the package already.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class BuildHook(BuildHookInterface):  # type: ignore[misc]  # not installed where mypy runs
    """Found by Hatchling as the only build hook of this file."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        root = Path(self.root)
        for beside, inside in ((root / "locustfile.py", "locustfile.py"), (root.parent / "scenarios", "scenarios")):
            if beside.exists() and not (root / "hs_drill" / inside).exists():
                build_data["force_include"][str(beside)] = f"hs_drill/{inside}"
