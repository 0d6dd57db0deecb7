"""Declarations of a table's columns and indexes, with which :meth:`Manager.table` checks values before they are sent."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any, Self, TypeAlias

from .._protocol import LONG_VALUE, NULL, Buffer, Codec, LongValue, Ordered, Slices, escape, unescape, value_list, write_long
from ..exceptions import DecodingError
from . import _types as types
from ._from_sql import parse_type

#: A column of an index: its name, or its name and how many characters (bytes) of it the index covers. The name may end with
#: " DESC", for an index that has the column in descending order.
IndexPart: TypeAlias = str | tuple[str, int]

_BYTES = Codec(None)
_BITS = {"tinyint": 8, "smallint": 16, "mediumint": 24, "int": 32, "bigint": 64}
_SIZES = {"tiny": 2**8 - 1, "": 2**16 - 1, "medium": 2**24 - 1, "long": 2**32 - 1}
_TEXTS = {f"{size}text": _SIZES[size] for size in _SIZES} | {"json": 2**32 - 1}
_BLOBS = {f"{size}blob": _SIZES[size] for size in _SIZES}
_DATA = "length", "charset", "precision", "scale", "unsigned", "members", "until_2106"


@dataclass(frozen=True)
class Column:
    """A column as its table declares it. ``python -m trio_hs describe`` writes these for a table of a live server.

    Attributes:
      name: its name, in the server's case.
      type: MariaDB's name of its type, as in ``information_schema.columns.data_type``; ``json`` is a longtext in utf8mb4.
      length: its length, in characters for ``char`` and ``varchar``, bytes for ``binary`` and ``varbinary``, bits for ``bit``.
      charset: the character set of a text, ``enum`` or ``set``; None is utf8mb4.
      precision: the digits of a ``decimal``, or the digits of a second in ``datetime``, ``timestamp`` and ``time`` (None is 0).
      scale: the digits of a ``decimal`` after the point.
      unsigned: no negative numbers.
      members: the members of an ``enum`` or ``set``, in order.
      until_2106: whether the servers store a ``timestamp`` until 2106, as MariaDB does since 11.5 (on 64-bit systems). Older
        ones store zero for a time after January 2038, so it is refused unless this is set.
      nullable: whether None may be stored.
      default: the value that an insert stores if its fields leave out the column. None is NULL if the column is nullable;
        otherwise the caller has to give a value.
      default_is_expression: whether the default is computed, such as ``current_timestamp()``. HandlerSocket does not compute
        it, so the caller has to give a value.
      auto_increment: whether the server chooses a value if the fields leave out the column, or give None.
      generated: ``"virtual"`` or ``"stored"``: the server computes it, and it is never written.
      invisible: whether it is not among the fields unless named.

    Raises TypeError or ValueError for a declaration that no table can have.
    """

    name: str
    type: str
    length: int | None = field(default=None, kw_only=True)
    charset: str | None = field(default=None, kw_only=True)
    precision: int | None = field(default=None, kw_only=True)
    scale: int | None = field(default=None, kw_only=True)
    unsigned: bool = field(default=False, kw_only=True)
    members: Sequence[str] = field(default=(), kw_only=True)
    until_2106: bool = field(default=False, kw_only=True)
    nullable: bool = field(default=False, kw_only=True)
    default: Any = field(default=None, kw_only=True)
    default_is_expression: bool = field(default=False, kw_only=True)
    auto_increment: bool = field(default=False, kw_only=True)
    generated: str | None = field(default=None, kw_only=True)
    invisible: bool = field(default=False, kw_only=True)
    _type: types.ColumnType = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise ValueError(f"a column's name must be a str and not empty, not {self.name!r}")
        if not isinstance(self.type, str):
            raise TypeError(f"column {self.name}: type must be the name of one, not {self.type!r}")
        if self.charset is not None and not isinstance(self.charset, str):
            raise TypeError(f"column {self.name}: charset must be the name of one or None, not {self.charset!r}")
        for flag in ("unsigned", "nullable", "default_is_expression", "auto_increment", "invisible", "until_2106"):
            if not isinstance(getattr(self, flag), bool):
                raise TypeError(f"column {self.name}: {flag} must be a bool, not {getattr(self, flag)!r}")
        object.__setattr__(self, "members", tuple(value_list(self.members, f"column {self.name}: members", "str")))
        if isinstance(self.default, set):
            object.__setattr__(self, "default", frozenset(self.default))  # hashable
        try:
            _check_attributes(self)
            object.__setattr__(self, "_type", _TYPES[self.type][0](self))
            _check_default(self)
        except (TypeError, ValueError) as error:
            raise type(error)(f"column {self.name}: {error}") from None

    @classmethod
    def from_sql(cls, name: str, sql: str, **others: Any) -> Self:
        """The column with a type as SQL writes it: ``Column.from_sql("price", "decimal(10,2) unsigned", nullable=True)``.

        The character set is utf8mb4 unless the type names another. ``others`` are the attributes that do not belong to the
        type. Raises TypeError or ValueError as the class does, also for what is not part of a type, such as NOT NULL.
        """
        try:
            parsed = parse_type(sql, TYPES)
        except ValueError as error:
            raise ValueError(f"column {name}: {error}") from None
        return cls(name, **parsed, **others)

    @property
    def is_integer(self) -> bool:
        """True for ``tinyint`` to ``bigint``."""
        return self.type in _BITS

    @property
    def is_blob(self) -> bool:
        """True for the BLOB and TEXT types. The server filters them on NULL only, and indexes only a prefix."""
        return self.type in _TEXTS or self.type in _BLOBS

    @property
    def required(self) -> bool:
        """True if the caller of an insert has to give a value."""
        if self.auto_increment or self.generated:
            return False
        return self.default_is_expression or (self.default is None and not self.nullable)

    def encode(self, value: Any) -> bytes:
        """The token of a value. Raises TypeError or ValueError, naming the column, if it would not be stored as it is."""
        if value is None:
            if not self.nullable:
                raise ValueError(f"column {self.name} is NOT NULL: None would become its default, or another row's key")
            return NULL
        data = self.encode_data(value)
        if len(data) > LONG_VALUE:
            raise LongValue(len(data), f"column {self.name}: ")
        return escape(data)

    def write_in_slices(self, out: Buffer, value: Any) -> Slices[None]:
        """Writes the token of a long value."""
        try:
            for piece in self._type.pieces(value):
                yield from write_long(out, _BYTES, piece)
        except (TypeError, ValueError) as error:
            raise type(error)(f"column {self.name} ({self.type}) {error}") from None

    def encode_data(self, value: Any) -> bytes:
        """``encode`` without the protocol's escapes: the bytes in the column's character set. Takes no None."""
        try:
            return self._type.encode(value)
        except LongValue as error:
            raise LongValue(error.size, f"column {self.name}: ") from None
        except (TypeError, ValueError) as error:
            raise type(error)(f"column {self.name} ({self.type}) {error}") from None

    def decode(self, token: bytes) -> Any:
        """The Python value of a token.

        Raises DecodingError for a value that does not fit the declaration, and for a zero date, which Python does not have.
        """
        if token == NULL:
            return None
        return self.decode_data(unescape(token))

    def decode_data(self, data: bytes) -> Any:
        """``decode`` without the protocol's escapes."""
        try:
            return self._type.decode(data)
        except (ValueError, ArithmeticError):
            raise DecodingError(
                f"column {self.name}: {data[:60]!r} is not a value of {self.type} that Python can hold", data
            ) from None


def _number(column: Column, attribute: str, lowest: int, highest: int, default: int | None = None) -> int:
    number = getattr(column, attribute)
    if number is None:
        number = default
    if not isinstance(number, int) or isinstance(number, bool):
        raise TypeError(f"a {column.type} needs {attribute}=, an int from {lowest} to {highest}, not {number!r}")
    if not lowest <= number <= highest:
        raise ValueError(f"the {attribute} of a {column.type} is from {lowest} to {highest}, not {number}")
    return number


def _integer(column: Column) -> types.ColumnType:
    bits = _BITS[column.type]
    return types.Integer(0, 2**bits - 1) if column.unsigned else types.Integer(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def _decimal(column: Column) -> types.ColumnType:
    precision = _number(column, "precision", 1, 65)
    return types.DecimalNumber(precision, _number(column, "scale", 0, min(precision, 38), 0), column.unsigned)


def _floating_point(column: Column) -> types.ColumnType:
    single = column.type == "float"
    if column.precision is None and column.scale is None:
        return types.FloatingPoint(single, column.unsigned, None, None)
    precision = _number(column, "precision", 1, 255)
    return types.FloatingPoint(single, column.unsigned, precision, _number(column, "scale", 0, min(precision, 30)))


def _text(column: Column) -> types.ColumnType:
    charset = column.charset or "utf8mb4"
    if column.type in _TEXTS:
        return types.Text(charset, size=_TEXTS[column.type])
    fixed = column.type == "char"
    return types.Text(charset, length=_number(column, "length", 0, 255 if fixed else 65535), fixed=fixed)


def _binary(column: Column) -> types.ColumnType:
    if column.type in _BLOBS:
        return types.Binary(_BLOBS[column.type])
    fixed = column.type == "binary"
    return types.Binary(_number(column, "length", 0, 255 if fixed else 65535), fixed)


def _choice(column: Column) -> types.ColumnType:
    if not column.members or not all(isinstance(member, str) for member in column.members):
        raise ValueError(f"a {column.type} needs members=, a list of str")
    if len(set(column.members)) != len(column.members):
        raise ValueError("a member is named twice")
    return (types.Enum if column.type == "enum" else types.Set)(tuple(column.members), column.charset or "utf8mb4")


def _seconds(column: Column) -> types.ColumnType:
    precision = _number(column, "precision", 0, 6, 0)
    if column.type == "time":
        return types.Time(precision)
    if column.type == "datetime":
        return types.DateTime(precision)
    return types.DateTime(precision, types.LAST_TIMESTAMP_OF_64_BITS if column.until_2106 else types.LAST_TIMESTAMP)


# Each type's constructor, and the attributes of _DATA that it has.
_TYPES: dict[str, tuple[Callable[[Column], types.ColumnType], tuple[str, ...]]] = {
    **dict.fromkeys(_BITS, (_integer, ("unsigned",))),
    "decimal": (_decimal, ("precision", "scale", "unsigned")),
    "float": (_floating_point, ("precision", "scale", "unsigned")),
    "double": (_floating_point, ("precision", "scale", "unsigned")),
    "bit": (lambda column: types.Bit(_number(column, "length", 1, 64)), ("length",)),
    "char": (_text, ("length", "charset")),
    "varchar": (_text, ("length", "charset")),
    **dict.fromkeys(_TEXTS, (_text, ("charset",))),
    "binary": (_binary, ("length",)),
    "varbinary": (_binary, ("length",)),
    **dict.fromkeys(_BLOBS, (_binary, ())),
    "enum": (_choice, ("members", "charset")),
    "set": (_choice, ("members", "charset")),
    "date": (lambda column: types.Date(), ()),
    "datetime": (_seconds, ("precision",)),
    "timestamp": (_seconds, ("precision", "until_2106")),
    "time": (_seconds, ("precision",)),
    "year": (lambda column: types.Year(), ()),
    "uuid": (lambda column: types.uuid_type(), ()),
    "inet4": (lambda column: types.inet4_type(), ()),
    "inet6": (lambda column: types.inet6_type(), ()),
}
TYPES = tuple(_TYPES)
_EMPTY = {attribute.name: attribute.default for attribute in fields(Column)}


def _check_attributes(column: Column) -> None:
    if column.type not in _TYPES:
        raise ValueError(f"there is no type {column.type!r}; the known ones are {', '.join(TYPES)}")
    for attribute in _DATA:
        if getattr(column, attribute) != _EMPTY[attribute] and attribute not in _TYPES[column.type][1]:
            raise ValueError(f"a {column.type} has no {attribute}")
    if column.generated not in (None, "virtual", "stored"):
        raise ValueError(f"generated is None, 'virtual' or 'stored', not {column.generated!r}")
    if column.auto_increment and (not column.is_integer or column.nullable):
        raise ValueError("auto_increment is for integers that are NOT NULL")
    sources = {
        "default": column.default is not None,
        "default_is_expression": column.default_is_expression,
        "auto_increment": column.auto_increment,
        "generated": column.generated is not None,
    }
    given = [name for name, is_given in sources.items() if is_given]
    if len(given) > 1:
        raise ValueError(f"cannot have {' and '.join(given)} at once")


def _check_default(column: Column) -> None:
    if column.default is not None:
        try:
            column._type.encode(column.default)
        except (TypeError, ValueError) as error:
            raise type(error)(f"the default does not fit: it {error}") from None


@dataclass(frozen=True)
class KeyPart:
    """A column of an index, how many of its characters (or bytes) the index covers (None is all of it), and whether the index
    has its values in descending order."""

    column: Column
    prefix: int | None = None
    descending: bool = False

    @property
    def declared(self) -> IndexPart:
        """The part as ``Columns`` takes it."""
        name = f"{self.column.name} DESC" if self.descending else self.column.name
        return name if self.prefix is None else (name, self.prefix)

    def encode(self, value: Any) -> bytes:
        """The token of a lookup value. Raises TypeError or ValueError if it would find other rows."""
        token = self.column.encode(value)
        if self.prefix is not None and value is not None and len(value) >= self.prefix:
            raise ValueError(
                f"the index covers the first {self.prefix} of column {self.column.name}: "
                f"a value of {len(value)} would also find what only begins like it"
            )
        return token


class Columns:
    """The columns and indexes of a table, checked and immutable. May be shared by any number of tables.

    Args:
      columns: the columns, in order. Do not leave out one that an insert has to set: the server would store zero or ''.
      indexes: each index's name and its columns, in order: ``{"PRIMARY": ("id",), "by_name": (("name", 10), "id")}``, where
        ``("name", 10)`` is an index on the first ten characters, and ``"name DESC"`` one in descending order.
      unique: the names of those indexes that are UNIQUE. PRIMARY is, without being named.

    Raises TypeError or ValueError for a declaration that no table can have.
    """

    __slots__ = ("_by_name", "_columns", "_hash", "_indexes", "_unique")

    def __init__(
        self,
        columns: Iterable[Column],
        indexes: Mapping[str, Ordered[IndexPart]] | None = None,
        unique: Ordered[str] = (),
    ) -> None:
        self._columns = tuple(value_list(columns, "columns", "Column"))
        for column in self._columns:
            if not isinstance(column, Column):
                raise TypeError(f"columns must hold Column objects, not a {type(column).__name__}")
        self._by_name = {column.name: column for column in self._columns}
        if len(self._by_name) < (len(self._columns) or 1):
            raise ValueError("two columns have the same name" if self._columns else "columns is empty")
        if indexes is not None and not isinstance(indexes, Mapping):
            raise TypeError(f"indexes must be a dict of each index's name and its columns, or None, not {indexes!r}")
        self._indexes = MappingProxyType({name: self._key(name, parts) for name, parts in (indexes or {}).items()})
        names = value_list(unique, "unique", "names of indexes")
        for name in names:
            if not isinstance(name, str) or name not in self._indexes:
                raise ValueError(
                    f"unique: there is no index {name!r}; the declared ones are {', '.join(self._indexes) or 'none'}"
                )
        self._unique = frozenset((*names, "PRIMARY")).intersection(self._indexes)
        self._hash = hash((self._columns, frozenset(self._indexes.items()), self._unique))

    def _key(self, name: str, parts: Ordered[IndexPart]) -> tuple[KeyPart, ...]:
        if isinstance(parts, str) or not parts:
            raise ValueError(f"index {name}: its columns must be a list of names, not {parts!r}")
        key = []
        for part in value_list(parts, f"index {name}: its columns", "names"):
            if not isinstance(part, str) and (not isinstance(part, (tuple, list)) or len(part) != 2):
                raise TypeError(f"index {name}: a column is its name, or (its name, the length of a prefix), not {part!r}")
            column_name, prefix = (part, None) if isinstance(part, str) else part
            column, descending = self._ordered(column_name)
            if prefix is None and column.is_blob:
                raise ValueError(f"index {name}: of column {column_name}, a {column.type}, it can only cover a prefix")
            if prefix is not None and not (column.is_blob or column.type in ("char", "varchar", "binary", "varbinary")):
                raise ValueError(f"index {name}: column {column_name}, a {column.type}, has no prefix")
            if prefix is not None and (not isinstance(prefix, int) or prefix < 1):
                raise ValueError(f"index {name}: the prefix of column {column_name} must be at least 1, not {prefix!r}")
            key.append(KeyPart(column, prefix, descending))
        return tuple(key)

    def _ordered(self, name: str) -> tuple[Column, bool]:
        """The column that part of an index names, and whether the index has it in descending order."""
        if isinstance(name, str) and name not in self._by_name and name.upper().endswith(" DESC"):
            return self.column(name[:-5].rstrip()), True
        return self.column(name), False

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns, in order."""
        return self._columns

    @property
    def indexes(self) -> Mapping[str, tuple[KeyPart, ...]]:
        """Each index's name and its columns."""
        return self._indexes

    @property
    def unique(self) -> frozenset[str]:
        """The names of the indexes that are unique, with PRIMARY if there is one."""
        return self._unique

    def column(self, name: str) -> Column:
        """The column of that name. Raises ValueError if there is none."""
        if not isinstance(name, str):
            raise TypeError(f"the name of a column must be a str, not {name!r}")
        if name not in self._by_name:
            raise ValueError(f"there is no column {name!r}; the declared ones are {', '.join(self._by_name)}")
        return self._by_name[name]

    def key(self, index_name: str | None) -> tuple[KeyPart, ...]:
        """The columns of the index of that name; None is the primary key. Raises ValueError if there is none."""
        if index_name is not None and not isinstance(index_name, str):
            raise TypeError(f"index_name must be a str, or None for the primary key, not {index_name!r}")
        name = index_name or "PRIMARY"
        if name not in self.indexes:
            raise ValueError(
                f"index_name: there is no index {name!r}; the declared ones are {', '.join(self.indexes) or 'none'}"
            )
        return self.indexes[name]

    def __iter__(self) -> Iterator[Column]:
        return iter(self.columns)

    def __len__(self) -> int:
        return len(self.columns)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Columns):
            return NotImplemented
        return self.columns == other.columns and self.indexes == other.indexes and self.unique == other.unique

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        return f"<Columns {', '.join(self._by_name)}; indexes {', '.join(self.indexes) or 'none'}>"
