"""A handle on one table, one list of columns and one index: the fast path."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, Literal, overload

from ._dispatch import (
    Dispatcher,
    Make,
    Row,
    Shape,
    encoded_in,
    flat,
    get_many,
    in_turns,
    insert_many,
    named,
    remade,
    shaped,
)
from ._protocol import (
    SEQUENCES,
    CountingOperation,
    EncodedList,
    Filter,
    FindOperation,
    Index,
    LongValue,
    ModifyOperation,
    Ordered,
    ReturningOperation,
    RowEncoder,
    Value,
    encode_in_slices,
    find_modify_tail,
    find_tail,
    get_tail,
    insert_tail,
    insert_tail_in_slices,
    listed_filters,
    located,
    plain_rows,
    shown,
    value_list,
    with_tokens,
)
from ._row_types import R, maker_of
from .exceptions import HandlerSocketError

__all__ = ["MAX_HANDLES", "Table"]


#: How many tables are remembered. A program that always asks for new ones must not grow without bound.
MAX_HANDLES = 4096

_RETURNING: dict[CountingOperation, ReturningOperation] = {"U": "U?", "D": "D?", "+": "+?", "-": "-?"}


def wrong_key(value: object, error: TypeError | ValueError) -> TypeError | ValueError:
    """The error of a ``get`` whose value cannot be sent."""
    if isinstance(value, (tuple, list)):
        return TypeError(
            f"get takes one value, that of the index's first column, not a {type(value).__name__}; to look a row up by several "
            "columns, use find with operation '=' and a list of their values"
        )
    return located("value", error)


class Table(Generic[R]):
    """Operations on one table through one index, with the columns fixed: the fast way. Made by :meth:`Manager.table`.

    The methods are those of :class:`Manager` without ``db``, ``table``, ``fields`` and ``index_name``; errors and
    cancellation are described there. Rows are of the type ``R``: by default :data:`Row`, or what ``row=`` makes of them.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        db: str,
        write_db: str,
        table: str,
        fields: Sequence[str],
        index_name: str | None,
        row: Callable[..., R] | None = None,
    ) -> None:
        self._dispatcher = dispatcher
        self._make: Make | None = None if row is None else maker_of(row, fields)
        self._shape: Shape = named if self._make is None else shaped(self._make)
        self._index = Index(db, table, fields, index_name).shared()
        self._write_index = self._index if write_db == db else Index(write_db, table, fields, index_name).shared()

    def __repr__(self) -> str:
        return f"<Table {self._index!r}>"

    if not TYPE_CHECKING:  # type checkers say themselves that it is not there

        @property
        def scan(self):
            # A property, because a __getattr__ would slow down every attribute.
            raise AttributeError(
                f"{self!r} has no scan, which needs the table's indexes and primary key: declare them with columns=..., which "
                f"`python -m trio_hs describe {self._index.db}.{self._index.table}` writes"
            )

    @property
    def fields(self) -> tuple[str, ...]:
        """The columns that its operations read and write, in order."""
        return self._index.columns

    def _index_for(self, index: Index, filters: tuple[Filter, ...]) -> Index:
        """The same index, opened with the columns of the filters."""
        if not filters:
            return index
        names = [condition.column for condition in filters]
        for name in names:
            if not isinstance(name, str):
                raise TypeError(f"a filter names its column, not {shown(name)}")
        return Index(index.db, index.table, index.columns, index.name, tuple(dict.fromkeys(map(str, names)))).shared()

    @overload
    async def get(self: Table[Row], value: Value) -> Row: ...
    @overload
    async def get(self, value: Value) -> R | None: ...
    async def get(self, value: Value) -> Any:
        """The row whose index begins with ``value``, or ``[]``, or with ``row=`` None. See :meth:`Manager.get`."""
        index = self._index
        try:
            token = self._dispatcher.codec.encode(value)
        except (TypeError, ValueError) as error:
            raise wrong_key(value, error) from None
        values = await self._dispatcher.read(index, get_tail(token), "get")
        if self._make is not None:
            return self._make(values) if values else None
        return list(zip(index.columns, values))  # noqa: B905  (parse_values checks the lengths)

    @overload
    async def get_many(self: Table[Row], values: Ordered[Value]) -> list[Row]: ...
    @overload
    async def get_many(self, values: Ordered[Value]) -> list[R | None]: ...
    async def get_many(self, values: Ordered[Value]) -> list[Any]:
        """What ``get`` gives for each value, in the order of the values. See :meth:`Manager.get_many`."""
        keys: Any = values if type(values) in SEQUENCES else value_list(values)
        rows = await get_many(self._dispatcher, self._index, keys, self._dispatcher.codec.encode_list, "get_many")
        return rows if self._make is None else await in_turns(remade(rows, self._make))

    async def insert_many(self, rows: Ordered[Ordered[Value]]) -> list[int | HandlerSocketError | None]:
        """Inserts rows of one value per field, each with an outcome of its own. See :meth:`Manager.insert_many`."""
        listed: Any = rows if type(rows) in SEQUENCES else value_list(rows, "rows", "rows")
        return await insert_many(self._dispatcher, self._write_index, listed, self._row_encoder, "insert_many")

    @cached_property
    def _row_encoder(self) -> RowEncoder:
        return plain_rows(self._write_index, self._dispatcher.codec)

    async def find(
        self,
        operation: FindOperation,
        values: Ordered[Value],
        limit: int = 0,
        offset: int = 0,
        *,
        in_: tuple[int, Ordered[Value]] | None = None,
        filters: Ordered[Filter] = (),
    ) -> list[R]:
        """Rows in the order of the index. See :meth:`Manager.find`."""
        filters = () if filters == () else listed_filters(filters)
        index = self._index_for(self._index, filters)
        among = in_ if in_ is None else await encoded_in(self._dispatcher.codec, in_)
        tail = find_tail(index, self._dispatcher.codec, operation, values, limit, offset, among, filters)
        return await self._dispatcher.read(index, tail, "find", self._shape)

    async def insert(self, values: Ordered[Value]) -> int | None:
        """Inserts a row, one value per field. See :meth:`Manager.insert`."""
        index, codec = self._write_index, self._dispatcher.codec
        if type(values) is not list and type(values) is not tuple:
            values = value_list(values)
        try:
            tail = insert_tail(index, codec, values)
        except LongValue:
            tail = await in_turns(insert_tail_in_slices(index, codec, values))
        repeat = "insert" in self._dispatcher.retry.repeat_writes
        return await self._dispatcher.write(index, tail, "insert", repeat=repeat) or None

    def _modify(
        self,
        name: str,
        change: CountingOperation,
        operation: FindOperation,
        values: Ordered[Value],
        modify_values: Ordered[Value] | EncodedList,
        limit: int,
        offset: int,
        return_original: bool,
        shape: Shape,
        in_: tuple[int, Ordered[Value] | EncodedList] | None,
        filters: Ordered[Filter],
    ) -> Awaitable[Any]:
        """How many rows were changed, or with ``return_original`` the rows as they were, in the given shape."""
        filters = () if filters == () else listed_filters(filters)
        index = self._index_for(self._write_index, filters)
        if return_original is not True and return_original is not False:
            raise TypeError(f"return_original must be a bool, not {shown(return_original)}")
        modify_operation: ModifyOperation = _RETURNING[change] if return_original else change
        what = "update_values" if name == "update" else "step"
        encoded = modify_values if type(modify_values) is EncodedList else None
        if encoded is not None:
            modify_values = EncodedList(b"", encoded.count)
        tail = find_modify_tail(
            index, self._dispatcher.codec, operation, values, modify_operation, modify_values, limit, offset, in_, filters, what
        )
        if encoded is not None:
            return self._modify_long(name, index, tail, encoded.tokens, shape if return_original else None)
        if return_original:
            return self._dispatcher.write(index, tail, name, shape=shape)
        return self._dispatcher.write(index, tail, name, repeat=name in self._dispatcher.retry.repeat_writes)

    async def _modify_long(self, name: str, index: Index, tail: bytes, tokens: bytes, shape: Shape | None) -> Any:
        tail = await in_turns(with_tokens(tail, tokens))
        repeat = shape is None and name in self._dispatcher.retry.repeat_writes
        return await self._dispatcher.write(index, tail, name, shape=shape, repeat=repeat)

    # fmt: off
    @overload
    async def update(
        self, operation: FindOperation, values: Ordered[Value], update_values: Ordered[Value],
        limit: int = 0, offset: int = 0, return_original: Literal[False] = False,
        *, in_: tuple[int, Ordered[Value]] | None = None, filters: Ordered[Filter] = (),
    ) -> int: ...
    @overload
    async def update(
        self, operation: FindOperation, values: Ordered[Value], update_values: Ordered[Value],
        limit: int = 0, offset: int = 0, return_original: Literal[True] = ...,
        *, in_: tuple[int, Ordered[Value]] | None = None, filters: Ordered[Filter] = (),
    ) -> list[R]: ...
    @overload
    async def update(
        self, operation: FindOperation, values: Ordered[Value], update_values: Ordered[Value],
        limit: int = 0, offset: int = 0, return_original: bool = ...,
        *, in_: tuple[int, Ordered[Value]] | None = None, filters: Ordered[Filter] = (),
    ) -> int | list[R]: ...
    # fmt: on
    async def update(
        self,
        operation: FindOperation,
        values: Ordered[Value],
        update_values: Ordered[Value],
        limit: int = 0,
        offset: int = 0,
        return_original: bool = False,
        *,
        in_: tuple[int, Ordered[Value]] | None = None,
        filters: Ordered[Filter] = (),
    ) -> int | list[R]:
        """Sets the fields of the rows found. See :meth:`Manager.update`."""
        among = in_ if in_ is None else await encoded_in(self._dispatcher.codec, in_)
        filters = () if filters == () else listed_filters(filters)
        if not isinstance(update_values, (list, tuple, EncodedList)):
            update_values = value_list(update_values, "update_values")
        rest = (limit, offset, return_original, self._shape, among, filters)
        try:
            work = self._modify("update", "U", operation, values, update_values, *rest)
        except LongValue:
            new = await in_turns(
                encode_in_slices(self._dispatcher.codec, list(update_values), "update_values", self._index.columns)
            )
            work = self._modify("update", "U", operation, values, new, *rest)
        result: int | list[R] = await work
        return result

    # fmt: off
    @overload
    async def delete(
        self, operation: FindOperation, values: Ordered[Value],
        limit: int = 0, offset: int = 0, return_original: Literal[False] = False,
        *, in_: tuple[int, Ordered[Value]] | None = None, filters: Ordered[Filter] = (),
    ) -> int: ...
    @overload
    async def delete(
        self, operation: FindOperation, values: Ordered[Value],
        limit: int = 0, offset: int = 0, return_original: Literal[True] = ...,
        *, in_: tuple[int, Ordered[Value]] | None = None, filters: Ordered[Filter] = (),
    ) -> list[R]: ...
    @overload
    async def delete(
        self, operation: FindOperation, values: Ordered[Value],
        limit: int = 0, offset: int = 0, return_original: bool = ...,
        *, in_: tuple[int, Ordered[Value]] | None = None, filters: Ordered[Filter] = (),
    ) -> int | list[R]: ...
    # fmt: on
    async def delete(
        self,
        operation: FindOperation,
        values: Ordered[Value],
        limit: int = 0,
        offset: int = 0,
        return_original: bool = False,
        *,
        in_: tuple[int, Ordered[Value]] | None = None,
        filters: Ordered[Filter] = (),
    ) -> int | list[R]:
        """Deletes the rows found. See :meth:`Manager.delete`."""
        among = in_ if in_ is None else await encoded_in(self._dispatcher.codec, in_)
        work = self._modify("delete", "D", operation, values, (), limit, offset, return_original, self._shape, among, filters)
        result: int | list[R] = await work
        return result

    # fmt: off
    @overload
    async def incr(
        self, operation: FindOperation, values: Ordered[Value], step: Ordered[Value] = ...,
        limit: int = 0, offset: int = 0, return_original: Literal[False] = False,
        *, in_: tuple[int, Ordered[Value]] | None = None, filters: Ordered[Filter] = (),
    ) -> int: ...
    @overload
    async def incr(
        self, operation: FindOperation, values: Ordered[Value], step: Ordered[Value] = ...,
        limit: int = 0, offset: int = 0, return_original: Literal[True] = ...,
        *, in_: tuple[int, Ordered[Value]] | None = None, filters: Ordered[Filter] = (),
    ) -> list[Any]: ...
    @overload
    async def incr(
        self, operation: FindOperation, values: Ordered[Value], step: Ordered[Value] = ...,
        limit: int = 0, offset: int = 0, return_original: bool = ...,
        *, in_: tuple[int, Ordered[Value]] | None = None, filters: Ordered[Filter] = (),
    ) -> int | list[Any]: ...
    # fmt: on
    async def incr(
        self,
        operation: FindOperation,
        values: Ordered[Value],
        step: Ordered[Value] = ("1",),
        limit: int = 0,
        offset: int = 0,
        return_original: bool = False,
        *,
        in_: tuple[int, Ordered[Value]] | None = None,
        filters: Ordered[Filter] = (),
    ) -> int | list[Any]:
        """Adds to the fields of the rows found. See :meth:`Manager.incr`."""
        among = in_ if in_ is None else await encoded_in(self._dispatcher.codec, in_)
        work = self._modify("incr", "+", operation, values, step, limit, offset, return_original, flat, among, filters)
        result: int | list[Any] = await work
        return result

    # fmt: off
    @overload
    async def decr(
        self, operation: FindOperation, values: Ordered[Value], step: Ordered[Value] = ...,
        limit: int = 0, offset: int = 0, return_original: Literal[False] = False,
        *, in_: tuple[int, Ordered[Value]] | None = None, filters: Ordered[Filter] = (),
    ) -> int: ...
    @overload
    async def decr(
        self, operation: FindOperation, values: Ordered[Value], step: Ordered[Value] = ...,
        limit: int = 0, offset: int = 0, return_original: Literal[True] = ...,
        *, in_: tuple[int, Ordered[Value]] | None = None, filters: Ordered[Filter] = (),
    ) -> list[Any]: ...
    @overload
    async def decr(
        self, operation: FindOperation, values: Ordered[Value], step: Ordered[Value] = ...,
        limit: int = 0, offset: int = 0, return_original: bool = ...,
        *, in_: tuple[int, Ordered[Value]] | None = None, filters: Ordered[Filter] = (),
    ) -> int | list[Any]: ...
    # fmt: on
    async def decr(
        self,
        operation: FindOperation,
        values: Ordered[Value],
        step: Ordered[Value] = ("1",),
        limit: int = 0,
        offset: int = 0,
        return_original: bool = False,
        *,
        in_: tuple[int, Ordered[Value]] | None = None,
        filters: Ordered[Filter] = (),
    ) -> int | list[Any]:
        """Subtracts from the fields of the rows found. See :meth:`Manager.decr`."""
        among = in_ if in_ is None else await encoded_in(self._dispatcher.codec, in_)
        work = self._modify("decr", "-", operation, values, step, limit, offset, return_original, flat, among, filters)
        result: int | list[Any] = await work
        return result
