"""`hs-drill init` without a server: examples, and what it makes of descriptions of tables. (With one: end_to_end/.)"""

from __future__ import annotations

import json
from datetime import datetime
from decimal import Decimal
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from hs_drill import __main__ as command
from hs_drill.cli._init_scenario import NotNumberedError, scenario_text
from hs_drill.scenario import Scenario, parse_scenario, values
from hs_drill.servers import LiveColumn, LiveTable
from hs_drill.servers._live_table import LiveIndex
from tests.loadtest.support.locust_process import ROOT

SHOP = ROOT / "scenarios/shop.yaml"


def live(primary: tuple[str, ...], indexes: dict[str, tuple[str, ...]] | None = None, **columns: str) -> LiveTable:
    """A table of such columns; a `?` at the end of a type makes one nullable."""
    made = {name: LiveColumn(name, type_.rstrip("?"), type_.endswith("?")) for name, type_ in columns.items()}
    given = {name: LiveIndex(parts, unique=False) for name, parts in (indexes or {}).items()}
    left_out = ("column place (point) is left out: trio-hs has no type 'point'",)
    return LiveTable("d", "t", "writer", made, primary, given, left_out, True, (), {}, {}, "", "", 2500, 100, "", "")


def scenario(table: LiveTable, found: dict[str, list[Any]] | None = None) -> Scenario:
    return parse_scenario(scenario_text(table, found or {}), "made.yaml")


def test_an_example_is_a_shipped_scenario(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert command.main(["init", "--example", "shop"]) == 0
    assert capsys.readouterr().out == SHOP.read_text()
    assert command.main(["init", "--example", "shop", "--output", str(tmp_path / "mine.yaml")]) == 0
    assert (tmp_path / "mine.yaml").read_text() == SHOP.read_text()


@pytest.mark.parametrize(
    "arguments, refused",
    [
        (["--example", "shp"], "there is no example 'shp'; there are alter-table, capacity, "),
        (["--from", "products", "--servers", "writer=x"], "'products' names no table: write DB.TABLE"),
        (["--from", "shop.products"], "--from needs --servers, such as --servers writer=127.0.0.1:9998:9999:3306"),
        (["--from", "shop.products", "--servers", "writer=127.0.0.1:1:2"], "are read by SQL: give writer a sql_port"),
        (["--from", "shop.products", "--servers", "writer=127.0.0.1:1:2:3"], "SQL at writer needs an account"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(
    arguments: list[str], refused: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIO_HS_READ_SECRET", "r")
    monkeypatch.setenv("TRIO_HS_WRITE_SECRET", "w")
    monkeypatch.delenv("TRIO_HS_SQL_USER", raising=False)
    assert command.main(["init", *arguments]) == 2
    error = capsys.readouterr().err
    assert refused in error
    assert error.count("\n") == 1


def test_columns_are_like_those_of_the_rows() -> None:
    table = live(
        ("id",),
        {"by_city": ("city", "price")},
        id="bigint(20) unsigned",
        city="varchar(30) character set utf8mb4",
        price="decimal(10,2)?",
        added="datetime",
        hits="int(11)",
        title="varchar(60) character set utf8mb4",
        note="varchar(60) character set latin1",
    )
    found: dict[str, list[Any]] = {
        "city": ["Köln", "Bonn"] * 50,
        "price": [Decimal("1.50"), None, Decimal("99.00"), Decimal("7.00")],
        "added": [datetime(2024, 5, 6, 7, 8, 9), datetime(2025, 1, 1)],
        "hits": [3, 900],
        "title": [f"a {number} 😀" for number in range(100)],
    }
    made = scenario(table, found)
    kept = made.model_dump(mode="json", by_alias=True)["table"]
    values = {name: column["values"] for name, column in kept["columns"].items()}
    assert values["city"] == {"choice": {"Köln": 50.0, "Bonn": 50.0}}
    assert values["price"]["between"] == ["1.50", "99.00"]
    assert kept["columns"]["price"]["null"] == pytest.approx(0.25)
    assert values["added"]["between"] == ["2024-05-06 07:08:09", "2025-01-01 00:00:00"]
    assert values["title"]["text"] == {"min": 5, "max": 6, "alphabet": "😀 0123456789a"}
    assert made.table.version_column == "note"
    assert made.audited
    assert {one.name: one.do for one in made.operations} == {
        "read row": "get",
        "find by_city": "find",
        "change row": "update",
        "count hits": "incr",
        "add row": "insert",
    }
    assert made.table.rows == 2500


def test_addresses_and_uuids_of_the_table_are_not_copied() -> None:
    """They may be people's."""
    table = live(("id", "u"), id="bigint(20)", u="uuid", a="inet6", b="inet4")
    u = UUID("0b1019a3-9d7d-445a-8736-2c9164491993")
    found: dict[str, list[Any]] = {"a": [IPv6Address("2a00::7")] * 60, "b": [IPv4Address("8.8.8.8")] * 60, "u": [u] * 60}
    text = scenario_text(table, found)
    assert not any(str(values[0]) in text for values in found.values())
    assert scenario(table, found).table.primary == ["id", "u"]


def test_a_uuid_that_may_be_null_is_one_of_some() -> None:
    """Those that are made from the row's number are in every row."""
    found: dict[str, list[Any]] = {"u": [None, *[UUID(int=7)] * 60], "v": [UUID(int=7)] * 60}
    columns = scenario(live(("id",), id="bigint(20)", u="uuid?", v="uuid?"), found).table.columns
    assert (columns["u"].null, columns["v"].null) == (0.016, 0)
    assert [type(columns[name].values).__name__ for name in "uv"] == ["Choice", "Uuid"]


def test_without_a_text_for_the_version_the_scenario_says_that_nothing_is_audited() -> None:
    table = live(("id",), id="int(11)", n="bigint(20) unsigned", small="varchar(17) character set latin1")
    text = scenario_text(table, {})
    assert "# No column can say which write left a row, so writes are only measured." in text
    assert "# column place (point) is left out: trio-hs has no type 'point'" in text
    made = parse_scenario(text, "made.yaml")
    assert not made.audited
    assert [one.do for one in made.operations] == ["get", "update"], (
        "an int cannot number inserts, a bigint unsigned cannot count"
    )


def test_a_key_that_holds_no_number_is_refused() -> None:
    with pytest.raises(NotNumberedError, match="no column of its primary key \\(code\\) can hold a row's number"):
        scenario_text(live(("code",), code="varchar(20) character set latin1"), {})


@pytest.mark.parametrize("kind", ["uuid", "char(36) character set latin1", "binary(16)"])
def test_a_uuid_holds_a_rows_number(kind: str) -> None:
    assert scenario(live(("id",), id=kind, note="text character set utf8mb4?")).table.version_column == "note"


@pytest.mark.parametrize(
    "columns, numbered, inserts",
    [
        ({"a": "smallint(6)", "u": "uuid"}, "u", True),
        ({"a": "bigint(20)", "u": "uuid"}, "a", True),
        ({"u": "uuid", "v": "uuid", "a": "int(11)"}, "u", True),
        ({"a": "smallint(6)", "b": "int(11)"}, "b", False),
    ],
)
def test_one_column_of_a_composite_key_numbers_the_rows(columns: dict[str, str], numbered: str, inserts: bool) -> None:
    made = scenario(live(tuple(columns), None, **columns, name="varchar(60) character set utf8mb4"))
    numbering = [name for name in columns if isinstance(made.table.columns[name].values, values.Sequence | values.Uuid)]
    assert numbering == [numbered]
    assert ("insert" in {one.do for one in made.operations}) == inserts


def test_values_that_are_always_null_or_json_are_made_like_that() -> None:
    table = live(("id",), id="bigint(20)", gone="varchar(17) character set utf8mb4?", doc="json?", n="int(11)")
    documents = [f'{{"n": {number}}}' for number in range(100)]
    text = scenario_text(table, {"gone": [None] * 100, "doc": [*documents, "1"], "n": [1, 2]})
    assert "NULL in all rows that were read" in text
    made = parse_scenario(text, "made.yaml")
    assert isinstance(made.table.columns["gone"].values, values.Null)
    doc = made.table.columns["doc"].values
    assert isinstance(doc, values.Choice)
    assert {len(one) for one in doc.choice} == {1, 2, 3, 4, 5, 6, 7, 9}
    assert all(json.loads(one) is not None for one in doc.choice)
    assert not any("gone" in one.set for one in made.operations)
