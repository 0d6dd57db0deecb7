"""The table that the load works on: the key `table`. It is the drill's own of four columns, or has columns of one's own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from ._base import Model, PlacedError, refuse
from ._column_checks import VERSION_WIDTH
from ._columns import ColumnSpec
from ._mix import Size, ValueSize
from ._sql_types import columns_of, not_embedded
from ._table_checks import mistakes_in_table
from ._values import Uuid, Version

if TYPE_CHECKING:
    from trio_hs import Columns

__all__ = ["DRILL_COLUMNS", "VERSION_WIDTH", "TableSpec"]


DRILL_COLUMNS = ("id", "grp", "n", "payload")
"""The columns of the drill's own table. `n` is its counter, `payload` carries the version."""
SYSTEM_DATABASES = ("information_schema", "mysql", "performance_schema", "sys")
MOST_SAMPLED = 1_000_000
_Identifier = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")]


class TableSpec(Model):
    """The table that the load works on, created and filled before the first operation."""

    database: _Identifier = "drill"
    name: _Identifier = "t"
    rows: int = Field(default=10_000, ge=1, le=10_000_000)
    """Of a table that exists: the most keys that are sampled from it; 1,000,000 if not given."""
    groups: int = Field(default=100, ge=1, le=1_000_000)
    """Distinct values of the column `grp`, over which rows are spread evenly. Only without `columns`."""
    value_size: Size = ValueSize(min=100, max=100)
    """Characters in `payload` of each row, as loaded, inserted and updated. Only without `columns`."""
    columns: dict[_Identifier, ColumnSpec] = Field(default={})
    """The columns of a table of your own, in their order."""
    primary: list[str] = Field(default=[])
    """The columns of its primary key. One of them has `values: sequence` or `values: uuid`."""
    indexes: dict[_Identifier, list[str]] = Field(default={})
    """Its other indexes: each one's columns."""
    existing: bool = False
    """Whether the table is on the servers already. Its columns and indexes are read from there, and its rows stay."""
    writes: Literal["allowed"] | None = None
    """Whether a run may write to a table that exists. It keeps what the rows held, for `hs-drill restore`."""

    @model_validator(mode="before")
    @classmethod
    def _sample(cls, data: Any) -> Any:
        return {"rows": MOST_SAMPLED, **data} if isinstance(data, dict) and data.get("existing") is True else data

    @model_validator(mode="after")
    def _check(self) -> Self:
        refuse(self._mistakes())
        return self

    def _mistakes(self) -> Iterator[PlacedError]:
        if self.database.lower() in SYSTEM_DATABASES:
            yield PlacedError(("database",), "is a database of the server's own: choose another name")
        if not self.declared:
            if self.groups > self.rows:
                yield PlacedError(("groups",), "cannot be more than table.rows: a group would be empty")
            for key in ("primary", "indexes"):
                if getattr(self, key):
                    yield PlacedError((key,), "is for a table of your own: add its `columns`, or leave this out")
        else:
            for key in ("groups", "value_size"):
                if getattr(self, key) != type(self).model_fields[key].default:
                    yield PlacedError((key,), "is for the drill's own table: leave it out beside `columns`")
        if self.writes and not self.existing:
            yield PlacedError(("writes",), "is for a table that exists: say `existing: true`, or leave it out")
        if self.declared and self.resolved:
            yield from mistakes_in_table(self)

    @property
    def declared(self) -> bool:
        """Whether it is a table of one's own, and not the drill's."""
        return bool(self.columns) or self.existing

    @property
    def resolved(self) -> bool:
        """Whether all columns are known. Those of a table that exists have to be read from its server: see `with_table`."""
        return not self.existing or bool(self.primary and all(column.type for column in self.columns.values()))

    @property
    def columns_declared(self) -> Columns:
        """The columns and indexes as the client declares them. Only if `declared` and `resolved`."""
        columns = [spec.column(name) for name, spec in self.columns.items()]
        return columns_of(columns, self.primary, self.indexes)

    @property
    def version_column(self) -> str | None:
        """The column that says which write left a row. Only a table with one is audited."""
        if not self.declared:
            return "payload"
        return next((name for name, spec in self.columns.items() if isinstance(spec.values, Version)), None)

    @property
    def keeps_no_trace(self) -> bool:
        """Whether SQL cannot tell rows of the run from others: their keys are UUIDs, and they have no version."""
        made = [spec.values for name, spec in self.columns.items() if name in self.primary]
        return self.version_column is None and any(isinstance(one, Uuid) for one in made)

    @property
    def only_mariadb(self) -> dict[str, str]:
        """Columns that embedded servers do not have, and what they say of each."""
        every = {name: not_embedded(spec.type) for name, spec in self.columns.items() if spec.type}
        return {name: what for name, what in every.items() if what is not None}
