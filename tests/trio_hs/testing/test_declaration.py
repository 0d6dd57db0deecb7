"""Declarations of tables: what is taken, and what a refusal says. That the server does the same: test_conformance.py."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.trio_hs.support.requests_ddl import COUNTED, FILLED
from trio_hs.testing import Table

REFUSED = [
    ("INT GENERATED ALWAYS AS (id + 1)", "a generated column is not emulated"),
    ("INT AS (id + 1) STORED", "a generated column is not emulated"),
    ("INT REFERENCES other (id)", "a foreign key is not emulated"),
    ("TEXT COMPRESSED", "a compressed column is not emulated"),
    ("INT DEFAULT (1 + 2)", r"DEFAULT \(1 \+ 2\) is not emulated: write the constant"),
    ("VARCHAR(9) DEFAULT (concat('a', 'b'))", r"DEFAULT \(concat\('a', 'b'\)\) is not emulated: write the constant"),
    ("INT DEFAULT nonsense", "DEFAULT nonsense is not emulated"),
    ("INT DEFAULT q'1'", "DEFAULT q'1' is not emulated: write a plain literal"),
    ("INT NOT NULL DEFAULT NULL", "DEFAULT NULL in a column that is NOT NULL"),
    ("INT DEFAULT", "DEFAULT needs a value"),
    ("INT COMMENT", "COMMENT needs a value"),
    ("INT ON UPDATE CURRENT_TIMESTAMP", "ON UPDATE takes CURRENT_TIMESTAMP, on a DATETIME or TIMESTAMP"),
    ("DATETIME ON UPDATE UUID()", "ON UPDATE takes CURRENT_TIMESTAMP"),
    ("INT NOT NULL INVISIBLE", "an INVISIBLE column that is NOT NULL needs a DEFAULT"),
    ("INT CHECK (n > 3", "a quote or a parenthesis has no partner"),
    ("INT DEFAULT 'x", "a quote or a parenthesis has no partner"),
    ("INT CHECK )n(", "a quote or a parenthesis has no partner"),
    ("INT SURPRISE", "cannot make sense of 'SURPRISE'"),
    ("VARCHAR(9) COLLATE utf8mb4_klingon_ci", "no collation 'utf8mb4_klingon_ci' here; there are .*utf8mb4_general_ci"),
    ("ENUM('a', 'b', 'A')", "the collation takes the members 'a' and 'A' for equal"),
    ("SET('a', 'a ')", "the collation takes the members 'a' and 'a' for equal"),
    ("ENUM('é', 'e') CHARACTER SET latin1", "the collation takes the members 'é' and 'e' for equal"),
    (f"SET({', '.join(repr(str(n)) for n in range(65))})", "a SET has at most 64 members, not 65"),
    ("TEXT UNIQUE", r"a BLOB or TEXT column needs a prefix in an index: 'c\(100\)'"),
]


@pytest.mark.parametrize("declaration, message", REFUSED)
def test_a_refusal_names_the_column_and_the_reason(declaration: str, message: str) -> None:
    with pytest.raises(ValueError, match=rf"^table d\.t(, column c)?: .*{message}"):
        Table("d", "t", {"id": "INT NOT NULL", "c": declaration}, primary_key=["id"])


# MariaDB's CREATE TABLE takes and refuses the same (measured on 10.11 and 11.8).
DEFAULTS: dict[str, tuple[list[object], list[object]]] = {
    "TIMESTAMP": (["2038-01-19 03:14:07.9", "1970-01-01 00:00:01", "0000-00-00 00:00:00", 0],
                  ["2106-02-07 06:28:16", "1970-01-01 00:00:00", "1969-01-01", "2024-02-30", "2024-00-01", "x", ""]),
    "DATETIME": (["2024-01-01 00:00:00.5", 20240101], ["2024-02-30", "x"]),
    "DATE": (["2024-01-01 10:00:00"], ["2024-13-01"]),
    "TIME": (["10:00:00.5", "-838:59:59"], ["900:00:00", "10:70:00", "x"]),
    "YEAR": (["99", 0], [1800]),
    "TINYINT": ([-128, "1.5", " 5", "5 "], [300, -129, "5x", "abc", ""]),
    "TINYINT UNSIGNED": ([255], [-1]),
    "BIGINT": ([2**63 - 1], [2**63]),
    "BIT(4)": ([15, 15.4], [16, 15.5, -1, "a"]),
    "BIT(64)": ([-1], [2**64]),
    "DECIMAL(3,1)": (["1.25"], [100]),
    "FLOAT": ([1e38], [1e39, "x"]),
    "VARCHAR(2)": (["ab"], ["abc", "ab "]),
    "CHAR(2)": (["ab"], ["abc"]),
    "BINARY(2)": (["a"], ["abc"]),
    "ENUM('a','b')": (["A", "a "], ["c", "2", 2, ""]),
    "SET('a','b')": (["", "b,a"], ["c", "a,c", "3", 3]),
}  # fmt: skip


@pytest.mark.parametrize("type_", DEFAULTS)
def test_a_default_must_fit_its_type(type_: str) -> None:
    def table(default: object) -> Table:
        return Table("d", "t", {"c": f"{type_} NOT NULL DEFAULT {default!r}"})

    fitting, others = DEFAULTS[type_]
    for default in fitting:
        table(default)
    for default in others:
        with pytest.raises(
            ValueError, match=rf"^table d\.t, column c: DEFAULT '{re.escape(str(default))}' does not fit the type$"
        ):
            table(default)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"columns": {"a": "INT PRIMARY KEY"}, "primary_key": ["a"]}, "it has two primary keys"),
        ({"columns": {"a": "INT PRIMARY KEY", "b": "INT PRIMARY KEY"}}, "it has two primary keys"),
        ({"columns": {"a": "INT UNIQUE"}, "unique": {"a": ["a"]}}, "it has two indexes of the name a"),
        ({"columns": {"a": "INT UNIQUE"}, "indexes": {"a": ["a"]}}, "it has two indexes of the name a"),
        ({"columns": {"a": "INT AUTO_INCREMENT"}}, "AUTO_INCREMENT column, and it is the first column of a key"),
    ],
)
def test_keys_that_contradict_each_other_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Table("d", "t", **arguments)


def test_the_statement_has_each_declaration_as_it_was_written() -> None:
    for table in (FILLED, COUNTED):
        for name, declaration in table.columns.items():
            assert f"`{name}` {declaration}" in table.sql()
    assert "PRIMARY KEY (" not in FILLED.sql()  # it is declared at its column
