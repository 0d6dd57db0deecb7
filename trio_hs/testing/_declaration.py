"""Declarations of tables, with columns written as in SQL's CREATE TABLE: which types and attributes are taken."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from .._columns import Columns
from .._columns._attributes import NOW, Attributes, Default, strings
from ._collation import BINARY, UTF8MB4_BIN, find_collation
from ._from_columns import column_sql, part_sql
from ._times import Date, DateTime, Time
from ._types import Bit, ColumnType, DecimalType, Enum, Float, Integer, Set, Text, Value, Year
from ._versions import NEWEST_VERSION, Version, find_version

_INTEGERS = {"TINYINT": (1, 3), "SMALLINT": (2, 5), "MEDIUMINT": (3, 8), "INT": (4, 10), "INTEGER": (4, 10), "BIGINT": (8, 20)}
_BLOBS = {"TINY": 255, "": 65535, "MEDIUM": 2**24 - 1, "LONG": 2**32 - 1}


def _members(argument: str | None) -> list[str]:
    members = strings(argument or "")
    if not members:
        raise ValueError("an ENUM or SET needs its members, such as ENUM('a', 'b')")
    return members


def _numbers(argument: str | None, most: int) -> list[int]:
    if argument is None:
        return []
    numbers = [number.strip() for number in argument[1:-1].split(",")]
    if len(numbers) > most or not all(number.isdigit() for number in numbers):
        raise ValueError(f"cannot make sense of {argument}")
    return [int(number) for number in numbers]


def _parse_type(attributes: Attributes, version: Version) -> ColumnType:
    if not attributes.tokens:
        raise ValueError("a declaration begins with a type, such as INT or VARCHAR(40)")
    name = attributes.tokens.pop(0).upper()
    argument = attributes.tokens.pop(0) if attributes.tokens and attributes.tokens[0].startswith("(") else None
    if name == "DOUBLE":
        attributes.take("PRECISION")
    unsigned = attributes.take("UNSIGNED")
    attributes.take("SIGNED")
    zerofill = attributes.take("ZEROFILL")
    if name in ("BOOL", "BOOLEAN"):
        name = "TINYINT"
    if name in _INTEGERS:
        size, width = _INTEGERS[name]
        widths = _numbers(argument, 1)
        return Integer(size, unsigned or zerofill, (widths or [width])[0] if zerofill else 0)
    if name in ("DECIMAL", "NUMERIC", "DEC"):
        precision, scale, *_ = [*_numbers(argument, 2), *([10, 0] if argument is None else [0])]
        return DecimalType(precision, scale, unsigned)
    if name in ("FLOAT", "DOUBLE", "REAL"):
        if argument is not None:
            raise ValueError(f"{name}{argument} is not emulated: declare {name}")
        return Float(name == "FLOAT", unsigned)
    if name == "BIT":
        return Bit((_numbers(argument, 1) or [1])[0])
    if name in _TIMES:
        return _TIMES[name]((_numbers(argument, 1) or [0])[0], version)
    return _parse_text_type(name, argument, attributes, version)


_TIMES: dict[str, Callable[[int, Version], ColumnType]] = {
    "DATE": lambda *_: Date(),
    "DATETIME": lambda precision, _: DateTime(precision),
    "TIMESTAMP": lambda precision, version: DateTime(precision, version.last_timestamp),
    "TIME": lambda precision, _: Time(precision),
    "YEAR": lambda *_: Year(),
}


def _parse_text_type(name: str, argument: str | None, attributes: Attributes, version: Version) -> ColumnType:
    charset = attributes.take_value("CHARACTER", "SET") or attributes.take_value("CHARSET")
    collation = find_collation(charset, attributes.take_value("COLLATE"), version)
    if name in ("ENUM", "SET"):
        members = [member.rstrip(" ").encode(collation.charset or "utf-8") for member in _members(argument)]
        return Enum(collation, members) if name == "ENUM" else Set(collation, members)
    length = (_numbers(argument, 1) or [1])[0]
    if name in ("CHAR", "BINARY"):
        return Text(collation if name == "CHAR" else BINARY, length, fixed=True)
    if name in ("VARCHAR", "VARBINARY"):
        if argument is None:
            raise ValueError(f"{name} needs its length, such as {name}(40)")
        return Text(collation if name == "VARCHAR" else BINARY, length)
    if name == "JSON":
        return Text(UTF8MB4_BIN, _BLOBS["LONG"], blob=True)
    for kind, of in (("TEXT", collation), ("BLOB", BINARY)):
        size = name.removesuffix(kind)
        if name.endswith(kind) and size in _BLOBS:
            return Text(of, _BLOBS[size], blob=True)
    raise ValueError(f"the type {name} is not emulated")


class Column:
    """One column: its type, whether it can hold NULL, and its default.

    Attributes:
      type: the :class:`ColumnType`.
      initial: the value that an insert stores if it does not name the column. It is never NULL: HandlerSocket ignores that
        default of a nullable column.
    """

    def __init__(self, name: str, sql: str, version: Version) -> None:
        self.name = name
        self.sql = sql
        attributes = Attributes(sql)
        _refuse_what_is_not_emulated(attributes)
        self.auto_increment = attributes.take("AUTO_INCREMENT")
        self.nullable = not attributes.take("NOT", "NULL")
        default = attributes.take_default()
        on_update = attributes.take_function("ON", "UPDATE")
        self.primary = attributes.take("PRIMARY", "KEY") or attributes.take("PRIMARY")
        self.unique = attributes.take("UNIQUE", "KEY") or attributes.take("UNIQUE")
        invisible = attributes.take("INVISIBLE")
        attributes.take("NULL")
        _take_what_changes_nothing(attributes)
        self.type = _parse_type(attributes, version)
        if attributes.tokens:
            raise ValueError(
                f"cannot make sense of {' '.join(attributes.tokens)!r} (keys belong in primary_key=, unique=, indexes=)"
            )
        if self.primary:
            self.nullable = False
        if self.auto_increment:
            self.nullable = False
            if not isinstance(self.type, Integer):
                raise ValueError("AUTO_INCREMENT needs an integer type")
        if on_update is not None and (on_update.upper() not in NOW or not isinstance(self.type, DateTime)):
            raise ValueError("ON UPDATE takes CURRENT_TIMESTAMP, on a DATETIME or TIMESTAMP")
        if invisible and not self.nullable and default is None and not self.auto_increment:
            raise ValueError("an INVISIBLE column that is NOT NULL needs a DEFAULT")
        self.charset: str | None = getattr(getattr(self.type, "collation", None), "charset", None)
        self.initial = self._initial(default)

    def store(self, value: int | str | None) -> Value:
        """The stored value for a number or a text. Raises ValueError."""
        if value is None and not self.nullable:
            raise ValueError(f"{self.name} is NOT NULL")
        return None if value is None else self.type.store(self.bytes_of(value))

    def bytes_of(self, value: int | str | None) -> bytes:
        """A number or a text as a request has it. A BIT takes text of the same code points as its bytes."""
        return str("" if value is None else value).encode(self.charset or "latin-1")

    def plain(self, value: Value) -> int | str | None:
        """A stored value as an int if the column is an integer, otherwise as text (bytes as text of the same code points)."""
        if value is None or (isinstance(self.type, Integer) and isinstance(value, int)):
            return value
        return self.type.text(value).decode(self.charset or "latin-1")

    def _initial(self, default: Default | None) -> Value:
        if default is None:
            first_member = isinstance(self.type, Enum) and not self.nullable
            return 1 if first_member else self.type.empty
        value = default.value
        if value is None:
            if not self.nullable and not default.computed:
                raise ValueError("DEFAULT NULL in a column that is NOT NULL")
            return self.type.empty
        if isinstance(value, str):
            data = value.encode(self.charset or "utf-8")
            if default.number and isinstance(self.type, Bit):
                data = self.type.from_number(data)
        else:
            data = b"%d" % int.from_bytes(value) if isinstance(self.type, Integer | DecimalType | Float) else value
        if not self.type.holds(data):
            raise ValueError(f"DEFAULT {value!r} does not fit the type")
        return self.type.store(data)


def _refuse_what_is_not_emulated(attributes: Attributes) -> None:
    for words, what in (
        (("GENERATED",), "a generated column"),
        (("AS",), "a generated column"),
        (("REFERENCES",), "a foreign key"),
        (("COMPRESSED",), "a compressed column"),
    ):
        if attributes.take(*words):
            raise ValueError(f"{what} is not emulated")


def _take_what_changes_nothing(attributes: Attributes) -> None:
    """HandlerSocket writes what a CHECK forbids (measured)."""
    attributes.take_value("COMMENT")
    attributes.take_value("CHECK")


class KeyPart:
    """One column of an index: where its value is in the row, and the type that sorts it."""

    def __init__(self, columns: Sequence[Column], part: str) -> None:
        match = re.fullmatch(r"\s*(\w+)\s*(?:\((\d+)\))?\s*(?:(ASC|DESC)\s*)?", part, re.IGNORECASE)
        names = [column.name for column in columns]
        if match is None or match[1] not in names:
            raise ValueError(f"{part!r} names no column (write 'column', 'column(10)' for a prefix, 'column DESC')")
        self.position = names.index(match[1])
        self.column = columns[self.position]
        self.type = self.column.type.prefix(int(match[2])) if match[2] else self.column.type
        self.descending = (match[3] or "").upper() == "DESC"
        if self.type.is_blob:
            raise ValueError(f"a BLOB or TEXT column needs a prefix in an index: '{match[1]}(100)'")

    @property
    def is_prefix(self) -> bool:
        return self.type is not self.column.type


@dataclass(frozen=True)
class Table:
    """The declaration of a table for an embedded server. It is plain data, and :meth:`sql` makes a CREATE TABLE of it.

    ``Table("cars", "trucks", {"id": "INT NOT NULL AUTO_INCREMENT", "model": "VARCHAR(40) NOT NULL DEFAULT 'x'"},
    primary_key=["id"], indexes={"model": ["model(10)", "id"]})``. A wrong declaration raises ValueError.

    Attributes:
      database: its database.
      name: its name.
      columns: each column's name and its declaration as in SQL. The character set is utf8mb4 unless
        declared, and the collation the default of the server's version; nothing is NOT NULL unless declared. As on the server,
        HandlerSocket stores zero or ``""`` for a DEFAULT that is a function, and ignores ON UPDATE and CHECK. A
        DEFAULT that does not fit its type is a ValueError; that of a TIMESTAMP after January 2038 is one when a server of 10.11
        gets the table.
      primary_key: the columns of the primary key. Each may be ``"column"``, ``"column(10)"`` (a prefix) or ``"column DESC"``.
      unique: the unique indexes: name and columns.
      indexes: the other indexes: name and columns.
    """

    database: str
    name: str
    columns: Mapping[str, str]
    primary_key: Sequence[str] = ()
    unique: Mapping[str, Sequence[str]] = field(default_factory=dict)
    indexes: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        parsed = self.parse_columns(find_version(NEWEST_VERSION))  # an older server may refuse more
        try:
            keys = [self.primary_of(parsed), *self.unique_of(parsed).values(), *self.indexes.values()]
            if not parsed:
                raise ValueError("it has no columns")
            for key in keys:
                if isinstance(key, str):
                    raise ValueError(f"the columns of a key are a list, not {key!r}")
                for part in key:
                    KeyPart(parsed, part)
            automatic = [column.name for column in parsed if column.auto_increment]
            if len(automatic) > 1 or (automatic and automatic[0] not in [key[0] for key in keys if key]):
                raise ValueError("there is at most one AUTO_INCREMENT column, and it is the first column of a key")
        except ValueError as error:
            raise ValueError(f"table {self.database}.{self.name}: {error}") from None

    @classmethod
    def from_columns(cls, database: str, name: str, columns: Columns) -> Table:
        """The table that a client declares with :class:`trio_hs.Columns`, so that a schema is written once.

        Such a declaration has no collations: text gets the default of the server's version. A default that is an expression is
        left out, because HandlerSocket does not compute it. Raises ValueError for what is not emulated.
        """
        declared: dict[str, str] = {}
        for column in columns:
            try:
                declared[column.name] = column_sql(column)
            except ValueError as error:
                raise ValueError(f"table {database}.{name}, column {column.name}: {error}") from None
        keys = {index: [part_sql(part) for part in parts] for index, parts in columns.indexes.items()}
        primary = keys.pop("PRIMARY", ())
        unique = {index: key for index, key in keys.items() if index in columns.unique}
        others = {index: key for index, key in keys.items() if index not in columns.unique}
        return cls(database, name, declared, primary, unique, others)

    def parse_columns(self, version: Version) -> list[Column]:
        """The columns, as a server of this version has them. Raises ValueError for a wrong declaration."""
        columns = []
        for name, sql in self.columns.items():
            try:
                columns.append(Column(name, sql, version))
            except ValueError as error:
                raise ValueError(f"table {self.database}.{self.name}, column {name}: {error}") from None
        for name in self.primary_key:
            for column in columns:
                if column.name == re.split(r"[\s(]", name.strip())[0]:
                    column.nullable = False
        return columns

    def primary_of(self, columns: Sequence[Column]) -> Sequence[str]:
        """The columns of the primary key, which may be declared at its column. Raises ValueError for two."""
        declared = [column.name for column in columns if column.primary]
        if len(declared) + bool(self.primary_key) > 1:
            raise ValueError("it has two primary keys")
        return declared or self.primary_key

    def unique_of(self, columns: Sequence[Column]) -> dict[str, Sequence[str]]:
        """The unique indexes. Those that are declared at their columns come first, with the names of these."""
        declared: dict[str, Sequence[str]] = {column.name: [column.name] for column in columns if column.unique}
        if both := declared.keys() & {*self.unique, *self.indexes}:
            raise ValueError(f"it has two indexes of the name {min(both)}: one is from UNIQUE at the column")
        return {**declared, **self.unique}

    def sql(self) -> str:
        """The statement that creates the same table on MariaDB. Columns without a collation get the default of its version."""
        return f"CREATE TABLE `{self.database}`.`{self.name}` ({self.columns_sql()}) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4"

    def columns_sql(self) -> str:
        """The columns and keys, as between the parentheses of :meth:`sql`."""
        parts = [f"`{name}` {declaration}" for name, declaration in self.columns.items()]
        if self.primary_key:
            parts.append(f"PRIMARY KEY ({', '.join(self.primary_key)})")
        parts += [f"UNIQUE KEY `{name}` ({', '.join(key)})" for name, key in self.unique.items()]
        parts += [f"KEY `{name}` ({', '.join(key)})" for name, key in self.indexes.items()]
        return ", ".join(parts)
