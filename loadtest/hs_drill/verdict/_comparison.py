"""Two sides of runs, A and B, compared: how far each figure changed, and whether these runs can show it. Pure.

The change of a figure is that of its median over the runs of a side. Only runs are compared, not what happened inside them: the
operations of one run share its caches, the placement of its processes and its neighbours, so a million of them do not say how
the next run would be. Hence one run on each side can show no change.

- A figure differs if the two-sided Mann-Whitney U test gives a p-value of at most `LEVEL`.
- A gate, such as `get.p99 > +10%`, is missed if the median changed by more than that, and the one-sided test gives at most
  `LEVEL`: the change is beyond the limit, and more than noise. It holds if the median changed by less, else it is unknown.
- A gate that no result of so few runs could miss is unknown too. So is every gate if a run is incomplete, or if the runs differ
  in what matters: servers, cores, Python, load engines, scenario.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from statistics import median
from typing import Any, Self

from hs_drill._counted import counted
from hs_drill._exit_codes import ExitCode, gravest
from hs_drill.metrics import (
    ALL,
    FEWEST_FOR_INTERVAL,
    PERCENTILES,
    PHASES,
    p_higher,
    ratio_interval,
    ratio_of_medians,
    smallest_p,
)

from ._judged import Result
from ._run_figures import RECOVERY, RunFigures

__all__ = [
    "CONFIDENCE",
    "Comparison",
    "ComparisonError",
    "Difference",
    "FigureChange",
    "Gate",
    "GateResult",
    "compare",
    "obstacles_to",
    "parts_of",
    "percent",
]

LEVEL = 0.05
"""The highest p-value that counts: where nothing has changed, 1 figure of 20 seems to differ."""
CONFIDENCE = 0.95
FORMAT = 1
"""Of `to_dict`. Raise it when a key goes or changes its meaning."""
MATTERS = ("server", "servers", "writes", "replication", "options", "cpu", "cores", "python", "engines")
"""Of the environment: what changes the figures of the same load on the same servers."""
TOLD = ("trio-hs", "trio", "locust", "kernel", "memory")
"""Of the environment: what may change the figures, and is told if it differs."""
LENGTH_SECONDS = 1.0
"""Runs whose lengths differ by no more are equally long: ending one takes time."""
NOT_RECORDED = "not recorded"
FEWEST_RUNS = 3
"""On each side, for a gate. More on the other side do not make up for it: so few may be unusual without its being seen."""
ROUNDING = 1e-9
"""Of a change, as a share: 10 to 11 ms is 10 % more, and not 10.000000000000009 %."""
_GATE = re.compile(r"\s*(?P<figure>\S.*?)\s*(?P<sign>>\s*\+?|<\s*-)\s*(?P<percent>\d+(\.\d+)?)\s*%\s*")
_WHAT = (*PERCENTILES, "throughput", "errors", "first_success", "steady")


class ComparisonError(Exception):
    """What was asked for makes no sense. One line for the user."""


def parts_of(figure: str) -> tuple[str, str, str]:
    """The operation (or `recovery`), what was measured, and the phase."""
    stem, phase = figure, "run"
    for name in PHASES[1:]:
        if figure.endswith(f".{name}"):
            stem, phase = figure.removesuffix(f".{name}"), name
    what = next((one for one in _WHAT if stem.endswith(f".{one}")), "")
    return stem.removesuffix(f".{what}"), what, phase


@dataclass(frozen=True)
class Gate:
    """The limit of a change."""

    text: str
    figure: str
    increase: bool
    """Whether it bounds an increase, not a decrease."""
    limit: float
    """The largest change that is allowed, as a share: 0.1 for 10 %."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """From `get.p99 > +10%` or `all.throughput < -5%`. Raises `ComparisonError`."""
        found = _GATE.fullmatch(text)
        if found is None:
            raise ComparisonError(f"{text!r} is not a gate: write it as 'get.p99 > +10%' or 'all.throughput < -5%'")
        increase, limit = found["sign"].startswith(">"), float(found["percent"]) / 100
        if limit == math.inf or (limit >= 1 and not increase):
            most = "no figure can rise by more" if increase else "no figure can fall by more than 100 %"
            raise ComparisonError(f"{text!r} is a gate that nothing can miss: {most}")
        return cls(" ".join(text.split()), found["figure"], increase, limit)

    def exceeded_by(self, change: float) -> bool:
        return (change if self.increase else -change) - self.limit > ROUNDING


@dataclass(frozen=True)
class FigureChange:
    """A figure on both sides."""

    figure: str
    a: float | None
    """The median of the runs that measured it. None if none did."""
    b: float | None
    runs: tuple[int, int]
    """How many runs of each side measured it."""
    change: float | None
    """As a share: 0.1 for 10 % more. None if a side lacks it; infinite if A has 0."""
    interval: tuple[float, float] | None
    """Of `change`; None if the runs are too few."""
    p_increase: float
    """Of the one-sided test that B is higher."""
    p_decrease: float

    @property
    def p(self) -> float:
        """Of the two-sided test."""
        return min(1.0, 2 * min(self.p_increase, self.p_decrease))

    @property
    def can_differ(self) -> bool:
        """Whether so many runs can show a difference at all."""
        return min(self.runs) >= FEWEST_RUNS and 2 * smallest_p(*self.runs) <= LEVEL

    @property
    def difference(self) -> str:
        """`better`, `worse`, `none shown` or `too few runs`."""
        if not self.can_differ:
            return "too few runs"
        if self.p > LEVEL:
            return "none shown"
        lower = self.p_decrease < self.p_increase
        return "worse" if lower == (parts_of(self.figure)[1] == "throughput") else "better"

    def to_dict(self) -> dict[str, Any]:
        """For JSON, which has no infinity."""
        known = self.change is not None and self.change < math.inf
        return {
            "a": self.a,
            "b": self.b,
            "runs": list(self.runs),
            "change": self.change if known else None,
            "interval": None if self.interval is None else list(self.interval),
            "p": self.p,
            "difference": self.difference,
        }


@dataclass(frozen=True)
class GateResult:
    """A gate, judged."""

    gate: str
    figure: str
    result: Result
    """`MISS`: a regression beyond the gate."""
    line: str
    """Why, in words."""


@dataclass(frozen=True)
class Difference:
    """Runs differ in something that they should have in common."""

    name: str
    """A key of the environment, or `scenario.` and a key of the scenario."""
    a: list[str]
    """What the runs of A have; more than one if they differ among themselves."""
    b: list[str]
    allowed: bool
    """The user said that it may differ."""


@dataclass(frozen=True)
class Comparison:
    """Everything that a comparison says."""

    names: tuple[str, str]
    a: Sequence[RunFigures]
    b: Sequence[RunFigures]
    figures: Mapping[str, FigureChange]
    gates: Sequence[GateResult]
    differences: Sequence[Difference]
    obstacles: Sequence[str]
    """Why no gate can be judged."""
    remarks: Sequence[str]

    @property
    def exit_code(self) -> int:
        codes = {Result.MISS: ExitCode.EXPECTATION_MISSED, Result.UNKNOWN: ExitCode.INCONCLUSIVE}
        found = [codes.get(one.result, ExitCode.PASSED) for one in self.gates]
        return gravest([*found, *([ExitCode.INCONCLUSIVE] if self.obstacles else [])])

    @property
    def line(self) -> str:
        """The result in one line."""
        results = Counter(one.result for one in self.gates)
        if results[Result.MISS]:
            return f"fail: {results[Result.MISS]} of {counted(len(self.gates), 'gate')} missed"
        if self.obstacles:
            return f"inconclusive: {self.obstacles[0]}"
        if results[Result.UNKNOWN]:
            return f"inconclusive: {results[Result.UNKNOWN]} of {counted(len(self.gates), 'gate')} could not be judged"
        return f"pass: {counted(len(self.gates), 'gate holds', 'gates hold')}" if self.gates else self.shown

    @property
    def shown(self) -> str:
        """Whether any figure differs, in one line."""
        testable = [one for one in self.figures.values() if one.can_differ]
        if not self.figures:
            return "no run has measured anything, so there is nothing to compare"
        if not testable:
            if any(one.runs != (len(self.a), len(self.b)) for one in self.figures.values()):
                return "no figure was measured in enough runs of both sides to show a difference"
            sizes = f"{counted(len(self.a), 'run')} and {counted(len(self.b), 'run')}"
            return f"{sizes} cannot show a difference, however large it is: take at least 4 on each side"
        differ = [one for one in testable if one.difference in ("better", "worse")]
        if not differ:
            return "no difference that these runs can show"
        differs = "differs" if len(differ) == 1 else "differ"
        chance = f"even if nothing had changed, about {LEVEL * 100:g} % of them would"
        return f"{len(differ)} of {counted(len(testable), 'figure')} {differs}; {chance}"

    def to_dict(self) -> dict[str, Any]:
        """For JSON. docs/compare.md describes it."""
        return {
            "format": FORMAT,
            "exit_code": int(self.exit_code),
            "result": self.line,
            "a": _side(self.names[0], self.a),
            "b": _side(self.names[1], self.b),
            "gates": [{**asdict(one), "result": one.result.value} for one in self.gates],
            "figures": {name: one.to_dict() for name, one in self.figures.items()},
            "confidence": CONFIDENCE,
            "differences": [asdict(one) for one in self.differences],
            "obstacles": list(self.obstacles),
            "remarks": list(self.remarks),
        }


def _side(name: str, runs: Sequence[RunFigures]) -> dict[str, Any]:
    kept = ("run", "verdict", "exit_code", "incomplete", "engine_limit")
    return {"name": name, "runs": [{key: getattr(run, key) for key in kept} for run in runs]}


def compare(
    a: Sequence[RunFigures],
    b: Sequence[RunFigures],
    *,
    gates: Sequence[Gate] = (),
    may_differ: Collection[str] = (),
    names: tuple[str, str] = ("A", "B"),
) -> Comparison:
    """Compare two sides, each with at least one run.

    Args:
      may_differ: names of `Difference`s that do not matter; `scenario` stands for all that begin with `scenario.`.
      names: what the sides are called.

    Raises:
      ComparisonError: a run is there twice, no run has the figure of a gate, or a name in `may_differ` is unknown.
    """
    _refuse_repeated([*a, *b])
    _refuse_unknown(may_differ)
    figures = {name: _change(name, a, b) for name in dict.fromkeys(name for run in (*a, *b) for name in run.figures)}
    for gate in gates:
        if gate.figure not in figures:
            _refuse_unknown_figure(gate, [*a, *b], figures)
    differences = list(_differences(a, b, may_differ))
    obstacles = list(_obstacles(a, b, differences))
    gated = {gate.figure: figures.get(gate.figure) or _change(gate.figure, a, b) for gate in gates}
    results = [_judge(gate, gated[gate.figure], (len(a), len(b)), judged=not obstacles) for gate in gates]
    return Comparison(names, a, b, figures, results, differences, obstacles, list(_remarks(a, b, names)))


def obstacles_to(runs: Sequence[RunFigures]) -> list[str]:
    """Why these runs cannot be one side of a comparison; empty if they can. Raises `ComparisonError` if one is there twice."""
    _refuse_repeated(runs)
    return list(_obstacles(runs, (), list(_differences(runs, (), ()))))


def _refuse_repeated(runs: Sequence[RunFigures]) -> None:
    seen = Counter(run.fingerprint for run in runs)
    for run in runs:
        if seen[run.fingerprint] > 1:
            raise ComparisonError(f"{run.run} is named more than once, or is a copy: a run counts once, on one side")


def _refuse_unknown(may_differ: Collection[str]) -> None:
    for name in may_differ:
        if name not in (*MATTERS, "scenario") and not name.startswith("scenario."):
            known = ", ".join(MATTERS)
            raise ComparisonError(
                f"{name!r} is nothing that may differ: name {known}, scenario, or a part such as scenario.load"
            )


def _refuse_unknown_figure(gate: Gate, runs: Sequence[RunFigures], figures: Collection[str]) -> None:
    """Raises `ComparisonError` unless it is a figure of an operation that runs have, although none of them measured it."""
    operation, what, phase = parts_of(gate.figure)
    if what in ("first_success", "steady"):
        possible = operation == RECOVERY and phase == "run"
    else:
        measured = {ALL, *(parts_of(name)[0] for name in figures)}
        in_mix = any(path.startswith(f"mix.{operation}.") for run in runs for path in run.scenario)
        possible = bool(what) and (operation in measured or in_mix)
    if not possible:
        close = get_close_matches(gate.figure, figures, 1)
        among = f"; there are, among others, {', '.join(list(figures)[:3])}" if figures else ""
        hint = f"; did you mean {close[0]}?" if close else among
        raise ComparisonError(f"{gate.text}: no run has the figure {gate.figure}{hint}")


def _change(name: str, a: Sequence[RunFigures], b: Sequence[RunFigures]) -> FigureChange:
    one, other = ([run.figures[name] for run in side if name in run.figures] for side in (a, b))
    medians = (median(one) if one else None, median(other) if other else None)
    if not one or not other:
        return FigureChange(name, *medians, (len(one), len(other)), None, None, 1.0, 1.0)
    interval = ratio_interval(one, other, CONFIDENCE)
    return FigureChange(
        name,
        *medians,
        (len(one), len(other)),
        ratio_of_medians(one, other) - 1,
        None if interval is None else (interval[0] - 1, interval[1] - 1),
        p_higher(one, other),
        p_higher(other, one),
    )


def _differences(a: Sequence[RunFigures], b: Sequence[RunFigures], may_differ: Collection[str]) -> Iterator[Difference]:
    # What was not recorded may be equal or not, so it counts as different.
    for name in MATTERS:
        sides = [[str(run.environment.get(name, NOT_RECORDED)) for run in side] for side in (a, b)]
        values = {value for side in sides for value in side}
        if len(values) > 1 or NOT_RECORDED in values:
            yield Difference(name, sorted(set(sides[0])), sorted(set(sides[1])), allowed=name in may_differ)
    for path in dict.fromkeys(path for run in (*a, *b) for path in run.scenario):
        sides = [[str(run.scenario.get(path, "-")) for run in side] for side in (a, b)]
        # A value may be "-" too.
        if len({(path in run.scenario, str(run.scenario.get(path))) for run in (*a, *b)}) > 1:
            name = f"scenario.{path}"
            allowed = any(name == one or name.startswith(f"{one}.") for one in may_differ)
            yield Difference(name, sorted(set(sides[0])), sorted(set(sides[1])), allowed=allowed)


def _obstacles(a: Sequence[RunFigures], b: Sequence[RunFigures], differences: Sequence[Difference]) -> Iterator[str]:
    # First, for the others may follow from it.
    for run in (*a, *b):
        if run.incomplete:
            yield f"{run.run} is incomplete: {run.incomplete}"
    names = [one.name for one in differences if not one.allowed]
    if names:
        most = 3
        more = f" and {len(names) - most} more" if len(names) > most else ""
        yield f"the runs differ in {', '.join(names[:most])}{more}"
    yield from _different_lengths([*a, *b], [one.name for one in differences if one.allowed])


def _different_lengths(runs: Sequence[RunFigures], allowed: Collection[str]) -> Iterator[str]:
    """An obstacle if runs lasted longer than others of the same length according to their scenarios."""
    paths = [
        name.removeprefix("scenario.")
        for name in allowed
        if name.startswith(("scenario.load.duration", "scenario.load.stages."))
    ]
    groups: dict[tuple[str, ...], list[float]] = {}
    for run in runs:
        if run.seconds is not None:
            groups.setdefault(tuple(str(run.scenario.get(path)) for path in paths), []).append(run.seconds)
    for lengths in groups.values():
        if max(lengths) - min(lengths) > LENGTH_SECONDS:
            yield f"the runs lasted between {min(lengths):.1f} and {max(lengths):.1f} s"
            return


def _remarks(a: Sequence[RunFigures], b: Sequence[RunFigures], names: tuple[str, str]) -> Iterator[str]:
    for name, side in zip(names, (a, b), strict=True):
        if failed := [run for run in side if run.exit_code not in (ExitCode.PASSED, None)]:
            yield f"{name}: {len(failed)} of {counted(len(side), 'run')} did not pass; a change of latency does not tell why"
        if limited := [run for run in side if run.engine_limit]:
            yield (
                f"{name}: in {len(limited)} of {counted(len(side), 'run')} the load engine was the limit, so a change "
                "may be the engine's and not the servers'"
            )
    for name in TOLD:
        values = sorted({str(run.environment.get(name, NOT_RECORDED)) for run in (*a, *b)})
        if len(values) > 1:
            yield f"the runs differ in {name}, which may matter: {', '.join(values)}"


def _judge(gate: Gate, change: FigureChange, sizes: tuple[int, int], *, judged: bool) -> GateResult:
    def result(result: Result, line: str) -> GateResult:
        return GateResult(gate.text, gate.figure, result, line)

    if not judged:
        return result(Result.UNKNOWN, "not judged")
    if change.runs != sizes or change.change is None:
        measured = " and ".join(f"{n} of {counted(all_, 'run')}" for n, all_ in zip(change.runs, sizes, strict=True))
        return result(Result.UNKNOWN, f"measured in only {measured}")
    if min(sizes) < FEWEST_RUNS:
        few = f"{counted(sizes[0], 'run')} and {counted(sizes[1], 'run')} cannot show a change, however large it is"
        return result(Result.UNKNOWN, f"{few}: take at least 3 on each side")
    p = change.p_increase if gate.increase else change.p_decrease
    words = f"{percent(change.change)}, one-sided p = {p:.2g}"
    if change.interval is not None:
        words += f", {CONFIDENCE * 100:g} % interval {percent(change.interval[0])} to {percent(change.interval[1])}"
    if gate.exceeded_by(change.change):
        if p <= LEVEL:
            return result(Result.MISS, words)
        return result(Result.UNKNOWN, f"{words}: beyond the limit, but such runs may differ by chance; take more")
    if min(sizes) < FEWEST_FOR_INTERVAL:
        return result(Result.PASS, f"{words}; an interval needs {FEWEST_FOR_INTERVAL} runs on each side")
    if change.interval is None:
        words += ", no interval, for runs of A measured 0"
    beyond = change.interval is None or any(map(gate.exceeded_by, change.interval))
    return result(Result.PASS, f"{words}; these runs do not exclude more than the limit" if beyond else words)


def percent(change: float) -> str:
    """A change, such as `+4.2 %`."""
    return "from 0" if change == math.inf else f"{change * 100:+,.1f} %"
