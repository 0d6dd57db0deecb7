"""What is wrong with one declared column: its type, and values that the server would clip or that could not be told apart."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from . import _values as values
from ._base import PlacedError
from ._sql_types import ADDRESSES, BINARIES, INTEGERS, NUMBERS, TEXTS, TIMES, must_fit, step_fits, with_article

if TYPE_CHECKING:
    from trio_hs import Column

    from ._columns import ColumnSpec

__all__ = ["VERSION_WIDTH", "mistakes_in_column"]

VERSION_WIDTH = 18
"""Characters that the version takes: at the beginning of every payload, or in the version column of a table of one's own."""
UUID_WIDTH = 36
FIRST_YEAR = 1901
"""Of a YEAR, beside 0."""
WITHOUT_NULL = (values.Sequence, values.Uuid, values.Version, values.Now)
Mistakes = Iterator[PlacedError]


def mistakes_in_column(spec: ColumnSpec) -> Mistakes:
    """The mistakes of a column that are its own. Their places begin at its entry."""
    yield from _nulls(spec)
    if not spec.type:
        return
    try:
        column = spec.column("own")  # the messages do without its name, which is in the place of the mistake
    except ValueError as error:
        yield PlacedError(("type",), str(error))
        return
    yield from _VALUES[type(spec.values)](column, spec.values)


def _nulls(spec: ColumnSpec) -> Mistakes:
    if spec.null and isinstance(spec.values, WITHOUT_NULL):
        yield PlacedError(("null",), f"a column of `values: {_name(spec.values)}` cannot be NULL: leave `null` out")
    elif spec.null and isinstance(spec.values, values.Null):
        yield PlacedError(("null",), "`values: null` makes every value NULL: leave `null` out")
    elif spec.null and isinstance(spec.values, values.Stored):
        yield PlacedError(("null",), "is for values that the run makes, and this column has none: add `values`")
    elif spec.nullable is False and spec.null:
        yield PlacedError(("null",), "is for a column that may be NULL, and this one may not: leave `null` out")
    elif spec.nullable is False and isinstance(spec.values, values.Null):
        yield PlacedError(("values",), "makes every value NULL, and the column may not be NULL: say another value")


def _name(spec: Any) -> str:
    return type(spec).__name__.lower()


def _sequence(column: Column, spec: values.Sequence) -> Mistakes:
    if column.type not in INTEGERS:
        yield PlacedError(("values",), f"`sequence` needs an integer, such as bigint unsigned, not {with_article(column.type)}")


def _uuid(column: Column, spec: values.Uuid) -> Mistakes:
    fits = {"uuid": True, "binary": column.length == 16, "varbinary": (column.length or 0) >= 16}
    fits |= dict.fromkeys(("char", "varchar"), (column.length or 0) >= UUID_WIDTH)
    if not fits.get(column.type, False):
        yield PlacedError(("values",), f"`uuid` needs the type uuid, char({UUID_WIDTH}) or binary(16), not {_shown(column)}")


def _now(column: Column, spec: values.Now) -> Mistakes:
    if column.type not in (*TIMES, "year"):
        yield PlacedError(("values",), f"`now` needs a date or time, such as datetime, not {with_article(column.type)}")


def _version(column: Column, spec: values.Version) -> Mistakes:
    if column.type not in (*TEXTS, *BINARIES):
        yield PlacedError(
            ("values",), f"`version` needs a text such as varchar({VERSION_WIDTH}), not {with_article(column.type)}"
        )
    elif column.type == "binary" and column.length != VERSION_WIDTH:
        yield PlacedError(("type",), f"must be binary({VERSION_WIDTH}) for a version: the server fills up a longer one")
    elif column.length is not None and column.length < VERSION_WIDTH:
        need = f"is too short for a version: it needs {VERSION_WIDTH} characters, such as {column.type}({VERSION_WIDTH})"
        yield PlacedError(("type",), need)


def _constant(column: Column, spec: values.Constant) -> Mistakes:
    yield from _fitting(column, ("values",), spec.constant)


def _choice(column: Column, spec: values.Choice) -> Mistakes:
    for one in spec.choice:
        yield from _fitting(column, ("values", "choice", one), one)


def _lines(column: Column, spec: values.Lines) -> Mistakes:
    for number, line in enumerate(spec.values(), 1):
        for mistake in _fitting(column, ("values", "lines"), line):
            yield PlacedError(mistake.place, f"line {number} of {spec.lines}: {mistake}")
            return


def _between(column: Column, spec: values.Between) -> Mistakes:
    if column.type not in (*NUMBERS, *TIMES, *ADDRESSES):
        kinds = "numbers, times and addresses"
        yield PlacedError(("values",), f"`between` is for {kinds}, not for {with_article(column.type)}: say `choice` or `text`")
        return
    yield from _range(column, ("values", "between"), spec.low, spec.high)
    if spec.step is not None and not step_fits(column, spec.step):
        unit = {"date": "whole days", "decimal": f"a multiple of {Decimal((0, (1,), -(column.scale or 0)))}"}
        must = f"must be {unit.get(column.type, 'a whole number')} for {_shown(column)}, not {spec.step:g}"
        yield PlacedError(("values", "step"), must)


def _zipfian(column: Column, spec: values.Zipfian) -> Mistakes:
    if column.type not in NUMBERS:
        yield PlacedError(("values",), f"`zipfian` is for numbers, not for {with_article(column.type)}")
        return
    yield from _range(column, ("values", "zipfian", "between"), spec.low, spec.high)


def _range(column: Column, place: tuple[str, ...], low: object, high: object) -> Mistakes:
    wrong = [mistake for index, one in enumerate((low, high)) for mistake in _fitting(column, (*place, index), one)]
    yield from wrong
    if not wrong and must_fit(column, low) > must_fit(column, high):
        yield PlacedError(place, f"the lower bound comes first: {low} is more than {high}")
    elif not wrong and column.type == "year" and must_fit(column, low) < FIRST_YEAR <= must_fit(column, high):
        yield PlacedError(place, f"a year has no values between 0 and {FIRST_YEAR}: begin with {FIRST_YEAR}")


def _text(column: Column, spec: values.Text) -> Mistakes:
    place = ("values", "text")
    if column.type not in (*TEXTS, *BINARIES, "json"):
        yield PlacedError(("values",), f"`text` is for text and bytes, not for {with_article(column.type)}: say `choice`")
        return
    size, alphabet = spec.text, spec.text.alphabet or "a"
    if column.type in BINARIES and not alphabet.isascii():
        yield PlacedError((*place, "alphabet"), f"must be ASCII for {with_article(column.type)}, whose sizes are in bytes")
    elif column.type == "char" and " " in alphabet:
        yield PlacedError((*place, "alphabet"), "cannot have a space: a char loses those at its end")
    elif column.type == "binary" and size.min != column.length:
        yield PlacedError((*place, "min"), f"must be {column.length}: a binary takes exactly its length")
    elif unknown := [one for one in alphabet if column.type in TEXTS and size.max and list(_fitting(column, (), one))]:
        yield PlacedError((*place, "alphabet"), f"the column's character set, {column.charset}, has no {unknown[0]!r}")
    elif column.type != "json":  # it holds more than any text here
        widest = max(alphabet, key=lambda one: len(one.encode()))
        yield from _fitting(column, (*place, "max"), widest * size.max)


def _any(column: Column, spec: object) -> Mistakes:
    yield from ()


def _fitting(column: Column, place: tuple[int | str, ...], raw: object) -> Mistakes:
    try:
        must_fit(column, raw)
    except ValueError as error:
        yield PlacedError(place, str(error))


def _shown(column: Column) -> str:
    return column.type if column.length is None else f"{column.type}({column.length})"


_VALUES: dict[type, Any] = {
    values.Sequence: _sequence,
    values.Uuid: _uuid,
    values.Now: _now,
    values.Version: _version,
    values.Constant: _constant,
    values.Choice: _choice,
    values.Between: _between,
    values.Text: _text,
    values.Zipfian: _zipfian,
    values.Lines: _lines,
    values.Null: _any,
    values.Stored: _any,
}
