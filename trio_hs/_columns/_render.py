"""Writes declarations of tables as a Python module, formatted as ruff and black would."""

from __future__ import annotations

import datetime
import ipaddress
import keyword
import re
import textwrap
import unicodedata
import uuid
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import fields
from decimal import Decimal
from typing import Any

from ._declaration import Column, IndexPart
from ._describe import DescribeError, Description

WIDTH = 88  # where ruff and black break lines unless told otherwise


def render(descriptions: Sequence[Description], left_out: Iterable[str] = (), *, dataclasses: bool = False) -> str:
    """Python code that makes the ``columns`` of each description, and with ``dataclasses`` a class for the rows of each.

    ``left_out`` says of other tables why they are missing. Raises DescribeError if two tables would have the same name.
    """
    module = _Module(descriptions)
    parts = [module.declaration(one, dataclasses) for one in descriptions]
    tables = ", ".join(f"{one.db}.{one.table}" for one in descriptions)
    server = descriptions[0].server.partition("-")[0]  # without the names of its packages and of its distributor
    lines = [
        *_comment(f"By python -m trio_hs describe: {tables} on MariaDB {server}."),
        *[line for reason in left_out for line in _comment(f"Left out: {reason}.")],
        *(_warnings(descriptions[0]) if len(descriptions) == 1 else []),
        *sorted(module.imports, key=lambda line: (line.startswith("from"), line)),
        *([""] if module.imports else []),
        "from trio_hs import Column, Columns",
        "",
        *([*sorted(module.aliases), ""] if module.aliases else []),
        ("\n\n\n" if dataclasses else "\n\n").join(parts),
    ]
    return "\n".join(lines) + "\n"


class _Module:
    """The names of a module: what it imports and defines."""

    def __init__(self, descriptions: Sequence[Description]) -> None:
        self.imports: set[str] = set()
        self.aliases: set[str] = set()
        self.several = len(descriptions) > 1
        tables = Counter(one.table for one in descriptions)
        #: The name of each declaration, and of the class of its rows.
        self.names: dict[tuple[str, str], tuple[str, str]] = {}
        for one in descriptions:
            words = re.sub(r"\W", "_", f"{one.db}_{one.table}" if tables[one.table] > 1 else one.table)
            words = unicodedata.normalize("NFKC", words)  # as Python reads names
            name = _identifier(words.upper())
            kind = _identifier("".join(word[:1].upper() + word[1:] for word in words.split("_")))
            self.names[one.db, one.table] = name, f"{kind}Row" if kind in (name, "Column", "Columns", "Decimal") else kind
        both = Counter(name for pair in self.names.values() for name in pair)
        if twice := [name for name, count in both.items() if count > 1]:
            raise DescribeError(f"two of these tables would be called {twice[0]}: describe each in a module of its own")

    def declaration(self, description: Description, dataclasses: bool) -> str:
        name, kind = self.names[description.db, description.table]
        columns = [_call("Column", self._arguments(column), 8) for column in description.columns]
        indexes = [_index(index, [part.declared for part in parts]) for index, parts in description.columns.indexes.items()]
        unique = [index for index in description.columns.indexes if index in description.columns.unique - {"PRIMARY"}]
        lines = [
            *([f"# {description.db}.{description.table}", *_warnings(description)] if self.several else []),
            f"{name} = Columns(",
            "    [",
            *columns,
            "    ],",
            *(["    indexes={", *indexes, "    },"] if indexes else []),
            *([_list("unique", unique)] if unique else []),
            ")",
        ]
        if dataclasses:
            lines += ["", "", *self._dataclass(kind, description)]
        return "\n".join(lines)

    def _dataclass(self, name: str, description: Description) -> list[str]:
        """The class for the rows of a table with its usual fields."""
        columns = [column for column in description.columns if not column.invisible and not column.generated]
        strange = [column.name for column in columns if not _is_field(column.name)]
        if strange or not columns:
            why = f"{strange[0]} cannot be the name of a field" if strange else "it has no fields"
            return _comment(f"No class for the rows of {description.db}.{description.table}: {why}.")
        self.imports.add("from dataclasses import dataclass")
        names = {column.name for column in columns}
        return ["@dataclass(slots=True)", f"class {name}:", *[self._field(column, names) for column in columns]]

    def _field(self, column: Column, names: set[str]) -> str:
        annotation, imported = _ANNOTATIONS[column.type]
        if imported:
            self.imports.add(imported)
        root, _, last = annotation.rpartition(".")
        base = (root or last).partition("[")[0]
        if base in names:  # a type checker would take it for the field
            alias = f"_{(last or root).partition('[')[0]}"
            self.aliases.add(f"{alias} = {annotation}")
            annotation = alias
        return f"    {column.name}: {annotation}{' | None' if column.nullable else ''}"

    def _arguments(self, column: Column) -> list[str]:
        arguments = [_quoted(column.name), _quoted(column.type)]
        for attribute in fields(Column)[2:]:
            if attribute.init:
                value = getattr(column, attribute.name)
                if value != attribute.default:
                    arguments.append(f"{attribute.name}={_source(value, self.imports)}")
        return arguments


def _identifier(name: str) -> str:
    name = f"_{name}" if not name or name[0].isdigit() else name
    return f"{name}_" if keyword.iskeyword(name) else name


def _is_field(name: str) -> bool:
    """Whether a class may have a field of exactly this name. Python mangles names that begin with two underscores, and reads
    characters such as ``µ`` and ``ﬁ`` in code as others (NFKC), so that the field would not have the column's name."""
    is_name = name.isidentifier() and not keyword.iskeyword(name)
    return is_name and not name.startswith("__") and unicodedata.normalize("NFKC", name) == name


def _warnings(description: Description) -> list[str]:
    return [line for warning in description.warnings for line in _comment(f"Mind: {warning}")]


_DATETIME, _DECIMAL, _UUID, _IPADDRESS = "import datetime", "from decimal import Decimal", "import uuid", "import ipaddress"
#: What a value of each type is in Python, as an annotation, and what that imports.
_ANNOTATIONS: dict[str, tuple[str, str]] = {
    **dict.fromkeys(("tinyint", "smallint", "mediumint", "int", "bigint", "bit", "year"), ("int", "")),
    **dict.fromkeys(("float", "double"), ("float", "")),
    **dict.fromkeys(("char", "varchar", "tinytext", "text", "mediumtext", "longtext", "json", "enum"), ("str", "")),
    **dict.fromkeys(("binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"), ("bytes", "")),
    "set": ("frozenset[str]", ""),
    "decimal": ("Decimal", _DECIMAL),
    "date": ("datetime.date", _DATETIME),
    "datetime": ("datetime.datetime", _DATETIME),
    "timestamp": ("datetime.datetime", _DATETIME),
    "time": ("datetime.timedelta", _DATETIME),
    "uuid": ("uuid.UUID", _UUID),
    "inet4": ("ipaddress.IPv4Address", _IPADDRESS),
    "inet6": ("ipaddress.IPv6Address", _IPADDRESS),
}


def _comment(text: str) -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent="# ", subsequent_indent="#   ", break_long_words=False, break_on_hyphens=False
    )


def _call(function: str, arguments: Iterable[str], indent: int) -> str:
    """The call on one line if it fits, otherwise with one argument per line."""
    arguments = list(arguments)
    margin = " " * indent
    line = f"{margin}{function}({', '.join(arguments)}),"
    if len(line) <= WIDTH:
        return line
    return "\n".join([f"{margin}{function}(", *[f"{margin}    {argument}," for argument in arguments], f"{margin}),"])


def _quoted(text: str | bytes) -> str:
    """``repr`` with the quotes that formatters prefer: double ones, unless that takes more backslashes."""
    source = repr(text)
    if source.endswith("'"):
        prefix, body = source[:-1].split("'", 1)
        body = body.replace("\\'", "'")
        if body.count('"') <= body.count("'"):
            body = body.replace('"', '\\"')
            return f'{prefix}"{body}"'
    return source


def _index(name: str, parts: Iterable[IndexPart]) -> str:
    items = [_quoted(part) if isinstance(part, str) else f"({_quoted(part[0])}, {part[1]})" for part in parts]
    line = f"        {_quoted(name)}: ({', '.join(items)}{',' if len(items) == 1 else ''}),"
    if len(line) <= WIDTH:
        return line
    return "\n".join([f"        {_quoted(name)}: (", *[f"            {item}," for item in items], "        ),"])


def _list(name: str, items: Iterable[str]) -> str:
    items = list(map(_quoted, items))
    line = f"    {name}=[{', '.join(items)}],"
    if len(line) <= WIDTH:
        return line
    return "\n".join([f"    {name}=[", *[f"        {item}," for item in items], "    ],"])


_IMPORTS = {
    datetime.date: _DATETIME,
    datetime.datetime: _DATETIME,
    datetime.timedelta: _DATETIME,
    uuid.UUID: _UUID,
    ipaddress.IPv4Address: _IPADDRESS,
    ipaddress.IPv6Address: _IPADDRESS,
    Decimal: _DECIMAL,
}


def _source(value: Any, imports: set[str]) -> str:
    if type(value) in _IMPORTS:
        imports.add(_IMPORTS[type(value)])
    if isinstance(value, str | bytes):
        return _quoted(value)
    if isinstance(value, tuple):  # members
        line = f"[{', '.join(map(_quoted, value))}]"
        if len(line) <= WIDTH - 24:
            return line
        return "\n".join(["[", *[f"                {_quoted(member)}," for member in value], "            ]"])
    if isinstance(value, frozenset):
        return f"frozenset({{{', '.join(map(_quoted, sorted(value)))}}})" if value else "frozenset()"
    if isinstance(value, Decimal):
        return f"Decimal({_quoted(str(value))})"
    if isinstance(value, uuid.UUID):
        return f"uuid.UUID({_quoted(str(value))})"
    if isinstance(value, ipaddress.IPv4Address | ipaddress.IPv6Address):
        return f"ipaddress.{type(value).__name__}({_quoted(str(value))})"
    return repr(value)
