"""What a kept run gives to a comparison: its figures, where they were measured, and whether it came to its end.

Reads the statistics and the verdict as it was kept, and audits nothing, for a comparison reads many runs. Its figures are named

- `OPERATION.p50` and so on, up to `OPERATION.max`: latency of the operations that succeeded, in milliseconds;
- `OPERATION.throughput`: how many succeeded per second;
- `OPERATION.errors`: the share that failed, in percent;
- `recovery.first_success`, `recovery.steady`: of the slowest fault, in seconds.

OPERATION may be `all`. With `.before`, `.during` or `.after` at the end it is the figure of that phase. What was not measured
is left out.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from hs_drill.metrics import PERCENTILES, PHASES, FaultWindow, Timeline
from hs_drill.metrics import percentile as percentile_of
from hs_drill.scenario import Scenario
from hs_drill.store import CONTROLLER, History, HistoryError, RunDirectory, RunDirectoryError, fault_windows, unix_faults

from ._recovery import recoveries

__all__ = ["RECOVERY", "RunFigures", "figures_of", "flat"]

RECOVERY = "recovery"
NOT_COMPARED = ("name", "description", "expect", "seed", "cluster.kind", "cluster.version")
"""Of a scenario: what changes neither load nor servers. Which servers there were, the environment says."""
PRIVATE = ("cluster.servers", "cluster.router", "cluster.primary", "cluster.commands")
"""Of a scenario: what names machines. A digest is enough to compare it, and a baseline may be published."""

IN_RESULT: dict[str, Any] = {"exit_code": int, "troubles": list, "workers": list, "ran": float | int, "engine": dict}
"""Of `result.json`: the types of what is used, unless it is null or missing."""


@dataclass(frozen=True)
class RunFigures:
    """A run, as far as a comparison needs it."""

    run: str
    """The name of its directory."""
    fingerprint: str
    """SHA-256 of its statistics, in hexadecimal: two runs with the same one are one run."""
    verdict: str
    exit_code: int | None
    """None if it has no verdict."""
    incomplete: str
    """Why its figures do not stand for a run of this scenario, in words; empty if they do."""
    seconds: float | None
    """How long the load lasted; None if that is not known. Locust's `--run-time` may have ended it early."""
    engine_limit: str
    """What it means that the load engine was the limit; empty if it was not, or if that is not known."""
    environment: Mapping[str, Any]
    scenario: Mapping[str, Any]
    """By dotted path, without what cannot change the figures."""
    figures: Mapping[str, float]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Raises TypeError for data of another form, or OverflowError."""
        made = cls(**data)
        mappings = (made.environment, made.scenario, made.figures)
        if not isinstance(made.run, str) or not all(isinstance(one, dict) for one in mappings):
            raise TypeError("what it says of a run has another form")
        for name, value in made.figures.items():
            if not isinstance(value, int | float) or not 0 <= float(value) < math.inf:
                raise TypeError(f"{name} of {made.run} is {value!r}, not a number from 0 on")
        return made


def figures_of(directory: RunDirectory) -> RunFigures:
    """Blocking, for seconds if there were millions of operations. Raises `RunDirectoryError`, `ScenarioError` and OSError."""
    statistics = directory.path / "batches.bin"
    try:
        with statistics.open("rb") as file:
            fingerprint = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        raise RunDirectoryError(f"{statistics}: is missing, so there is nothing to compare") from None
    scenario, result, batches = directory.scenario(), _checked_result(directory), directory.batches()
    faults, unknown_faults = _faults(directory.history(CONTROLLER))
    timeline = Timeline(batches, faults)
    engines = (result or {}).get("workers")
    return RunFigures(
        run=_printable(directory.path.resolve().name),
        fingerprint=fingerprint,
        verdict=str((result or {}).get("verdict", "none")),
        exit_code=(result or {}).get("exit_code"),
        incomplete=_incomplete(result, timeline, whole=batches.complete) or unknown_faults,
        seconds=(result or {}).get("ran"),
        engine_limit=((result or {}).get("engine") or {}).get("limit", ""),
        environment=directory.environment() | ({} if engines is None else {"engines": len(engines)}),
        scenario=dict(_compared(scenario)),
        figures=dict(_figures(timeline)),
    )


def _faults(path: Path) -> tuple[list[FaultWindow], str]:
    """The faults in Unix time, and why they are not known; empty if they are. Without them there are no phases."""
    try:
        history = History(path)
        history.read_through()  # its events are known only then
    except HistoryError as error:
        return [], str(error)
    windows = list(unix_faults(fault_windows(history.events), history.header))
    return windows, history.damage or ("" if history.complete else f"{path.name} is cut")


def _printable(name: str) -> str:
    """A name as one line of text that every output can print."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in name)


def _checked_result(directory: RunDirectory) -> dict[str, Any] | None:
    """The verdict, whose file may have been changed by hand. Raises `RunDirectoryError`."""
    result = directory.result()
    for name, kind in IN_RESULT.items():
        if not isinstance((result or {}).get(name), kind | None):
            path = directory.path / "result.json"
            raise RunDirectoryError(f"{path}: is damaged: its {name} must not be {(result or {})[name]!r}")
    return result


def _incomplete(result: Mapping[str, Any] | None, timeline: Timeline, *, whole: bool) -> str:
    if result is None:
        return "it has no verdict, so it did not come to its end"
    if result.get("ended_by"):
        return f"{result['ended_by']} ended it before its time"
    if result.get("died"):
        return "a process of the harness died"
    if result.get("lost_workers"):
        return "a worker was lost"
    # What was not read back at the end changes no figure.
    if troubles := [line for line in result.get("troubles") or () if " was not read back" not in str(line)]:
        return str(troubles[0])
    if not whole:
        return "its statistics are cut"
    return "" if timeline.counted else "no operation ended in it"


def _figures(timeline: Timeline) -> Iterator[tuple[str, float]]:
    rates = timeline.throughputs()
    totals = {key: done for key, (done, _) in timeline.totals().items() if key[0] in PHASES and done}
    for (phase, name), done in sorted(totals.items(), key=lambda one: PHASES.index(one[0][0])):
        end = "" if phase == "run" else f".{phase}"
        if done.ok:
            for percentile, percent in PERCENTILES.items():
                yield f"{name}.{percentile}{end}", percentile_of(done.ok, percent) / 1000
        if (rate := rates.get((phase, name))) is not None:
            yield f"{name}.throughput{end}", round(rate, 3)
        ok, failed = done.ok.total(), done.failed.total()
        yield f"{name}.errors{end}", round(100 * failed / (ok + failed), 6)
    seen = recoveries(timeline)
    for what in ("first_success", "steady"):
        times = [getattr(one, what) for one in seen]
        if times and None not in times:
            yield f"{RECOVERY}.{what}", round(max(times), 3)


def _compared(scenario: Scenario) -> Iterator[tuple[str, Any]]:
    for path, value in flat(scenario):
        if value is None or _below(path, NOT_COMPARED):
            continue
        if _below(path, PRIVATE) and value not in ([], {}):
            yield path, f"(digest {hashlib.sha256(repr(value).encode()).hexdigest()[:12]})"
        else:
            yield path, value


def _below(path: str, places: tuple[str, ...]) -> bool:
    return any(path == place or path.startswith(f"{place}.") for place in places)


def flat(scenario: Scenario) -> Iterator[tuple[str, Any]]:
    """A scenario's values by their dotted paths."""

    def walk(value: Any, path: str) -> Iterator[tuple[str, Any]]:
        if isinstance(value, dict | list) and value:
            for key, one in value.items() if isinstance(value, dict) else enumerate(value):
                yield from walk(one, f"{path}.{key}" if path else str(key))
        else:
            yield path, value

    return walk(scenario.model_dump(mode="json", by_alias=True), "")
