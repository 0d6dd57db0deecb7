"""Tables that a scenario declares: keys tell their rows, and a row that was made is recognised until one value changes."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hs_drill.scenario import Scenario
from hs_drill.workload import (
    DAMAGED,
    FOREIGN,
    INITIAL,
    NO_COUNT,
    OPS,
    UNNUMBERED,
    UNSEEN,
    Rows,
    damaged,
    first_insert_key,
    loaded,
    payload_of,
    rows_of,
    shown,
)
from hs_drill.workload._readers import reader
from tests.loadtest.support.declared import KEYS, ONLY_MARIADB, SHOP, TYPES, declared
from trio_hs import Column

SCENARIOS = {"shop": declared(SHOP), "types": declared(TYPES), "mariadb": declared(ONLY_MARIADB), "keys": declared(KEYS)}
ROWS = {name: rows_of(scenario) for name, scenario in SCENARIOS.items()}
every_table = pytest.mark.parametrize("name", SCENARIOS)

numbers = st.integers(1, 200) | st.builds(
    lambda run, worker, count: first_insert_key(run, worker) + count,
    st.integers(1, 999),
    st.integers(0, 4000),
    st.integers(0, 10**9),
)


def place(scenario: Scenario, name: str) -> int:
    """The place of an operation in the mix."""
    return next(at for at, operation in enumerate(scenario.operations) if operation.name == name)


def versions(scenario: Scenario) -> st.SearchStrategy[int]:
    """Those that writes of the mix can have."""
    writes = [at for at, operation in enumerate(scenario.operations) if operation.do in ("update", "insert")]
    made = st.builds(
        lambda at, count: first_insert_key(3, 5) + count * OPS + at, st.sampled_from(writes), st.integers(0, 10**8)
    )
    return st.just(INITIAL) | made


def as_handlersocket_gives(rows: Rows, values: list[Any]) -> list[bytes | None]:
    """What the column's encoder makes. Its text is what the server returns, but of UUIDs and addresses, which are text."""
    assert rows.columns_declared is not None
    given: list[bytes | None] = []
    for name, value in zip(rows.columns, values, strict=True):
        column = rows.columns_declared.column(name)
        if value is None:
            given.append(None)
        elif column.type in ("uuid", "inet4", "inet6"):
            given.append(str(value).encode())
        else:
            given.append(column.encode_data(value))
    return given


@every_table
@given(number=numbers)
def test_a_key_tells_its_number(name: str, number: int) -> None:
    rows = ROWS[name]
    assert rows.number(rows.key(number)) == number
    assert rows.keys()(number) == list(rows.key(number))
    assert tuple(rows.maker(rows.primary)(number, first_insert_key(1, 1))) == rows.key(number), "no write changes a key"


@given(number=numbers, other=numbers)
def test_keys_of_other_rows_are_not_taken_for_ours(number: int, other: int) -> None:
    types, uuids = ROWS["types"], ROWS["mariadb"]
    (region, _), (_, key) = types.key(number), types.key(other)
    assert types.number([region, key]) in (None, other)
    (mine,) = uuids.key(number)
    assert uuids.number([type(mine)(int=mine.int ^ 1)]) is None
    assert uuids.number(["no UUID"]) is types.number(["eu", "x"]) is types.number(["eu"]) is None


@every_table
@settings(deadline=None)
@given(number=numbers, data=st.data())
def test_values_fit_and_rows_are_recognised(name: str, number: int, data: st.DataObject) -> None:
    rows = ROWS[name]
    version = data.draw(versions(SCENARIOS[name]))
    values = rows.row(number, version)
    for given_values in (values, as_handlersocket_gives(rows, values)):
        state = rows.state(given_values)
        assert (state.number, state.version, state.wrong, state.shown) == (number, version, (), version)
        assert state.extras == tuple(rows.fingerprint(extra, number, version) for extra in rows.extras)
        observe = rows.observer(rows.columns)
        assert observe(number, given_values)[:2] == observe(None, given_values)[:2] == (number, version)
    assert rows.maker(rows.columns)(number, version) == rows_of(SCENARIOS[name]).row(number, version), "made anew, the same"


@every_table
@settings(deadline=None)
@given(number=numbers, data=st.data())
def test_every_changed_value_is_named(name: str, number: int, data: st.DataObject) -> None:
    rows, scenario = ROWS[name], SCENARIOS[name]
    version = data.draw(versions(scenario))
    values = rows.row(number, version)
    before = rows.state(values)
    other = rows.row(number + 1, version + OPS)
    changed = data.draw(st.sampled_from([at for at, column in enumerate(rows.columns) if column not in rows.primary]))
    column = rows.columns[changed]
    candidates = st.sampled_from([other[changed], None, "no value of ours"])
    values[changed] = data.draw(candidates.filter(lambda value: value != values[changed]))
    state = rows.state(values)
    operation = scenario.operations[version % OPS]
    if column in rows.extras and version != INITIAL and operation.do == "update" and column not in operation.set:
        assert (state.version, state.wrong) == (version, ()), "another update may have left it"
        assert state.extras != before.extras
    elif column in rows.counters and isinstance(values[changed], int):
        assert (state.version, state.wrong) == (version, ())
        assert state.counters != before.counters
    else:
        assert [wrong.column for wrong in state.wrong] == [column]
        assert state.version in (DAMAGED, FOREIGN)
        if column not in rows.counters:
            assert rows.observer(rows.columns)(number, values)[:2] in ((number, damaged([changed])), (number, FOREIGN))


def test_what_another_update_left_is_an_extra() -> None:
    scenario, rows = SCENARIOS["shop"], ROWS["shop"]
    assert rows.extras == ("price", "name")
    assert (rows.counters, rows.version_column, rows.plain) == (("views",), "note", True)
    rename, reprice = (
        first_insert_key(1, 1) + count * OPS + place(scenario, name) for count, name in ((5, "rename"), (6, "reprice"))
    )
    row = dict(zip(rows.columns, rows.row(7, INITIAL), strict=True))
    for version, sets in ((rename, ["name", "note"]), (reprice, ["price", "note"])):
        row |= dict(zip(sets, rows.maker(sets)(7, version), strict=True))
    state = rows.state(list(row.values()))
    assert (state.version, state.wrong) == (reprice, ())
    assert state.extras == (rows.fingerprint("price", 7, reprice), rows.fingerprint("name", 7, rename))
    # What the last update set must be what it wrote: a changed value is found without the history.
    row["price"] = rows.row(7, INITIAL)[2]
    state = rows.state(list(row.values()))
    assert (state.version, state.shown) == (DAMAGED, reprice)
    assert [wrong.column for wrong in state.wrong] == ["price"]
    assert state.wrong[0].found == str(row["price"])


def test_versions_that_no_write_of_the_mix_has_are_damage() -> None:
    scenario, rows = SCENARIOS["shop"], ROWS["shop"]
    for at in (place(scenario, "product page"), len(scenario.operations), OPS - 1):
        version = first_insert_key(1, 1) + at
        state = rows.state([*rows.row(3, INITIAL)[:-1], payload_of(version, 3, 0, "")])
        assert (state.version, [wrong.column for wrong in state.wrong]) == (DAMAGED, ["note"])


def test_reads_of_some_columns() -> None:
    rows = ROWS["shop"]
    key, category, price, _, _, views, note = rows.row(7, INITIAL)
    assert rows.observer(["price", "views"])(7, [price, views]) == (7, UNSEEN, 0)
    assert rows.observer(["price"])(7, [price]) == (7, UNSEEN, NO_COUNT)
    assert rows.observer(["id", "category", "note"])(None, [key, category, note]) == (7, INITIAL, NO_COUNT)
    assert rows.observer(["category", "note"])(None, [category, note]) == (UNNUMBERED, UNSEEN, NO_COUNT)
    not_asked_for = rows.observer(["id", "note", "price"])(8, [key, note, price])
    assert not_asked_for == (8, damaged([0, 6]), NO_COUNT)
    assert rows.observer(["note"])(7, ["hand-written"]) == (7, FOREIGN, NO_COUNT)


@every_table
def test_a_row_with_a_key_of_no_run_has_the_same_number_in_reads_and_at_the_end(name: str) -> None:
    rows = ROWS[name]
    row = rows.row(7, INITIAL)
    at = [rows.columns.index(column) for column in rows.primary]
    if len(at) == 1:
        row[at[0]] = 0 if rows.plain else UUID(int=row[at[0]].int ^ 1)
    else:  # a part of another row's key
        others = ((*rows.key(number)[:-1], row[at[-1]]) for number in range(8, 100))
        for where, value in zip(at, next(key for key in others if rows.number(key) is None), strict=True):
            row[where] = value
    state = rows.state(row)
    assert (state.version, state.wrong) == (FOREIGN, ())
    assert state.number < 0
    assert state.key == ", ".join(shown(row[where]) for where in at)
    views = [*rows.primary, rows.version_column or ""]
    given_values = as_handlersocket_gives(rows, row)
    read = [given_values[rows.columns.index(column)] for column in views]
    assert rows.observer(views)(None, read) == (state.number, FOREIGN, NO_COUNT)
    assert rows.state(given_values)[:-1] == state[:-1]


@every_table
def test_values_are_prepared_as_the_driver_sends_them(name: str) -> None:
    rows = ROWS[name]

    def as_(column: str) -> Any:
        return lambda value: (column, value)

    make, version = rows.maker(rows.columns, as_), first_insert_key(1, 1)
    for number in range(1, 50):
        assert make(number, version) == list(zip(rows.columns, rows.row(number, version), strict=True))
    assert rows.keys(as_)(5) == list(zip(rows.primary, rows.key(5), strict=True))


def test_without_a_version_column_constants_are_checked() -> None:
    text = SHOP.replace("note:     {type: varchar(60), values: version}", "note: {type: varchar(60), values: x}")
    scenario = declared(text)
    rows = rows_of(scenario)
    assert (rows.version_column, scenario.audited) == (None, False)
    assert rows.state(rows.row(5, INITIAL))[:2] == (5, UNSEEN)
    assert "note" not in rows.foreign


def test_where_nothing_tells_rows_apart_every_row_counts_as_foreign() -> None:
    keyed = SHOP.replace("bigint unsigned, values: sequence", "uuid, values: uuid")
    assert "note" in rows_of(declared(keyed)).foreign
    assert rows_of(declared(keyed.replace("values: version", "values: x"))).foreign == "TRUE"


def test_choices_and_nulls_come_as_often_as_they_should() -> None:
    rows = rows_of(declared(SHOP.replace("rows: 100", "rows: 20000")))
    every = [rows.row(number, INITIAL) for number in range(1, 20001)]
    for value, share in {"books": 0.5, "music": 0.3, "toys": 0.2}.items():
        assert abs(sum(row[1] == value for row in every) / 20000 - share) < 0.02
    assert abs(sum(row[4] is None for row in every) / 20000 - 0.05) < 0.01
    prices = [row[2] for row in every]
    assert 1 <= min(prices) < 5 < 990 < max(prices) <= 999
    assert abs(sum(prices) / 20000 - 500) < 10
    # A column does not follow from another one.
    books = [row[2] for row in every if row[1] == "books"]
    assert abs(sum(books) / len(books) - 500) < 15
    sizes = {len(row[3]) for row in every}
    assert sizes == set(range(10, 61))


def test_the_same_seed_makes_the_same_rows_on_every_machine() -> None:
    assert list(loaded(declared(seed=7))) == list(loaded(declared(seed=7))) != list(loaded(declared(seed=8)))
    assert rows_of(declared()).row(1, INITIAL)[1:3] == [PINNED[0], PINNED[1]], "rows that a kept run had would not be known"


PINNED = ("books", Decimal("189.80"))


@pytest.mark.parametrize("charset", ["utf8mb4", "latin1", "ucs2"])
def test_the_text_of_a_set_has_no_character_set_of_its_own(charset: str) -> None:
    read = reader(Column.from_sql("tags", f"set('é','b') character set {charset}"))
    assert [read(text) for text in ("", "b", "é,b")] == [frozenset(), {"b"}, {"é", "b"}]


@pytest.mark.parametrize(
    "members, charset",
    [
        ("enum('a','no collate')", " CHARACTER SET utf8mb4"),
        ("set('a','charset)b')", " CHARACTER SET utf8mb4"),
        ("enum('a','b') character  set latin1", ""),
        ("enum('a','b') COLLATE latin1_bin", ""),
    ],
)
def test_text_has_its_character_set_in_the_declaration(members: str, charset: str) -> None:
    text = SHOP.replace("type: varchar(20), values: {choice: {books: 5, music: 3, toys: 2}}", f'type: "{members}", values: a')
    assert rows_of(declared(text)).columns_sql["category"] == f"{members}{charset} NOT NULL"


EXTRAS = SHOP.replace("values: {text: {min: 10, max: 60}}", 'values: {choice: ["", a]}, null: 30%').replace(
    "values: {between: [1, 999]}", 'values: {choice: ["-0.0", 1]}'
)


def test_fingerprints_tell_null_from_an_empty_text_and_no_zero_from_another() -> None:
    rows = rows_of(declared(EXTRAS))
    assert rows.columns_declared is not None
    made: dict[str, dict[int, set[Any]]] = {name: {} for name in rows.extras}
    for number in range(1, 100):
        row = rows.row(number, INITIAL)
        state = rows.state(as_handlersocket_gives(rows, row))
        for name, found in zip(rows.extras, state.extras, strict=True):
            made[name].setdefault(found, set()).add(row[rows.columns.index(name)])
            assert found == rows.fingerprint(name, number, INITIAL)
    assert sorted(map(repr, made["name"].values())) == ["{''}", "{'a'}", "{None}"]
    zero = rows.columns_declared.column("price").decode_data(b"0.00")
    number = next(number for number in range(1, 100) if not rows.row(number, INITIAL)[2])
    row = rows.row(number, INITIAL)
    row[rows.columns.index("price")] = zero
    assert rows.state(row).extras[0] == rows.fingerprint("price", number, INITIAL)


@every_table
def test_the_marker_is_no_row_of_a_load(name: str) -> None:
    rows = ROWS[name]
    marker = rows.marker()
    assert marker is not None
    number = rows.number([marker[rows.columns.index(column)] for column in rows.primary])
    assert number is not None
    assert SCENARIOS[name].table.rows < number < first_insert_key(0, 0)
    assert rows.columns_declared is not None
    for column, value in zip(rows.columns, marker, strict=True):
        rows.columns_declared.column(column).encode(value)
