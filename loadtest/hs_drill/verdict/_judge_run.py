"""Judge a kept run: read its directory, audit it, and compare what happened with what the scenario expects."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from hs_drill._cluster import server_names
from hs_drill.audit import Audit, AuditedTable, audit, split_brain_line
from hs_drill.metrics import FaultWindow, totals_of
from hs_drill.scenario import Load, Scenario, unaudited_writes
from hs_drill.store import (
    CHECKSUMS,
    CONTROLLER,
    USERS_CODE,
    FinalState,
    FinalStateError,
    History,
    RunDirectory,
    fault_windows,
    primaries_at_once,
    semisync_lapses,
    unix_faults,
)

from ._advice import about_lapses, advice
from ._audit_expectations import split_brain
from ._engine_limit import engine_result
from ._judge import ENDED, HARNESS, Judgement, judge
from ._judged import Judged, Result

__all__ = ["judge_run"]

CUT_SHORT_SECONDS = 1.0
"""A run that is shorter than its scenario by less than this counts as complete: starting and ending it takes time."""


def judge_run(
    directory: RunDirectory,
    *,
    workers: set[int] | None = None,
    lost: Sequence[int] | None = None,
    troubles: list[str] | None = None,
    died: Sequence[str] | None = None,
    ran: float | None = None,
    ended_by: str | None = None,
    others: Mapping[str, Any] | None = None,
    report: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Judge a kept run. Returns the content of `result.json`. Blocking. Raises `ScenarioError` and OSError.

    Args:
      workers: those that took part.
      lost: workers that went away during the run.
      troubles: what else makes the run show less than it should, in words: faults that did not strike, servers not read back.
      died: which processes of the harness died, in words; each fails the run.
      ran: seconds until the load was told to end.
      ended_by: the signal that ended the run before its time, `SIGTERM`, `SIGHUP` or `Ctrl-C`.
      others: the requests of other users of Locust, as `in_locust._other_requests` collects them.
      report: gets a line for the user every two seconds that the audit takes.

    What is None comes from the `result.json` of the run's end. A run that did not finish has none, nor a final state.
    """
    scenario, end = directory.scenario(), _end_of(directory, workers, lost, troubles, died, ran, ended_by, others)
    histories, unreadable = directory.open_histories()
    damaged = list(unreadable)
    if directory.lost_checksums():
        damaged.append(f"{directory.path / CHECKSUMS}: is missing, so whether the small files were changed is not known")
    unreadable += [f"worker {worker} was lost during the run" for worker in end.lost]
    found = _audit(directory, scenario, histories, end.workers, unreadable, damaged, report) if scenario.audited else None
    damaged += [history.damage for history in histories if history.damage]
    batches = directory.batches()
    faults = _faults(histories, found)
    judgement = judge(
        scenario.expect, batches, faults, found, audited=scenario.audited, open_loop=scenario.load.open, others=end.others
    )
    faults_known = any(history.header.worker == CONTROLLER and history.complete for history in histories)
    measured = [*judgement.judged, *(_split_brain(histories) if found is None else ())]
    if end.finished:
        missing = _missing_files(directory, scenario, end.troubles, damaged, batches=batches.complete, faults=faults_known)
        damaged += list(missing)
        if not faults_known:
            measured = [_without_faults(one, directory.history(CONTROLLER)) for one in measured]
    judgement = replace(judgement, judged=[*_shortcomings(end, damaged, counted=judgement.counted), *measured])
    return {
        **judgement.to_dict(),
        "verdict": judgement.verdict + _remarks(judgement, histories, end, scenario),
        "advice": [*advice(scenario, judgement.judged, directory.primary(), found), *_lapses(histories)],
        "scenario": scenario.name,
        "server": directory.environment().get("server"),
        "operations": totals_of(directory.batches()),
        "engine": engine_result(judgement.engines, open_loop=scenario.load.open),
        "at_edges": judgement.edges,
        **_audit_result(found, histories),
        **end.to_dict(),
        "judged_at": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def _audit_result(found: Audit | None, histories: Sequence[History]) -> dict[str, Any]:
    """The part of `result.json` that is about the audit."""
    if found is None:
        return {"audit": None, "timelines": None, "lags": None}
    began = next((history.header.unix(found.origin) for history in histories), 0.0)
    lags = None if found.lags is None else {"began": began, **found.lags.to_dict()}
    return {"audit": found.to_dict(), "timelines": asdict(found.timelines), "lags": lags}


def _remarks(judgement: Judgement, histories: Sequence[History], end: _End, scenario: Scenario) -> str:
    """What to add to the verdict's line."""
    return _cut_short(judgement, _begun(histories), end.ran, scenario.load) + _unaudited(scenario, histories)


def _unaudited(scenario: Scenario, histories: Sequence[History]) -> str:
    """What to add to the verdict about what no audit has seen."""
    classes = sorted({event.name for history in histories for event in history.events if event.kind == USERS_CODE})
    words = "; writes were not audited" if unaudited_writes(scenario) else ""
    if classes:
        by = " and ".join(filter(None, [", ".join(classes[:-1]), classes[-1]]))
        words += f"; of what {by} did, only self.rows was audited" if scenario.audited else f"; what {by} did was not audited"
    return words


@dataclass(frozen=True)
class _End:
    """What is known about a run's end beside its histories and batches; see `judge_run`."""

    workers: set[int] | None
    lost: Sequence[int]
    troubles: list[str]
    died: Sequence[str]
    ran: float | None
    ended_by: str | None
    others: Mapping[str, Any] | None
    finished: bool
    """The run came to its end, so its files should be complete."""

    def to_dict(self) -> dict[str, Any]:
        """The part of `result.json` from which `_end_of` reads it again."""
        return {
            "troubles": self.troubles,
            "workers": None if self.workers is None else sorted(self.workers),
            "lost_workers": list(self.lost),
            "died": list(self.died),
            "ran": self.ran,
            "ended_by": self.ended_by,
            "other_requests": self.others,
        }


def _end_of(
    directory: RunDirectory,
    workers: set[int] | None,
    lost: Sequence[int] | None,
    troubles: list[str] | None,
    died: Sequence[str] | None,
    ran: float | None,
    ended_by: str | None,
    others: Mapping[str, Any] | None,
) -> _End:
    kept = directory.result() or {}
    if workers is None and kept.get("workers") is not None:
        workers = set(kept["workers"])
    return _End(
        workers,
        lost if lost is not None else kept.get("lost_workers", ()),
        troubles if troubles is not None else list(kept.get("troubles", ())),
        died if died is not None else kept.get("died", ()) if kept else directory.deaths(),
        ran if ran is not None else kept.get("ran"),
        ended_by if ended_by is not None else kept.get("ended_by"),
        others if others is not None else kept.get("other_requests"),
        finished=bool(kept) or troubles is not None,
    )


def _audit(
    directory: RunDirectory,
    scenario: Scenario,
    histories: Sequence[History],
    workers: set[int] | None,
    unreadable: list[str],
    damaged: list[str],
    report: Callable[[str], None],
) -> Audit:
    """Audit the run. Adds to `damaged` which files are, and to `unreadable` what the audit must not rely on."""
    return audit(
        histories,
        _state(directory.final(directory.primary()), directory.primary(), damaged),
        loaded=scenario.table.rows,
        workers=workers,
        replicas=list(_replicas(directory, damaged)),
        before=_before(directory, histories, unreadable, damaged),
        staleness=scenario.expect.staleness or 0.0,
        sampled=scenario.audit.reads,
        unreadable=unreadable,
        routed=scenario.cluster.router is not None,
        table=AuditedTable.of(scenario),
        report=report,
    )


def _faults(histories: Sequence[History], found: Audit | None) -> Sequence[FaultWindow]:
    """The faults that struck, in Unix time."""
    if found is not None:
        windows = found.faults
    else:
        for history in histories:
            history.read_through()  # its events are known only then
        windows = fault_windows(event for history in histories for event in history.events)
    return unix_faults(windows, histories[0].header) if histories else []


def _split_brain(histories: Sequence[History]) -> Iterator[Judged]:
    """Two servers that were open for writes at once, in a run without an audit."""
    at_once = primaries_at_once(event for history in histories for event in history.events)
    if at_once:
        origin = min(history.header.monotonic_ns for history in histories)
        yield split_brain(len(at_once), split_brain_line(at_once, origin))


def _lapses(histories: Sequence[History]) -> list[str]:
    """When commits waited for no replica, although that was to be expected. The histories' events are known by now."""
    lapses = semisync_lapses(event for history in histories for event in history.events)
    return about_lapses(lapses, min((history.header.monotonic_ns for history in histories), default=0))


def _missing_files(
    directory: RunDirectory, scenario: Scenario, troubles: Sequence[str], damaged: Sequence[str], *, batches: bool, faults: bool
) -> Iterator[str]:
    """Files that a finished run should have: complete `batches`, every final state, and the history of its `faults`."""
    if not batches:
        yield f"{directory.path / 'batches.bin'}: is cut: it has no end"
    if scenario.audited and scenario.expect.replicas_agree:
        yield from _missing_states(directory, scenario, troubles)
    history = directory.history(CONTROLLER)
    if not faults and not any(line.startswith(f"{history}: ") for line in damaged):
        yield f"{history}: is {'cut: it has no end' if history.exists() else 'missing'}"


def _shortcomings(end: _End, damaged: Sequence[str], *, counted: bool) -> Iterator[Judged]:
    """What fails the run, or leaves it inconclusive, whatever was expected."""

    def unknown(name: str, line: str) -> Judged:
        return Judged(name, Result.UNKNOWN, None, None, line)

    for line in end.died:
        yield Judged(HARNESS, Result.MISS, None, None, line)
    if end.ended_by is not None:
        yield unknown(ENDED, f"{end.ended_by} ended the run before its time")
    for trouble in end.troubles:
        yield unknown("faults", trouble)
    for worker in end.lost:
        yield unknown("workers", f"worker {worker} was lost during the run, so its last operations are not known")
    for line in damaged:
        yield unknown("kept files", line)
    if not end.finished:
        yield unknown("run", "it did not come to its end, so its last operations are not known")
    if not counted:
        yield unknown("operations", "none was counted, so the run shows nothing")


def _cut_short(judgement: Judgement, begun: float | None, ran: float | None, load: Load) -> str:
    """What to add to the verdict when the run was shorter than the scenario says, or when less of it was counted.

    `begun` is the run's start in Unix time, None where that is not known; for `ran` see `judge_run`.
    """
    if ran is not None and ran < load.lasts - CUT_SHORT_SECONDS:
        return f" (ended after {ran:.1f} of {load.lasts:g} s)"
    due = load.lasts - load.warm_up
    if judgement.seconds >= due - CUT_SHORT_SECONDS:
        return ""
    late = 0.0 if begun is None else judgement.start - begun - load.warm_up
    early = 0.0 if ran is None else load.lasts - ran
    reasons = []
    if late > CUT_SHORT_SECONDS / 2:
        reasons.append(f"the load began {late:.1f} s late")
    # Of a run that was late, too, whatever is missing beyond that is worth a word.
    if early >= 0.1:
        reasons.append(f"the run ended {early:.1f} s early")
    why = f": {' and '.join(reasons)}" if reasons else ""
    return f" ({judgement.seconds:.1f} of {due:g} s were counted{why})"


def _begun(histories: Sequence[History]) -> float | None:
    """When the controller began the run, in Unix time."""
    return next((one.header.unix(one.header.monotonic_ns) for one in histories if one.header.worker == CONTROLLER), None)


def _without_faults(judged: Judged, history: Path) -> Judged:
    """Without the complete history of the faults, no expectation that depends on them can be judged."""
    if not judged.name.startswith("recovery") and not judged.name.endswith((".before", ".during", ".after")):
        return judged
    return replace(
        judged, result=Result.UNKNOWN, line=f"{history.name} is incomplete, so the faults are not known: {judged.line}"
    )


def _state(path: Path, server: str, damaged: list[str]) -> FinalState | None:
    """None when there is none. Adds to `damaged` why it cannot be read completely."""
    try:
        state = FinalState(path, server) if path.exists() else None
    except FinalStateError as error:
        damaged.append(str(error))
        return None
    if state is not None and state.damage:
        damaged.append(state.damage)
    return state


def _before(
    directory: RunDirectory, histories: Sequence[History], unreadable: list[str], damaged: list[str]
) -> FinalState | None:
    """What the table held before the run. When that is not known, `unreadable` says so: the loaded rows are no substitute."""
    state = _state(directory.before, "before", damaged)
    exists = directory.before.exists()
    if not exists and any(history.header.run > 1 for history in histories):
        damaged.append(f"{directory.before}: is missing")
        unreadable.append(f"what the table held before the run is not known: {directory.before} is missing")
    if exists and (state is None or not state.complete):
        unreadable.append(f"what the table held before the run is not known: {directory.before} is damaged or cut")
    return state


def _missing_states(directory: RunDirectory, scenario: Scenario, troubles: Sequence[str]) -> Iterator[str]:
    """Final states that were read back and are gone. Unknown for external servers: one may be there under two names."""
    cluster = scenario.cluster
    for name in () if cluster.servers else server_names(cluster.readers, standby=cluster.standby):
        path = directory.final(name)
        if not path.exists() and not any(trouble.startswith(f"{name} was not read back") for trouble in troubles):
            yield f"{path}: is missing"


def _replicas(directory: RunDirectory, damaged: list[str]) -> Iterator[FinalState]:
    primary = directory.primary()
    for path in sorted(directory.path.glob("final-*.bin")):
        name = path.stem.removeprefix("final-")
        state = _state(path, name, damaged) if name != primary else None
        if state is not None:
            yield state
