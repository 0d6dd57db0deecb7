"""Defects for the audit to find.

Python imports a module of this name at its start, so this one is imported wherever this directory is in PYTHONPATH. It plants a
defect only in processes of the module that PLANT_IN names. It writes the keys of the rows that it spoils to the files
`forgotten`, `spoilt`, `doubled` and `retried` in the directory PLANTED.
"""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

EVERY = 40


def note(name: str, key: object) -> None:
    with (Path(os.environ["PLANTED"]) / name).open("a") as file:
        file.write(f"{key}\n")


def plant_in_server() -> None:
    """The server applies every `EVERY`-th increment twice. Of `EVERY` inserts it acknowledges one without storing it, cuts the
    payload of one, and puts one into another group."""
    from trio_hs.testing import _session

    insert, counted = _session.Session._insert, _session._counted
    inserts, increments = itertools.count(1), itertools.count(1)

    def forgetful_insert(self: Any, statement: Any, values: list[bytes | None]) -> bytes:
        key, group, n, payload = values
        match next(inserts) % EVERY:
            case 0:
                note("forgotten", int(key or b""))
                return b"0\t1\n"
            case 10:
                note("spoilt", int(key or b""))
                return insert(self, statement, [key, group, n, (payload or b"")[:-1]])
            case 20:
                note("spoilt", int(key or b""))
                return insert(self, statement, [key, b"7" if group != b"7" else b"8", n, payload])
        return insert(self, statement, values)

    def doubled(statement: Any, row: Any, values: Sequence[bytes | None], sign: int) -> Any:
        once = counted(statement, row, values, sign)
        if once is None or next(increments) % EVERY:
            return once
        note("doubled", int(row[0]))
        return counted(statement, once, values, sign)

    _session.Session._insert = forgetful_insert  # type: ignore[method-assign]
    _session._counted = doubled


def plant_in_client() -> None:
    """The client repeats an increment of unknown outcome."""
    import trio_hs

    incr = trio_hs.Table.incr

    async def insistent_incr(self: Any, operation: Any, values: Sequence[Any], step: Sequence[Any]) -> Any:
        try:
            return await incr(self, operation, values, step)
        except trio_hs.ConnectionError as error:
            if not error.maybe_applied:
                raise
            note("retried", values[0])
            return await incr(self, operation, values, step)

    trio_hs.Table.incr = insistent_incr  # type: ignore[method-assign, assignment]


for module, plant in (("trio_hs.testing", plant_in_server), ("hs_drill.engine", plant_in_client)):
    if os.environ.get("PLANT_IN") == module and module in sys.orig_argv:
        plant()
