"""The embedded server's engine: declarations, collations, changes. None of it needs MariaDB to compare with."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from tests.trio_hs.support.requests import CHANCE, chance
from trio_hs.testing import Table
from trio_hs.testing._collation import COLLATIONS
from trio_hs.testing._declaration import Column
from trio_hs.testing._session import Session
from trio_hs.testing._table import Change, Database, DivergedError
from trio_hs.testing._versions import DEFAULT_VERSION, VERSIONS
from trio_hs.testing._wire import decode, pack_changes, unpack_changes


def table(**options: Any) -> Table:
    return Table(**{"database": "d", "name": "t", "columns": {"id": "INT NOT NULL", "v": "VARCHAR(5)"}, **options})


@pytest.mark.parametrize(
    "options, message",
    [
        ({"columns": {}}, "it has no columns"),
        ({"columns": {"id": ""}}, "column id: a declaration begins with a type"),
        ({"columns": {"id": "INTEGR"}}, "the type INTEGR is not emulated"),
        ({"columns": {"id": "INT ("}}, r"cannot make sense of 'INT \(': a quote or a parenthesis has no partner"),
        ({"columns": {"id": "INT(x) ZEROFILL"}}, r"cannot make sense of \(x\)"),
        ({"columns": {"id": "VARCHAR"}}, r"VARCHAR needs its length, such as VARCHAR\(40\)"),
        ({"columns": {"id": "ENUM"}}, "an ENUM or SET needs its members"),
        ({"columns": {"id": "FLOAT(5,2)"}}, r"FLOAT\(5,2\) is not emulated: declare FLOAT"),
        ({"columns": {"id": "DECIMAL(70,2)"}}, "the precision is 1 to 65"),
        ({"columns": {"id": "BIT(65)"}}, "1 to 64 bits"),
        ({"columns": {"id": "TIME(7)"}}, "0 to 6 digits"),
        ({"columns": {"id": "TEXT CHARACTER SET latin2"}}, "no collation 'latin2' here; there are utf8mb4_general_ci"),
        ({"columns": {"id": "TEXT CHARSET latin1 COLLATE utf8mb4_bin"}}, "does not belong to the character set latin1"),
        ({"columns": {"id": "TEXT AUTO_INCREMENT"}}, "AUTO_INCREMENT needs an integer type"),
        ({"columns": {"id": "INT NOT NULL DEFAULT NULL"}}, "DEFAULT NULL in a column that is NOT NULL"),
        ({"columns": {"id": "INT AUTO_INCREMENT"}}, "the first column of a key"),
        ({"primary_key": ["nothing"]}, "'nothing' names no column"),
        ({"primary_key": ["id(3)"]}, "only text and binary columns can have a prefix"),
        ({"primary_key": "id"}, "the columns of a key are a list, not 'id'"),
        ({"columns": {"b": "BLOB"}, "indexes": {"b": ["b"]}}, r"needs a prefix in an index: 'b\(100\)'"),
    ],
)
def test_a_wrong_declaration_says_what_is_wrong(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        table(**options)
    assert str(caught.value).startswith("table d.t")


def test_two_tables_of_one_name() -> None:
    with pytest.raises(ValueError, match=r"there are two tables d\.t"):
        Database([table(), table()])


def test_the_sql_of_a_table() -> None:
    assert table(primary_key=["id"], unique={"u": ["v(3)", "id DESC"]}, indexes={"i": ["v"]}).sql() == (
        "CREATE TABLE `d`.`t` (`id` INT NOT NULL, `v` VARCHAR(5), PRIMARY KEY (id), UNIQUE KEY `u` (v(3), id DESC), "
        "KEY `i` (v)) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4"
    )


@pytest.mark.parametrize(
    "sql, initial",
    [
        ("INT NULL DEFAULT 5", 5),
        ("INT NULL", 0),
        ("VARCHAR(5) NOT NULL DEFAULT 'it''s'", b"it's"),
        ("ENUM('a','b') NOT NULL", 1),
        ("ENUM('a','b')", 0),
        ("BINARY(2) NOT NULL", b"\0\0"),
        ("BOOL NOT NULL DEFAULT 1", 1),
    ],
)
def test_what_an_insert_stores_in_a_column_that_it_leaves_out(sql: str, initial: object) -> None:
    assert Column("c", sql, VERSIONS[DEFAULT_VERSION]).initial == initial


def padded(text: str, length: int = 40) -> str:
    return text.ljust(length)


@pytest.mark.parametrize("name", [name for name in COLLATIONS if name != "binary"])
def test_trailing_spaces_do_not_count(name: str) -> None:
    """Keys order texts as if they were padded with spaces, even if they contain spaces."""
    collation = COLLATIONS[name]
    rng = random.Random(5)
    texts = ["".join(rng.choice(" \t\x01a!B") for _ in range(rng.randint(0, 6))) for _ in range(400)]
    for one, other in zip(texts, reversed(texts), strict=True):
        weights, other_weights = padded(collation.weigh(one)), padded(collation.weigh(other))
        expected = (weights > other_weights) - (weights < other_weights)
        key, other_key = collation.key(one), collation.key(other)
        assert (key > other_key) - (key < other_key) == expected, (one, other)


def run(database: Database, seed: int) -> list[Change]:
    """Execute random writes. Returns their changes."""
    session = Session(database, writable=True, secret=None)
    for _, data in chance(seed, 300).steps:
        session.execute(data[:-1])
    return database.commit()


def test_changes_can_be_undone_and_applied_elsewhere() -> None:
    declaration = Table("conformance", "chance_9", CHANCE.columns, CHANCE.primary_key, CHANCE.unique, CHANCE.indexes)
    database, replica = Database([declaration]), Database([declaration])
    changes = run(database, 9)
    assert len(changes) > 50
    sent = unpack_changes(decode(b'{"changes": %b}' % json.dumps(pack_changes(changes)).encode())["changes"])
    assert sent == changes
    replica.apply(sent)
    assert replica.copy() == database.copy() != []
    with pytest.raises(DivergedError, match="another row has a key"):
        replica.apply(replica.copy()[:1])
    deleted = next(change for change in changes if change.after is None)
    with pytest.raises(DivergedError, match="is not there"):
        replica.apply([deleted])
    database.revert(changes)
    assert database.copy() == []
    assert all(not index.entries for stored in database.tables.values() for index in stored.indexes)
    database.replace(replica.copy())
    assert database.copy() == replica.copy()
    with pytest.raises(DivergedError, match="there is no table"):
        database.apply([Change(("no", "where"), None, (1,))])
