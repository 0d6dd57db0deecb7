"""Which kind of rows a scenario's table has."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hs_drill.scenario import Scenario

from ._declared_rows import DeclaredRows
from ._drill_rows import DrillRows
from ._existing_rows import ExistingRows, Sample
from ._rows import Rows
from ._versions import INITIAL

__all__ = ["loaded", "rows_of"]


def rows_of(scenario: Scenario, sample: Sample | None = None) -> Rows:
    """The rows of the scenario's table; of one that exists, those of the `sample`."""
    if scenario.table.existing:
        return ExistingRows(scenario, sample or Sample.none())
    return DeclaredRows(scenario) if scenario.table.declared else DrillRows(scenario)


def loaded(scenario: Scenario) -> Iterator[list[Any]]:
    """The rows to load, by ascending number."""
    rows = rows_of(scenario)
    return (rows.row(number, INITIAL) for number in range(1, scenario.table.rows + 1))
