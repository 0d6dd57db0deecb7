"""One entry of `table.columns`: a column's type, and how its values are made. Refuses values that the server would clip."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Self

from pydantic import Field, model_validator

from ._base import Model, refuse
from ._column_checks import mistakes_in_column
from ._limits import Share
from ._sql_types import column_of
from ._values import Null, Stored, ValuesSpec

if TYPE_CHECKING:
    from trio_hs import Column

__all__ = ["ColumnSpec"]


class ColumnSpec(Model):
    """A column: its type as in SQL, and how its values are made."""

    type: Annotated[str, Field(max_length=65_535)] = ""
    """Its type as in SQL: `varchar(80) character set utf8mb4`, `decimal(10,2)`, `int unsigned`. Only a table that exists has
    types of its own."""
    values: ValuesSpec = Stored()
    """How its values are made: a constant, `sequence`, `uuid`, `now`, `version`, `null`, or one of `choice`, `between`, `text`,
    `zipfian` and `lines`."""
    null: Share = 0.0
    """The share of the rows in which it is NULL."""
    nullable: bool | None = None
    """Whether it may be NULL. If not given: when `null` or `values` says so."""

    def column(self, name: str) -> Column:
        """The column as the client declares it."""
        return column_of(name, self.type, self.is_nullable)

    @property
    def is_nullable(self) -> bool:
        return self.null > 0 or isinstance(self.values, Null) if self.nullable is None else self.nullable

    @model_validator(mode="after")
    def _check(self) -> Self:
        refuse(mistakes_in_column(self))
        return self
