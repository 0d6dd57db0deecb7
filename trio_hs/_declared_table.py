"""A table with declared columns: values are checked before a byte is sent, and come back as Python types.

Longer than most modules because a type checker needs the signatures of its methods for each type that they may return.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, Literal, TypeAlias, overload

from ._columns import Column, Columns, TypedCodec, encode_inserted, encode_step, keyset, require_writable
from ._counted import counted
from ._dispatch import Dispatcher, Row, get_many, in_turns, insert_many, remade
from ._protocol import (
    FEW_VALUES,
    LONG_LIST,
    NULL,
    SEQUENCES,
    Buffer,
    EncodedList,
    Filter,
    FindOperation,
    Index,
    LongValue,
    Ordered,
    RowEncoder,
    Slices,
    begin_insert,
    in_pair,
    insert_tail,
    joined_tokens,
    listed_filters,
    shown,
    tokens_in_slices,
    value_list,
)
from ._row_types import R
from ._scan import Scan, open_scan, range_of
from ._table import Table, wrong_key
from .exceptions import HandlerSocketError

#: A value that its column checks takes as long as so many others.
CHECKED = 4

In: TypeAlias = tuple[int, Ordered[Any]] | None


class DeclaredTable(Table[R]):
    """A :class:`Table` with declared columns. Made by :meth:`Manager.table` with ``columns``.

    Its methods are those of :class:`Table`. Values are checked against their column: the values of ``fields`` in an insert or
    update, those of the index's columns in ``values`` and ``in_``, and those of filters. TypeError and ValueError name the
    column, and say what it takes; nothing was sent then. Values come back as the types that docs/declared.md lists.
    :class:`DecodingError` says that a stored value does not fit the declaration; a write was applied then.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        db: str,
        write_db: str,
        table: str,
        fields: Sequence[str] | None,
        index_name: str | None,
        columns: Columns,
        row: Callable[..., R] | None = None,
    ) -> None:
        if fields is None:
            fields = [column.name for column in columns if not column.invisible and not column.generated]
        self._columns = columns
        self._field_columns = tuple(columns.column(name) for name in fields)
        self._key = columns.key(index_name)
        self._index_words = f"the index {index_name or 'PRIMARY'}"
        typed = copy.copy(dispatcher)
        typed.codec = TypedCodec(self._field_columns)
        super().__init__(typed, db, write_db, table, fields, index_name, row)
        self._insert_index: Index | None = None
        self._filling: list[bytes] = []

    def __repr__(self) -> str:
        return f"<DeclaredTable {self._index!r}>"

    @property
    def columns(self) -> Columns:
        """The declaration."""
        return self._columns

    # ---- what goes in -------------------------------------------------------------------------------------------------

    async def _search(
        self, values: Ordered[Any], in_: In, filters: Ordered[Filter]
    ) -> tuple[list[bytes], tuple[int, Any] | None, list[Filter]]:
        """The lookup values, ``in_`` and the filters, with tokens for values. A checkpoint if ``in_`` has many."""
        values = value_list(values)
        if len(values) > len(self._key):
            given, has = counted(len(values), "value"), counted(len(self._key), "column")
            raise ValueError(f"values holds {given}, but {self._index_words} has {has}")
        tokens = [part.encode(value) for part, value in zip(self._key, values, strict=False)]
        return (
            tokens,
            None if in_ is None else await self._in(in_),
            [self._filter(condition) for condition in listed_filters(filters)],
        )

    async def _in(self, in_: tuple[int, Ordered[Any]]) -> tuple[int, EncodedList]:
        position, choices = in_pair(in_)
        assert not isinstance(choices, EncodedList)
        if not isinstance(position, int) or isinstance(position, bool) or not 0 <= position < len(self._key):
            columns = f"{self._index_words} has {counted(len(self._key), 'column')}"
            raise ValueError(f"in_ names a column by its position, not by {shown(position)}: {columns}")
        part = self._key[position]

        def encode(choice: Any) -> bytes:
            if choice is None:
                raise ValueError("cannot be None: the server would look for a zero byte; find NULL with operation '='")
            return part.encode(choice)

        return position, await in_turns(tokens_in_slices(encode, choices, "in_"))

    def _filter(self, condition: Filter) -> Filter:
        name = condition.column
        if not isinstance(name, str):
            raise TypeError(f"a filter names its column, not {shown(name)}")
        column = self._columns.column(name)
        if column.is_blob and condition.value is not None:
            raise ValueError(f"column {name} is a {column.type}, which the server only filters on NULL")
        return condition._replace(value=column.encode(condition.value))

    def _fill(self) -> tuple[Index, list[bytes]]:
        """The index to insert through, and the tokens of the columns that follow the fields.

        The insert names those columns because the server would store zero or '' in a nullable column that is not named.
        """
        if self._insert_index is None:
            require_writable("insert", self._columns, self._field_columns)
            rest = [
                column
                for column in self._columns
                if column not in self._field_columns and not column.generated and not column.auto_increment
            ]
            if missing := [column.name for column in rest if column.required]:
                raise ValueError(
                    f"insert needs a value for {', '.join(missing)}: NOT NULL without a default, or with one that "
                    "HandlerSocket does not compute; name them among the fields"
                )
            index = self._write_index
            names = [*index.columns, *[column.name for column in rest]]
            self._filling = [NULL if column.default is None else column.encode(column.default) for column in rest]
            self._insert_index = Index(index.db, index.table, names, index.name).shared() if rest else index
        return self._insert_index, self._filling

    def _row_tail(self, values: Sequence[Any]) -> bytes:
        index, filling = self._fill()
        if len(values) != len(self._field_columns):
            raise ValueError(f"values: insert takes one value per field: {self._fields_and(len(values), 'value')}")
        tokens = self._tokens(encode_inserted, values)
        return insert_tail(index, self._dispatcher.codec, [*tokens, *filling])

    def _long_row_tail(self, values: Sequence[Any]) -> Slices[bytes]:
        index, filling = self._fill()
        out = begin_insert(index, len(values) + len(filling))
        yield from self._write_in_slices(out, encode_inserted, values)
        out.write(b"".join([b"\t" + token for token in filling]) + b"\n")
        return out.contents()

    def _tokens(self, encode: Callable[[Column, Any], bytes], values: Sequence[Any]) -> list[bytes]:
        """The token of each field. Raises LongValue if they have to be written in slices."""
        columns = self._field_columns
        tokens = list(map(encode, columns[:FEW_VALUES], values))
        if len(columns) > FEW_VALUES and (size := sum(map(len, tokens))) > LONG_LIST:
            raise LongValue(size)
        return [*tokens, *map(encode, columns[FEW_VALUES:], values[FEW_VALUES:])]

    def _write_in_slices(self, out: Buffer, encode: Callable[[Column, Any], bytes], values: Sequence[Any]) -> Slices[None]:
        """Writes the token of each field. Some are long, or all together."""
        room = LONG_LIST
        yield
        for number, (column, value) in enumerate(zip(self._field_columns, values, strict=True)):
            if number:
                out.write(b"\t")
            try:
                token = encode(column, value)
            except LongValue:
                yield from column.write_in_slices(out, value)
                continue
            out.write(token)
            room -= len(token)
            if room < 0:
                room = LONG_LIST
                yield

    def _fields_and(self, number: int, what: str) -> str:
        return f"{counted(len(self._field_columns), 'field')}, {counted(number, what)}"

    # ---- operations ---------------------------------------------------------------------------------------------------

    @overload
    async def get(self: DeclaredTable[Row], value: Any) -> Row: ...
    @overload
    async def get(self, value: Any) -> R | None: ...
    async def get(self, value: Any) -> Any:
        """The row whose index begins with ``value``, or ``[]``, or with ``row=`` None. See :meth:`Manager.get`."""
        try:
            token = self._key[0].encode(value)
        except (TypeError, ValueError) as error:
            raise wrong_key(value, error) from None
        return await super().get(token)

    @overload
    async def get_many(self: DeclaredTable[Row], values: Ordered[Any]) -> list[Row]: ...
    @overload
    async def get_many(self, values: Ordered[Any]) -> list[R | None]: ...
    async def get_many(self, values: Ordered[Any]) -> list[Any]:
        """What ``get`` gives for each value, in the order of the values. See :meth:`Manager.get_many`."""
        keys: Any = values if type(values) in SEQUENCES else value_list(values)
        rows = await get_many(self._dispatcher, self._index, keys, self._encode_keys, "get_many")
        return rows if self._make is None else await in_turns(remade(rows, self._make))

    def _encode_keys(self, keys: Sequence[Any], first: int) -> bytes:
        return joined_tokens(self._key[0].encode, keys, "values", first)

    async def find(
        self,
        operation: FindOperation,
        values: Ordered[Any],
        limit: int = 0,
        offset: int = 0,
        *,
        in_: In = None,
        filters: Ordered[Filter] = (),
    ) -> list[R]:
        """Rows in the order of the index. See :meth:`Manager.find`."""
        values, in_, filters = await self._search(values, in_, filters)
        return await super().find(operation, values, limit, offset, in_=in_, filters=filters)

    # fmt: off
    def scan(
        self, chunk: int = 1000, *, start: Ordered[Any] = (), stop: Ordered[Any] = (), equal: Ordered[Any] = (),
        filters: Ordered[Filter] = (), backwards: bool = False, after: str | None = None, timestamps_in_utc: bool = False,
    ) -> Scan[R]:
    # fmt: on
        """All rows in the order of the index, or a range of them: see :class:`Scan`. Nothing is sent yet.

        Args:
          chunk: how many rows to ask the server for at a time.
          equal: values that the first columns of the index must have.
          start, stop: the range, as values of the columns that follow: from ``start`` on, up to but without ``stop``, each with
            all keys that begin like it.
          filters: must hold for each row, as in :meth:`Manager.find`, but without ``stop=True``. If few rows match, a request
            takes as long as the server needs to find ``chunk`` of them.
          backwards: from the end of the index to its beginning; then ``start`` is the greater one.
          after: the :attr:`~Scan.position` of an earlier scan of the same index and direction: goes on behind it. ``equal``,
            ``stop`` and ``filters`` hold whatever it says; ``start`` does not.
          timestamps_in_utc: allows an index with a ``timestamp``. Only where the servers' time zone has no summer time.

        Raises TypeError or ValueError for an index that cannot be scanned (docs/scanning.md), and for wrong arguments.
        """
        for name, flag in (("backwards", backwards), ("timestamps_in_utc", timestamps_in_utc)):
            if not isinstance(flag, bool):
                raise TypeError(f"{name} must be a bool, not {shown(flag)}")
        order = keyset(self._columns, self._index.name, backwards=backwards, timestamps_in_utc=timestamps_in_utc)
        conditions = [self._filter(condition) for condition in listed_filters(filters)]
        scanned = range_of(order, equal, start, stop, conditions)
        return open_scan(self._dispatcher, self._index, self._field_columns, self._make, chunk, scanned, after)

    async def insert(self, values: Ordered[Any]) -> int | None:
        """Inserts a row, one value per field. The other columns get their default, or NULL. See :meth:`Manager.insert`.

        None in the auto_increment column lets the server choose. Raises ValueError if a column would have no value.
        """
        values = value_list(values)
        try:
            tail = self._row_tail(values)
        except LongValue:
            tail = await in_turns(self._long_row_tail(values))
        repeat = "insert" in self._dispatcher.retry.repeat_writes
        return await self._dispatcher.write(self._fill()[0], tail, "insert", repeat=repeat) or None

    async def insert_many(self, rows: Ordered[Ordered[Any]]) -> list[int | HandlerSocketError | None]:
        """Inserts rows as ``insert`` does, each with an outcome of its own. See :meth:`Manager.insert_many`.

        If a value of any row is refused, nothing is sent.
        """
        index = self._fill()[0]
        listed: Any = rows if type(rows) in SEQUENCES else value_list(rows, "rows", "rows")
        return await insert_many(self._dispatcher, index, listed, self._row_encoder, "insert_many")

    @cached_property
    def _row_encoder(self) -> RowEncoder:
        return RowEncoder(CHECKED * len(self._field_columns), self._row_tail, self._long_row_tail)

    # fmt: off
    @overload
    async def update(
        self, operation: FindOperation, values: Ordered[Any], update_values: Ordered[Any],
        limit: int = 0, offset: int = 0, return_original: Literal[False] = False,
        *, in_: In = None, filters: Ordered[Filter] = (),
    ) -> int: ...
    @overload
    async def update(
        self, operation: FindOperation, values: Ordered[Any], update_values: Ordered[Any],
        limit: int = 0, offset: int = 0, return_original: Literal[True] = ...,
        *, in_: In = None, filters: Ordered[Filter] = (),
    ) -> list[R]: ...
    @overload
    async def update(
        self, operation: FindOperation, values: Ordered[Any], update_values: Ordered[Any],
        limit: int = 0, offset: int = 0, return_original: bool = ...,
        *, in_: In = None, filters: Ordered[Filter] = (),
    ) -> int | list[R]: ...
    # fmt: on
    async def update(
        self,
        operation: FindOperation,
        values: Ordered[Any],
        update_values: Ordered[Any],
        limit: int = 0,
        offset: int = 0,
        return_original: bool = False,
        *,
        in_: In = None,
        filters: Ordered[Filter] = (),
    ) -> int | list[R]:
        """Sets the fields of the rows found. See :meth:`Manager.update`."""
        require_writable("update", self._columns, self._field_columns)
        update_values = value_list(update_values, "update_values")
        if len(update_values) != len(self._field_columns):
            raise ValueError(f"update_values must hold one value per field: {self._fields_and(len(update_values), 'value')}")
        new: Any
        try:
            new = self._tokens(Column.encode, update_values)
        except LongValue:
            out = Buffer()
            await in_turns(self._write_in_slices(out, Column.encode, update_values))
            new = EncodedList(out.contents(), len(update_values))
        values, in_, filters = await self._search(values, in_, filters)
        return await super().update(operation, values, new, limit, offset, return_original, in_=in_, filters=filters)

    # fmt: off
    @overload
    async def delete(
        self, operation: FindOperation, values: Ordered[Any],
        limit: int = 0, offset: int = 0, return_original: Literal[False] = False,
        *, in_: In = None, filters: Ordered[Filter] = (),
    ) -> int: ...
    @overload
    async def delete(
        self, operation: FindOperation, values: Ordered[Any],
        limit: int = 0, offset: int = 0, return_original: Literal[True] = ...,
        *, in_: In = None, filters: Ordered[Filter] = (),
    ) -> list[R]: ...
    @overload
    async def delete(
        self, operation: FindOperation, values: Ordered[Any],
        limit: int = 0, offset: int = 0, return_original: bool = ...,
        *, in_: In = None, filters: Ordered[Filter] = (),
    ) -> int | list[R]: ...
    # fmt: on
    async def delete(
        self,
        operation: FindOperation,
        values: Ordered[Any],
        limit: int = 0,
        offset: int = 0,
        return_original: bool = False,
        *,
        in_: In = None,
        filters: Ordered[Filter] = (),
    ) -> int | list[R]:
        """Deletes the rows found. See :meth:`Manager.delete`."""
        require_writable("delete", self._columns, None)
        values, in_, filters = await self._search(values, in_, filters)
        return await super().delete(operation, values, limit, offset, return_original, in_=in_, filters=filters)

    def _steps(self, name: str, step: Ordered[Any], limit: int, in_: In) -> list[bytes]:
        """The tokens of one step per field. Refuses fields that the server cannot add to without loss."""
        require_writable(name, self._columns, self._field_columns)
        step = value_list(step, "step")
        if len(step) != len(self._field_columns):
            raise ValueError(f"step: {name} takes one step per field: {self._fields_and(len(step), 'step')}")
        if (isinstance(limit, int) and limit > 1) or in_ is not None:
            for part in self._key:
                if part.column in self._field_columns:
                    raise ValueError(
                        f"{name} is refused: it changes column {part.column.name} of {self._index_words} that it searches, and "
                        "with several rows the server would meet some again and change them again"
                    )
        return [encode_step(column, number) for column, number in zip(self._field_columns, step, strict=True)]

    # fmt: off
    @overload
    async def incr(
        self, operation: FindOperation, values: Ordered[Any], step: Ordered[Any] = ...,
        limit: int = 0, offset: int = 0, return_original: Literal[False] = False,
        *, in_: In = None, filters: Ordered[Filter] = (),
    ) -> int: ...
    @overload
    async def incr(
        self, operation: FindOperation, values: Ordered[Any], step: Ordered[Any] = ...,
        limit: int = 0, offset: int = 0, return_original: Literal[True] = ...,
        *, in_: In = None, filters: Ordered[Filter] = (),
    ) -> list[Any]: ...
    @overload
    async def incr(
        self, operation: FindOperation, values: Ordered[Any], step: Ordered[Any] = ...,
        limit: int = 0, offset: int = 0, return_original: bool = ...,
        *, in_: In = None, filters: Ordered[Filter] = (),
    ) -> int | list[Any]: ...
    # fmt: on
    async def incr(
        self,
        operation: FindOperation,
        values: Ordered[Any],
        step: Ordered[Any] = (1,),
        limit: int = 0,
        offset: int = 0,
        return_original: bool = False,
        *,
        in_: In = None,
        filters: Ordered[Filter] = (),
    ) -> int | list[Any]:
        """Adds one int per field in the rows found. See :meth:`Manager.incr`.

        For integers only, except ``bigint unsigned``. If the sum is out of range, the server silently clips it, or in a
        ``bigint`` wraps around. Only the server knows the sum beforehand, so this is not checked.
        """
        tokens = self._steps("incr", step, limit, in_)
        values, in_, filters = await self._search(values, in_, filters)
        return await super().incr(operation, values, tokens, limit, offset, return_original, in_=in_, filters=filters)

    # fmt: off
    @overload
    async def decr(
        self, operation: FindOperation, values: Ordered[Any], step: Ordered[Any] = ...,
        limit: int = 0, offset: int = 0, return_original: Literal[False] = False,
        *, in_: In = None, filters: Ordered[Filter] = (),
    ) -> int: ...
    @overload
    async def decr(
        self, operation: FindOperation, values: Ordered[Any], step: Ordered[Any] = ...,
        limit: int = 0, offset: int = 0, return_original: Literal[True] = ...,
        *, in_: In = None, filters: Ordered[Filter] = (),
    ) -> list[Any]: ...
    @overload
    async def decr(
        self, operation: FindOperation, values: Ordered[Any], step: Ordered[Any] = ...,
        limit: int = 0, offset: int = 0, return_original: bool = ...,
        *, in_: In = None, filters: Ordered[Filter] = (),
    ) -> int | list[Any]: ...
    # fmt: on
    async def decr(
        self,
        operation: FindOperation,
        values: Ordered[Any],
        step: Ordered[Any] = (1,),
        limit: int = 0,
        offset: int = 0,
        return_original: bool = False,
        *,
        in_: In = None,
        filters: Ordered[Filter] = (),
    ) -> int | list[Any]:
        """Subtracts like ``incr``. A row in which a field would change its sign stays as it is. See :meth:`Manager.decr`."""
        tokens = self._steps("decr", step, limit, in_)
        values, in_, filters = await self._search(values, in_, filters)
        return await super().decr(operation, values, tokens, limit, offset, return_original, in_=in_, filters=filters)
