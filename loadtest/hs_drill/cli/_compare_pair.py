"""`hs-drill compare A B`: two kept runs side by side. Shows what differs, not which is better."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hs_drill._counted import counted
from hs_drill.metrics import ALL, EDGE, PHASES, OperationBatch, percentile
from hs_drill.report import RESULTS, KeptRun, quantity
from hs_drill.verdict import flat

from ._shared import console

__all__ = ["compare_pair"]

MAX_ERRORS = 20
NOTHING = OperationBatch(), 0.0


def compare_pair(a: KeptRun, b: KeptRun) -> int:
    """Print both. Returns 0, whatever differs."""
    out = console()
    for name, run in (("A", a), ("B", b)):
        out.print(Text(f"{name}: {run.directory.path}"), soft_wrap=True)
    _print(out, "verdict", ["", "A", "B"], _verdicts(a, b))
    headings = ["operation", "phase", "ops/s", "p50 ms", "p99 ms", "p99.9 ms"]
    _print(out, "operations: A → B", headings, list(_operations(a, b)))
    _print(out, "errors", ["", "A", "B"], _errors(a, b))
    _print(out, "recovery", ["", "A", "B"], list(_recoveries(a, b)))
    _print(out, "audit", ["", "A", "B"], _audits(a, b))
    _print(out, "different environment", ["", "A", "B"], _different(a.environment, b.environment))
    _print(out, "different scenario", ["", "A", "B"], _different(dict(flat(a.scenario)), dict(flat(b.scenario))))
    return 0


def _print(out: Console, title: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    out.print()
    if not rows:
        out.print(Text.assemble((title, "bold"), ": none"))
        return
    table = Table(title=title, title_style="bold", title_justify="left", box=box.SIMPLE_HEAD, show_edge=False)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    out.print(table)


def _verdicts(a: KeptRun, b: KeptRun) -> list[list[str]]:
    rows = [["verdict", a.verdict, b.verdict], ["exit code", str(a.exit_code), str(b.exit_code)]]
    judged = [{one["name"]: one for one in run.result["expectations"]} for run in (a, b)]
    names = dict.fromkeys(name for one in judged for name in one)
    return rows + [[name, *(_result(one.get(name)) for one in judged)] for name in names]


def _result(judged: Mapping[str, Any] | None) -> str:
    if judged is None:
        return "-"
    sign, word = RESULTS[judged["result"]]
    measured = f" ({quantity(judged['name'], judged['measured'])})" if judged["measured"] is not None else ""
    return f"{sign} {word}{measured}"


def _operations(a: KeptRun, b: KeptRun) -> Iterator[list[str]]:
    for name in dict.fromkeys([*a.operations(), *b.operations(), ALL]):
        for phase in (*PHASES, EDGE):
            (one, _), (other, _) = (run.totals.get((phase, name), NOTHING) for run in (a, b))
            if not one and not other:
                continue
            rate, other_rate = (run.rates.get((phase, name)) for run in (a, b))
            yield [
                name if phase == "run" else "",
                {"run": "whole run", EDGE: "at the edges"}.get(phase, phase),
                _change(rate, other_rate, "{:,.0f}"),
                *_times(one, other),
            ]


def _times(a: OperationBatch, b: OperationBatch) -> Iterator[str]:
    for percent in (50.0, 99.0, 99.9):
        one, other = (percentile(done.ok, percent) / 1000 if done.ok else None for done in (a, b))
        yield _change(one, other, "{:,.3f}")


def _change(a: float | None, b: float | None, form: str) -> str:
    shown = " → ".join("-" if value is None else form.format(value) for value in (a, b))
    return f"{shown} {(b - a) / a:+.0%}" if a and b is not None else shown


def _errors(a: KeptRun, b: KeptRun) -> list[list[str]]:
    counts = [
        {f"{name}: {text}": n for name, one in run.run_totals.operations.items() for text, n in one.errors.items()}
        for run in (a, b)
    ]
    names = sorted({name for one in counts for name in one}, key=lambda name: -max(one.get(name, 0) for one in counts))
    rows = [[name, *(f"{one.get(name, 0):,}" for one in counts)] for name in names[:MAX_ERRORS]]
    if len(names) > MAX_ERRORS:
        rows.append([f"and {counted(len(names) - MAX_ERRORS, 'more kind')}", "", ""])
    return rows


def _recoveries(a: KeptRun, b: KeptRun) -> Iterator[list[str]]:
    """The slowest of each run. Single faults cannot be compared: each run draws its servers anew."""
    measured = [run.recoveries() for run in (a, b)]
    what: dict[str, Callable[[Any], float | None]] = {
        "worst first success": lambda one: one.first_success,
        "worst steady": lambda one: one.steady,
    }
    if any(measured):
        yield ["faults", *(str(len(one)) for one in measured)]
        for name, get in what.items():
            yield [name, *(_worst([get(one) for one in found]) for found in measured)]


def _worst(times: Sequence[float | None]) -> str:
    known = [time for time in times if time is not None]
    return "-" if not times else "not seen" if len(known) < len(times) else f"{max(known):.2f} s"


def _audits(a: KeptRun, b: KeptRun) -> list[list[str]]:
    checks = [run.checks or {} for run in (a, b)]
    words = {"true": "✓ holds", "false": "✗ violated", "unknown": "? unknown", "not applicable": "∅ not applicable"}

    def describe(check: Mapping[str, Any] | None) -> str:
        if check is None:
            return "-"
        perhaps = f", perhaps {check['possible']:,} more" if check["possible"] else ""
        return f"{words[check['verdict']]} ({check['count']:,}{perhaps})"

    return [
        [name, *(describe(one.get(name)) for one in checks)] for name in dict.fromkeys(name for one in checks for name in one)
    ]


def _different(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[list[str]]:
    return [[name, str(a.get(name, "-")), str(b.get(name, "-"))] for name in {**a, **b} if a.get(name) != b.get(name)]
