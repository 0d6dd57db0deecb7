"""Rows of a table that exists: what a run prepares of its sample."""

from __future__ import annotations

from collections.abc import Callable

from hs_drill.scenario import parse_scenario, with_table
from hs_drill.workload import Sample, rows_of


def test_operations_that_look_for_one_column_share_its_values() -> None:
    """A list of a million values for each find, in every worker, would be gigabytes."""
    finds = "{low: {do: find, by: [kind], index: k, weight: 1}, high: {do: find, by: [kind], index: k, weight: 1}}"
    text = f"name: r\ntable: {{existing: true, database: d, name: t}}\nmix: {finds}\n"
    columns = {"id": {"type": "int(11)", "nullable": False}, "kind": {"type": "int(11)", "nullable": False}}
    scenario = with_table(parse_scenario(text, "r.yaml"), columns, ["id"], {"k": ["kind"]})
    rows = rows_of(scenario, Sample({"id": [b"1", b"2", b"3"], "kind": [b"7", b"8", b"9"]}))
    sent: list[object] = []

    def as_(column: str) -> Callable[[object], object]:
        def send(value: object) -> object:
            sent.append(value)
            return value

        return send

    low, high = rows.maker(["kind"], as_), rows.maker(["kind"], as_)
    assert [low(2, 0), high(3, 0)] == [[8], [9]]
    assert sent == [7, 8, 9], "prepared once"
