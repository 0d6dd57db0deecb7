"""The files that ship with the harness: in a clone they lie beside the package, in a wheel inside it."""

from __future__ import annotations

from pathlib import Path

__all__ = ["locustfile", "scenario_path", "shipped_scenarios"]

PACKAGE = Path(__file__).resolve().parent


def locustfile() -> Path:
    """The locustfile for `locust -f`."""
    inside = PACKAGE / "locustfile.py"
    return inside if inside.exists() else PACKAGE.parent / "locustfile.py"


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
