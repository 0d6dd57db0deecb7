"""The process that owns servers, faults and verdict: `python -m hs_drill.controller FD`."""

from __future__ import annotations

from ._existing import check_existing, goes_by_sql, require_own_servers
from ._later_runs import later_run
from ._restore import Restored, before_image_of, no_run_in, restore
from ._servers import check_scenario_servers, open_scenario_servers
from ._table import fill_table, foreign_rows, load_table, marker_row

__all__ = [
    "Restored",
    "before_image_of",
    "check_existing",
    "check_scenario_servers",
    "fill_table",
    "foreign_rows",
    "goes_by_sql",
    "later_run",
    "load_table",
    "marker_row",
    "no_run_in",
    "open_scenario_servers",
    "require_own_servers",
    "restore",
]
