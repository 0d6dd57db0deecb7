"""Declared columns: which values they accept and refuse, and that every accepted value survives the round trip to bytes."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trio_hs.support.declarations import CASES, IDS, Case
from trio_hs import Column, Columns, DecodingError, KeyPart
from trio_hs._columns import _types
from trio_hs._columns._declaration import TYPES
from trio_hs._protocol import Buffer, LongValue
from trio_hs.testing._types import Float

RAW = ("uuid", "inet4", "inet6")


def test_every_type_has_a_case() -> None:
    assert {case.column.type for case in CASES} == set(TYPES)


@pytest.mark.parametrize("case", CASES, ids=IDS)
@given(data=st.data())
def test_values_survive_a_round_trip(case: Case, data: st.DataObject) -> None:
    value = data.draw(case.values)
    token = case.column.encode(value)
    assert not set(token) & {0x09, 0x0A, 0x0D, 0x00}
    if case.column.type in RAW:  # raw bytes go out, text comes back
        token = str(value).encode()
    assert case.column.decode(token) == value


def test_the_data_of_a_value_is_its_token_without_escapes() -> None:
    column = Column("v", "varchar", length=10, charset="latin1")
    assert column.encode("a\té") == b"a\x01I\xe9"
    assert column.encode_data("a\té") == b"a\t\xe9"
    with pytest.raises(ValueError, match=r"^column v \(varchar\) takes 10 characters, not 11$"):
        column.encode_data("a" * 11)


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_bounds(case: Case) -> None:
    for value in case.bounds:
        token = token_of(case.column, value)
        assert case.column.type in RAW or case.column.decode(token) == value


def token_of(column: Column, value: Any) -> bytes:
    """The token of a value of any length."""
    try:
        return column.encode(value)
    except LongValue:
        out = Buffer()
        for _ in column.write_in_slices(out, value):
            pass
        return out.contents()


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_an_error_names_the_column_that_a_value_does_not_fit(case: Case) -> None:
    for value in case.refused:
        with pytest.raises(ValueError, match=r"^column v \("):
            case.column.encode(value)
    for value in (case.wrong, object(), ["x"]):
        with pytest.raises(
            TypeError, match=rf"^column v \({case.column.type}\) takes (a|an|bytes)\b.*, not {type(value).__name__}$"
        ):
            case.column.encode(value)


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_null(case: Case) -> None:
    assert case.column.encode(None) == b"\0"
    assert case.column.decode(b"\0") is None


def test_null_is_refused_in_a_not_null_column() -> None:
    with pytest.raises(ValueError, match="column id is NOT NULL"):
        Column("id", "int").encode(None)


def test_more_values() -> None:
    assert Column("d", "decimal", precision=5, scale=2).encode(3) == b"3.00"
    assert Column("d", "decimal", precision=5).encode(Decimal("1E+4")) == b"10000"
    for value in (Decimal("NaN"), Decimal("-Infinity")):
        with pytest.raises(ValueError, match="no infinity and no NaN"):
            Column("d", "decimal", precision=5).encode(value)
    assert Column("n", "tinyint").encode(True) == b"1"
    with pytest.raises(ValueError, match="time zone"):
        Column("at", "datetime").encode(datetime(2024, 1, 1, tzinfo=UTC))
    with pytest.raises(ValueError, match="takes 5 characters, not 6"):
        Column("s", "char", length=5).encode("éééééé")
    assert Column("y", "year").encode(0) == b"0000"


def test_a_timestamp_ends_in_2038_unless_the_server_is_said_to_store_more() -> None:
    narrow, wide = Column("v", "timestamp", precision=6), Column("v", "timestamp", precision=6, until_2106=True)
    ends = ((narrow, datetime(2038, 1, 18, 15, 14, 7, 999999)), (wide, datetime(2106, 2, 6, 18, 28, 15, 999999)))
    for column, last in ends:
        assert column.decode(column.encode(last)) == last
        with pytest.raises(ValueError, match=f"takes 1970-01-01 14:00:01 to {last}, not"):
            column.encode(last + timedelta(microseconds=1))
    # Whatever an upgraded server stored can be read with the old declaration.
    assert narrow.decode(b"2106-02-07 06:28:15.000000") == datetime(2106, 2, 7, 6, 28, 15)


@pytest.mark.parametrize(
    "column, token",
    [
        (Column("v", "date"), b"0000-00-00"),
        (Column("v", "date"), b"2024-00-10"),
        (Column("v", "datetime"), b"0000-00-00 00:00:00"),
        (Column("v", "time"), b"nonsense"),
        (Column("v", "int"), b"1.5"),
        (Column("v", "int"), b""),
        (Column("v", "decimal", precision=3), b"x"),
        (Column("v", "double"), b"x"),
        (Column("v", "varchar", length=3), b"\xff"),
        (Column("v", "varchar", length=3, charset="ascii"), b"\x80"),
        (Column("v", "varchar", length=3, charset="utf16"), b"a"),
        (Column("v", "bit", length=9), b"a"),
        (Column("v", "enum", members=["a"]), b""),
        (Column("v", "set", members=["a"]), b"a,b"),
        (Column("v", "uuid"), b"x"),
        (Column("v", "inet6"), b"x"),
    ],
)
def test_a_value_that_the_column_cannot_hold_is_a_decoding_error(column: Column, token: bytes) -> None:
    with pytest.raises(DecodingError, match=r"^column v: .* that Python can hold") as caught:
        column.decode(token)
    assert caught.value.data == token


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: Column("", "int"), "name must be a str and not empty"),
        (lambda: Column("v", "integer"), "column v: there is no type 'integer'; the known ones are tinyint, "),
        (lambda: Column("v", "varchar"), "a varchar needs length="),
        (lambda: Column("v", "varchar", length=True), "a varchar needs length="),
        (lambda: Column("v", "char", length=256), "the length of a char is from 0 to 255, not 256"),
        (lambda: Column("v", "int", length=11), "a int has no length"),
        (lambda: Column("v", "date", charset="latin1"), "a date has no charset"),
        (lambda: Column("v", "datetime", until_2106=True), "a datetime has no until_2106"),
        (lambda: Column("v", "varchar", length=3, charset="big5"), "has the charset 'big5'; the known ones are ascii"),
        (lambda: Column("v", "decimal", precision=3, scale=4), "the scale of a decimal is from 0 to 3, not 4"),
        (lambda: Column("v", "float", scale=2), "a float needs precision="),
        (lambda: Column("v", "time", precision=7), "from 0 to 6, not 7"),
        (lambda: Column("v", "enum"), "needs members="),
        (lambda: Column("v", "enum", members="ab"), "not one str"),
        (lambda: Column("v", "enum", members=["a", "a"]), "twice"),
        (lambda: Column("v", "enum", members=["é"], charset="ascii"), "is in ascii, which cannot write 'é'"),
        (lambda: Column("v", "set", members=["a,b"]), "with a comma"),
        (lambda: Column("v", "set", members=[""]), "empty"),
        (lambda: Column("v", "int", generated="always"), "generated is None, 'virtual' or 'stored'"),
        (lambda: Column("v", "varchar", length=3, auto_increment=True), "auto_increment is for integers"),
        (lambda: Column("v", "int", nullable=True, auto_increment=True), "auto_increment is for integers"),
        (lambda: Column("v", "int", default=1, default_is_expression=True), "cannot have default and default_is_expression"),
        (lambda: Column("v", "int", default=2**31), "the default does not fit: it takes"),
        (lambda: Column("v", "int", default="1"), "the default does not fit: it takes an int"),
        (lambda: Columns([]), "columns is empty"),
        (lambda: Columns(["id"]), "must hold Column objects, not a str"),  # type: ignore[list-item]
        (lambda: Columns([Column("v", "int"), Column("v", "int")]), "the same name"),
        (lambda: Columns([Column("v", "int")], {"PRIMARY": ("id",)}), "there is no column 'id'; the declared ones are v"),
        (lambda: Columns([Column("v", "int")], {"PRIMARY": "v"}), "index PRIMARY: its columns must be a list of names"),
        (lambda: Columns([Column("v", "int")], {"PRIMARY": ()}), "index PRIMARY: its columns must be a list of names"),
        (lambda: Columns([Column("v", "int")], {"i": (("v", 3),)}), "a int, has no prefix"),
        (lambda: Columns([Column("v", "text")], {"i": ("v",)}), "it can only cover a prefix"),
        (lambda: Columns([Column("v", "text")], {"i": (("v", 0),)}), "must be at least 1, not 0"),
        (lambda: Columns([Column("v", "int")], {"i": ("w DESC",)}), "there is no column 'w'"),
        (lambda: Columns([Column("v", "int")], {"i": ("v",)}, ["j"]), "unique: there is no index 'j'; the declared ones are i"),
    ],
)
def test_an_impossible_declaration_is_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        make()
    assert message in str(caught.value)


def test_a_prefix_finds_only_what_is_shorter() -> None:
    columns = Columns([Column("v", "text", nullable=True)], {"i": (("v", 4),)})
    (part,) = columns.key("i")
    assert part.encode("éab") == "éab".encode()
    assert part.encode(None) == b"\0"
    with pytest.raises(ValueError, match="a value of 4 would also find what only begins like it"):
        part.encode("éabc")


def test_a_part_of_an_index_may_be_descending() -> None:
    columns = Columns(
        [Column("id", "int"), Column("v", "text"), Column("v desc", "int")],
        {"PRIMARY": ("id DESC",), "i": (("v DESC", 4), "v desc", "id desc")},
    )
    id, v, v_desc = columns
    assert columns.key(None) == (KeyPart(id, None, descending=True),)
    assert columns.key("i") == (KeyPart(v, 4, True), KeyPart(v_desc), KeyPart(id, None, True))


def test_which_indexes_are_unique() -> None:
    columns = [Column("id", "int"), Column("v", "int")]
    keys = {"PRIMARY": ("id",), "i": ("v",), "j": ("v", "id")}
    assert Columns(columns, keys).unique == {"PRIMARY"}
    assert Columns(columns, keys, ["i"]).unique == {"PRIMARY", "i"}
    assert Columns(columns, {"i": ("v",)}).unique == set()
    assert Columns(columns, keys, ["i"]) != Columns(columns, keys)
    assert Columns(columns, keys, iter(["i"])) == Columns(columns, keys, ("PRIMARY", "i"))


def test_columns_are_values() -> None:
    def make(**options: Any) -> Columns:
        return Columns([Column("id", "int"), Column("e", "enum", members=["a", "b"], **options)], {"PRIMARY": ["id"]})

    assert make() == make()
    assert hash(make()) == hash(make())
    assert make() != make(nullable=True)
    assert make() != Columns(make())
    assert make() != 1
    assert [column.name for column in make()] == ["id", "e"]
    assert len(make()) == 2
    assert repr(make()) == "<Columns id, e; indexes PRIMARY>"
    assert repr(Columns(make())) == "<Columns id, e; indexes none>"
    with pytest.raises(ValueError, match="no index 'i'; the declared ones are none"):
        Columns(make()).key("i")
    with pytest.raises(AttributeError):
        make().column("id").type = "text"  # type: ignore[misc]


def test_a_set_as_a_default_is_frozen() -> None:
    columns = Columns([Column("v", "set", members=["a", "b"], default={"a"})])
    assert columns.column("v").default == frozenset("a")
    assert hash(columns)


def test_columns_that_an_insert_must_name() -> None:
    assert Column("v", "int").required
    assert Column("v", "int", nullable=True, default_is_expression=True).required
    harmless: list[dict[str, Any]] = [{"nullable": True}, {"default": 0}, {"auto_increment": True}, {"generated": "virtual"}]
    for options in harmless:
        assert not Column("v", "int", **options).required


@pytest.mark.parametrize("value", [1e300, -1e300, 3.4028236e38, 2**127 * 2.0, 10**40])
def test_a_number_beyond_float_is_refused_on_every_python(value: float, monkeypatch: pytest.MonkeyPatch) -> None:
    real = struct.pack

    def pack_of_3_14(format: str, *values: Any) -> bytes:
        # Before, the native format packed an infinity.
        if format == "f" and real("f", *values) in (real("f", math.inf), real("f", -math.inf)):
            raise OverflowError("float too large to pack with f format")
        return real(format, *values)

    column = Column("v", "float")
    for pack in (real, pack_of_3_14):
        monkeypatch.setattr(struct, "pack", pack)
        with pytest.raises(ValueError, match=r"would not give .* back as it is: a float column shows six significant digits"):
            column.encode(value)
        assert column.encode(3.40282e38) == b"3.40282e+38"
        stored = Float(True).store(b"%e" % value)  # the embedded server's own
        assert stored == math.copysign(3.4028234663852886e38, value)


@pytest.mark.parametrize("charset", ["utf8mb4", "utf8mb3", "latin1", "utf16", "utf16le", "utf32"])
def test_a_long_text_is_encoded_in_pieces_as_in_one_go(charset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_types, "SLICE_BYTES", 3)
    column = Column("v", "text", charset=charset)
    for text in ("", "abc", "abcdé\0\n€"[: 7 if charset == "latin1" else None], "é" * 20):
        assert b"".join(column._type.pieces(text)) == column._type.encode(text)
    for wrong in ("x" * 10 + "\ud800", "é" * 65_536):
        with pytest.raises(ValueError, match=r"cannot write|takes 65535 bytes"):
            list(column._type.pieces(wrong))
