"""What is wrong with the operations of a mix, given the table that they work on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from hs_drill._counted import counted

from . import _values as values
from ._base import PlacedError, no_such
from ._mix import WRITES, Find, Operation, Update
from ._sql_types import INTEGERS, bounds_of, must_fit, with_article

if TYPE_CHECKING:
    from trio_hs import Column

    from ._model import Scenario
    from ._operations import OperationSpec
    from ._table import TableSpec

__all__ = ["HEADROOM", "MOST_INSERTED", "mistakes_in_operations"]

MOST_INSERTED = 32
"""Columns that an insert through HandlerSocket can set."""
HEADROOM = 1_000_000
"""Steps for which a counter must have room: the server clips at the end of the type."""

Mistakes = Iterator[PlacedError]


def mistakes_in_operations(scenario: Scenario) -> Mistakes:
    """The mistakes of operations. Their places begin at the scenario."""
    given = {} if scenario.mix is None else scenario.mix.operations()
    for one in scenario.operations:
        for check in _checks(scenario.table, one):
            for mistake in check(scenario, one, given[one.name]):
                yield PlacedError(("mix", one.name, *mistake.place), str(mistake))


def _checks(table: TableSpec, one: OperationSpec) -> list[Check]:
    if not table.declared:
        return [_drills_own]
    if not table.resolved:
        return [_existing]
    of_kind = {"find": [_find], "insert": [_insert], "update": [_update], "incr": [_step], "decr": [_step]}
    return [_existing, _columns, *of_kind.get(one.do, [])]


Check = Callable[["Scenario", "OperationSpec", Operation], Mistakes]


def _drills_own(scenario: Scenario, one: OperationSpec, given: Operation) -> Mistakes:
    for key in ("columns", "index", "operation", "by", "column", "set"):
        if getattr(given, key, None) is not None:
            yield PlacedError((key,), "is for a table of your own: give its `table.columns`, or leave this out")


def _existing(scenario: Scenario, one: OperationSpec, given: Operation) -> Mistakes:
    if scenario.table.existing and one.do in WRITES and not scenario.table.writes:
        allow = "changes rows of a table that exists: say `writes: allowed` in `table`, which keeps what they held"
        yield PlacedError((), allow)


def _columns(scenario: Scenario, one: OperationSpec, given: Operation) -> Mistakes:
    """The columns that an operation names."""
    for key in ("columns", "set"):
        yield from _known(scenario.table, (key,), getattr(given, key, None) or ())


def _known(table: TableSpec, place: tuple[str, ...], names: Sequence[str]) -> Mistakes:
    for number, name in enumerate(names):
        if name not in table.columns:
            yield PlacedError((*place, number), no_such("column", name, table.columns))
        elif name in names[:number]:
            yield PlacedError((*place, number), f"names {name} twice")


def _find(scenario: Scenario, one: OperationSpec, given: Operation) -> Mistakes:
    assert isinstance(given, Find)
    table = scenario.table
    known = ["PRIMARY", *table.indexes]
    if given.index is None:
        yield PlacedError((), f"needs an `index`: one of {', '.join(known)}")
    elif given.index not in known:
        yield PlacedError(("index",), no_such("index", given.index, known))
    else:
        parts = table.primary if given.index == "PRIMARY" else table.indexes[given.index]
        if given.by is not None and given.by != parts[: len(given.by)]:
            right = " or ".join(f"[{', '.join(parts[:count])}]" for count in range(1, len(parts) + 1)[:3])
            wrong = f"must be the first columns of the index {given.index}, in its order: {right}"
            yield PlacedError(("by",), f"{wrong}, not [{', '.join(given.by)}]")
        elif one.operation == "=" and scenario.driver.name == "sql":
            for name in one.by:
                if name in table.columns and table.columns[name].column(name).type == "float":
                    unequal = f"finds nothing by {name}: SQL does not find a FLOAT of 0.7 by 0.7"
                    yield PlacedError((), f"{unequal}; say another operation, or make it a double")


def _step(scenario: Scenario, one: OperationSpec, given: Operation) -> Mistakes:
    table, operations = scenario.table, scenario.operations
    if not one.column:
        integers = [name for name, spec in table.columns.items() if spec.column(name).type in INTEGERS]
        some = [name for name in integers if name not in table.primary]
        such = f"such as {some[0]}" if some else "and the table has none beside its primary key"
        yield PlacedError((), f"needs a `column` to count in: an integer, {such}")
        return
    if one.column not in table.columns:
        yield PlacedError(("column",), no_such("column", one.column, table.columns))
        return
    spec, place = table.columns[one.column], ("column",)
    column = spec.column(one.column)
    if column.type not in INTEGERS:
        yield PlacedError(place, f"must be an integer column to count in, and {one.column} is {with_article(column.type)}")
    elif one.column in table.primary:
        yield PlacedError(place, f"cannot be {one.column}, a column of the primary key, which no write changes")
    elif column.type == "bigint" and column.unsigned:
        yield PlacedError(place, "is a bigint unsigned, and the server counts in 64 bits with a sign: say bigint")
    elif spec.is_nullable:
        yield PlacedError(place, f"cannot be {one.column}, which may be NULL: the server does not count from NULL")
    elif by := next((other.name for other in operations if one.column in other.set), ""):
        yield PlacedError(place, f"cannot be {one.column}, which {by} sets: a counter is counted or set, not both")
    else:
        yield from _room(column, spec.values, one)
        if one.do == "decr" and not any(other.do == "incr" and other.column == one.column for other in operations):
            yield from _never(column, spec.values, one)


def _room(column: Column, made: object, one: OperationSpec) -> Mistakes:
    """Whether a counter can be stepped for a while before the server clips it."""
    lowest, highest = bounds_of(column)
    first = _initial(column, made)
    if one.do == "incr" and (most := max(first, default=0)) + one.step * HEADROOM > highest:
        room = f"has no room to count: {column.type} ends at {highest:,}, where the server clips; say int or bigint"
        yield PlacedError(("column",), room if not most else f"{room}, or begin lower than {most:,}")
    # One that is unsigned stops above 0: no row changes then.
    if one.do == "decr" and not column.unsigned and min(first, default=0) - one.step * HEADROOM < lowest:
        room = f"has no room to count down: {column.type} ends at {lowest:,}, where the server clips; say int or bigint"
        yield PlacedError(("column",), room)


def _never(column: Column, made: object, one: OperationSpec) -> Mistakes:
    """Whether a decrement can change a row, if nothing increments it. It does not count an unsigned column below 0."""
    first = _initial(column, made)
    if column.unsigned and first and max(first) < one.step:
        nothing = f"begins at {max(first):,} and is unsigned, so a decr of {one.step:,} never changes a row"
        yield PlacedError(("column",), f"{nothing}: begin higher, add an incr, or leave `unsigned` out")


def _initial(column: Column, made: object) -> list[int]:
    """What a counter may begin with."""
    match made:
        case values.Constant():
            return [must_fit(column, made.constant)]
        case values.Choice():
            return [must_fit(column, one) for one in made.choice]
        case values.Between() | values.Zipfian():
            return [must_fit(column, made.low), must_fit(column, made.high)]
        case values.Lines():
            return [must_fit(column, one) for one in made.values()]
    return []


def _update(scenario: Scenario, one: OperationSpec, given: Operation) -> Mistakes:
    assert isinstance(given, Update)
    table = scenario.table
    if not one.set:
        yield PlacedError((), "needs `set`: the columns that it writes, such as `set: [name]`")
        return
    for number, name in enumerate(one.set):
        place = ("set", number)
        if name in table.primary:
            yield PlacedError(place, f"cannot set {name}, a column of the primary key, which no write changes")
        elif name in table.columns and isinstance(table.columns[name].values, values.Stored):
            yield PlacedError(place, f"needs values for {name}: say in `table.columns` how they are made")
    version = table.version_column
    if scenario.audited and version is not None and version not in one.set:
        must = f"must have {version} too, which says what wrote the row, in an audited run; or say `audit: false`"
        yield PlacedError(("set",), must)


def _insert(scenario: Scenario, one: OperationSpec, given: Operation) -> Mistakes:
    table = scenario.table
    if len(table.columns) > MOST_INSERTED and scenario.driver.name != "sql":
        most = f"HandlerSocket sets at most {MOST_INSERTED} in an insert: leave insert out, or say `driver: sql`"
        yield PlacedError((), f"has to set {counted(len(table.columns), 'column')}, and {most}")
    for name, spec in table.columns.items():
        if isinstance(spec.values, values.Stored):
            yield PlacedError((), f"needs values for {name}: say in `table.columns` how they are made")
        elif isinstance(spec.values, values.Sequence) and spec.column(name).type != "bigint":
            wide = (
                f"needs {name} to be a bigint: inserted rows have numbers of 2**40 and more, so that no two runs use the same"
            )
            yield PlacedError((), wide)
