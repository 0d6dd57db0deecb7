"""The process that owns servers, faults and verdict: `python -m hs_drill.controller FD`."""

from __future__ import annotations

from ._servers import open_scenario_servers
from ._table import fill_table, foreign_rows, load_table, marker_row

__all__ = [
    "fill_table",
    "foreign_rows",
    "load_table",
    "marker_row",
    "open_scenario_servers",
]
