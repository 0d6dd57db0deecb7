"""What of a scenario's operations the audit can check, and why not the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._mix import READS, STEPS

if TYPE_CHECKING:
    from ._model import Scenario
    from ._operations import OperationSpec

__all__ = ["partly_checked_read", "unaudited_writes", "unchecked_read"]


def unaudited_writes(scenario: Scenario) -> str | None:
    """Why the writes of a run that does not switch off the audit are not audited, or None."""
    table = scenario.table
    if scenario.mix is None or scenario.audit.enabled is not None or not scenario.writes or table.version_column is not None:
        return None
    why = f"no column of {table.database}.{table.name} says which write left a row"
    return why if table.existing else f"{why}; give one `values: version`, such as a varchar(18)"


def unchecked_read(scenario: Scenario, one: OperationSpec) -> str | None:
    """Why the audit does not check what this operation reads, or None. Of an audited run."""
    version = scenario.table.version_column
    if one.do not in READS or version is None:
        return None
    if version not in one.columns:
        return f"does not read {version}"
    if one.do == "find" and (lacking := [name for name in scenario.table.primary if name not in one.columns]):
        return f"does not read {', '.join(lacking)}"
    return None


def partly_checked_read(scenario: Scenario, one: OperationSpec) -> str:
    """What the audit does not check of the columns that a read shows, in words; "" if it checks all."""
    operations = scenario.operations
    stepped = {other.column for other in operations if other.do in STEPS}
    counters = [name for name in one.columns if name in stepped]
    updates = [set(other.set) for other in operations if other.do == "update"]
    always = set.intersection(*updates) if updates else set()
    sometimes = {name for names in updates for name in names - always}
    extras = [name for name in one.columns if name in sometimes]
    parts = [f"only {counters[0]} of its counters"] if len(counters) > 1 else []
    parts += [f"{', '.join(extras)} only if the row's last write set {'it' if len(extras) == 1 else 'them'}"] if extras else []
    return ", and ".join(parts)
