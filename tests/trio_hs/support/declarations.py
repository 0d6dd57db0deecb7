"""One column of every type, what it holds at its bounds, and what it would mangle: for the tests of declared tables."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from hypothesis import strategies as st

from trio_hs import Column

ALL_LATIN1 = "".join(bytes((b,)).decode("latin-1" if b in (0x81, 0x8D, 0x8F, 0x90, 0x9D) else "cp1252") for b in range(256))


@dataclass(frozen=True)
class Case:
    """A nullable column ``v``, and values for it."""

    sql: str
    """Its type in SQL."""
    column: Column
    values: st.SearchStrategy[Any]
    """Values that it holds."""
    bounds: list[Any]
    """The extreme ones among them."""
    refused: list[Any] = field(default_factory=list)
    """Values of the right Python type that it would not hold as they are."""
    wrong: Any = b"1"
    """A value of a wrong Python type."""
    prefix: int | None = None
    """How much of it an index covers."""

    def __str__(self) -> str:
        return self.sql.replace(" CHARACTER SET", "")


def column(type: str, **options: Any) -> Column:
    return Column("v", type, nullable=True, **options)


def _integers() -> list[Case]:
    cases = []
    for bits, name in ((8, "tinyint"), (16, "smallint"), (24, "mediumint"), (32, "int"), (64, "bigint")):
        for unsigned in (False, True):
            low, high = (0, 2**bits - 1) if unsigned else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
            sql = f"{name}{' unsigned' if unsigned else ''}"
            refused = [low - 1, high + 1, 10**30]
            cases.append(Case(sql, column(name, unsigned=unsigned), st.integers(low, high), [low, high, 0, 1], refused, 1.0))
    return cases


def _decimals(precision: int, scale: int, unsigned: bool = False) -> Case:
    highest = Decimal((0, (9,) * precision, -scale))
    lowest = Decimal(0) if unsigned else highest.copy_negate()
    smallest = Decimal((0, (1,), -scale))
    digits = st.integers(0 if unsigned else -(10**precision) + 1, 10**precision - 1)
    return Case(
        f"decimal({precision},{scale}){' unsigned' if unsigned else ''}",
        column("decimal", precision=precision, scale=scale, unsigned=unsigned),
        digits.map(lambda number: Decimal((int(number < 0), tuple(map(int, str(abs(number)))), -scale))),
        [lowest, highest, smallest, Decimal(0), Decimal("-0"), Decimal("0E+5")],
        [
            Decimal(10 ** (precision - scale)),
            Decimal((0, (1,), -scale - 1)),
            Decimal("1E+99999"),
            *([-smallest] if unsigned else []),
        ],
        0.5,
    )


FLOATS = st.one_of(
    st.just(0.0),
    st.tuples(st.integers(-999999, 999999), st.integers(-37, 32)).map(lambda t: float(f"{t[0]}e{t[1]}")),
).filter(lambda value: value == 0 or abs(value) >= 1.2e-38)

HUNDREDTHS = st.integers(-999999, 999999).map(lambda number: number / 100)

_BMP = st.characters(exclude_categories=["Cs"], max_codepoint=0xFFFF)
_ANY = st.characters(exclude_categories=["Cs"])


def _text(charset: str, alphabet: Any, bounds: list[str], refused: list[str]) -> Case:
    return Case(
        f"varchar(8) CHARACTER SET {charset}",
        column("varchar", length=8, charset=None if charset == "utf8mb4" else charset),
        st.text(alphabet, max_size=8),
        ["", " ", "abcdefgh", "a ", "\0\1\t\n\r\x0f", *bounds],
        ["abcdefghi", *refused],
    )


def _datetime(name: str, precision: int) -> Case:
    unit = 10 ** (6 - precision)
    first, last = (
        (datetime.min, datetime.max)
        if name == "datetime"
        else (datetime(1970, 1, 1, 14, 0, 1), datetime(2038, 1, 18, 15, 14, 7, 999999))
    )
    cut = st.datetimes(first, last).map(lambda value: value.replace(microsecond=value.microsecond // unit * unit))
    refused = [datetime(2024, 1, 1, 0, 0, 0, 1)] if precision < 6 else []
    if name == "timestamp":
        refused += [datetime(1970, 1, 1), datetime(2038, 1, 19, 3, 14, 8), datetime.min, datetime.max.replace(microsecond=0)]
    return Case(
        f"{name}({precision})",
        column(name, precision=precision or None),
        cut.filter(lambda value: value >= first),
        [first, last.replace(microsecond=last.microsecond // unit * unit), datetime(2024, 2, 29, 12, 0, 0, unit % 10**6)],
        refused,
        date(2024, 1, 1),
    )


def _time(precision: int) -> Case:
    unit = 10 ** (6 - precision)
    top = (3_020_399 * 10**6 + 999_999) // unit
    last = timedelta(microseconds=top * unit)
    refused = [timedelta(hours=839), timedelta(hours=-839), *([timedelta(microseconds=1)] if precision < 6 else [])]
    return Case(
        f"time({precision})",
        column("time", precision=precision or None),
        st.integers(-top, top).map(lambda number: timedelta(microseconds=number * unit)),
        [last, -last, timedelta(0), timedelta(microseconds=-unit), timedelta(hours=100)],
        refused,
        datetime(2024, 1, 1),
    )


MEMBERS = ("b", "a", "2", "1", "O'x", "zé", "\\")
MEMBERS_IN_SQL = r"'b', 'a', '2', '1', 'O''x', 'zé', '\\'"

CASES = [
    *_integers(),
    _decimals(20, 5),
    _decimals(65, 30),
    _decimals(38, 38),
    _decimals(5, 0),
    _decimals(5, 2, unsigned=True),
    Case(
        "float",
        column("float"),
        FLOATS,
        [0.1, 3.40282e38, -3.40282e38, 1.17550e-38, 123456.0, 1e-5, 1, -0.0],
        [16777217.0, 0.1234567, 1e-40, 3.5e38, 1e300, float("nan"), float("inf"), 10**400],
        Decimal("1"),
    ),
    Case("float unsigned", column("float", unsigned=True), FLOATS.map(abs), [0.0, 0.5], [-0.5], True),
    Case("float(7,2)", column("float", precision=7, scale=2), HUNDREDTHS, [0.01, -9999.99], [1e5, 0.125]),
    Case(
        "double",
        column("double"),
        st.floats(allow_nan=False, allow_infinity=False),
        [5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, 0.1 + 0.2, 1e15, 1e16, 2**53],
        [float("nan"), float("-inf"), 2**53 + 1, 10**400],
        Decimal("1"),
    ),
    Case("double unsigned", column("double", unsigned=True), st.floats(0, 1e300), [0.0], [-1e-300]),
    Case(
        "double(10,3)",
        column("double", precision=10, scale=3),
        st.integers(-9999999999, 9999999999).map(lambda n: n / 1000),
        [9999999.999, -9999999.999],
        [1e7, 0.0005],
    ),
    *[
        Case(f"bit({n})", column("bit", length=n), st.integers(0, 2**n - 1), [0, 1, 2**n - 1], [2**n, -1], "1")
        for n in (1, 8, 12, 64)
    ],
    _text("utf8mb4", _ANY, ["\U0010ffff" * 8, "é\uffff"], ["\ud800"]),
    _text("utf8mb3", _BMP, ["\uffff" * 8], ["\U00010000"]),
    _text("latin1", ALL_LATIN1, [ALL_LATIN1[n : n + 8] for n in range(0, 256, 8)], ["Ω", "\x80"]),
    _text("ascii", st.characters(max_codepoint=127), ["\x7f"], ["\x80", "é"]),
    _text("koi8r", "абвгд abc", ["Ж"], ["é"]),
    _text("ucs2", _BMP, ["\uffff" * 8], ["😀", "\ud800"]),
    _text("utf16", _ANY, ["\U0010ffff" * 8], ["\ud800"]),
    _text("utf16le", _ANY, ["\U0010ffff" * 8], ["\ud800"]),
    _text("utf32", _ANY, ["\U0010ffff" * 8], ["\ud800"]),
    Case(
        "char(5)",
        column("char", length=5),
        st.text(_ANY, max_size=5).map(lambda value: value.rstrip(" ")),
        ["", " a", "é😀ééé", "a\0"],
        ["a ", " ", "abcdef"],
    ),
    Case("tinytext", column("tinytext"), st.text(_ANY, max_size=60), ["é" * 127, "x" * 255], ["é" * 128], prefix=4),
    Case("text", column("text"), st.text(_ANY), ["x" * 65535], ["x" * 65536], prefix=4),
    Case("mediumtext", column("mediumtext"), st.text(_ANY), ["x" * 70000], ["x" * 2**24], prefix=4),
    Case("longtext", column("longtext"), st.text(_ANY), ["x" * 70000], prefix=4),
    Case("json", column("json"), st.text("[]{}\"0,:", max_size=9), ['{"é": [1]}', "not json"], prefix=4),
    Case(
        "binary(3)",
        column("binary", length=3),
        st.binary(min_size=3, max_size=3),
        [b"\0\0\0", b"a  "],
        [b"", b"ab", b"abcd"],
        "abc",
    ),
    Case(
        "varbinary(300)",
        column("varbinary", length=300),
        st.binary(max_size=300),
        [bytes(range(256)), b"", b" "],
        [b"x" * 301],
        "x",
    ),
    Case("tinyblob", column("tinyblob"), st.binary(max_size=255), [b"x" * 255, b"\0"], [b"x" * 256], "x", prefix=4),
    Case("blob", column("blob"), st.binary(), [bytes(range(256)), b"x" * 65535], [b"x" * 65536], "x", prefix=4),
    Case("mediumblob", column("mediumblob"), st.binary(), [b"x" * 70000], [b"x" * 2**24], bytearray(b"x"), prefix=4),
    Case("longblob", column("longblob"), st.binary(), [b"x" * 70000], [], "x", prefix=4),
    *[
        Case(
            f"enum({MEMBERS_IN_SQL}) CHARACTER SET {charset}",
            column("enum", members=MEMBERS, charset=charset),
            st.sampled_from(MEMBERS),
            list(MEMBERS),
            ["B", "c", "", "3", "a "],
        )
        for charset in ("utf8mb3", "latin1", "utf16")
    ],
    *[
        Case(
            f"set('x', 'y', '3', '1', 'zé') CHARACTER SET {charset}",
            column("set", members=["x", "y", "3", "1", "zé"], charset=charset),
            st.sets(st.sampled_from(["x", "y", "3", "1", "zé"])).map(frozenset),
            [frozenset(), {"x"}, frozenset(["1", "zé", "x"])],
            [{"x", "nope"}, {"X"}, {""}],
            "x",
        )
        for charset in ("utf8mb3", "utf32")
    ],
    Case("date", column("date"), st.dates(), [date.min, date.max, date(2024, 2, 29)], [], datetime(2024, 1, 1)),
    *[_datetime(name, precision) for name in ("datetime", "timestamp") for precision in (0, 3, 6)],
    *[_time(precision) for precision in (0, 1, 6)],
    Case("year", column("year"), st.integers(1901, 2155), [0, 1901, 2155], [1, 70, 1900, 2156, -1], True),
    Case(
        "uuid",
        column("uuid"),
        st.uuids().filter(lambda value: not (value.bytes[6] & 0x80 and 0 < value.bytes[8] <= 0x80)),
        [uuid.UUID(int=0), uuid.UUID(int=2**128 - 1), uuid.UUID(int=1), *[uuid.uuid5(uuid.UUID(int=n), "") for n in range(9)]],
        [uuid.UUID("d34923a2-4d4b-cd7e-296d-7e83b47a99c9")],
        str(uuid.UUID(int=7)),
    ),
    Case("inet4", column("inet4"), st.ip_addresses(v=4), [IPv4Address(0), IPv4Address(2**32 - 1)], [], "1.2.3.4"),
    Case(
        "inet6",
        column("inet6"),
        st.ip_addresses(v=6),
        [IPv6Address(0), IPv6Address(2**128 - 1), IPv6Address("::1.2.3.4"), IPv6Address("::ffff:1.2.3.4")],
        [IPv6Address("fe80::1%eth0")],
        IPv4Address(1),
    ),
]  # fmt: skip
IDS = [str(case) for case in CASES]
