"""Empty data directories, kept from one run for the next: `mariadb-install-db` takes about a second, and longer on a slow disk.

They are in the directory that HS_DRILL_CACHE names, by default `hs-drill` in the user's cache directory (XDG_CACHE_HOME, or
~/.cache); an empty HS_DRILL_CACHE keeps none. One for each installed MariaDB takes about 50 MB. They hold no data and no
secrets, and may be deleted at any time. Where this cannot be written, each run makes its own.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path

__all__ = ["keep_template", "kept_template"]

VARIABLE = "HS_DRILL_CACHE"
STALE_SECONDS = 3600.0
"""After this time, what a process that was killed has left of a copy is removed."""


def kept_template(*made_by: str) -> Path | None:
    """The data directory that these programs have made, if one is kept. `made_by` holds their paths, and their options."""
    place = _place(made_by)
    # What another user has put there, as after `sudo` with the caller's HOME, is not copied by root.
    with suppress(OSError):
        if place is not None and place.stat().st_uid == os.geteuid():
            return place
    return None


def keep_template(template: Path, *made_by: str) -> None:
    """Keep a copy of what these programs have made. Does nothing where that cannot be done."""
    place = _place(made_by)
    if place is None:
        return
    unfinished: str | None = None
    try:
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _remove_stale(place.parent)
        unfinished = tempfile.mkdtemp(prefix="unfinished-", dir=place.parent)
        shutil.copytree(template, unfinished, copy_function=shutil.copyfile, dirs_exist_ok=True)
        os.rename(unfinished, place)  # whole, or not there; fails if another run was first
    except (OSError, shutil.Error):
        if unfinished is not None:
            shutil.rmtree(unfinished, ignore_errors=True)


def _place(made_by: tuple[str, ...]) -> Path | None:
    given = os.environ.get(VARIABLE)
    if given == "":
        return None
    key = hashlib.sha256()
    try:
        folder = Path(given) if given else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hs-drill"
        for one in made_by:
            key.update(one.encode() + b"\0")
            if one.startswith("/"):
                found = os.stat(one)  # another version has another time
                key.update(f"{found.st_mtime_ns} {found.st_size}\0".encode())
    except (OSError, RuntimeError):  # RuntimeError: no home
        return None
    return folder / f"data-directory-{key.hexdigest()[:20]}"


def _remove_stale(folder: Path) -> None:
    for path in folder.glob("unfinished-*"):
        if path.stat().st_mtime < time.time() - STALE_SECONDS:
            shutil.rmtree(path, ignore_errors=True)
