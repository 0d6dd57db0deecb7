"""Scenarios: reads and checks YAML files, reports mistakes by file, line and key, and exports a JSON Schema."""

from __future__ import annotations

from . import _faults as faults
from . import _values as values
from ._audited import partly_checked_read, unaudited_writes, unchecked_read
from ._base import PlacedError, seconds
from ._columns import ColumnSpec
from ._command_checks import missing_programs
from ._commands import CommandSpec, PrimarySpec
from ._expect import BEFORE_SECONDS, SESSION_GUARANTEES, Expect, is_kind
from ._external import without_secrets
from ._faults import BY_COMMAND, Fault, NetworkFault, kind_of
from ._json_schema import scenario_schema
from ._load import Load, ThinkTime
from ._mix import READS, STEPS, WRITES, Keys, Latency, ValueSize
from ._mix_checks import HEADROOM, MOST_INSERTED
from ._model import KEPT, Scenario
from ._operations import OperationSpec, operation_words
from ._overrides import SERVERS_HELP, with_cluster, with_keys, with_table
from ._reader import LiveTableError, ScenarioError, load_scenario, parse_scenario, require_mix, require_programs
from ._sql_types import BINARIES, TEXTS, bounds_of, value_of
from ._stated_verdict import StatedVerdictError, stated_exit_code
from ._table import VERSION_WIDTH, TableSpec
from ._targets import not_on, targets_of, to_be_promoted
from ._timeline import Moment, timeline

__all__ = [
    "BEFORE_SECONDS",
    "BINARIES",
    "BY_COMMAND",
    "HEADROOM",
    "KEPT",
    "MOST_INSERTED",
    "READS",
    "SERVERS_HELP",
    "SESSION_GUARANTEES",
    "STEPS",
    "TEXTS",
    "VERSION_WIDTH",
    "WRITES",
    "ColumnSpec",
    "CommandSpec",
    "Expect",
    "Fault",
    "Keys",
    "Latency",
    "LiveTableError",
    "Load",
    "Moment",
    "NetworkFault",
    "OperationSpec",
    "PlacedError",
    "PrimarySpec",
    "Scenario",
    "ScenarioError",
    "StatedVerdictError",
    "TableSpec",
    "ThinkTime",
    "ValueSize",
    "bounds_of",
    "faults",
    "is_kind",
    "kind_of",
    "load_scenario",
    "missing_programs",
    "not_on",
    "operation_words",
    "parse_scenario",
    "partly_checked_read",
    "require_mix",
    "require_programs",
    "scenario_schema",
    "seconds",
    "stated_exit_code",
    "targets_of",
    "timeline",
    "to_be_promoted",
    "unaudited_writes",
    "unchecked_read",
    "value_of",
    "values",
    "with_cluster",
    "with_keys",
    "with_table",
    "without_secrets",
]
