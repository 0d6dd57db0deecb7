"""Tables of one's own and operations with names: what they mean, with both forms of the mix."""

from __future__ import annotations

import re
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

import trio_hs
from hs_drill.scenario import (
    LiveTableError,
    Scenario,
    ScenarioError,
    load_scenario,
    parse_scenario,
    unaudited_writes,
    unchecked_read,
    values,
    with_table,
)
from hs_drill.scenario._column_checks import VERSION_WIDTH
from tests.loadtest.support.locust_process import ROOT
from tests.loadtest.support.scenarios import mistakes
from tests.loadtest.support.shop import SHOP, changed


def shop(*changes: tuple[str, str]) -> Scenario:
    return parse_scenario(changed(*changes), "s.yaml")


def test_a_table_of_ones_own() -> None:
    table = shop().table
    assert table.declared
    assert table.resolved
    assert table.version_column == "note"
    declared = table.columns_declared
    assert [column.name for column in declared] == ["id", "category", "price", "name", "added", "views", "size", "note"]
    assert declared.column("price") == trio_hs.Column("price", "decimal", precision=10, scale=2)
    assert declared.column("added").nullable
    assert [part.column.name for part in declared.key("by_price")] == ["category", "price"]
    assert isinstance(table.columns["id"].values, values.Sequence)
    assert table.columns["category"].values == values.Choice(choice={"books": 5, "music": 3, "toys": 2})
    assert table.columns["size"].values == values.Choice(choice={"s": 1, "m": 1})
    assert table.columns["views"].values == values.Constant(constant=0)
    assert table.columns["added"].null == 0.05


def test_operations_are_in_the_order_of_the_file_and_whole() -> None:
    operations = {one.name: one for one in shop(("weight: 4}", "weight: 0}")).operations}
    assert list(operations) == ["product page", "category list", "count view", "new product"]
    page, category = operations["product page"], operations["category list"]
    assert (page.do, page.columns, page.weight) == ("get", ("name", "price", "views"), 70)
    assert (category.index, category.by, category.operation, category.limit) == ("by_price", ("category",), ">=", 20)
    assert (operations["count view"].column, operations["count view"].step) == ("views", 1)


def test_what_an_operation_leaves_out() -> None:
    text = changed(
        (", by: [category], columns: [id, price]", ""), ("columns: [name, price, views], ", ""), ('operation: ">=", ', "")
    )
    page, category, *_ = parse_scenario(text, "s.yaml").operations
    assert page.columns == category.columns == ("id", "category", "price", "name", "added", "views", "size", "note")
    assert (category.by, category.operation) == (("category", "price"), ">=")
    (primary,) = shop(("index: by_price", "index: PRIMARY"), ("by: [category]", "by: [id]")).operations[1:2]
    assert (primary.index, primary.by) == (None, ("id",))


def test_the_short_form_of_the_drills_table_has_operations_too() -> None:
    scenario = parse_scenario("name: x\nmix: {incr: {weight: 1, step: 3}, find: 2, update: 1, get: 4}\n", "s.yaml")
    assert [one.name for one in scenario.operations] == ["get", "find", "incr", "update"]  # in the order that seeds rely on
    get, find, incr, update = scenario.operations
    assert get.columns == find.columns == ("id", "grp", "n", "payload")
    assert (find.index, find.by, find.limit) == ("grp", ("grp", "id"), 10)
    assert (incr.column, incr.step, update.set) == ("n", 3, ("payload",))
    assert not scenario.table.declared
    assert scenario.table.version_column == "payload"


def test_the_drills_table_takes_operations_with_names() -> None:
    mix = "{get: 7, hot rows: {do: get, weight: 2, keys: zipfian}, twice: {do: incr, weight: 1, step: 2}, incr: 1}"
    scenario = parse_scenario(
        f"name: x\nmix: {mix}\nexpect: {{latency: {{hot rows: {{p99: 1s}}, get: {{p50: 1s}}}}}}\n", "s.yaml"
    )
    assert [(one.name, one.do) for one in scenario.operations] == [
        ("get", "get"),
        ("incr", "incr"),
        ("hot rows", "get"),
        ("twice", "incr"),
    ]
    assert scenario.weights == {"get": 7, "incr": 1, "hot rows": 2, "twice": 1}
    assert scenario.drawn_by["hot rows"].distribution == "zipfian"
    assert scenario.expect.latency.operations() == ["get", "hot rows"]


def test_reads_go_to_the_readers_unless_they_say_that_they_go_to_the_primary() -> None:
    mix = "{get: 1, own: {do: get, from: primary, weight: 1}, find: {from: primary, weight: 1}, get_many: 1}"
    scenario = parse_scenario(f"name: x\nmix: {mix}\n", "s.yaml")
    assert {one.name for one in scenario.operations if one.primary} == {"own", "find"}
    assert Scenario.model_validate(scenario.model_dump(mode="json")) == scenario, "as workers get it"
    with pytest.raises(ScenarioError, match=r"s.yaml:2: mix.incr.from: unknown key"):
        parse_scenario("name: x\nmix: {incr: {from: primary, weight: 1}}\n", "s.yaml")
    with pytest.raises(ScenarioError, match=r"s.yaml:2: mix.get.from: must be 'readers' or 'primary', not"):
        parse_scenario("name: x\nmix: {get: {from: writer, weight: 1}}\n", "s.yaml")


def test_the_primary_has_the_latest_rows_also_where_writes_do_not_replicate() -> None:
    for source, refused in (("readers", True), ("primary", False)):
        text = f"name: x\nmix: {{insert: 1, get: {{from: {source}, keys: latest, weight: 1}}}}\n"
        with pytest.raises(ScenarioError, match="or from: primary") if refused else nullcontext():
            parse_scenario(text, "s.yaml")


def test_the_short_form_works_on_a_table_of_ones_own() -> None:
    mix = "  get: 70\n  insert: 5\n  delete: 2\n  get_many: {weight: 1, count: 3}\n  incr: {column: views, weight: 1}\n"
    scenario = parse_scenario(SHOP[: SHOP.index("mix:")] + "mix:\n" + mix, "s.yaml")
    assert [one.name for one in scenario.operations] == ["get", "get_many", "insert", "incr", "delete"]
    assert scenario.operations[0].columns == tuple(scenario.table.columns)


@pytest.mark.parametrize("key", ["columns: [id]", "index: grp", "by: [grp]", "operation: '='"])
def test_keys_that_need_a_table_of_ones_own(key: str) -> None:
    (found,) = mistakes(f"name: x\nmix: {{find: {{weight: 1, {key}}}}}\n")
    assert (
        found
        == f"s.yaml:2: mix.find.{key.split(':')[0]}: is for a table of your own: give its `table.columns`, or leave this out"
    )


@pytest.mark.parametrize("key", ["primary: [id]", "indexes: {a: [id]}"])
def test_a_key_without_columns(key: str) -> None:
    (found,) = mistakes(f"name: x\ntable: {{{key}}}\nmix: {{get: 1}}\n")
    assert found == f"s.yaml:2: table.{key.split(':')[0]}: is for a table of your own: add its `columns`, or leave this out"


def test_every_mistake_is_reported_at_once() -> None:
    text = changed(
        ("type: int unsigned", "type: intt"),
        ("[1, 999]", "[1, x]"),
        ("set: [name, note]", "st: [name]"),
        ("null: 5%", "nul: 5%"),
    )
    assert [line.split(": ")[:2] for line in mistakes(text)] == [
        ["s.yaml:9", "table.columns.price.values.between.1"],
        ["s.yaml:11", "table.columns.added.nul"],
        ["s.yaml:12", "table.columns.views.type"],
        ["s.yaml:21", "mix.rename.st"],
    ]
    text = changed(("primary: [id]", "primary: [idd]"), ("[category, price]", "[kategory, price]"))
    assert [line.split(": ")[1] for line in mistakes(text)] == ["table.primary.0", "table.indexes.by_price.0"]
    text = changed(("columns: [id, price]", "columns: [ix, price]"), ("column: views", "column: vews"))
    assert [line.split(": ")[1] for line in mistakes(text)] == ["mix.category list.columns.0", "mix.count view.column"]


def test_unknown_keys_are_named_at_every_depth() -> None:
    for before, after, expected in [
        ("max: 60", "max: 60, alphabt: a", "table.columns.name.values.text.alphabt: unknown key; did you mean alphabet?"),
        ("max: 60", "max: 60, bytes: 7", "table.columns.name.values.text.bytes: unknown key; there are min, max, alphabet"),
        ("[1, 999]", "[1, 999], stp: 1", "table.columns.price.values.stp: unknown key; did you mean step?"),
        ("null: 5%", "deflt: 5", "table.columns.added.deflt: unknown key; there are type, values, null, nullable"),
        ("limit: 20", "limits: 20", "mix.category list.limits: unknown key; did you mean limit?"),
        ("limit: 20", "keys: {distributoin: zipfian}", "mix.category list.keys.distributoin: unknown key; did you mean dist"),
        ("mix:", "expect: {latency: {rename: {p98: 1s}}}\nmix:", "expect.latency.rename.p98: unknown key; did you mean p9"),
    ]:
        (found,) = mistakes(changed((before, after)))
        assert found.split(": ", 1)[1].startswith(expected), found


def test_the_example_in_the_docs_is_a_scenario() -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/scenarios.md").read_text(), re.DOTALL)
    (example,) = [block for block in blocks if "columns:\n" in block]
    assert [one.name for one in parse_scenario(example, "s.yaml").operations] == [one.name for one in shop().operations]


# ---- the audit


def test_writes_to_a_table_without_a_version_are_measured_and_not_audited() -> None:
    scenario = shop(("values: version", "values: x"))
    assert not scenario.audited
    assert unaudited_writes(scenario) == (
        "no column of shop.products says which write left a row; give one `values: version`, such as a varchar(18)"
    )
    assert unaudited_writes(shop()) is None
    assert unaudited_writes(shop(("mix:", "audit: false\nmix:"))) is None
    text = changed(("values: version", "values: x"), ("mix:", "audit: true\nmix:"))
    assert mistakes(text) == [
        "s.yaml:17: audit: needs a column with `values: version`, such as a varchar(18), to say which write left a row; "
        "leave `audit` out"
    ]
    (found,) = mistakes(changed(("values: version", "values: x"), ("mix:", "expect: {lost: 0}\nmix:")))
    assert found.startswith("s.yaml:17: expect.lost: needs the audit")


def test_without_an_audit_an_update_needs_no_version() -> None:
    assert not shop(("set: [name, note]", "set: [name]"), ("mix:", "audit: false\nmix:")).audited


def test_which_reads_the_audit_checks() -> None:
    scenario = shop(
        ("columns: [name, price, views]", "columns: [note, price]"), ("columns: [id, price]", "columns: [price, note]")
    )
    page, category, *writes = scenario.operations
    assert unchecked_read(scenario, page) is None
    assert unchecked_read(scenario, category) == "does not read id"
    assert unchecked_read(shop(), shop().operations[0]) == "does not read note"
    assert {unchecked_read(scenario, one) for one in writes} == {None}
    (found,) = mistakes(changed(("mix:", "expect: {staleness: 1s}\nmix:")))
    assert "is about reads that the audit checks, but product page does not read note, nor does another read" in found


# ---- tables that exist


EXISTING = """\
name: measure
table: {existing: true, database: shop, name: products}
mix:
  page: {do: get, columns: [name], weight: 9}
  list: {do: find, index: by_price, limit: 5, weight: 1}
"""
ON_SERVER: dict[str, Any] = {
    "columns": {"id": {"type": "int unsigned"}, "name": {"type": "varchar(80)", "nullable": True}, "price": {"type": "int"}},
    "primary": ["id"],
    "indexes": {"by_price": ["price"]},
}


def test_a_table_that_exists_has_the_columns_of_its_server() -> None:
    scenario = parse_scenario(EXISTING, "s.yaml")
    assert scenario.table.declared
    assert not scenario.table.resolved
    assert scenario.table.rows == 1_000_000
    assert not scenario.audited
    found = with_table(scenario, **ON_SERVER)
    assert found.table.resolved
    assert found.table.columns_declared.column("name").nullable
    assert found.operations[1].by == ("price",)
    assert found.operations[1].columns == ("id", "name", "price")
    assert Scenario.model_validate(found.model_dump(mode="json")) == found


@pytest.mark.parametrize(
    "before, after, expected",
    [
        ("[name]", "[nam]", "mix.page.columns.0: there is no column 'nam'; did you mean name?"),
        ("index: by_price", "index: by_name", "mix.list.index: there is no index 'by_name'; there are PRIMARY, by_price"),
        ("existing: true", "existing: true, columns: {nme: {values: x}}", "there is no column 'nme'; did you mean name?"),
        ("existing: true", "existing: true, columns: {price: {type: int(9)}}", ""),
        ("existing: true", "existing: true, columns: {name: {type: varchar(80)}}", ""),
        (
            "existing: true",
            "existing: true, columns: {price: {type: bigint}}",
            "on shop.products as the server has it, table.columns.price.type: is int there, not bigint: leave it out",
        ),
        (
            "existing: true",
            "existing: true, columns: {name: {nullable: false}}",
            "table.columns.name.nullable: the column may be NULL there: leave it out",
        ),
        ("existing: true", "existing: true, columns: {price: {values: x}}", "must be a whole number, not the text 'x'"),
    ],
)
def test_what_the_server_does_not_have(before: str, after: str, expected: str) -> None:
    scenario = parse_scenario(EXISTING.replace(before, after), "s.yaml")
    if not expected:
        assert with_table(scenario, **ON_SERVER).table.columns["price"].type == "int"
        return
    with pytest.raises(LiveTableError) as caught:
        with_table(scenario, **ON_SERVER)
    assert str(caught.value).endswith(expected)


def test_what_the_server_does_not_have_is_found_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(EXISTING.replace("existing: true", "existing: true, columns: {x: {values: 1}}"))
    with pytest.raises(LiveTableError) as caught:
        with_table(load_scenario(path), **ON_SERVER)
    assert str(caught.value.in_file(path)) == (
        f"{path}:2: table.columns.x: there is no column 'x'; there are id, name, price (shop.products as the server has it)"
    )


@pytest.mark.parametrize(
    "before, after, expected",
    [
        ("do: get, columns: [name]", "do: delete", "4: mix.page: removes rows that the run has inserted"),
        (
            "do: get, columns: [name]",
            "do: insert",
            "4: mix.page: changes rows of a table that exists: say `writes: allow",
        ),
        ("mix:", "audit: true\nmix:", "3: audit: needs a column with `values: version`"),
        (
            "mix:",
            "expect: {lost: 0}\nmix:",
            "3: expect.lost: needs the audit, which existing tables do not have: leave `lost` out",
        ),
        ("mix:", "cluster: {kind: docker}\nmix:", "2: table.existing: is for servers of your own: kind external, not docker"),
        ("existing: true", "existing: yes please", "2: table.existing: must be true or false, not the text 'yes please'"),
        ("existing: true", "existing: true, writes: yes", "2: table.writes: must be 'allowed', not true"),
    ],
)
def test_what_a_table_that_exists_cannot_have(before: str, after: str, expected: str) -> None:
    (found,) = mistakes(EXISTING.replace(before, after, 1))
    assert found.startswith(f"s.yaml:{expected}"), found


# ---- where it is checked


def test_embedded_servers_do_not_have_every_type() -> None:
    own = ("    views:", "    own: {type: uuid, values: uuid}\n    views:")
    assert list(shop(own).table.only_mariadb) == ["own"]
    (found,) = mistakes(changed(own, ("mix:", "cluster: {kind: embedded}\nmix:")))
    assert found.startswith(
        "s.yaml:12: table.columns.own.type: embedded servers do not have it (the type UUID is not emulated)"
    )
    assert shop(("mix:", "cluster: {kind: embedded}\nmix:")).table.only_mariadb == {}


def test_an_insert_of_many_columns_is_for_sql() -> None:
    many = "".join(f"    c{number}: {{type: int, values: 1}}\n" for number in range(25))
    (found,) = mistakes(changed(("    views:", f"{many}    views:")))
    most = "HandlerSocket sets at most 32 in an insert: leave insert out, or say `driver: sql`"
    assert found.endswith(f"mix.new product: has to set 33 columns, and {most}")
    assert shop(("    views:", f"{many}    views:"), ("mix:", "driver: sql\nmix:"))


def test_an_index_has_at_most_31_columns() -> None:
    many = [f"c{number}" for number in range(32)]
    text = changed(
        ("    views:", "".join(f"    {name}: {{type: int, values: 1}}\n" for name in many) + "    views:"),
        ("[category, price]}", f"[category, price], wide: [{', '.join(many)}]}}"),
        ("weight: 1}", "weight: 0}"),
    )
    (found,) = mistakes(text)
    assert found == "s.yaml:48: table.indexes.wide: has 32 columns; HandlerSocket takes at most 31 of an index"


def test_a_mix_has_at_most_fifty_operations() -> None:
    text = "name: x\nmix:\n" + "".join(f"  get {number}: {{do: get, weight: 1}}\n" for number in range(51))
    assert mistakes(text) == ["s.yaml:53: mix.get 50: is one too many: a mix has at most 50 operations"]
    assert len(parse_scenario(text.replace("{do: get, weight: 1}", "{do: get, weight: 0}", 1), "s.yaml").operations) == 50


@pytest.mark.process
def test_locusts_process_checks_tables_too_without_trio(tmp_path: Path) -> None:
    (tmp_path / "shop.yaml").write_text(SHOP)
    code = """\
import gevent.monkey; gevent.monkey.patch_all()
import sys
from hs_drill.scenario import load_scenario
print(load_scenario("shop.yaml").name, "trio" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert (done.stdout, done.stderr) == ("shop False\n", "")


def test_the_version_fits_what_the_workload_writes() -> None:
    from hs_drill.workload import payload_of

    assert len(payload_of(2**63 - 1, 2**63 - 1, 0, "")) == VERSION_WIDTH
