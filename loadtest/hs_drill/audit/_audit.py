"""The audit: compares a run's histories with the final state of its servers, write by write.

Pure: files in, findings out. It asks no server, so a kept run can be audited again at any time. It is exact because every
value names the write that left it (`workload`).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from hs_drill.scenario import kind_of
from hs_drill.store import (
    PROMOTION,
    UNAUDITED_WRITES,
    Event,
    FinalState,
    History,
    HistoryFaultWindow,
    fault_windows,
    former_primaries,
    primaries_at_once,
)

from ._checker import Check, Context, Validity
from ._examination import Examination
from ._lags import Lags
from ._order_of_loss import reign_before
from ._primaries import Primaries, primaries_of
from ._processes import examine_in_processes, usable_cores
from ._progress import Progress
from ._replicas import check_replicas
from ._row_histories import Dealt, RowMaker, deal, operations_in
from ._split_brain import SplitBrain
from ._table import DRILL_TABLE, AuditedTable
from ._takeover import Takeover, takeover_of
from ._timelines import Timelines, timelines_of

__all__ = ["Audit", "Check", "Validity", "audit"]

PROCESSES_FROM = 2_000_000
"""Operations from which on several processes are worth their start, which takes a second of a core."""
MOST_PROCESSES = 32
"""With more, reading the histories, which one process does, would be most of the time. Each takes about 100 MB."""


@dataclass(frozen=True)
class Audit:
    """The results of all checkers."""

    checks: Mapping[str, Check]
    """By their names: those of `CHECKERS`, `replicas`, `split_brain` if two servers were seen to take writes at once, and
    `fenced` if a promotion was seen."""
    events: Sequence[Event]
    """Of all histories, by time."""
    faults: Sequence[HistoryFaultWindow]
    origin: int
    """The time on the histories' clock from which findings count their seconds."""
    takeover: Takeover | None = None
    """The last promotion, if the promoted server was read back."""
    timelines: Timelines = field(default_factory=Timelines)
    """What happened to the rows that findings are about."""
    lags: Lags | None = None
    """How far the reads were behind over time; None if that is not known."""
    alone: bool = False
    """The primary is the only server."""

    def __getitem__(self, name: str) -> Check:
        return self.checks[name]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {name: check.to_dict() for name, check in self.checks.items()}


def audit(
    histories: Sequence[History],
    final: FinalState | None,
    *,
    loaded: int,
    workers: Iterable[int] | None = None,
    replicas: Sequence[FinalState] = (),
    before: FinalState | None = None,
    staleness: float = 0.0,
    sampled: float = 1.0,
    unreadable: Sequence[str] = (),
    routed: bool = False,
    table: AuditedTable = DRILL_TABLE,
    processes: int | None = None,
    report: Callable[[str], None] = lambda line: None,
) -> Audit:
    """Audit a run. Blocking.

    Args:
      histories: of all workers, and of the controller for its events.
      final: what the primary held after everything had healed; None when it could not be read.
      loaded: how many rows the table had before the run, with numbers from 1, as they were loaded.
      workers: those that took part, so that a missing history is noticed; None assumes that all histories are given.
      replicas: what the other servers held.
      before: what the table held before the run, unless that was the loaded rows.
      staleness: seconds by which a read may lag without counting as stale.
      sampled: the share of the reads that the histories hold.
      unreadable: why histories that exist could not be opened, in words; any worker may have written those.
      routed: clients reached the servers through a router, so which server answered is not known.
      table: by default the drill's own.
      processes: how many examine the rows, 1 is this one; None: of a long run, one for each core that this process may use.
      report: gets a line for the user every two seconds that this takes.

    A check is unknown when data is missing or the checker fails, and not applicable when there was nothing to find. Memory
    stays at about 100 MB for each process however long the run was, unless most of it falls on very few rows. A temporary file
    beside the histories takes as much disk space as they do.
    """
    workers = None if workers is None else frozenset(workers)
    progress = Progress(report, operations_in(histories))
    with _dealt(histories, final, loaded, before, table, progress) as dealt:
        # Only now it is known which histories are complete.
        context = _context(
            histories, final, workers, staleness, sampled, unreadable, table, later=before is not None, routed=routed
        )
        at_once, reign = context.two_primaries, context.reign
        rows = RowMaker(dealt.meanings, table, loaded=loaded, before=before, final=final, at_once=at_once, reign=reign)
        examination = Examination(context, rows)
        try:
            _examine(examination, dealt, processes, progress)
        except Exception as error:
            examination.fail(error)
    others = _unaudited(histories)
    checks = _in_doubt(examination.checks(), others)
    checks["replicas"] = check_replicas(final, replicas, context)
    timelines = timelines_of(histories, final, checks, context)
    events, lags = _events(histories), examination.lags if context.one_clock and not others else None
    return Audit(checks, events, context.faults, context.origin, context.takeover, timelines, lags, context.alone)


@contextmanager
def _dealt(
    histories: Sequence[History],
    final: FinalState | None,
    loaded: int,
    before: FinalState | None,
    table: AuditedTable,
    progress: Progress,
) -> Iterator[Dealt]:
    """The run in a temporary file, or why it could not be read. For the arguments see `audit`."""
    with ExitStack() as stack:
        try:
            # Beside the histories, because the system's directory for temporary files may be in memory.
            file = stack.enter_context(tempfile.TemporaryFile(dir=histories[0].path.parent if histories else None))
            dealt = deal(file, histories, final, loaded=loaded, before=before, table=table, progress=progress.read)
        except Exception as error:
            dealt = Dealt(failure=error)
        yield dealt


def _examine(examination: Examination, dealt: Dealt, processes: int | None, progress: Progress) -> None:
    """For `processes` see `audit`."""
    if dealt.failure is not None:
        raise dealt.failure
    if processes is None:
        several = sum(bucket.operations_count for bucket in dealt.buckets) >= PROCESSES_FROM
        processes = min(usable_cores(), MOST_PROCESSES) if several else 1
    processes = min(processes, len(dealt.buckets))
    if processes > 1:
        examine_in_processes(examination, dealt.buckets, dealt.file, processes, progress.examined)
        return
    for bucket in dealt.buckets:
        examination.examine(bucket, dealt.file)
        progress.examined(bucket.operations_count)


def _events(histories: Sequence[History]) -> list[Event]:
    return sorted((event for history in histories for event in history.events), key=lambda event: event.time)


def _landmarks(events: Sequence[Event], faults: Sequence[HistoryFaultWindow]) -> list[tuple[int, str]]:
    """What a finding can be said to have come after."""
    landmarks = [(event.time, _promoted(event)) for event in events if event.kind == PROMOTION]
    landmarks += [
        (one.end, f"the end of {one.name}") for one in faults if one.end is not None and not _mere_promotion(one.name)
    ]
    return sorted(landmarks)


def _promoted(event: Event) -> str:
    return f"{event.name} was seen as the primary" if "seen_within" in event.details else f"the promotion of {event.name}"


def _promotions(primaries: Primaries, faults: Sequence[HistoryFaultWindow]) -> Iterator[tuple[int, int]]:
    """See `Context.promotions`. A promotion of the run's own is over when its event is written; its fault began before."""
    for one in primaries.promotions:
        asked = [fault.start for fault in faults if kind_of(fault.name).promotes and fault.start <= one.latest]
        yield one.earliest if one.seen else max(asked, default=one.earliest), one.latest


def _mere_promotion(fault: str) -> bool:
    """Whether a fault ends with the event of a promotion, so that its end is no landmark of its own."""
    kind = kind_of(fault)
    return kind.promotes and not kind.demotes


def _context(
    histories: Sequence[History],
    final: FinalState | None,
    workers: Set[int] | None,
    staleness: float,
    sampled: float,
    unreadable: Sequence[str],
    table: AuditedTable,
    *,
    later: bool,
    routed: bool,
) -> Context:
    headers = [history.header for history in histories]
    workers_headers = [header for header in headers if header.worker >= 0]
    missing, one_clock = _missing(histories, workers, unreadable), _one_clock(histories)
    if final is None:
        final_unusable = "the primary was not read back"
    else:
        final_unusable = "" if final.complete else final.damage or f"{final.server} was not read back to its end"
    events = _events(histories)
    faults = fault_windows(events)
    return Context(
        origin=min((header.monotonic_ns for header in headers), default=0),
        later_run=headers[0].run if later and headers else None,
        faults=faults,
        missing=missing,
        incomplete=frozenset(_absent(histories, workers) | _cut(histories)),
        any_worker=bool(unreadable) or not histories or any(_unaudited(histories)),
        one_clock=one_clock,
        final_unusable=final_unusable,
        staleness=staleness,
        sampled=sampled,
        landmarks=_landmarks(events, faults),
        takeover=takeover_of(events, final.server, complete=not missing, routed=routed)
        if final is not None and one_clock
        else None,
        primaries=(primaries := primaries_of(events, complete=not missing, routed=routed)),
        reign=_reign(events, final, missing),
        promotions=list(_promotions(primaries, faults)),
        two_primaries=primaries_at_once(events),
        former=former_primaries(events),
        routed=routed,
        alone=bool(workers_headers) and all(header.reads_primary for header in workers_headers),
        reads_primary=any(operation.primary for header in workers_headers for operation in header.operations),
        earliest_start=min((header.monotonic_ns for header in workers_headers), default=0),
        table=table,
        wrong=final.wrong if final is not None else {},
    )


def _missing(histories: Sequence[History], workers: Set[int] | None, unreadable: Sequence[str]) -> list[str]:
    """What the histories lack, in words."""
    damage = {history.header.worker: history.damage for history in histories if history.damage}
    missing = [f"the history of worker {worker} is missing" for worker in sorted(_absent(histories, workers))]
    missing += [damage.get(worker) or f"the history of worker {worker} is cut" for worker in sorted(_cut(histories))]
    missing += unreadable
    missing += _unaudited(histories)
    if not _one_clock(histories):
        missing.append("the histories come from machines whose clocks cannot be compared")
    if not histories:
        missing.append("there is no history")
    return missing


def _unaudited(histories: Iterable[History]) -> list[str]:
    """The tables to which users in Python wrote by themselves, in words."""
    tables = dict.fromkeys(event.name for history in histories for event in history.events if event.kind == UNAUDITED_WRITES)
    return [f"users in Python wrote to {table} with a client of their own, and no history holds that" for table in tables]


def _in_doubt(checks: Mapping[str, Check], others: Sequence[str]) -> dict[str, Check]:
    """The checks of a table to which others wrote too, if any did: what a check has found may be theirs. But it was servers
    that were open for writes at once."""

    def doubted(check: Check) -> Check:
        if not others or check.verdict is not Validity.FALSE or check.name == SplitBrain.name:
            return check
        why = f"cannot be checked: {'; '.join(others)}; {check.explanation}"
        possible = check.count + check.possible
        return replace(check, verdict=Validity.UNKNOWN, explanation=why, count=0, possible=possible, findings=())

    return {name: doubted(check) for name, check in checks.items()}


def _absent(histories: Iterable[History], workers: Set[int] | None) -> Set[int]:
    return (workers or set()) - {history.header.worker for history in histories}


def _cut(histories: Iterable[History]) -> Set[int]:
    # The controller's history (worker -1) holds events and no writes.
    return {history.header.worker for history in histories if not history.complete and history.header.worker >= 0}


def _one_clock(histories: Iterable[History]) -> bool:
    return len({history.header.clock for history in histories}) <= 1


def _reign(events: Sequence[Event], final: FinalState | None, missing: Sequence[str]) -> tuple[int, int] | None:
    """See `reign_before`."""
    if final is None or missing:
        return None
    return reign_before(takeover_of(events, final.server, complete=True), at_once=bool(primaries_at_once(events)))
