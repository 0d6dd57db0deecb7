"""The module that ``python -m trio_hs describe`` writes: its format, its names, and the classes of the rows."""

from __future__ import annotations

import dataclasses
from typing import Any, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trio_hs.support.declarations import CASES
from tests.trio_hs.support.formatted import formatted
from trio_hs import Column, Columns
from trio_hs._columns import _describe as describing
from trio_hs._columns import _render as rendering
from trio_hs._columns._declaration import TYPES


@given(st.text("'\"\\\nab"))
def test_text_is_quoted_as_formatters_do(text: str) -> None:
    source = rendering._quoted(text)
    assert eval(source) == text
    assert source.startswith('"' if text.count('"') <= text.count("'") else "'")
    assert eval(rendering._quoted(text.encode())) == text.encode()


@pytest.mark.parametrize("version", ["11.8.9-MariaDB-0+deb13u1 from Debian-log", "10.11.19-MariaDB-log"])
@pytest.mark.parametrize("table, lines", [("trucks", 1), ("t" * 40, 2)])
def test_the_first_comment_has_the_command_and_the_version_unbroken(version: str, table: str, lines: int) -> None:
    columns = Columns([Column("id", "int")])
    comment = rendering.render([describing.Description("cars", table, version, columns, ())]).partition("\nfrom")[0]
    assert len(comment.splitlines()) == lines
    assert comment.startswith("# By python -m trio_hs describe: ")
    assert comment.replace("\n#   ", " ").endswith(f"cars.{table} on MariaDB {version.partition('-')[0]}.")


def module_of(*tables: tuple[str, list[Column]], db: str = "d") -> tuple[str, dict[str, Any]]:
    """The module for these tables, with classes, and its names. Another database is written ``db.table``."""
    described = []
    for table, columns in tables:
        other, dot, name = table.rpartition(".")
        described.append(describing.Description(other if dot else db, name, "10.11.0", Columns(columns), ()))
    source = rendering.render(described, dataclasses=True)
    assert formatted(source) == source
    names: dict[str, Any] = {}
    exec(compile(source, "described", "exec", dont_inherit=True), names)
    return source, names


@pytest.mark.process
def test_the_class_has_the_types_that_values_come_back_as() -> None:
    columns = [Column(f"c{number}", **options_of(case.column)) for number, case in enumerate(CASES)]
    _, names = module_of(("everything", columns))
    hints = get_type_hints(names["Everything"])
    for number, case in enumerate(CASES):
        bound = case.bounds[0]
        if case.column.type in ("uuid", "inet4", "inet6"):  # the server returns text
            value = case.column.decode(str(bound).encode())
        else:
            value = case.column.decode(case.column.encode(bound[:100] if isinstance(bound, str | bytes) else bound))
        kinds = get_args(hints[f"c{number}"])
        assert [get_origin(kind) or kind for kind in kinds] == [type(value), type(None)]
    assert {column.type for column in columns} == set(TYPES)


def options_of(column: Column) -> dict[str, Any]:
    """The arguments that make the column, but its name."""
    return {one.name: getattr(column, one.name) for one in dataclasses.fields(Column) if one.init and one.name != "name"}


@pytest.mark.process
def test_names_that_collide() -> None:
    dates = [Column("date", "date"), Column("datetime", "datetime"), Column("int", "int", nullable=True), Column("n", "int")]
    source, names = module_of(
        ("shop.order", dates), ("old.order", dates), ("columns", [Column("id", "int")]), ("t", [Column("uuid", "uuid")])
    )
    assert {"SHOP_ORDER", "ShopOrder", "OLD_ORDER", "OldOrder", "COLUMNS", "ColumnsRow", "T", "TRow"} <= set(names)
    for line in (
        "_date = datetime.date",
        "    date: _date",
        "    datetime: _datetime",
        "    int: _int | None",
        "    uuid: _UUID",
    ):
        assert f"{line}\n" in source
    assert source.count("_date = datetime.date\n") == 1
    with pytest.raises(describing.DescribeError, match="two of these tables would be called A_B"):
        module_of(("a-b", dates), ("a_b", dates))
    source, names = module_of(("class", [Column("id", "int"), Column("by the second", "int")]))
    assert "# No class for the rows of d.class: by the second cannot be the name of a field." in source
    assert set(names) >= {"CLASS", "Columns"}
    assert "Class" not in names
    source, names = module_of(("9", [Column("id", "int"), Column("class", "int", invisible=True)]))
    assert list(get_type_hints(names["_9Row"])) == ["id"]


@pytest.mark.process
@pytest.mark.parametrize("name", ["µ", "ﬁ", "__secret", "__init__"])
def test_no_class_has_a_field_that_python_would_name_otherwise(name: str) -> None:
    """As ``μ`` and ``fi``, or with the name of the class in front. ``row=`` would refuse the class."""
    source, names = module_of(("t", [Column("id", "int"), Column(name, "int")]))
    assert f"# No class for the rows of d.t: {name} cannot be the name of a field." in source
    assert [column.name for column in names["T"]] == ["id", name]


@pytest.mark.process
def test_tables_whose_names_python_takes_as_equal() -> None:
    with pytest.raises(describing.DescribeError, match="two of these tables would be called FI"):
        module_of(("ﬁ", [Column("id", "int")]), ("fi", [Column("id", "int")]))
