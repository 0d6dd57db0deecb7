"""Columns from types as SQL writes them."""

from __future__ import annotations

import pytest

from tests.trio_hs.support.declarations import CASES, IDS, Case
from trio_hs import Column


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_every_type(case: Case) -> None:
    """A real server has these cases with the same SQL (`test_declared`)."""
    assert Column.from_sql("v", case.sql, nullable=True) == case.column
    assert Column.from_sql("v", case.sql.upper() if "'" not in case.sql else case.sql, nullable=True) == case.column


@pytest.mark.parametrize(
    "sql, same",
    [
        ("int(11)", "int"),
        ("int(5) zerofill", "int unsigned"),
        ("integer signed", "int"),
        ("bool", "tinyint"),
        ("numeric", "decimal(10,0)"),
        ("decimal(5)", "decimal(5,0)"),
        ("double precision", "double"),
        ("double precision(7,2)", "double(7,2)"),
        ("real", "double"),
        ("float(24)", "float"),
        ("float(25)", "double"),
        ("char", "char(1)"),
        ("bit", "bit(1)"),
        ("year(4)", "year"),
        ("datetime(0)", "datetime"),
        ("varchar(9) charset latin1", "varchar(9) character set latin1"),
        ("varchar(9) collate latin1_german1_ci", "varchar(9) character set latin1"),
        ("varchar(9) character set utf8mb4 collate utf8mb4_bin", "varchar(9)"),
        ("varchar(9) collate uca1400_ai_ci", "varchar(9)"),
        ("enum('it''s', \"b\", 'c\\'d')", "enum(\"it's\",'b',\"c'd\")"),
        ("  text  ", "text"),
    ],
)
def test_synonyms(sql: str, same: str) -> None:
    assert Column.from_sql("v", sql) == Column.from_sql("v", same)


def test_what_does_not_belong_to_the_type() -> None:
    column = Column.from_sql("id", "bigint unsigned", auto_increment=True)
    assert column == Column("id", "bigint", unsigned=True, auto_increment=True)
    assert Column.from_sql("a", "int", default=5).default == 5


@pytest.mark.parametrize(
    "sql, message",
    [
        ("", "a type is missing, such as `int unsigned` or `varchar(40)`"),
        ("bigin", "trio-hs has no type 'bigin'; did you mean bigint?"),
        ("geometry", "trio-hs has no type 'geometry'; the known ones are tinyint, "),
        ("int not null", "NOT NULL is not part of a type: write only the type, such as `int unsigned`"),
        ("int default 5", "DEFAULT is not part of a type"),
        ("int auto_increment", "AUTO_INCREMENT is not part of a type"),
        ("int generated always as (1)", "a generated column is not part of a type"),
        ("varchar", "needs its length, such as varchar(40)"),
        ("enum", "needs its members, such as enum('a','b')"),
        ("enum('a','a')", "a member is named twice"),
        (f"set({','.join(repr(str(n)) for n in range(65))})", "has at most 64 members, not 65"),
        ("decimal(1,2,3)", "cannot make sense of (1,2,3) behind decimal"),
        ("decimal(66)", "the precision of a decimal is from 1 to 65, not 66"),
        ("decimal(40,39)", "the scale of a decimal is from 0 to 38, not 39"),
        ("double(5)", "needs precision and scale, such as double(10,2), or neither"),
        ("float(54)", "the precision of a float is from 0 to 53, not 54"),
        ("datetime(7)", "the precision of a datetime is from 0 to 6, not 7"),
        ("text(5)", "a text has nothing in parentheses, not (5)"),
        ("varchar(x)", "cannot make sense of (x) behind varchar"),
        ("varchar(5) unsigned", "cannot make sense of 'unsigned' in a varchar"),
        ("varchar(5) charset", "CHARSET needs a value"),
        ("varchar(5) charset klingon", "has the charset 'klingon'; the known ones are ascii, "),
        ("varchar(5) charset latin1 collate utf8mb4_bin", "the collation utf8mb4_bin is not one of the character set latin1"),
        ("json charset latin1", "cannot make sense of 'charset latin1' in a json"),
        ("int(", "cannot make sense of 'int(': a quote or a parenthesis has no partner"),
        ("int; drop table t", "trio-hs has no type 'int;'; did you mean int?"),
    ],
)
def test_what_is_no_type(sql: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        Column.from_sql("v", sql)
    assert str(caught.value).startswith(f"column v: {message}")
