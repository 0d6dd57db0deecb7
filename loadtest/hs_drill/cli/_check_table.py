"""What `hs-drill check` shows of a table and its operations: what they are, and what the audit checks of them."""

from __future__ import annotations

from collections.abc import Sequence

from hs_drill._counted import counted
from hs_drill.report import words
from hs_drill.scenario import (
    READS,
    STEPS,
    WRITES,
    ColumnSpec,
    OperationSpec,
    Scenario,
    TableSpec,
    partly_checked_read,
    unaudited_writes,
    unchecked_read,
    values,
)

__all__ = ["audit_in_words", "column_rows", "operation_rows", "table_in_words", "writes_in_words"]

MOST_CHOICES = 5
"""Values of a `choice` that are shown."""
Row = tuple[str, str]


def table_in_words(table: TableSpec, estimate: int | None = None) -> str:
    """`estimate`: what the server of a table that exists says of the number of its rows."""
    name = f"{table.database}.{table.name}"
    if not table.declared:
        return f"{name}, {counted(table.rows, 'row')} of {words.sizes(table.value_size)} characters"
    indexes = "".join(f", index {index} ({', '.join(parts)})" for index, parts in table.indexes.items())
    keys = f"primary key ({', '.join(table.primary)}){indexes}"
    if not table.existing:
        return f"{name}, {counted(table.rows, 'row')}, {keys}"
    known = keys if table.resolved else "its servers know its columns"
    rows = "" if estimate is None else f" with about {counted(estimate, 'row')}"
    return f"{name}, which exists{rows}; {known}; up to {counted(table.rows, 'key')} are sampled"


def writes_in_words(scenario: Scenario, on_update: Sequence[str] = ()) -> str:
    """What a run does to the rows of a table that exists. `on_update`: columns that its writes set beside their own."""
    if not scenario.writes:
        allowed = "allowed, but the mix has none" if scenario.table.writes else "none"
        return f"{allowed}: the run reads, and changes nothing"
    changed = [name for one in scenario.operations for name in (*one.set, *filter(None, [one.column]))]
    does = [f"CHANGES {', '.join(dict.fromkeys([*changed, *on_update])).upper()}"] if changed else []
    if any(one.do in ("insert", "delete") for one in scenario.operations):
        does.append("INSERTS ROWS OF ITS OWN")
    return f"ALLOWED: THE RUN {' AND '.join(does)} IN A TABLE THAT EXISTS; `hs-drill restore` takes that back"


def audit_in_words(scenario: Scenario) -> str:
    if why := unaudited_writes(scenario):
        return f"none, writes are only measured: {why}"
    if not scenario.audited:
        return "none"
    if scenario.mix is None:
        return "what users do with self.rows"
    return f"every write, and {scenario.audit.reads * 100:.4g} % of the reads"


def column_rows(scenario: Scenario) -> list[Row]:
    """Each column: its type, how its values are made, and what the audit makes of it."""
    table = scenario.table
    return [
        (name, "; ".join(filter(None, (column.type, _null(column), _values(column), _audited(scenario, name)))))
        for name, column in table.columns.items()
    ]


def _null(column: ColumnSpec) -> str:
    return f"{column.null * 100:.4g} % NULL" if column.null else "may be NULL" if column.is_nullable else ""


def _values(column: ColumnSpec) -> str:
    match column.values:
        case values.Constant(constant=constant):
            return f"always {constant!r}"
        case values.Choice(choice=choice):
            total = sum(choice.values())
            shown = [f"{value} {weight / total:.3g}" for value, weight in list(choice.items())[:MOST_CHOICES]]
            return ", ".join([*shown, *([f"and {len(choice) - MOST_CHOICES} more"] if len(choice) > MOST_CHOICES else [])])
        case values.Between() | values.Zipfian() as between:
            how = f", zipfian with theta {between.theta:g}" if isinstance(between, values.Zipfian) else ""
            return f"{between.low} to {between.high}{how}"
        case values.Text(text=size):
            shortest = f"{size.min} to " if size.min < size.max else ""
            kind = "JSON string" if column.type.strip().lower() == "json" else "text"
            return f"random {kind} of {shortest}{counted(size.max, 'character')}"
        case values.Lines() as lines:
            return f"one of {counted(len(lines.values()), 'line')} of {lines.lines}"
        case values.Stored():
            return "as the server has it"
        case values.Null():
            return "always NULL"
    return type(column.values).__name__.lower()  # sequence, uuid, now, version


def _audited(scenario: Scenario, name: str) -> str:
    table = scenario.table
    if name in table.primary:
        return "primary key"
    if not scenario.audited:
        return ""
    if name == table.version_column:
        return "audited: says which write left the row"
    if any(one.column == name for one in scenario.operations if one.do in STEPS):
        return "audited: a counter"
    setting = [one.name for one in scenario.operations if name in one.set]
    return f"audited: set by {', '.join(setting)}" if setting else "audited: never changes"


def operation_rows(scenario: Scenario) -> list[Row]:
    """Each operation: its share, what it does, and whether the audit checks it."""
    total = sum(one.weight for one in scenario.operations)
    return [
        (one.name, f"{one.weight / total * 100:.3g} %: {_does(one)}{_checked(scenario, one)}") for one in scenario.operations
    ]


def _does(one: OperationSpec) -> str:
    columns = ", ".join(one.columns) or "all columns"
    source = ", from the primary" if one.primary else ""
    match one.do:
        case "get":
            return f"get {columns}{source}"
        case "get_many":
            return f"get {columns} of {counted(one.count, 'row')} at once{source}"
        case "find":
            index = f"the index {one.index}" if one.index else "the primary key"
            where = f"{', '.join(one.by) or 'its columns'} {one.operation} that of a drawn row"
            return f"find {columns} of {counted(one.limit, 'row')} in {index}, where {where}{source}"
        case "incr" | "decr":
            return f"{one.do} {one.column} by {one.step}"
        case "update":
            return f"update {', '.join(one.set)}"
    return one.do


def _checked(scenario: Scenario, one: OperationSpec) -> str:
    if one.do in WRITES and not scenario.audited:
        return "; measured, not audited"
    if one.do not in READS or not scenario.audited:
        return ""
    if why := unchecked_read(scenario, one):
        return f"; the audit does not check it, for it {why}"
    return f"; the audit checks {partly}" if (partly := partly_checked_read(scenario, one)) else ""
