"""The drill's own table behind the interface of all tables: what is written and recognised is what it always was."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from hs_drill.scenario import Scenario, parse_scenario
from hs_drill.store import NO_COUNT as STORED_NO_COUNT
from hs_drill.workload import (
    DAMAGED,
    FOREIGN,
    INITIAL,
    NO_COUNT,
    UNNUMBERED,
    UNSEEN,
    fillers,
    first_insert_key,
    loaded,
    payload_of,
    rows_of,
)

COLUMNS = ["id", "grp", "n", "payload"]


def scenario(audit: str = "true") -> Scenario:
    table = "{rows: 100, groups: 7, value_size: {min: 20, max: 40}}"
    return parse_scenario(f"name: x\ntable: {table}\nmix: {{get: 1, insert: 1, update: 1}}\naudit: {audit}\n", "s.yaml")


@pytest.mark.parametrize("audit", ["true", "false"])
def test_loaded_rows(audit: str) -> None:
    of = scenario(audit)
    texts, rows = fillers(of), list(loaded(of))
    assert [row[:3] for row in rows] == [[key, key % 7, 0] for key in range(1, 101)]
    for key, group, _, payload in rows:
        text = texts[key % len(texts)]
        assert payload == (payload_of(INITIAL, key, group, text) if audit == "true" else text)


def test_written_payloads_have_the_fillers_in_turn() -> None:
    of = scenario()
    texts, rows, first = itertools.cycle(fillers(of)), rows_of(of), first_insert_key(1, 2)
    insert, update = rows.maker(COLUMNS), rows.maker(["payload"])
    for version in range(first, first + 3000, 2):
        assert insert(version, version) == [version, version % 7, 0, payload_of(version, version, version % 7, next(texts))]
        assert update(5, version + 1) == [payload_of(version + 1, 5, 5, next(texts))]


def test_without_an_audit_payloads_are_the_fillers() -> None:
    of = scenario("false")
    rows, texts = rows_of(of), fillers(of)
    update = rows.maker(["payload"])
    assert [update(5, version)[0] for version in range(1, 2000)] == list(itertools.islice(itertools.cycle(texts), 1999))
    assert rows.version_column is None


def test_values_are_sent_as_the_driver_wants_them() -> None:
    rows = rows_of(scenario())
    as_: dict[str, Any] = {"id": hex, "grp": str, "n": float, "payload": len}
    assert rows.maker(COLUMNS, as_.__getitem__)(12, INITIAL)[:3] == ["0xc", "5", 0.0]
    assert rows.keys(as_.__getitem__)(12) == ["0xc"]
    assert rows.keys()(12) == list(rows.key(12)) == [12]


@pytest.mark.parametrize("as_read", [lambda value: value, str, lambda value: str(value).encode()])
def test_rows_are_recognised(as_read: Any) -> None:
    rows = rows_of(scenario())
    for version in (INITIAL, first_insert_key(1, 1)):
        values = [as_read(value) for value in rows.row(9, version)]
        assert rows.observer(COLUMNS)(9, values) == rows.observer(COLUMNS)(None, values) == (9, version, 0)
        assert rows.observer(["payload"])(9, values[3:]) == (9, version, NO_COUNT)
        assert rows.observer(["id", "n"])(None, [values[0], values[2]]) == (9, UNSEEN, 0)
        assert rows.observer(["n"])(None, [values[2]]) == (UNNUMBERED, UNSEEN, NO_COUNT)
        assert rows.state(values) == (9, version, (0,), (), (), version, "")
        assert rows.number(values[:1]) == 9


def test_rows_that_no_write_left() -> None:
    rows = rows_of(scenario())
    observe, (key, group, n, payload) = rows.observer(COLUMNS), rows.row(9, first_insert_key(1, 1))
    assert observe(10, [key, group, n, payload]) == (10, DAMAGED, 0)
    assert observe(9, [key, group + 1, n, payload]) == (9, DAMAGED, 0)
    assert observe(9, [key, "x", n, payload]) == (9, DAMAGED, NO_COUNT)
    assert observe(9, [key, group, n, "somebody's"]) == (9, FOREIGN, 0)
    assert rows.state([key, group, n, payload + "x"]).wrong[0].column == "payload"
    assert rows.state([key, group, n, payload[:-1]]).version == DAMAGED
    assert rows.number(["x"]) is rows.number([]) is None


def test_the_marker_of_the_replication_check_is_no_row_of_a_load() -> None:
    marker = rows_of(scenario()).marker()
    assert marker is not None
    assert marker[0] < 0


def test_no_count_is_the_same_in_histories() -> None:
    assert NO_COUNT == STORED_NO_COUNT
