"""Finds a later run whose changes of the same table have to be put back first."""

from __future__ import annotations

from hs_drill.store import BeforeImageError, ImageHeader, RunDirectory, RunDirectoryError, header_of

__all__ = ["later_run"]


def later_run(directory: RunDirectory, header: ImageHeader) -> RunDirectory | None:
    """The last run of those beside this one that has changed the same table of the same server since, and was not put back.

    What it kept is what this run had left there: put back after this run, it would bring that back.
    """
    begun = directory.before_image.stat().st_mtime
    later = [
        other
        for path in directory.path.parent.glob("*/before-image.bin")
        if path.stat().st_mtime > begun and (other := RunDirectory(path.parent)).path.name != directory.path.name
    ]
    later.sort(key=lambda other: other.before_image.stat().st_mtime)
    return next((other for other in reversed(later) if _changed_the_same(other, header)), None)


def _changed_the_same(other: RunDirectory, header: ImageHeader) -> bool:
    try:
        theirs = header_of(other.before_image)
        if theirs is None or other.restored() or not other.may_have_written():
            return False
    except (BeforeImageError, RunDirectoryError, OSError):  # cannot be put back either
        return False
    return (theirs.database, theirs.table, theirs.source) == (header.database, header.table, header.source)
