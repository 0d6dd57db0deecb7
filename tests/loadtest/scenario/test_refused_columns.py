"""Columns and counters that MariaDB would refuse, or that would never change, and misspelt ways to make values."""

from __future__ import annotations

import pytest

from hs_drill.scenario._reader import parse_scenario
from tests.loadtest.support.scenarios import mistakes
from tests.loadtest.support.shop import SHOP

SIZE = "type: \"enum('s','m','l')\""


def refused(text: str, expected: str) -> None:
    (found,) = mistakes(text)
    assert found.startswith(f"s.yaml:{expected}"), found


def changed(*changes: tuple[str, str]) -> str:
    text = SHOP
    for before, after in changes:
        assert before in text, before
        text = text.replace(before, after, 1)
    return text


@pytest.mark.parametrize(
    "members, equal",
    [
        ("enum('s','m','S')", "'s' and 'S'"),
        ("set('s','m','M')", "'m' and 'M'"),
        ("enum('s','m','é','E')", "'é' and 'E'"),
        ("enum('s','m','😀','🎉')", "'😀' and '🎉'"),  # for 10.11, not for 11.8
        ("enum('s','m','M') character set latin1", "'m' and 'M'"),
        ("enum('s','m','M') collate utf8mb4_unicode_ci", "'m' and 'M'"),
        ("enum('s','m','S') character set utf8mb4", "'s' and 'S'"),
    ],
)
def test_members_that_a_collation_takes_for_equal(members: str, equal: str) -> None:
    what = f"13: table.columns.size.type: the collation takes the members {equal} for equal: rename one, or add a collation"
    refused(changed((SIZE, f'type: "{members}"')), what)


@pytest.mark.parametrize(
    "members",
    [
        "enum('s','m','S') collate utf8mb4_bin",
        "enum('s','m','😀','🎉') collate utf8mb4_uca1400_ai_ci",
        "enum('s','m','ä','a') character set latin1",
        "enum('s','m','S') character set latin2",  # nothing is known of its collation
    ],
)
def test_members_that_a_collation_tells_apart(members: str) -> None:
    parse_scenario(changed((SIZE, f'type: "{members}"')), "s.yaml")


@pytest.mark.parametrize("members, spaced", [("enum('s','m ')", "'m '"), ("set('s ','m')", "'s '")])
def test_members_that_the_server_would_strip(members: str, spaced: str) -> None:
    text = changed((SIZE, f'type: "{members}"'), ("choice: [s, m]", f"choice: [{spaced}]"))
    refused(text, f"13: table.columns.size.type: has the member {spaced}, and the server strips spaces at the end of members")


@pytest.mark.parametrize("made", ["{between: [0, 2155]}", "{zipfian: [0, 1901]}"])
def test_a_year_has_a_gap_behind_0(made: str) -> None:
    text = changed(("type: int unsigned, values: 0", f"type: year, values: {made}"), ("  count view", "# count view"))
    refused(text, f"12: table.columns.views.values.{made[1:8]}: a year has no values between 0 and 1901: begin with 1901")
    parse_scenario(text.replace("[0", "[1901"), "s.yaml")
    parse_scenario(text.replace(made, "{choice: [0, 1901]}"), "s.yaml")


def test_a_sequence_has_room_for_every_row_outside_the_primary_key_too() -> None:
    text = changed(("int unsigned, values: 0", "tinyint, values: sequence"), ("  count view", "# count view"))
    text = text.replace("new product: ", "# new product: ")
    refused(text, "12: table.columns.views.type: holds numbers up to 127, and there are 1,000 rows: say bigint")
    parse_scenario(text.replace("tinyint", "smallint"), "s.yaml")


def test_a_column_of_now_is_not_null() -> None:
    text = changed(('values: {between: ["2024-01-01", "2026-01-01"]}, null: 5%', "values: now, null: 5%"))
    refused(text, "11: table.columns.added.null: a column of `values: now` cannot be NULL: leave `null` out")
    parse_scenario(text.replace("null: 5%", "nullable: true"), "s.yaml")


FLOAT = ("int unsigned, values: 0", "float, values: {between: [0, 1]}"), ("  count view", "# count view")


@pytest.mark.parametrize("kind", ["float", "float(7,3)"])
def test_a_float_is_no_key(kind: str) -> None:
    text = changed(*FLOAT, ("primary: [id]", "primary: [id, views]")).replace("type: float", f'type: "{kind}"')
    refused(text, "12: table.columns.views.type: cannot be float in the primary key: SQL does not find a FLOAT of 0.7 by 0.7")
    parse_scenario(text.replace(kind, "double"), "s.yaml")


def test_sql_finds_nothing_by_a_float() -> None:
    text = changed(*FLOAT, ("[category, price]", "[views]"), ('operation: ">=", by: [category]', 'operation: "="'))
    parse_scenario(text, "s.yaml")
    text = text.replace("mix:", "driver: sql\nmix:")
    refused(text, "20: mix.category list: finds nothing by views: SQL does not find a FLOAT of 0.7 by 0.7")
    parse_scenario(text.replace('operation: "="', 'operation: ">="'), "s.yaml")
    parse_scenario(text.replace("float", "double"), "s.yaml")


def test_a_set_has_at_most_64_members() -> None:
    most = ",".join(f"'{number}'" for number in range(62))
    parse_scenario(changed((SIZE, f"type: \"set('s','m',{most})\"")), "s.yaml")
    text = changed((SIZE, f"type: \"set('s','m',{most},'more')\""))
    refused(text, "13: table.columns.size.type: has at most 64 members, not 65")


DOWN = ("do: incr", "do: decr")


@pytest.mark.parametrize("made, most", [("0", 0), ("{choice: [0, 2]}", 2), ("{between: [0, 2]}", 2), ("{zipfian: [0, 2]}", 2)])
def test_a_decr_that_never_changes_an_unsigned_column(made: str, most: int) -> None:
    text = changed(DOWN, ("values: 0", f"values: {made}"), ("column: views", "column: views, step: 3"))
    refused(
        text, f"20: mix.count view.column: begins at {most} and is unsigned, so a decr of 3 never changes a row: begin high"
    )
    parse_scenario(text.replace(f"values: {made}", "values: {between: [0, 3]}"), "s.yaml")
    parse_scenario(text.replace("mix:", "mix:\n  more: {do: incr, column: views, weight: 1}"), "s.yaml")
    parse_scenario(text.replace("int unsigned", "int"), "s.yaml")


def test_a_decr_needs_room_below() -> None:
    narrow = changed(DOWN, ("type: int unsigned", "type: smallint"))
    refused(narrow, "20: mix.count view.column: has no room to count down: smallint ends at -32,768, where the server clips")
    parse_scenario(narrow.replace("type: smallint", "type: mediumint"), "s.yaml")


HINT = "For the text itself say `{constant: "


@pytest.mark.parametrize(
    "before, after, expected",
    [
        (
            "values: 0",
            "values: {chioce: [1]}",
            "12: table.columns.views.values: there is no way 'chioce' to make values; did you",
        ),
        (
            "values: 0",
            "values: {5: 1}",
            "12: table.columns.views.values: there is no way '5' to make values; there are constant, ",
        ),
        ("values: sequence", "values: sequnce", f"7: table.columns.id.values: did you mean sequence? {HINT}sequnce}}`"),
        ("values: version", "values: verson", f"14: table.columns.note.values: did you mean version? {HINT}verson}}`"),
        ("values: version", "values: Version", f"14: table.columns.note.values: did you mean version? {HINT}Version}}`"),
        ("values: {choice", "value: {choice", "8: table.columns.category.value: unknown key; did you mean values?"),
    ],
)
def test_misspelt_values_get_a_hint(before: str, after: str, expected: str) -> None:
    assert f"s.yaml:{expected}" in "\n".join(mistakes(changed((before, after))))


def test_a_text_like_a_word_can_be_said() -> None:
    parse_scenario(changed(("values: version", "values: {constant: verson}")), "s.yaml")


def test_a_run_creates_no_table_on_the_users_servers_in_which_it_could_not_tell_its_rows() -> None:
    servers = "cluster: {kind: external, create_table: true}\nmix:"
    keyed = changed(("bigint unsigned, values: sequence", "uuid, values: uuid"), ("mix:", servers))
    parse_scenario(keyed, "s.yaml")
    without = keyed.replace("values: version", "values: x")
    refused(without, "17: cluster.create_table: a run cannot tell foreign rows from its own before it drops the table: add")
    parse_scenario(without.replace("create_table: true", "create_table: false"), "s.yaml")
    parse_scenario(without.replace("uuid, values: uuid", "bigint, values: sequence"), "s.yaml")
    parse_scenario(without.replace("kind: external", "kind: mariadb"), "s.yaml")
