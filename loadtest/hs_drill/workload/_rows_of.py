"""Which kind of rows a scenario's table has."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hs_drill.scenario import Scenario

from ._declared_rows import DeclaredRows
from ._drill_rows import DrillRows
from ._rows import Rows
from ._versions import INITIAL

__all__ = ["loaded", "rows_of"]


def rows_of(scenario: Scenario) -> Rows:
    """The rows of the scenario's table."""
    return DeclaredRows(scenario) if scenario.table.declared else DrillRows(scenario)


def loaded(scenario: Scenario) -> Iterator[list[Any]]:
    """The rows to load, by ascending number."""
    rows = rows_of(scenario)
    return (rows.row(number, INITIAL) for number in range(1, scenario.table.rows + 1))
