"""The table that the load works on: the key `table`. It is the drill's own of four columns, or has columns of one's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from ._base import Model
from ._columns import ColumnSpec
from ._mix import Size, ValueSize
from ._sql_types import columns_of
from ._values import Version

if TYPE_CHECKING:
    from trio_hs import Columns

__all__ = ["DRILL_COLUMNS", "VERSION_WIDTH", "TableSpec"]

VERSION_WIDTH = 18
"""Characters that the version takes: at the beginning of every payload, or in the version column of a table of one's own."""

DRILL_COLUMNS = ("id", "grp", "n", "payload")
"""The columns of the drill's own table. `n` is its counter, `payload` carries the version."""
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
        return self

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
