"""``python -m trio_hs describe`` with a real server: it prints code that can be pasted, or names what it cannot describe."""

from __future__ import annotations

import datetime
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator
from decimal import Decimal
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any

import pytest

from hs_drill._cluster import Cluster
from hs_drill.servers import execute_sql
from tests.trio_hs.support.declarations import CASES
from tests.trio_hs.support.formatted import formatted
from tests.trio_hs.support.real_servers import manager, release
from trio_hs import Column, Columns
from trio_hs.__main__ import main
from trio_hs._columns import _describe as describing
from trio_hs._columns._declaration import TYPES

DATABASE = "described"
LONG = "x" * 70
IN_2038 = datetime.datetime(2038, 1, 1, 1, 2, 3, 500000)
HALF_PAST = datetime.datetime(2024, 1, 31, 1, 2, 3, 500000)
SEVENTH = uuid.UUID("01234567-89ab-7def-8123-456789abcdef")


@pytest.fixture
async def sql(cluster: Cluster) -> AsyncIterator[Any]:
    async def run(*statements: str) -> None:
        await execute_sql(cluster.writer, *statements)

    await run(f"CREATE DATABASE {DATABASE} CHARACTER SET utf8mb4")
    yield run
    await run(f"DROP DATABASE {DATABASE}")


@pytest.fixture
def arguments(cluster: Cluster, tmp_path: Path) -> list[str]:
    server = cluster.writer
    file = tmp_path / "password"
    file.write_text(f"{server.admin_password}\nno part of it\n")
    where = ["--host", server.host, "--port", str(server.sql_port)]
    return ["describe", *where, "--user", server.admin_user, "--password-file", str(file)]


def described(arguments: list[str], table: str, capsys: pytest.CaptureFixture[str]) -> tuple[str, Columns]:
    """The printed code, and the columns that it evaluates to."""
    assert main([*arguments, f"{DATABASE}.{table}"]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    names: dict[str, Any] = {}
    exec(printed.out, names)
    return printed.out, names[table.upper()]


@pytest.mark.mariadb
async def test_a_table_of_all_types(
    sql: Any, arguments: list[str], cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    columns, parts = [Column("id", "int", unsigned=True, auto_increment=True)], ["id INT UNSIGNED NOT NULL AUTO_INCREMENT"]
    for number, case in enumerate(CASES):
        options = {
            name: getattr(case.column, name) for name in ("length", "charset", "precision", "scale", "unsigned", "members")
        }
        if case.column.charset == "utf8mb4":
            options["charset"] = None
        options["until_2106"] = case.column.type == "timestamp" and release(cluster) >= (11, 5)
        columns.append(Column(f"c{number}", case.column.type, nullable=True, **options))
        parts.append(f"c{number} {case.sql} NULL")
    await sql(
        f"CREATE TABLE {DATABASE}.everything ({', '.join(parts)}, PRIMARY KEY (id), KEY `by the second` (c2, c1, c0))"
        " ROW_FORMAT=DYNAMIC"
    )
    source, found = described(arguments, "everything", capsys)
    assert found == Columns(columns, {"PRIMARY": ["id"], "by the second": ["c2", "c1", "c0"]})
    assert {column.type for column in found} == set(TYPES)
    assert formatted(source) == source
    assert f"# Mind: {len(columns)} columns: HandlerSocket sets at most 32 in an insert" in source
    async with manager(cluster) as hs:
        assert await hs.table(DATABASE, "everything", columns=found).get(1) == []


@pytest.mark.mariadb
async def test_defaults_and_oddities(
    sql: Any, arguments: list[str], cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    newer = release(cluster) >= (11, 8)
    # 10.11 shows a question mark for each of these bytes.
    shown: dict[str, Any] = {"default": b"\0\xff"} if newer else {"default_is_expression": True}
    defaults: list[tuple[str, str, Column]] = [
        ("decimal(5,2)", "1.5", Column("c", "decimal", precision=5, scale=2, default=Decimal("1.50"))),
        ("double", "1e10", Column("c", "double", default=1e10)),
        ("int", "-5", Column("c", "int", default=-5)),
        ("int", "(1 + 1)", Column("c", "int", default_is_expression=True)),
        ("year", "2024", Column("c", "year", default=2024)),
        ("bit(4)", "5", Column("c", "bit", length=4, default=5)),
        ("date", "'2024-01-31'", Column("c", "date", default=datetime.date(2024, 1, 31))),
        ("datetime(3)", "'2024-01-31 01:02:03.5'", Column("c", "datetime", precision=3, default=HALF_PAST)),
        ("datetime", "current_timestamp()", Column("c", "datetime", default_is_expression=True)),
        ("time", "'-10:00:00'", Column("c", "time", default=datetime.timedelta(hours=-10))),
        ("uuid", f"'{SEVENTH}'", Column("c", "uuid", default=SEVENTH)),
        ("inet6", "'::1'", Column("c", "inet6", default=IPv6Address("::1"))),
        ("set('x','y')", "'x,y'", Column("c", "set", members=["x", "y"], default=frozenset("xy"))),
        ("set('x','y')", "''", Column("c", "set", members=["x", "y"], default=frozenset())),
        ("enum('\\\\','e''\"')", "'e''\"'", Column("c", "enum", members=["\\", "e'\""], default="e'\"")),
        (f"enum('{LONG}','y')", f"'{LONG}'", Column("c", "enum", members=[LONG, "y"], default=LONG)),
        ("varchar(9)", "'it''s'", Column("c", "varchar", length=9, default="it's")),
        ("varchar(9)", "''", Column("c", "varchar", length=9, default="")),
        ("varchar(30)", "'NULL'", Column("c", "varchar", length=30, default="NULL")),
        ("varchar(30)", "'5'", Column("c", "varchar", length=30, default="5")),
        ("varchar(30)", "'a\\nb\\0c\"\\'é\\\\n'", Column("c", "varchar", length=30, default="a\nb\0c\"'é\\n")),
        ("char(3) character set latin1", "'é'", Column("c", "char", length=3, charset="latin1", default="é")),
        ("text", "'abc'", Column("c", "text", default="abc")),
        ("varchar(9)", "'😀'", Column("c", "varchar", length=9, default_is_expression=True)),
        ("char(9) character set latin1", "'why?'", Column("c", "char", length=9, charset="latin1", default="why?")),
        ("json", "'{}'", Column("c", "json", default="{}")),
        ("binary(3)", "'ab'", Column("c", "binary", length=3, default=b"ab\0")),
        ("blob", "'x'", Column("c", "blob", default=b"x")),
        ("varbinary(4)", "x'00ff'", Column("c", "varbinary", length=4, **shown)),
        ("timestamp", "current_timestamp()", Column("c", "timestamp", default_is_expression=True, until_2106=newer)),
        ("timestamp(6)", "'2038-01-01 01:02:03.5'", Column("c", "timestamp", precision=6, until_2106=newer, default=IN_2038)),
        ("inet4", "'127.0.0.1'", Column("c", "inet4", default=IPv4Address("127.0.0.1"))),
        ("varchar(4) compressed", "'x'", Column("c", "varchar", length=4, default="x")),
        ("int(5) zerofill", "7", Column("c", "int", unsigned=True, default=7)),
        ("int invisible", "7", Column("c", "int", default=7, invisible=True)),
    ]  # fmt: skip
    columns = [Column("id", "int")]
    parts = ["id INT NOT NULL"]
    for number, (kind, default, column) in enumerate(defaults):
        parts.append(f"c{number} {kind} {'' if 'invisible' in kind else 'NOT NULL'} DEFAULT {default}")
        options = {name: getattr(column, name) for name in Column.__dataclass_fields__ if name not in ("name", "type", "_type")}
        options["nullable"] = "invisible" in kind
        columns.append(Column(f"c{number}", column.type, **options))
    await sql(f"CREATE TABLE {DATABASE}.odd ({', '.join(parts)}, PRIMARY KEY (id))")
    source, found = described(arguments, "odd", capsys)
    assert list(found) == columns
    assert formatted(source) == source


@pytest.mark.mariadb
async def test_describe_warns_of_what_writes_bypass(sql: Any, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    await sql(
        f"CREATE TABLE {DATABASE}.`9 lives` (id INT, v INT AS (id + 1) VIRTUAL, s INT AS (id + 2) STORED, t TEXT NULL,"
        " at TIMESTAMP NULL ON UPDATE current_timestamp(), CONSTRAINT positive CHECK (id > 0),"
        " KEY v (v), FULLTEXT words (t), KEY prefix (t(5), id),"
        f" KEY {'long' * 15} (id, v, s, at)) WITH SYSTEM VERSIONING",
        f"CREATE TABLE {DATABASE}.history (id INT)",
        f"CREATE TRIGGER {DATABASE}.keep BEFORE INSERT ON {DATABASE}.history FOR EACH ROW SET NEW.id = NEW.id",
    )
    assert main([*arguments, f"{DATABASE}.9 lives"]) == 0
    source = capsys.readouterr().out
    assert "\n_9_LIVES = Columns(\n" in source
    assert '        "prefix": (("t", 5), "id"),\n' in source
    assert '        Column("s", "int", nullable=True, generated="stored"),\n' in source
    for warning in (
        "System versioning: HandlerSocket writes leave no history.",
        "ON UPDATE: HandlerSocket writes leave at alone",
        "Index words is left out: HandlerSocket finds nothing through a FULLTEXT index.",
        "No primary key: every handle needs an index_name.",
        "STORED column s: HandlerSocket does not compute it",
        "Index v covers a virtual column: HandlerSocket writes would corrupt it",
        "CHECK is not checked by HandlerSocket writes: positive.",
    ):
        assert f"# Mind: {warning}" in source
    assert formatted(source) == source
    assert "# Mind: Triggers do not run on HandlerSocket writes: keep." in described(arguments, "history", capsys)[0]


@pytest.mark.mariadb
async def test_describe_warns_of_an_index_without_an_order(
    sql: Any, arguments: list[str], cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    await sql(
        f"CREATE TABLE {DATABASE}.hash_ (id INT PRIMARY KEY, n INT NOT NULL, KEY tree (n, id) USING BTREE) ENGINE=MEMORY",
        f"INSERT INTO {DATABASE}.hash_ VALUES (1, 1), (2, 2)",
    )
    source, columns = described(arguments, "hash_", capsys)
    assert "# Mind: Index PRIMARY is a HASH index, which has no order: look rows up with = only." in source
    assert source.count("# Mind: ") == 1
    async with manager(cluster) as hs:
        by_hash = hs.table(DATABASE, "hash_", ["id"], columns=columns, row=dict)
        by_tree = hs.table(DATABASE, "hash_", ["id"], "tree", columns=columns, row=dict)
        assert await by_hash.find("=", [1]) == [{"id": 1}]
        assert await by_hash.find(">=", [1], 9) == [{"id": 1}]
        assert await by_hash.scan().page() == []
        assert await by_tree.find(">=", [1], 9) == [{"id": 1}, {"id": 2}]


@pytest.mark.mariadb
async def test_describe_warns_where_the_server_shows_question_marks(
    sql: Any, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """It shows one for each character beyond U+FFFF, in defaults and members, also in SHOW CREATE TABLE."""
    await sql(
        f"CREATE TABLE {DATABASE}.moods (id INT PRIMARY KEY, mood VARCHAR(9) NOT NULL DEFAULT '😀!',"
        " e ENUM('😀','b') NOT NULL DEFAULT '😀', wide SET('😀','ü') CHARACTER SET utf16 NOT NULL DEFAULT '',"
        " narrow ENUM('?','b') CHARACTER SET latin1 NOT NULL DEFAULT '?', zero DATE NOT NULL DEFAULT '0000-00-00',"
        " u CHAR(2) CHARACTER SET utf32 NOT NULL DEFAULT '😀')",
        f"CREATE TABLE {DATABASE}.twice (id INT PRIMARY KEY, e ENUM('😀','😎') COLLATE utf8mb4_bin)",
    )
    source, found = described(arguments, "moods", capsys)
    joined = source.replace("\n#   ", " ")
    for name, shown in (("mood", "'?!'"), ("e", "'?'"), ("u", "'?'")):
        assert found.column(name).required
        assert f"# Mind: The default of {name} is left out: the server may show ? for what it has, as in {shown}." in joined
    for name in ("e", "wide"):
        assert f"# Mind: Members of {name}: the server shows ? for characters beyond U+FFFF." in joined
    assert found.column("narrow").default == "?"
    assert source.count("# Mind: ") == 5
    assert formatted(source) == source
    assert main([*arguments, f"{DATABASE}.twice"]) == 2
    assert "enum('?','?'): column e: the server shows ? for members of characters beyond" in capsys.readouterr().err


@pytest.mark.mariadb
async def test_a_table_that_cannot_be_described_is_one_line_and_exit_code_2(
    sql: Any, arguments: list[str], cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    await sql(
        f"CREATE VIEW {DATABASE}.view_ AS SELECT 1 AS id",
        f"CREATE TABLE {DATABASE}.hashed (id INT PRIMARY KEY, t TEXT, UNIQUE long_one (t))",
        f"CREATE SEQUENCE {DATABASE}.sequence_",
        f"CREATE TABLE {DATABASE}.parts (id INT PRIMARY KEY) PARTITION BY HASH (id) PARTITIONS 3",
        f"CREATE TABLE {DATABASE}.part (id INT PRIMARY KEY) PARTITION BY HASH (id) PARTITIONS 1",
        f"CREATE TABLE {DATABASE}.place (id INT PRIMARY KEY, p POINT)",
        f"CREATE TABLE {DATABASE}.big (id INT PRIMARY KEY, s VARCHAR(3) CHARACTER SET big5)",
    )
    refusals = {
        f"{DATABASE}.view_": f"{DATABASE}.view_ is a view: opening an index on a view kills the server",
        "information_schema.tables": "information_schema.tables is a view",
        f"{DATABASE}.hashed": f"{DATABASE}.hashed has the long unique key long_one",
        f"{DATABASE}.sequence_": f"{DATABASE}.sequence_ is a sequence",
        f"{DATABASE}.parts": f"{DATABASE}.parts is partitioned: a lookup other than by the whole primary key may kill the",
        f"{DATABASE}.part": f"{DATABASE}.part is partitioned",
        f"{DATABASE}.place": f"{DATABASE}.place: a declared table cannot have this point: column p: there is no type 'point'",
        f"{DATABASE}.big": f"{DATABASE}.big: a declared table cannot have this varchar(3): column s: has the charset 'big5'",
        f"{DATABASE}.none": f"there is no table {DATABASE}.none that {cluster.writer.admin_user} at {cluster.writer.host}:",
        "none": f"no table of the database none can be described: {cluster.writer.admin_user} at {cluster.writer.host}:",
        ".table": "'.table' names no table: write DB.TABLE",
    }
    for table, message in refusals.items():
        assert main([*arguments, table]) == 2
        printed = capsys.readouterr()
        assert printed.out == ""
        assert printed.err.startswith(f"trio_hs describe: {message}")
        assert printed.err.count("\n") == 1


@pytest.mark.mariadb
async def test_an_account_that_may_not_see_the_table(
    sql: Any, cluster: Cluster, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    server = cluster.writer
    await sql(f"CREATE TABLE {DATABASE}.t (id INT PRIMARY KEY)", "CREATE USER nobody@'%' IDENTIFIED BY 'secret'")
    try:
        monkeypatch.setenv("MYSQL_PWD", "secret")
        where = ["--host", server.host, "--port", str(server.sql_port)]
        assert main(["describe", *where, "--user", "nobody", f"{DATABASE}.t"]) == 2
        assert f"there is no table {DATABASE}.t that nobody at" in capsys.readouterr().err
    finally:
        await sql("DROP USER nobody@'%'")


@pytest.mark.mariadb
async def test_memory_tables_with_hashes_and_federated_tables(
    sql: Any, arguments: list[str], cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    server = cluster.writer
    link = f"mysql://{server.admin_user}:{server.admin_password}@{server.host}:{server.sql_port}/{DATABASE}/there"
    quietly = "SET sql_log_bin = 0"  # the replica does not know the storage engine
    await sql(
        quietly,
        f"CREATE TABLE {DATABASE}.memory_ (id INT PRIMARY KEY) ENGINE=MEMORY",
        f"CREATE TABLE {DATABASE}.there (id INT PRIMARY KEY)",
        "INSTALL SONAME 'ha_federatedx'",
        f"CREATE TABLE {DATABASE}.federated_ (id INT PRIMARY KEY) ENGINE=FEDERATED CONNECTION='{link}'",
    )
    try:
        assert described(arguments, "memory_", capsys)[1] == Columns([Column("id", "int")], {"PRIMARY": ["id"]})
        source = described(arguments, "federated_", capsys)[0]
        assert "# Mind: FEDERATED: find with < and <= is refused" in source
        assert server.admin_password not in source
    finally:
        await sql(quietly, f"DROP TABLE {DATABASE}.federated_", "UNINSTALL SONAME 'ha_federatedx'")


@pytest.mark.mariadb
async def test_a_wrong_password_is_one_line_without_it(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    server = cluster.writer
    arguments = ["describe", "--host", server.host, "--port", str(server.sql_port), "--user", server.admin_user, "a.b"]
    monkeypatch.setenv("MYSQL_PWD", "not-the-password")
    assert main(arguments) == 2
    printed = capsys.readouterr().err
    assert printed.startswith(
        f"trio_hs describe: cannot read a.b as {server.admin_user} at {server.host}:{server.sql_port}: Access denied"
    )
    assert printed.count("\n") == 1
    assert "not-the-password" not in printed
    monkeypatch.setenv("MYSQL_PWD", server.admin_password)
    assert main(arguments) == 2
    assert "there is no table a.b" in capsys.readouterr().err


@pytest.mark.process
def test_no_server() -> None:
    """In a separate process, because PyMySQL leaks a socket that it could not connect."""
    command = [sys.executable, "-m", "trio_hs", "describe", "--unix-socket", "/nowhere/to.sock", "--user", "u", "a.b"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("trio_hs describe: cannot read a.b as u at /nowhere/to.sock: ")
    assert done.stderr.count("\n") == 1


def test_a_password_file_that_cannot_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["describe", "--user", "u", "a.b", "--password-file"]
    assert main([*arguments, str(tmp_path / "none")]) == 2
    assert "cannot read the password file" in capsys.readouterr().err
    (tmp_path / "empty").touch()
    assert main([*arguments, str(tmp_path / "empty"), "--port", "1", "--host", "127.0.0.1"]) == 2
    assert "cannot read a.b as u at 127.0.0.1:1" in capsys.readouterr().err


def test_without_pymysql_the_command_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "pymysql", None)
    assert main(["describe", "--user", "u", "a.b"]) == 2
    assert capsys.readouterr().err == f"trio_hs describe: {describing.NO_PYMYSQL}\n"


@pytest.mark.mariadb
async def test_a_database_is_one_module_with_a_class_for_each_table(
    sql: Any, arguments: list[str], cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    await sql(
        f"CREATE TABLE {DATABASE}.trucks (id INT PRIMARY KEY, made DATE NULL, owner INT NOT NULL, UNIQUE KEY made (made),"
        " KEY newest (owner, id DESC))",
        f"CREATE TABLE {DATABASE}.truck_owners (id INT PRIMARY KEY, price DECIMAL(5,2) NOT NULL DEFAULT 1)",
        f"CREATE VIEW {DATABASE}.owned AS SELECT id FROM {DATABASE}.trucks",
    )
    assert main([*arguments, "--dataclass", DATABASE]) == 0
    printed = capsys.readouterr()
    reason = f"{DATABASE}.owned is a view: opening an index on a view kills the server"
    assert printed.err == f"trio_hs describe: left out: {reason}\n"
    source = printed.out
    assert f"# Left out: {reason}." in source.replace("\n#   ", " ")
    assert formatted(source) == source
    names: dict[str, Any] = {}
    exec(compile(source, "described", "exec", dont_inherit=True), names)
    trucks, truck = names["TRUCKS"], names["Trucks"]
    keys = {"PRIMARY": ["id"], "made": ["made"], "newest": ["owner", "id DESC"]}
    assert trucks == Columns(
        [Column("id", "int"), Column("made", "date", nullable=True), Column("owner", "int")], keys, ["made"]
    )
    await sql(
        f"INSERT INTO {DATABASE}.trucks VALUES (1, '2024-02-29', 5)", f"INSERT INTO {DATABASE}.truck_owners VALUES (5, 1)"
    )
    async with manager(cluster) as hs:
        table = hs.table(DATABASE, "trucks", columns=trucks, row=truck)
        assert await table.get(1) == truck(1, datetime.date(2024, 2, 29), 5)
        owners = hs.table(DATABASE, "truck_owners", columns=names["TRUCK_OWNERS"], row=names["TruckOwners"])
        assert await owners.get(5) == names["TruckOwners"](5, Decimal("1.00"))
    two = [f"{DATABASE}.trucks", f"{DATABASE}.truck_owners", f"{DATABASE}.trucks"]
    assert main([*arguments, *two]) == 0
    source = capsys.readouterr().out
    assert formatted(source) == source
    assert "class" not in source
    assert source.count(" = Columns(") == 2
    assert main([*arguments, f"{DATABASE}.trucks", f"{DATABASE}.owned"]) == 2
    assert capsys.readouterr().out == ""


@pytest.mark.process
def test_the_client_does_not_import_pymysql() -> None:
    check = "import sys, trio_hs, trio_hs.__main__; sys.exit('pymysql' in sys.modules)"
    subprocess.run([sys.executable, "-c", check], check=True)


@pytest.mark.process
def test_as_a_module() -> None:
    done = subprocess.run([sys.executable, "-m", "trio_hs"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "usage: python -m trio_hs" in done.stderr


@pytest.mark.parametrize(
    "kind, shown, default",
    [
        ("binary", "x'616200'", b"ab\0"),  # as MariaDB 11.8 shows it
        ("binary", "X'00FF3F'", b"\0\xff?"),
        ("varbinary", "x''", b""),
        ("blob", "0x00ff", b"\0\xff"),
        ("binary", "'ab\\0'", b"ab\0"),  # as 10.11 does
        ("varbinary", "'a?'", None),
        ("varbinary", "x'616'", None),
        ("varbinary", "x'4' + 1", None),
        ("varchar", "x'4142'", None),
        ("int", "x'41'", None),
        ("varchar", "'?'", None),
    ],
)
def test_defaults_of_bytes_as_the_versions_show_them(kind: str, shown: str, default: bytes | None) -> None:
    row = {
        "column_name": "c",
        "data_type": kind,
        "column_type": kind,
        "character_maximum_length": 3,
        "numeric_precision": None,
        "datetime_precision": None,
        "character_set_name": "utf8mb4" if kind == "varchar" else None,
        "is_nullable": "NO",
        "column_default": shown,
        "extra": "",
    }
    column = describing._column(row, until_2106=False)
    assert column.default_is_expression is (default is None)
    if default is not None:
        assert column == Column("c", kind, default=default, length=None if kind == "blob" else 3)
