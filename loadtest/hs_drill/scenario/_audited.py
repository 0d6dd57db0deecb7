"""What of a scenario's operations the audit can check, and why not the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._mix import READS

if TYPE_CHECKING:
    from ._model import Scenario
    from ._operations import OperationSpec

__all__ = ["unaudited_writes", "unchecked_read"]


def unaudited_writes(scenario: Scenario) -> str | None:
    """Why the writes of a run that does not switch off the audit are not audited, or None."""
    table = scenario.table
    if scenario.audit.enabled is not None or not scenario.writes or table.version_column is not None:
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
