"""The process that owns servers, faults and verdict: `python -m hs_drill.controller FD`."""

from __future__ import annotations

from ._servers import check_scenario_servers, open_scenario_servers
from ._table import fill_table, foreign_rows, load_table

__all__ = [
    "check_scenario_servers",
    "fill_table",
    "foreign_rows",
    "load_table",
    "open_scenario_servers",
]
