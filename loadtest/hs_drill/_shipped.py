"""The files that ship with the harness: in a clone they lie beside the package, in a wheel inside it."""

from __future__ import annotations

import sys
from pathlib import Path

__all__ = ["headless_locust", "locustfile", "scenario_path", "shipped_scenarios"]

PACKAGE = Path(__file__).resolve().parent


def locustfile() -> Path:
    """The locustfile for `locust -f`."""
    inside = PACKAGE / "locustfile.py"
    return inside if inside.exists() else PACKAGE.parent / "locustfile.py"


def headless_locust(scenario: Path) -> list[str]:
    """The command line of Locust that runs a scenario without the web UI. Further options may follow."""
    locust = [sys.executable, "-m", "locust", "-f", str(locustfile()), "--headless", "--only-summary"]
    return [*locust, "--scenario", str(scenario)]


def shipped_scenarios() -> Path:
    """The directory of the shipped scenarios."""
    inside = PACKAGE / "scenarios"
    return inside if inside.is_dir() else PACKAGE.parents[1] / "scenarios"


def scenario_path(name: str) -> Path:
    """The file with this name; if there is none, the shipped scenario (`mixed`, `mixed.yaml`, `scenarios/mixed.yaml`)."""
    path = Path(name)
    if not path.exists() and path.parent in (Path(), Path("scenarios")):
        ours = shipped_scenarios() / f"{path.name.removesuffix('.yaml')}.yaml"
        if ours.exists():
            return ours
    return path
