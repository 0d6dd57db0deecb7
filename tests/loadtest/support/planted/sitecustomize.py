"""Defects for the audit to find.

Python imports a module of this name at its start, so this one is imported wherever this directory is in PYTHONPATH. It plants
the defects that PLANT names, in processes of the module that they are for. It writes the keys of the rows that it spoils to
files in the directory PLANTED, such as `forgotten`.
"""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

EVERY = 40


def note(name: str, key: object) -> None:
    with (Path(os.environ["PLANTED"]) / name).open("a") as file:
        file.write(f"{key}\n")


def plant_amounts() -> None:
    """The server applies every `EVERY`-th increment twice. Of `EVERY` inserts it acknowledges one without storing it, cuts the
    payload of one, and puts one into another group. Every fifth row that was deleted comes back with the next insert."""
    from trio_hs.testing import _session
    from trio_hs.testing._table import Change

    insert, counted, modify = _session.Session._insert, _session._counted, _session.Session._modify
    inserts, increments, deletes = itertools.count(1), itertools.count(1), itertools.count(1)
    deleted: list[tuple[Any, Any]] = []

    def forgetful_modify(self: Any, statement: Any, row: Any, operation: bytes, values: Sequence[bytes | None]) -> bool:
        if operation == b"D":
            note("deleted", int(row[0]))
            if next(deletes) % 5 == 0:
                deleted.append((statement.table, row))
        return modify(self, statement, row, operation, values)

    def forgetful_insert(self: Any, statement: Any, values: list[bytes | None]) -> bytes:
        while deleted:
            table, row = deleted.pop()
            table.apply(None, row)
            self._database.uncommitted.append(Change(table.name, None, row))
            note("resurrected", int(row[0]))
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
    _session.Session._modify = forgetful_modify  # type: ignore[method-assign]
    _session._counted = doubled


def plant_order() -> None:
    """For a load of one user. The server acknowledges every fifth update, and applies it later: to a row with an even key when
    it was read, to one with an odd key when another update has overtaken it, and that one was read."""
    from trio_hs.testing import _session

    find, updates = _session.Session._find, itertools.count(1)
    held: dict[int, Callable[[], bytes]] = {}
    """The updates that are still to be applied, by the keys of their rows."""
    overtaken: set[int] = set()
    behind: set[int] = set()
    """Rows that show the earlier one of two updates."""

    def disorderly_find(self: Any, statement: Any, search: Any) -> bytes:
        key = int(search.values[0])
        if not search.modification:
            answer = find(self, statement, search)
            if key in behind:
                note("reordered", key)
            elif key in held and key not in overtaken:
                note("early", key)
            if key in overtaken:
                held.pop(key)()
                overtaken.discard(key)
                behind.add(key)
            elif key in held and key % 2 == 0:
                held.pop(key)()
            return answer
        behind.discard(key)
        if key in overtaken:
            overtaken.discard(key)
            del held[key]  # nobody can have noticed
        elif key in held and key % 2 == 0:
            held.pop(key)()
        elif key in held:
            overtaken.add(key)
        elif search.modification == b"U" and next(updates) % 5 == 0:
            held[key] = lambda: find(self, statement, search)
            return b"0\t1\t1\n"
        return find(self, statement, search)

    _session.Session._find = disorderly_find  # type: ignore[method-assign]


def plant_repetition() -> None:
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


def plant_limit() -> None:
    """The server takes 1/PER_SECOND seconds for each search, one after the other: it serves at most so many a second."""
    import time

    from trio_hs.testing import _session

    find, due = _session.Session._find, [0.0]

    def limited_find(self: Any, statement: Any, search: Any) -> bytes:
        due[0] = max(due[0], time.monotonic()) + 1 / float(os.environ["PER_SECOND"])
        # Sleeping takes longer than it should. What it took too long this time, it takes less the next time.
        if (left := due[0] - time.monotonic()) > 0:
            time.sleep(left)
        return find(self, statement, search)

    _session.Session._find = limited_find  # type: ignore[method-assign]


PLANTS = {
    "amounts": ("trio_hs.testing", plant_amounts),
    "limit": ("trio_hs.testing", plant_limit),
    "order": ("trio_hs.testing", plant_order),
    "repetition": ("hs_drill.engine", plant_repetition),
}
if "PLANT" in os.environ:
    module, plant = PLANTS[os.environ["PLANT"]]
    if module in sys.orig_argv:
        plant()
