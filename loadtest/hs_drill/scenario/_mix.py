"""What the load consists of: the keys `mix` and `keys` of a scenario, and the sizes of written values.

What a scenario may say of each operation stands here, limits to its latency too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, model_validator

from ._base import MissingKey, Model, PlacedError, refuse
from ._limits import Percentiles, Share

__all__ = [
    "KINDS",
    "OPERATIONS",
    "READS",
    "STEPS",
    "WRITES",
    "Decr",
    "Delete",
    "Find",
    "FindOperation",
    "Get",
    "GetMany",
    "Incr",
    "Insert",
    "Keys",
    "KeysOrName",
    "Latency",
    "Mix",
    "Operation",
    "Update",
    "ValueSize",
]

READS = ("get", "find", "get_many")
WRITES = ("insert", "incr", "decr", "update", "delete")
STEPS = ("incr", "decr")
"""Writes that change a counter, which shows how often they were applied."""
KINDS = ("get", "find", "get_many", "insert", "incr", "decr", "update", "delete")
FindOperation = Literal["=", ">", ">=", "<", "<="]


def _from_name(value: object) -> object:
    return {"distribution": value} if isinstance(value, str) else value


class Keys(Model):
    """Which rows are drawn. A bare word is the distribution."""

    distribution: Literal["uniform", "zipfian", "latest", "sequential", "hot-set"] = "uniform"
    """`uniform`: every loaded row is equally likely. `zipfian`: the n-th most popular row comes 1/n**theta times as often as
    the first. `latest`: the younger a row, the more likely it is read; rows that the run inserts are among them. `sequential`:
    one row after the other. `hot-set`: a few rows get most of the operations."""
    theta: float | None = Field(default=None, gt=0, le=5)
    """How skewed `zipfian` and `latest` are; 0.99 if not given."""
    hot_keys: Share | None = None
    """The share of the rows that is hot in a `hot-set`; 20% if not given."""
    hot_operations: Share | None = None
    """The share of the operations that go to the hot rows; 80% if not given."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.theta is not None and self.distribution not in ("zipfian", "latest"):
            raise ValueError(f"theta is for `zipfian` and `latest`, not for `{self.distribution}`")
        if (self.hot_keys, self.hot_operations) != (None, None) and self.distribution != "hot-set":
            raise ValueError(f"hot_keys and hot_operations are for a `hot-set`, not for `{self.distribution}`")
        return self

    @property
    def skew(self) -> float:
        """`theta`, or its default."""
        return 0.99 if self.theta is None else self.theta

    @property
    def hot_keys_share(self) -> float:
        """`hot_keys`, or its default."""
        return 0.2 if self.hot_keys is None else self.hot_keys

    @property
    def hot_operations_share(self) -> float:
        """`hot_operations`, or its default."""
        return 0.8 if self.hot_operations is None else self.hot_operations


KeysOrName = Annotated[Keys, BeforeValidator(_from_name)]


def _from_weight(value: object) -> object:
    return value if isinstance(value, Mapping | BaseModel) else {"weight": value}


Weight = Annotated[float, Field(ge=0, le=1e9)]
Column = Annotated[str, Field(min_length=1, max_length=64)]
Columns = Annotated[list[Column], Field(min_length=1, max_length=4096)]


class Weighted(Model):
    """One operation of the mix. A bare number is its weight."""

    weight: Weight = 0.0


class OnRows(Weighted):
    """An operation on existing rows."""

    keys: KeysOrName | None = None
    """Which rows, if not those of the scenario's `keys`."""


class _Read(OnRows):
    from_: Literal["readers", "primary"] = Field(default="readers", alias="from")
    """`primary`: the server that acknowledged the last write of this load engine, at first the writer."""


class Get(_Read):
    """Reads a row by its primary key."""

    do: Literal["get"] = "get"
    columns: Columns | None = None
    """What it reads; all columns if not given."""


class Find(_Read):
    """Reads `limit` rows in the order of an index, beginning at a drawn row."""

    do: Literal["find"] = "find"
    columns: Columns | None = None
    """What it reads; all columns if not given."""
    index: str | None = None
    """The index, or PRIMARY. The drill's own table needs none: it has one."""
    operation: FindOperation | None = None
    """How a row compares with the drawn one, in the columns `by`; `>=` if not given."""
    by: Columns | None = None
    """The first columns of the index, which are compared; all of them if not given."""
    limit: int = Field(default=10, ge=1, le=100_000)


class GetMany(_Read):
    """Reads `count` drawn rows at once."""

    do: Literal["get_many"] = "get_many"
    columns: Columns | None = None
    """What it reads; all columns if not given."""
    count: int = Field(default=10, ge=1, le=10_000)


class Insert(Weighted):
    """Inserts a row."""

    do: Literal["insert"] = "insert"


class _Step(OnRows):
    column: Column | None = None
    """The counter: an integer column. The drill's own table has one, `n`."""
    step: int = Field(default=1, ge=1, le=1_000_000)


class Incr(_Step):
    """Adds `step` to a counter of one row."""

    do: Literal["incr"] = "incr"


class Decr(_Step):
    """Subtracts `step` from a counter of one row."""

    do: Literal["decr"] = "decr"


class Update(OnRows):
    """Writes new values into some columns of one row."""

    do: Literal["update"] = "update"
    set: Columns | None = None
    """The columns. The drill's own table has one to set, `payload`."""


class Delete(Weighted):
    """Deletes a row that the run has inserted."""

    do: Literal["delete"] = "delete"


Operation = Get | Find | GetMany | Insert | Incr | Decr | Update | Delete
OPERATIONS: dict[str, type[Model]] = dict(zip(KINDS, (Get, Find, GetMany, Insert, Incr, Decr, Update, Delete), strict=True))
_Get = Annotated[Get, BeforeValidator(_from_weight)]
_Find = Annotated[Find, BeforeValidator(_from_weight)]
_GetMany = Annotated[GetMany, BeforeValidator(_from_weight)]
_Insert = Annotated[Insert, BeforeValidator(_from_weight)]
_Incr = Annotated[Incr, BeforeValidator(_from_weight)]
_Decr = Annotated[Decr, BeforeValidator(_from_weight)]
_Update = Annotated[Update, BeforeValidator(_from_weight)]
_Delete = Annotated[Delete, BeforeValidator(_from_weight)]


def _kind(value: object) -> str | None:
    kind = value.get("do") if isinstance(value, Mapping) else getattr(value, "do", None)
    return kind if isinstance(kind, str) else None


Named = Annotated[
    Annotated[Get, Tag("get")]
    | Annotated[Find, Tag("find")]
    | Annotated[GetMany, Tag("get_many")]
    | Annotated[Insert, Tag("insert")]
    | Annotated[Incr, Tag("incr")]
    | Annotated[Decr, Tag("decr")]
    | Annotated[Update, Tag("update")]
    | Annotated[Delete, Tag("delete")],
    Discriminator(_kind),
]
"""An operation with a name of its own."""


MOST_OPERATIONS = 50
MOST_CHARACTERS = 60
RESERVED = ("all", "Aggregated")
"""Names that stand for all operations together: in `expect` and in Locust's tables."""


def _mistakes_in_names(named: Mapping[str, Weighted]) -> Iterator[PlacedError]:
    for name, operation in named.items():
        if "weight" not in operation.model_fields_set:
            yield MissingKey((name, "weight"), "is missing; add it, such as `weight: 1`")
        if name in RESERVED:
            yield PlacedError((name,), "is reserved: it stands for all operations together; choose another name")
        elif not name.isprintable() or name != name.strip() or not 0 < len(name) <= MOST_CHARACTERS:
            must = f"must be a name of 1 to {MOST_CHARACTERS} characters that can be printed, without a space at its ends"
            yield PlacedError((name,), must)


class Mix(Model):
    """How often each operation comes, relative to the sum of the weights. An operation with a name of its own says what it
    does, such as `product page: {do: get, weight: 70}`."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Named] = Field(init=False)

    get: _Get = Get()
    find: _Find = Find()
    get_many: _GetMany = GetMany()
    insert: _Insert = Insert()
    incr: _Incr = Incr()
    decr: _Decr = Decr()
    update: _Update = Update()
    delete: _Delete = Delete()

    def operations(self) -> dict[str, Operation]:
        """The operations that take part, by name: first those that are named like what they do, in a fixed order, so that the
        same seed draws the same as ever; then the others, in the file's order."""
        short: dict[str, Operation] = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: one for name, one in {**short, **self.__pydantic_extra__}.items() if one.weight > 0}

    def weights(self) -> dict[str, float]:
        """The operations that take part, with their weights."""
        return {name: one.weight for name, one in self.operations().items()}

    def keys(self, of_all: Keys) -> dict[str, Keys]:
        """How each operation that takes part draws its rows: by its own keys, or by `of_all`."""
        return {name: getattr(one, "keys", None) or of_all for name, one in self.operations().items()}

    @model_validator(mode="after")
    def _check(self) -> Self:
        refuse(_mistakes_in_names(self.__pydantic_extra__))
        for name in list(self.weights())[MOST_OPERATIONS:]:
            raise PlacedError((name,), f"is one too many: a mix has at most {MOST_OPERATIONS} operations")
        if not self.weights():
            raise ValueError("needs at least one operation with a weight above 0")
        weights = {kind: sum(one.weight for one in self.operations().values() if one.do == kind) for kind in WRITES}
        if weights["delete"] > weights["insert"]:
            name = next(name for name, one in self.operations().items() if one.do == "delete")
            raise PlacedError((name,), "removes rows that the run has inserted: give insert at least its weight")
        return self


class Latency(Model):
    """Limits by operation; `all` is for all operations together."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Percentiles] = Field(init=False)

    all: Percentiles = Percentiles()
    get: Percentiles = Percentiles()
    find: Percentiles = Percentiles()
    get_many: Percentiles = Percentiles()
    insert: Percentiles = Percentiles()
    incr: Percentiles = Percentiles()
    decr: Percentiles = Percentiles()
    update: Percentiles = Percentiles()
    delete: Percentiles = Percentiles()

    def limits(self) -> dict[str, dict[str, dict[str, float]]]:
        """Operation (`all` may be one) -> percentile -> phase -> seconds."""
        every = {**{name: getattr(self, name) for name in type(self).model_fields}, **self.__pydantic_extra__}
        return {name: percentiles.limits() for name, percentiles in every.items()}

    def operations(self) -> list[str]:
        """The operations with a limit; `all` may be one."""
        return [name for name, limits in self.limits().items() if any(limits.values())]


class SizeShare(Model):
    """Values of one size, and how often they come relative to the others."""

    size: int = Field(ge=0, le=16_000)
    weight: float = Field(default=1.0, gt=0, le=1e9)


def _from_size(value: object) -> object:
    return value if isinstance(value, Mapping | BaseModel) else {"min": value, "max": value}


class ValueSize(Model):
    """Characters in a value. A bare number is the size of all values. `min` and `max` are a range in which every size is
    equally likely. `sizes` lists sizes with their weights."""

    min: int | None = Field(default=None, ge=0, le=16_000)
    max: int | None = Field(default=None, ge=0, le=16_000)
    sizes: list[SizeShare] = Field(default=[])

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.min is None) != (self.max is None) or (self.min is None) == (not self.sizes):
            raise ValueError("needs `min` and `max`, or `sizes` such as [{size: 100, weight: 9}, {size: 1000, weight: 1}]")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min cannot be more than max: {self.min} is more than {self.max}")
        return self

    @property
    def smallest(self) -> int:
        return min(share.size for share in self.sizes) if self.min is None else self.min

    @property
    def largest(self) -> int:
        return max(share.size for share in self.sizes) if self.max is None else self.max

    def spread(self, count: int) -> list[int]:
        """`count` sizes in ascending order, each in the proportion that the scenario gives it."""
        middles = [(index + 0.5) / count for index in range(count)]
        if self.min is not None and self.max is not None:
            return [self.min + int(middle * (self.max - self.min + 1)) for middle in middles]
        shares = sorted(self.sizes, key=lambda share: share.size)
        total = sum(share.weight for share in shares)
        sizes: list[int] = []
        until = 0.0
        for share in shares:
            until += share.weight / total
            sizes += [share.size] * (sum(middle < until for middle in middles) - len(sizes))
        return sizes + [shares[-1].size] * (count - len(sizes))


Size = Annotated[ValueSize, BeforeValidator(_from_size)]
