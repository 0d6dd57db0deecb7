"""The operations of a mix, bound to the client and to the rows of its table.

Each takes what was drawn for it, and returns a true value if the answer fits the table's contents. Before sending the request
it notes in the caller's `Intent` what it does to which row. The history needs this even if the request fails.

What does not depend on the drawn row is looked up and compiled once, here and in `_bound_reads` and `_bound_writes`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from hs_drill.scenario import Scenario
from hs_drill.store import READS, MixOperation, Operation, operation_code
from hs_drill.workload import As, Rows

from ._binding import Binding, BoundOperation, Call, Intent, Numbers, TableOf
from ._bound_reads import bind_read
from ._bound_writes import bind_delete, bind_insert, bind_step, bind_update
from ._primary_reads import PrimaryReads, read_from

__all__ = ["BoundOperation", "Call", "Intent", "bind", "mix_operations"]


def bind(
    table_of: TableOf,
    scenario: Scenario,
    rows: Rows,
    numbers: Numbers,
    *,
    as_: As | None = None,
    primary: PrimaryReads | None = None,
) -> Mapping[str, BoundOperation]:
    """Every operation by its name in the scenario. See `Binding`. `primary` is needed if an operation reads there."""
    binding = Binding(table_of, scenario, rows, as_)
    changed = {column for spec in scenario.operations for column in (*spec.set, spec.column)}
    bound: dict[str, BoundOperation] = {}
    inserts = [spec.name for spec in scenario.operations if spec.do == "insert"]
    for place, spec in sorted(enumerate(scenario.operations), key=lambda placed: placed[1].do == "delete"):
        code = operation_code(spec.name, spec.do, place)
        match spec.do:
            case "insert":
                bound[spec.name] = bind_insert(binding, code, numbers.inserts, numbers.versions(place))
            case "update":
                bound[spec.name] = bind_update(binding, spec, code, numbers.versions(place))
            case "incr" | "decr":
                bound[spec.name] = bind_step(binding, spec, code)
            case "delete":
                bound[spec.name] = bind_delete(binding, code, bound[inserts[0]])
            case _:
                # What a find looks for may have changed, or there may be nothing beyond it.
                may_be_empty = spec.do == "find" and (spec.operation in ("<", ">") or not changed.isdisjoint(spec.by))
                latest = (spec.keys or scenario.keys).distribution == "latest"
                read = partial(bind_read, spec=spec, code=code, latest=latest, may_be_empty=may_be_empty)
                assert primary is not None or not spec.primary
                bound[spec.name] = read_from(primary if spec.primary else None, binding, read)
    return bound


def mix_operations(scenario: Scenario, rows: Rows) -> list[MixOperation]:
    """The operations for the header of a history."""
    listed = []
    for place, spec in enumerate(scenario.operations):
        do = Operation[spec.do.upper()]
        seen = spec.columns if do in READS else [spec.column]
        counter = next((rows.counters.index(column) for column in seen if column in rows.counters), None)
        code = operation_code(spec.name, spec.do, place)
        listed.append(MixOperation(code, spec.name, do, counter, tuple(spec.set), spec.primary))
    return listed
