"""What a run leaves on disk: its directory, histories, final states, batches, environment."""

from __future__ import annotations

from ._before_image import BeforeImage, BeforeImageError, BeforeImageWriter, ImageHeader, header_of
from ._durable import HeldError, Hold
from ._environment import environment
from ._events import (
    ANSWERED_WRITES,
    PROMOTION,
    TWO_PRIMARIES,
    Event,
    HistoryFaultWindow,
    TwoPrimaries,
    fault_key,
    fault_windows,
    primaries_at_once,
)
from ._final_state import MOST_WRONG_ROWS, FinalState, FinalStateError, WrongRow, write_final_state
from ._history import History, HistoryError, HistoryWriter, unix_faults
from ._read_history import RecordedOperation, RunHistory, read_history, state_of
from ._records import (
    ANOTHER,
    MOST_OPERATIONS,
    NO_COUNT,
    READS,
    RECORD,
    REMOVALS,
    STEPS,
    MixOperation,
    Operation,
    Outcome,
    operation_code,
)
from ._run_directory import (
    CHECKSUMS,
    CONTROLLER,
    Batches,
    RunDirectory,
    RunDirectoryError,
    analyze_command,
    cannot_keep,
    require_place,
)

__all__ = [
    "ANOTHER",
    "ANSWERED_WRITES",
    "CHECKSUMS",
    "CONTROLLER",
    "MOST_OPERATIONS",
    "MOST_WRONG_ROWS",
    "NO_COUNT",
    "PROMOTION",
    "READS",
    "RECORD",
    "REMOVALS",
    "STEPS",
    "TWO_PRIMARIES",
    "Batches",
    "BeforeImage",
    "BeforeImageError",
    "BeforeImageWriter",
    "Event",
    "FinalState",
    "FinalStateError",
    "HeldError",
    "History",
    "HistoryError",
    "HistoryFaultWindow",
    "HistoryWriter",
    "Hold",
    "ImageHeader",
    "MixOperation",
    "Operation",
    "Outcome",
    "RecordedOperation",
    "RunDirectory",
    "RunDirectoryError",
    "RunHistory",
    "TwoPrimaries",
    "WrongRow",
    "analyze_command",
    "cannot_keep",
    "environment",
    "fault_key",
    "fault_windows",
    "header_of",
    "operation_code",
    "primaries_at_once",
    "read_history",
    "require_place",
    "state_of",
    "unix_faults",
    "write_final_state",
]
