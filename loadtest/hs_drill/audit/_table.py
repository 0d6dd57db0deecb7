"""What the audit needs to know of the table: what its rows held before the run, and how to name rows and states to people."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from hs_drill.scenario import KEPT, Scenario, bounds_of
from hs_drill.store import WrongRow
from hs_drill.workload import ABSENT, DAMAGED, FOREIGN, INITIAL, UNNUMBERED, damaged_places, rows_of, shown

__all__ = ["DRILL_TABLE", "AuditedTable", "never_written", "versions_in"]

_DRILL_COUNTERS = (0,)


def never_written(state: int) -> bool:
    """Whether no write leaves this state, not even one that is missing from the histories."""
    return state == FOREIGN or state <= DAMAGED


def _no_extras(column: str, number: int, version: int) -> int:
    raise KeyError(f"{column} is no extra")


@dataclass(frozen=True)
class AuditedTable:
    """A table by the numbers of its rows. The defaults are those of the drill's own table."""

    counters: tuple[str, ...] = ("n",)
    extras: tuple[str, ...] = ()
    """Columns that some updates set and others do not: each is a register of its own."""
    version_column: str = "payload"
    damaged: str = "a row whose payload or group does not match its checksum"
    """A row that shows a version, but is not the one written with it."""
    columns: tuple[str, ...] = ("id", "grp", "n", "payload")
    stranger: str = ""
    """A row whose number is below 0, since no run makes its key; "" if such numbers are like any other."""
    initial: Callable[[int], tuple[int, ...]] = lambda number: _DRILL_COUNTERS
    """The counters of a row as it is loaded or inserted."""
    fingerprint: Callable[[str, int, int], int] = _no_extras
    """Of what a version leaves in an extra, given its column and the row's number."""
    key_of: Callable[[int], str] = lambda number: ""
    """A row's primary key in words; "" if it is the row's number."""
    counter_ends: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """The least and the greatest number that a counter's type holds. The server clips what goes beyond."""
    scenario: Scenario | None = field(default=None, repr=False, compare=False)
    """That of a declared table."""

    @staticmethod
    def of(scenario: Scenario) -> AuditedTable:
        """The table of a scenario whose run is audited."""
        rows = rows_of(scenario)
        if rows.columns_declared is None:
            return DRILL_TABLE
        counters = rows.maker(rows.counters)

        def key_of(number: int) -> str:
            if number <= UNNUMBERED:
                return "unknown"
            return "" if rows.plain else ", ".join(map(shown, rows.key(number)))

        return AuditedTable(
            rows.counters,
            rows.extras,
            rows.version_column or "",
            "a row with columns that do not fit its version",
            rows.columns,
            "a row with a key that no run makes",
            lambda number: tuple(map(int, counters(number, INITIAL))),
            rows.fingerprint,
            key_of,
            {name: bounds_of(rows.columns_declared.column(name)) for name in rows.counters},
            scenario,
        )

    def __reduce__(self) -> Any:
        """Its functions cannot be pickled, so it is made again."""
        if self.scenario is not None:
            return _table_of, (self.scenario.model_dump(mode="json", by_alias=True, exclude_unset=True),)
        return "DRILL_TABLE" if self is DRILL_TABLE else super().__reduce__()

    def loaded(self, number: int) -> tuple[int, ...]:
        """A row before the run: version, counters, extras."""
        extras = [self.fingerprint(column, number, INITIAL) for column in self.extras]
        return (INITIAL, *self.initial(number), *extras)

    def wrong_columns(self, state: int, wrong: WrongRow | None = None, *, number: int = 0) -> list[str]:
        """The columns that are wrong in a row in this state, as far as that is known."""
        if wrong is not None:
            return [column for column, *_ in wrong.columns]
        if state == FOREIGN and not (number < 0 and self.stranger):
            return [self.version_column]
        return [self.columns[place] for place in damaged_places(state) or ()]

    def describe(self, state: int, wrong: WrongRow | None = None, *, number: int = 0) -> str:
        """A row's state in words. `wrong` says more about one that no write can have left."""
        if never_written(state):
            if number < 0 and self.stranger:
                return self.stranger
            what = f"a {self.version_column} without a version" if state == FOREIGN else self.damaged
            if columns := self.wrong_columns(state) if state < DAMAGED else []:
                what = f"a row with {_listed(columns)} that {'does' if len(columns) == 1 else 'do'} not fit its version"
            return f"{what} ({wrong.described()})" if wrong is not None and wrong.columns else what
        if state == ABSENT:
            return "no row"
        return f"version v{state:016x}" if state != INITIAL else "the version from before the run"


def _table_of(scenario: dict[str, Any]) -> AuditedTable:
    return AuditedTable.of(Scenario.model_validate(scenario, context=KEPT))


_VERSION = re.compile(r"\bversion v([0-9a-f]{16})\b")


def versions_in(line: str) -> list[int]:
    """The versions that a finding names, as `AuditedTable.describe` does."""
    return [int(digits, 16) for digits in _VERSION.findall(line)]


def _listed(names: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


DRILL_TABLE = AuditedTable()
