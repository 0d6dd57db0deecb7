"""Columns that a FEDERATED twin gets wrong are refused where writes would go through one, and nowhere else."""

from __future__ import annotations

import pytest

from hs_drill.scenario import ScenarioError, parse_scenario

SCENARIO = """
name: x
cluster: {{kind: {kind}, topology: {topology}}}
driver: {driver}
table:
  columns:
    id: {{type: bigint, values: sequence}}
    v: {column}
    n: {{type: int, values: 0}}
  primary: [id]
mix: {mix}
"""
STEPS = "{get: 1, more: {do: incr, column: n, weight: 1}}"
INSERTS = "{get: 1, insert: 1}"


def parse(
    column: str, mix: str = STEPS, topology: str = "write-through", driver: str = "handlersocket", kind: str = "mariadb"
) -> None:
    parse_scenario(SCENARIO.format(column=column, mix=mix, topology=topology, driver=driver, kind=kind), "s.yaml")


WRONG = [
    ('{type: "float(9,3)", values: {between: [0, 1]}}', "cannot be float in the write-through topology"),
    (
        "{type: float, values: {between: [0, 1]}}",
        "cannot be float in the write-through topology, where updates of such rows are lost",
    ),
    ("{type: bit(3), values: 1}", "cannot be bit in the write-through topology, where updates of such rows are refused"),
    ("{type: varchar(9) character set latin1, values: é}", "cannot be text in latin1 in the write-through topology"),
    ("{type: char(9) character set latin2, values: {choice: [a, ł]}}", "cannot be text in latin2"),
    ("{type: text character set koi8r, values: {text: {min: 1, max: 2, alphabet: aж}}}", "cannot be text in koi8r"),
    ("{type: varchar(9) character set utf16, values: abc}", "cannot be text in utf16"),
    ("{type: \"enum('a') character set ucs2\", values: a}", "cannot be text in ucs2"),
]


@pytest.mark.parametrize("column, message", WRONG)
def test_what_a_twin_loses_is_refused(column: str, message: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        parse(column)
    assert str(caught.value).startswith(f"s.yaml:8: table.columns.v.type: {message}")
    assert str(caught.value).endswith(", or say cluster.topology: plain, or driver: sql")
    parse(column, topology="plain")
    parse(column, driver="sql")
    parse(column, mix="{get: 1}")
    if "float, " in column or "bit" in column or "latin1" in column:  # embedded servers know few character sets
        parse(column, kind="embedded")


def test_inserts_of_numbers_are_right_through_a_twin() -> None:
    parse("{type: float, values: {between: [0, 1]}}", INSERTS)
    parse("{type: bit(3), values: 1}", INSERTS)
    with pytest.raises(ScenarioError, match="cannot be text in latin1"):
        parse("{type: varchar(9) character set latin1, values: é}", INSERTS)


@pytest.mark.parametrize(
    "column",
    [
        "{type: double, values: {between: [0, 1]}}",
        "{type: varchar(9) character set latin1, values: {text: 5}}",
        "{type: varchar(9) character set utf8, values: é}",
        "{type: varchar(9), values: é}",
        "{type: blob, values: {text: 5}}",
        "{type: json, values: '[1]'}",
    ],
)
def test_everything_else_goes_through_a_twin(column: str) -> None:
    parse(column)
    parse(column, mix="{get: 1, delete: 1, insert: 1, change: {do: update, set: [n], weight: 1}}")


SETS = "{get: 1, change: {do: update, set: [n, v], weight: 1}}"


@pytest.mark.parametrize("kind", ["text", "mediumtext", "blob", "longblob", "json"])
def test_an_update_that_sets_a_blob_is_lost_in_a_twin_and_refused(kind: str) -> None:
    column = f"{{type: {kind}, values: '[1]'}}"
    with pytest.raises(ScenarioError) as caught:
        parse(column, mix=SETS)
    short = "varbinary" if "blob" in kind else "varchar"
    assert str(caught.value) == (
        f"s.yaml:8: table.columns.v.type: cannot be {kind} in the write-through topology, where change sets it and such "
        f"updates are lost: make it a {short}, leave it out of `set`, or say cluster.topology: plain, or driver: sql"
    )
    parse(column, mix=SETS, topology="plain")
    parse(column, mix=SETS, driver="sql")
    parse(column, mix=SETS, kind="embedded")
    parse("{type: varchar(9), values: '[1]'}", mix=SETS)
