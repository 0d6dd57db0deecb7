"""Judge a kept run: read its directory, audit it, and compare what happened with what the scenario expects."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hs_drill._cluster import server_names
from hs_drill.audit import Audit, audit
from hs_drill.metrics import totals_of
from hs_drill.scenario import Load, Scenario
from hs_drill.store import CONTROLLER, FinalState, FinalStateError, History, RunDirectory, fault_windows, unix_faults

from ._advice import advice
from ._engine_limit import told
from ._judge import HARNESS, Judged, Judgement, Result, judge

__all__ = ["judge_run"]

CUT_SHORT_SECONDS = 1.0
"""So much less than the scenario says is not worth telling: what starts and ends a run takes its time."""


def judge_run(
    directory: RunDirectory,
    *,
    workers: set[int] | None = None,
    lost: Sequence[int] | None = None,
    troubles: list[str] | None = None,
    died: Sequence[str] | None = None,
    ran: float | None = None,
) -> dict[str, Any]:
    """Judge a kept run; blocking. Gives what goes into `result.json`.

    `workers` are those that took part, `lost` those that went away during the run, and `troubles` what else makes the run show
    less than it should: faults that did not strike, servers that were not read. `died` says what of the harness did, which
    fails the run, and `ran` how many seconds passed until the load was told to end. None takes each as it was found at the
    run's end; a run that did not come to its end has none of them, but then it has no final state either.
    """
    scenario = directory.scenario()
    found_before = directory.result() or {}
    if workers is None and found_before.get("workers") is not None:
        workers = set(found_before["workers"])
    if lost is None:
        lost = found_before.get("lost_workers", ())
    if died is None:
        died = found_before.get("died", ())
    if ran is None:
        ran = found_before.get("ran")
    kept = troubles if troubles is not None else list(found_before.get("troubles", ()))
    ended = bool(found_before) or troubles is not None
    histories, unreadable = directory.open_histories()
    damaged = list(unreadable)
    unreadable += [f"worker {worker} was lost during the run" for worker in lost]
    found: Audit | None = None
    if scenario.audited:
        found = audit(
            histories,
            _state(directory.final(directory.primary()), directory.primary(), damaged),
            loaded=scenario.table.rows,
            workers=workers,
            replicas=list(_replicas(directory, damaged)),
            before=_before(directory, histories, unreadable, damaged),
            staleness=scenario.expect.staleness or 0.0,
            sampled=scenario.audit.reads,
            unreadable=unreadable,
            alone=len(scenario.cluster.servers) == 1,
        )
        windows = found.faults
    else:
        for history in histories:
            history.read_through()  # the events are known then
        windows = fault_windows(event for history in histories for event in history.events)
    damaged += [history.damage for history in histories if history.damage]
    header = histories[0].header if histories else None
    faults = unix_faults(windows, header) if header is not None else []
    batches = directory.batches()
    judgement = judge(scenario.expect, batches, faults, found, audited=scenario.audited, open_loop=scenario.load.open)
    judged = [Judged(HARNESS, Result.MISS, None, None, line) for line in died]
    judged += [Judged("faults", Result.UNKNOWN, None, None, trouble) for trouble in kept]
    judged += [
        Judged("workers", Result.UNKNOWN, None, None, f"worker {worker} was lost during the run: what it did last is not known")
        for worker in lost
    ]
    if ended and not batches.complete:
        damaged.append(f"{directory.path / 'batches.bin'}: is cut: it has no end")
    if ended and scenario.audited and scenario.expect.replicas_agree:
        damaged += _missing(directory, scenario, kept)
    whole = any(history.header.worker == CONTROLLER and history.complete for history in histories)
    faults_kept = directory.history(CONTROLLER)
    if ended and not whole and not any(line.startswith(f"{faults_kept}: ") for line in damaged):
        damaged.append(f"{faults_kept}: is {'cut: it has no end' if faults_kept.exists() else 'missing'}")
    judged += [Judged("kept files", Result.UNKNOWN, None, None, line) for line in damaged]
    if not ended:
        judged.append(Judged("run", Result.UNKNOWN, None, None, "it did not come to its end: what happened last is not known"))
    if not judgement.counted:
        judged.append(Judged("operations", Result.UNKNOWN, None, None, "none was counted: such a run has shown nothing"))
    measured = list(judgement.judged)
    if ended and not whole:
        measured = [_without_faults(one, faults_kept) for one in measured]
    judgement = replace(judgement, judged=[*judged, *measured])
    return {
        **judgement.to_dict(),
        "verdict": judgement.verdict + _cut_short(judgement, _begun(histories), ran, scenario.load),
        "advice": advice(scenario, judgement.judged, directory.primary(), found),
        "scenario": scenario.name,
        "operations": totals_of(directory.batches()),
        "engine": told(judgement.engines, open_loop=scenario.load.open),
        "at_edges": judgement.edges,
        "audit": found.to_dict() if found is not None else None,
        "troubles": kept,
        "workers": None if workers is None else sorted(workers),
        "lost_workers": list(lost),
        "died": list(died),
        "ran": ran,
        "judged_at": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def _cut_short(judgement: Judgement, begun: float | None, ran: float | None, load: Load) -> str:
    """What a verdict has to add where the run was shorter than the scenario says, or less of it was counted.

    `begun` is the run's start in Unix time, None where that is not known; for `ran` see `judge_run`.
    """
    if ran is not None and ran < load.lasts - CUT_SHORT_SECONDS:
        return f" (ended after {ran:.1f} of {load.lasts:g} s)"
    due = load.lasts - load.warm_up
    if judgement.seconds >= due - CUT_SHORT_SECONDS:
        return ""
    late = 0.0 if begun is None else judgement.start - begun - load.warm_up
    why = f": the load began {late:.1f} s late" if late > CUT_SHORT_SECONDS / 2 else ""
    return f" ({judgement.seconds:.1f} of {due:g} s were counted{why})"


def _begun(histories: Sequence[History]) -> float | None:
    """When the controller began the run, in Unix time."""
    return next((one.header.unix(one.header.monotonic_ns) for one in histories if one.header.worker == CONTROLLER), None)


def _without_faults(judged: Judged, history: Path) -> Judged:
    """What is judged by the faults, where their history is not whole, is not known."""
    if not judged.name.startswith("recovery") and not judged.name.endswith((".before", ".during", ".after")):
        return judged
    return replace(
        judged, result=Result.UNKNOWN, line=f"{history.name} is not whole, so the faults are not known: {judged.line}"
    )


def _state(path: Path, server: str, damaged: list[str]) -> FinalState | None:
    """None where there is none; adds to `damaged` why it cannot be read, or not to its end."""
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
    """What there was before the run; where that cannot be told, `unreadable` says so: the loaded rows are no substitute."""
    state = _state(directory.before, "before", damaged)
    there = directory.before.exists()
    if not there and any(history.header.run > 1 for history in histories):
        damaged.append(f"{directory.before}: is missing")
        unreadable.append(f"what the table held before the run is not known: {directory.before} is missing")
    if there and (state is None or not state.complete):
        unreadable.append(f"what the table held before the run is not known: {directory.before} is damaged or cut")
    return state


def _missing(directory: RunDirectory, scenario: Scenario, troubles: Sequence[str]) -> Iterator[str]:
    """Which server's rows were read back and are not there. Of servers of somebody's own one may be there under two names."""
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
