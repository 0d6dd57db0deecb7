"""A baseline: what later runs are compared with, as one small JSON file that can be committed.

`format`    1. A reader refuses another one.
`checksum`  SHA-256, in hexadecimal, of the file's JSON without this key, with sorted keys and no spaces, in ASCII. So it does
            not depend on line ends, which version control may change.
`runs`      a mapping for each run. This module does not look inside.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["BASELINES", "BaselineError", "baseline_path", "read_baseline", "write_baseline"]

BASELINES = Path("baselines")
"""The directory, if the user names no other one."""
FORMAT = 1
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class BaselineError(Exception):
    """A baseline cannot be read or kept. One line for the user."""


def baseline_path(directory: Path, name: str) -> Path:
    """The file of a baseline. Raises `BaselineError` if it cannot have this name."""
    if not _NAME.fullmatch(name):
        raise BaselineError(
            f"{name!r} is no name of a baseline: use letters, digits, '.', '_' and '-', and begin with one of the first two"
        )
    return directory / f"{name}.json"


def write_baseline(path: Path, runs: Sequence[Mapping[str, Any]], *, replace: bool) -> None:
    """Keep a baseline. Raises `BaselineError` if it exists and is not to be replaced, and OSError."""
    data: dict[str, Any] = {"format": FORMAT, "runs": runs}
    text = json.dumps({"format": FORMAT, "checksum": _checksum(data), "runs": runs}, indent=1) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("w" if replace else "x", encoding="ascii") as file:
            file.write(text)
    except FileExistsError:
        raise BaselineError(f"{path}: exists already: say --force to replace it, or choose another name") from None


def read_baseline(path: Path) -> list[dict[str, Any]]:
    """The runs of a baseline. Raises `BaselineError` and OSError."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        known = ", ".join(sorted(one.stem for one in path.parent.glob("*.json")))
        raise BaselineError(f"{path}: there is no such baseline{f'; there are {known}' if known else ''}") from None
    except ValueError as error:
        raise BaselineError(f"{path}: is no baseline, or damaged: {error}") from error
    if not isinstance(data, dict) or not isinstance(data.get("runs"), list) or "format" not in data:
        raise BaselineError(f"{path}: is no baseline: hs-drill baseline save writes one")
    if data["format"] != FORMAT:
        raise BaselineError(
            f"{path}: has format {data['format']!r}, and this version reads {FORMAT}: save it anew, or use the other version"
        )
    checksum = data.pop("checksum", None)
    if checksum != _checksum(data):
        raise BaselineError(f"{path}: is damaged, or was changed by hand: restore it, or save it anew")
    runs: list[dict[str, Any]] = data["runs"]
    return runs


def _checksum(data: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True, separators=(",", ":")).encode("ascii")).hexdigest()
