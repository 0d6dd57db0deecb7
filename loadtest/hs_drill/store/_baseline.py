"""A baseline: what later runs are compared with, as one small JSON file that can be committed.

`format`    1. A reader refuses another one.
`checksum`  SHA-256, in hexadecimal, of the file's JSON without this key, with sorted keys and no spaces, in ASCII. So it does
            not depend on line ends, which version control may change.
`runs`      a mapping for each run. This module does not look inside.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

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
    """Keep a baseline. If that fails, the old one stays, and nothing half written.

    Raises `BaselineError` if the file exists and is not to be replaced, or is no baseline, and OSError.
    """
    data: dict[str, Any] = {"format": FORMAT, "runs": runs}
    text = json.dumps({"format": FORMAT, "checksum": _checksum(data), "runs": runs}, indent=1) + "\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise BaselineError(f"{path.parent}: is not a directory, so no baseline can be kept there") from None
    if not replace:
        try:
            _write_new(path, text)
        except FileExistsError:
            raise BaselineError(f"{path}: exists already: say --force to replace it, or choose another name") from None
        return
    if path.exists() and not _is_baseline(path):
        raise BaselineError(f"{path}: is no baseline, so it is not replaced: remove it, or choose another name")
    target = path.resolve()  # of a link: the link stays
    fresh = target.with_name(f".{target.name}.{os.getpid()}")
    _write_new(fresh, text)
    try:
        fresh.replace(target)
    except BaseException:
        fresh.unlink()
        raise


def _write_new(path: Path, text: str) -> None:
    """Write a file that does not exist yet, or leave none. Raises OSError."""
    file = path.open("x", encoding="ascii")
    try:
        with file:
            file.write(text)
    except BaseException:
        path.unlink()
        raise


def _is_baseline(path: Path) -> bool:
    """Whether it is a baseline, even if it is damaged: by the keys that it must have. Raises OSError."""
    text = path.read_bytes()
    return text.startswith(b"{") and all(b'"%s"' % key in text for key in (b"format", b"checksum", b"runs"))


def read_baseline(path: Path) -> list[dict[str, Any]]:
    """The runs of a baseline. Raises `BaselineError` and OSError."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse)
    except FileNotFoundError:
        known = ", ".join(sorted(one.stem for one in path.parent.glob("*.json")))
        raise BaselineError(f"{path}: there is no such baseline{f'; there are {known}' if known else ''}") from None
    except (ValueError, RecursionError) as error:
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


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a number of JSON")


def _checksum(data: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True, separators=(",", ":")).encode("ascii")).hexdigest()
