"""The condition by which SQL finds the row with a number: a fault locks it."""

from __future__ import annotations

from hs_drill.controller._table import row_condition
from hs_drill.scenario import parse_scenario
from hs_drill.workload import rows_of
from tests.loadtest.support.shop import changed


def test_the_row_of_the_drills_table() -> None:
    assert row_condition(parse_scenario("name: x\nmix: {get: 1}\n", "s.yaml"))(7) == "`id` = 7"


def test_a_row_with_several_columns_as_its_key() -> None:
    text = changed(("primary: [id]", "primary: [size, id]"), ("choice: [s, m]", "choice: [m]"))
    assert row_condition(parse_scenario(text, "s.yaml"))(7) == "`size` = 'm' AND `id` = 7"


def test_a_set_is_compared_as_text_in_the_order_of_its_members() -> None:
    text = changed(("enum('s','m','l')", "set('s','m','l','k')"), ("primary: [id]", "primary: [size, id]"))
    text = text.replace("choice: [s, m]", 'choice: ["k,l,m,s"]')
    assert row_condition(parse_scenario(text, "s.yaml"))(7) == "`size` = 's,m,l,k' AND `id` = 7"


def test_a_row_that_a_uuid_numbers() -> None:
    scenario = parse_scenario(changed(("bigint unsigned, values: sequence", "uuid, values: uuid")), "s.yaml")
    (key,) = rows_of(scenario).key(7)
    assert row_condition(scenario)(7) == f"`id` = '{key}'"
