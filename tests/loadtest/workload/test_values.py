"""Each way to make a column's values: within its bounds, as often as it should be, and none that the server would change."""

from __future__ import annotations

import json
import math
from collections import Counter
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

import trio_hs
from hs_drill.scenario import values
from hs_drill.workload import INITIAL, OPS, first_insert_key
from hs_drill.workload._draws import DRAWS, draws
from hs_drill.workload._numbered_uuids import NumberedUuids
from hs_drill.workload._ranges import between, zipfian_ranks
from hs_drill.workload._values import FIRST_WRITE, compiled

drawn = st.integers(0, DRAWS - 1) | st.sampled_from([0, DRAWS - 1])
ROWS = 100


def column(sql: str) -> trio_hs.Column:
    return trio_hs.Column.from_sql("c", sql)


def make(sql: str, spec: Any, **options: Any) -> Any:
    return compiled(column(sql), spec, **{"salt": "1/c", "rows": ROWS, "versioned": False, **options})


def every(sql: str, spec: Any, count: int = 20_000, **options: Any) -> list[Any]:
    made = make(sql, spec, **options)
    return [made(number, INITIAL) for number in range(1, count + 1)]


@pytest.mark.parametrize(
    "sql, bounds",
    [
        ("float", st.floats(-3.4e38, 3.4e38).map(lambda number: float(f"{number:.6g}"))),
        ("float unsigned", st.floats(0, 1e30).map(lambda number: float(f"{number:.6g}"))),
        ("double", st.floats(allow_nan=False, allow_infinity=False)),
        ("float(9,3)", st.integers(-100_000, 100_000).map(float)),
        ("float(6,4)", st.integers(-99, 99).map(float)),
        ("double(12,2)", st.integers(-(10**9), 10**9).map(lambda number: number / 4)),
        ("decimal(65,30)", st.integers(-(10**34), 10**34)),
        ("decimal(5,0)", st.integers(-99_999, 99_999)),
        ("decimal(9,4) unsigned", st.decimals(0, 99_999, places=4).map(str)),
        ("bigint unsigned", st.integers(0, 2**64 - 1)),
        ("tinyint", st.integers(-128, 127)),
        ("bit(64)", st.integers(0, 2**64 - 1)),
        ("year", st.integers(1901, 2155)),
        ("date", st.dates(date(1000, 1, 1)).map(str)),
        ("datetime(6)", st.datetimes(datetime(1000, 1, 1)).map(str)),
        ("datetime", st.datetimes(datetime(1000, 1, 1)).map(lambda moment: str(moment.replace(microsecond=0)))),
        (
            "timestamp(2)",
            st.datetimes(datetime(1970, 1, 2), datetime(2038, 1, 17)).map(lambda at: str(at.replace(microsecond=0))),
        ),
        ("inet4", st.ip_addresses(v=4).map(str)),
        ("inet6", st.ip_addresses(v=6).map(str)),
    ],
)
@settings(deadline=None, max_examples=60)
@given(data=st.data(), draw=drawn)
def test_between_stays_within_its_bounds_and_fits(
    sql: str, bounds: st.SearchStrategy[Any], data: st.DataObject, draw: int
) -> None:
    of = column(sql)
    low, high = data.draw(bounds), data.draw(bounds)
    first, last = (make_constant(of, bound) for bound in (low, high))
    for bound in (first, last):
        try:
            of.encode(bound)
        except ValueError:  # `check` refuses it
            reject()
    if first > last:
        low, high, first, last = high, low, last, first
    value = between(of, low, high, None)(draw)
    of.encode(value)
    assert first <= value <= last
    if sql not in ("float", "float unsigned", "double", "timestamp(2)") and "(6,4)" not in sql:
        assert between(of, low, high, None)(0) == first


def make_constant(of: trio_hs.Column, bound: Any) -> Any:
    return compiled(of, values.Constant(constant=bound), salt="x", rows=1, versioned=False)(1, INITIAL)


def test_both_bounds_come() -> None:
    assert set(every("int", values.Between(between=[-3, 3]))) == set(range(-3, 4))
    assert set(every("int", values.Between(between=[0, 10], step=5))) == {0, 5, 10}
    assert set(every("decimal(4,2)", values.Between(between=[0, 1], step=0.25))) == {Decimal(n) / 4 for n in range(5)}
    assert set(every("date", values.Between(between=["2024-02-27", "2024-03-01"]))) == {
        date(2024, 2, 27) + timedelta(days=day) for day in range(4)
    }
    assert set(every("time", values.Between(between=["-0:00:01", "0:00:01"]))) == {timedelta(seconds=n) for n in (-1, 0, 1)}
    assert len(set(every("bigint unsigned", values.Between(between=[0, 2**64 - 1])))) == 20_000


def test_a_timestamp_is_at_no_hour_in_which_clocks_change() -> None:
    made = every("timestamp", values.Between(between=["2024-03-30", "2024-04-02"]))
    assert {moment.hour for moment in made} == set(range(4, 24))
    assert min(made).date() == date(2024, 3, 30)
    assert max(made) <= datetime(2024, 4, 2)


def test_choices_come_by_their_weights() -> None:
    seen = Counter(every("varchar(9)", values.Choice(choice={"a": 6, "b": 3, "c": 1})))
    assert {value: round(count / 20_000, 1) for value, count in seen.items()} == {"a": 0.6, "b": 0.3, "c": 0.1}
    assert set(every("set('x','y')", values.Choice(choice={"": 1, "x,y": 1}))) == {frozenset(), frozenset("xy")}
    lines = values.Lines(lines="colours", content="red\ngreen\nblue")
    assert {round(count / 20_000, 2) for count in Counter(every("char(9)", lines)).values()} <= {0.33, 0.34}


@pytest.mark.parametrize("theta", [0.5, 0.99, 1.0, 1.5])
@pytest.mark.parametrize("count", [10, 1000, 5000, 200_000])
def test_zipfian_shares_follow_the_formula(theta: float, count: int) -> None:
    seen = Counter(every("int", values.Zipfian(zipfian=values.ZipfianRange(between=[7, 6 + count], theta=theta)), 50_000))
    assert 7 <= min(seen) <= max(seen) <= 6 + count
    total = sum(rank**-theta for rank in range(1, count + 1))
    for rank in (1, 2, 5):
        expected = rank**-theta / total * 50_000
        assert abs(seen[6 + rank] - expected) < 6 * expected**0.5 + 5


@given(st.integers(1, 10**7), st.floats(0.01, 5), drawn)
@settings(deadline=None)
def test_zipfian_ranks_are_within_their_range(count: int, theta: float, draw: int) -> None:
    assert 0 <= zipfian_ranks(count, theta)(draw) < count


@pytest.mark.parametrize("sql", ["varchar(20)", "char(20) character set latin1", "blob", "varbinary(20)"])
def test_texts_have_every_length(sql: str) -> None:
    made = every(sql, values.Text(text=values.TextSize(min=5, max=20)))
    assert {len(text) for text in made} == set(range(5, 21))
    assert len(set(made)) > 19_000
    binary = every("blob", values.Text(text=values.TextSize(min=1, max=9, alphabet="ab")), 1000)
    assert set(b"".join(binary)) == set(b"ab")


def test_a_text_in_a_json_column_is_a_json_string() -> None:
    size = values.TextSize(min=0, max=9, alphabet='a"\\\n🎉')
    for made in every("json", values.Text(text=size), 1000):
        assert len(json.loads(made)) <= 9


def test_shares_of_null_do_not_bend_the_rest() -> None:
    spec = values.Choice(choice={"a": 1, "b": 1})
    made = Counter(every("char(1)", spec, null=0.3))
    assert abs(made[None] / 20_000 - 0.3) < 0.02
    assert abs(made["a"] - made["b"]) < 700
    assert set(every("int", values.Constant(constant=5), null=0.5)) == {5, None}
    assert set(every("int", values.Null())) == {None}
    sent = every("int", values.Constant(constant=5), null=0.5, send=lambda value: f"<{value}>")
    assert set(sent) == {"<5>", "<None>"}, "what is sent for NULL is the driver's business too"


def test_columns_do_not_follow_from_each_other() -> None:
    one, other = (draws(salt, versioned=True) for salt in ("1/a", "1/b"))
    cells = Counter((one(n, 0) * 8 // DRAWS, other(n, 0) * 8 // DRAWS) for n in range(64_000))  # type: ignore[operator]
    assert len(cells) == 64
    assert sum((count - 1000) ** 2 / 1000 for count in cells.values()) < 63 + 6 * math.sqrt(2 * 63)


@given(st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1))
def test_only_versioned_draws_differ_between_versions(number: int, version: int) -> None:
    plain, versioned = (draws("s", versioned=versioned) for versioned in (False, True))
    assert plain(number, version) == plain(number, INITIAL) == versioned(number, INITIAL)
    nullable = draws("s", versioned=False, null=0.5)
    assert nullable(number, version) == nullable(number, INITIAL)


@given(st.integers(0, 2**64 - 1), st.text())
def test_a_uuid_tells_its_number(number: int, salt: str) -> None:
    uuids = NumberedUuids(salt)
    made = uuids.make(number)
    assert made.version == 4
    assert [uuids.number_in(form) for form in (made, str(made), made.bytes, made.bytes + bytes(4))] == [number] * 4
    assert NumberedUuids(salt + "x").number(made) is None
    assert make("binary(20)", values.Uuid())(number, INITIAL)[16:] == bytes(4)


def test_now_goes_on_with_rows_and_writes() -> None:
    made = make("datetime(3)", values.Now(), versioned=True)
    assert [made(number, INITIAL) for number in (1, ROWS)] == [FIRST_WRITE - timedelta(seconds=s) for s in (ROWS, 1)]
    first = first_insert_key(2, 3)
    assert made(5, first + 7) == FIRST_WRITE
    assert made(5, first + 1234 * OPS + 7) == FIRST_WRITE + timedelta(milliseconds=1234)
    inserted = make("datetime", values.Now())
    assert inserted(first + 61_500, first + 3 * OPS) == FIRST_WRITE + timedelta(seconds=61), "no update sets it: by the number"
    assert make("date", values.Now())(1, INITIAL) == date(2025, 12, 31)
    assert make("timestamp", values.Now())(first, INITIAL) == FIRST_WRITE + timedelta(hours=4)
    assert make("time", values.Now())(first + 1500, INITIAL) == timedelta(seconds=1)
    assert make("year", values.Now())(ROWS, INITIAL) == 2025
