"""The operations that the code of users may do on rows of the scenario's table: fixed ones on the drill's own, and on a table
with columns of its own those of the scenario's mix."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Awaitable
from functools import partial
from typing import Any

from hs_drill.scenario import Keys, OperationSpec, Scenario
from hs_drill.store import MixOperation, Operation, operation_code
from hs_drill.workload import As, Rows, draw_keys, of_run, reader, worker_of

from ._binding import Binding, BoundOperation, Intent, Numbers, TableOf
from ._bound_reads import bind_read
from ._bound_writes import bind_insert, bind_step, bind_update
from ._primary_reads import PrimaryReads, read_from
from ._sent_values import bytes_of

__all__ = ["ROW_OPERATIONS", "DeclaredOperations", "DrillOperations", "RowOperations"]

MOST_STEP = 1_000_000
COLUMNS = ("id", "grp", "n", "payload")
ROW_OPERATIONS = [
    MixOperation(Operation.GET, "get", Operation.GET, 0),
    MixOperation(Operation.INSERT, "insert", Operation.INSERT),
    MixOperation(Operation.UPDATE, "update", Operation.UPDATE, None, ("payload",)),
    MixOperation(Operation.DELETE, "delete", Operation.DELETE),
    MixOperation(Operation.INCR, "incr", Operation.INCR, 0),
]
"""Those on the drill's own table, for the header of a history. A mix's operations with these names do the same."""


class RowOperations(ABC):
    """The operations of an engine, by a row's number. `numbers` are shared with the mix."""

    def __init__(
        self,
        table_of: TableOf,
        scenario: Scenario,
        rows: Rows,
        numbers: Numbers,
        as_: As | None,
        primary: PrimaryReads | None = None,
    ) -> None:
        self.loaded = scenario.table.rows
        self.key = rows.key
        keys = Keys() if scenario.keys.distribution == "latest" else scenario.keys  # by its number no row is the latest
        worker = numbers.worker
        self.drawn = draw_keys(keys, self.loaded, random.Random(f"{scenario.seed}/{worker}/rows"), worker)
        self._numbers = numbers
        self._bind(Binding(table_of, scenario, rows, as_), scenario, primary)

    @abstractmethod
    def _bind(self, binding: Binding, scenario: Scenario, primary: PrimaryReads | None) -> None:
        """Bind every operation. Of the `primary` read those that the mix reads there."""

    def has_inserted(self, number: int) -> bool:
        """Whether a row has a number of this engine's in this run. The audit relies on that no other deletes it."""
        return of_run(number, self._numbers.run) and worker_of(number) == self._numbers.worker

    @abstractmethod
    def named(self, do: str, name: str | None) -> BoundOperation:
        """The operation that does this and has this name. Raises ValueError if there is none, or several and no name."""

    @abstractmethod
    def step(self, number: int, step: int | None) -> Any:
        """What an incr or decr of this row is called with. Raises ValueError for a step that cannot be."""

    def shown(self, bound: BoundOperation, row: Any) -> Any:
        """A row that was read, for the user."""
        return row


class DrillOperations(RowOperations):
    """Those on the drill's own table."""

    def _bind(self, binding: Binding, scenario: Scenario, primary: PrimaryReads | None) -> None:
        get = OperationSpec("get", "get", 1.0, columns=COLUMNS)
        get_of = partial(bind_read, spec=get, code=Operation.GET, latest=False, may_be_empty=False)
        # In the history it is the mix's operation of that name, so it goes where that one goes.
        of_primary = any(one.primary for one in scenario.operations if one.name == "get")
        update = OperationSpec("update", "update", 1.0, set=("payload",))
        versions = self._numbers.versions(0)
        key, counter = binding.table(["id"]), binding.table(["n"])

        def step(drawn: tuple[int, int], intent: Intent) -> Awaitable[Any]:
            number, intent.value = drawn
            return counter.incr("=", [number], [intent.value])

        self._bound = {
            "get": read_from(primary if of_primary else None, binding, get_of),
            "insert": bind_insert(binding, Operation.INSERT, self._numbers.inserts, versions),
            "update": bind_update(binding, update, Operation.UPDATE, versions),
            "delete": BoundOperation(lambda number, _: key.delete("=", [number]), Operation.DELETE),
            "incr": BoundOperation(step, Operation.INCR),
        }

    def named(self, do: str, name: str | None) -> BoundOperation:
        if name is not None or do not in self._bound:
            what = f"no {do}" if name is None else f"no operation {name!r}"
            raise ValueError(f"self.rows has {what} on the harness's own table, but {', '.join(self._bound)}")
        return self._bound[do]

    def step(self, number: int, step: int | None) -> Any:
        if step is None:
            step = 1
        if not isinstance(step, int) or isinstance(step, bool) or not 0 < step <= MOST_STEP:
            raise ValueError(f"the step of an incr must be a whole number from 1 to {MOST_STEP:,}, not {step!r}")
        return number, step


class DeclaredOperations(RowOperations):
    """Those of the scenario's mix, on a table with columns of its own. So the audit knows what each of them leaves in a row."""

    def _bind(self, binding: Binding, scenario: Scenario, primary: PrimaryReads | None) -> None:
        readers = {column.name: reader(column) for column in binding.rows.columns_declared or ()}
        self._bound: dict[str, dict[str, BoundOperation]] = {}
        self._readers: dict[int, list[Any]] = {}
        for place, spec in enumerate(scenario.operations):
            code = operation_code(spec.name, spec.do, place)
            match spec.do:
                case "get":
                    read = partial(bind_read, spec=spec, code=code, latest=False, may_be_empty=False)
                    bound = read_from(primary if spec.primary else None, binding, read)
                    self._readers[code] = [readers[column] for column in spec.columns]
                case "insert":
                    bound = bind_insert(binding, code, self._numbers.inserts, self._numbers.versions(place))
                case "update":
                    bound = bind_update(binding, spec, code, self._numbers.versions(place))
                case "incr" | "decr":
                    bound = bind_step(binding, spec, code)
                case "delete":
                    bound = _delete(binding, code)
                case _:
                    continue
            self._bound.setdefault(spec.do, {})[spec.name] = bound

    def named(self, do: str, name: str | None) -> BoundOperation:
        found = self._bound.get(do, {})
        if name is None and len(found) == 1:
            return next(iter(found.values()))
        if name in found:
            return found[name]
        names = " or ".join(repr(one) for one in found)
        if not found:
            raise ValueError(f"self.rows.{do} does what the scenario's mix says, which has no {do}: add one to `mix`")
        if name is None:
            raise ValueError(f"the scenario's mix has several: say which, self.rows.{do}(..., operation={names})")
        raise ValueError(f"the scenario's mix has no {do} named {name!r}, but {names}")

    def step(self, number: int, step: int | None) -> Any:
        if step is not None:
            raise ValueError("how far self.rows.incr and decr step is what the scenario's mix says: leave `step` out")
        return number

    def shown(self, bound: BoundOperation, row: Any) -> Any:
        values = zip(row, bytes_of(row), self._readers[bound.code], strict=True)
        return [(name, read(value)) for (name, _), value, read in values] if row else row


def _delete(binding: Binding, code: int) -> BoundOperation:
    table, keys = binding.table(binding.rows.primary), binding.keys
    return BoundOperation(lambda number, _: table.delete("=", [number] if keys is None else keys(number)), code)
