"""A comparison of runs in the terminal and as Markdown: the same tables. What they leave out, `--json` has."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hs_drill.metrics import ALL, PHASES
from hs_drill.report import RESULTS
from hs_drill.verdict import CONFIDENCE, RECOVERY, Comparison, FigureChange, parts_of, percent

__all__ = ["print_comparison", "write_markdown"]

SHOWN = ("throughput", "p50", "p99", "p99.9", "errors", "first_success", "steady")
UNITS = {"throughput": "{:,.0f}/s", "errors": "{:,.4g} %", "first_success": "{:,.2f} s", "steady": "{:,.2f} s"}
LATENCY = "{:,.3f} ms"
_ESCAPED = str.maketrans({**{sign: f"\\{sign}" for sign in "\\`*_[]~|"}, "<": "&#60;", "&": "&#38;"})
"""What Markdown or HTML would take for more than text: code, emphasis, links, pictures, cells, tags."""


class _Table(NamedTuple):
    title: str
    headings: list[str]
    rows: list[list[str]]


def print_comparison(comparison: Comparison, out: Console) -> None:
    for one in _tables(comparison):
        table = Table(title=one.title, title_style="bold", title_justify="left", box=box.SIMPLE_HEAD, show_edge=False)
        for heading in one.headings:
            table.add_column(Text(heading), overflow="fold")
        for row in one.rows:
            table.add_row(*map(Text, row))
        out.print(table)
        out.print()
    for remark in comparison.remarks:
        out.print(Text(remark))
    for line in _result(comparison):
        out.print(Text(line, style="bold"), soft_wrap=True)


def write_markdown(comparison: Comparison) -> None:
    """Print it, for example into the file that GITHUB_STEP_SUMMARY names."""
    for line in _result(comparison):
        print(f"**{_escaped(line)}**\n")
    for remark in comparison.remarks:
        print(f"- {_escaped(remark)}")
    for table in _tables(comparison):
        print(f"\n### {table.title}\n")
        for cells in (table.headings, ["---"] * len(table.headings), *table.rows):
            print(f"| {' | '.join(map(_escaped, cells))} |")


def _escaped(text: str) -> str:
    return text.translate(_ESCAPED)


def _result(comparison: Comparison) -> Iterator[str]:
    yield f"compare: {comparison.line}"
    if comparison.line != comparison.shown and not comparison.obstacles:
        yield f"figures: {comparison.shown}"


def _tables(comparison: Comparison) -> Iterator[_Table]:
    a, b = comparison.names
    if comparison.gates:
        rows = [[f"{' '.join(RESULTS[one.result.value])}", one.gate, one.line] for one in comparison.gates]
        yield _Table("gates", ["result", "fails if", "change"], rows)
    if comparison.differences:
        differ = [
            [one.name, ", ".join(one.a), ", ".join(one.b), "allowed" if one.allowed else "not comparable"]
            for one in comparison.differences
        ]
        yield _Table("different", ["", a, b, ""], differ)
    headings = ["figure", a, b, "change", f"{CONFIDENCE * 100:g} % interval", "p", "difference"]
    yield _Table("figures: medians over the runs", headings, [_row(one) for one in _shown(comparison)])
    runs = [[name, run.run, run.verdict] for name, side in ((a, comparison.a), (b, comparison.b)) for run in side]
    yield _Table("runs", ["", "run", "verdict"], runs)


def _shown(comparison: Comparison) -> list[FigureChange]:
    """Of each operation the whole run, of all together and of the recovery everything, and what a gate is about."""
    gated = {one.figure for one in comparison.gates}

    def is_shown(name: str) -> bool:
        operation, what, phase = parts_of(name)
        return name in gated or (what in SHOWN and (phase == "run" or operation == ALL))

    def place(name: str) -> tuple[int, str, int, int]:
        operation, what, phase = parts_of(name)
        group = [ALL, RECOVERY].index(operation) + 1 if operation in (ALL, RECOVERY) else 0
        return group, operation, PHASES.index(phase), (*SHOWN, what).index(what)

    shown = sorted(filter(is_shown, comparison.figures), key=place)
    changes = [comparison.figures[name] for name in shown]
    # The rest are errors where in most runs there were none.
    return [one for one in changes if one.a or one.b or one.figure == f"{ALL}.errors" or one.difference in ("better", "worse")]


def _row(change: FigureChange) -> list[str]:
    form = UNITS.get(parts_of(change.figure)[1], LATENCY)
    sides = ["-" if value is None else form.format(value) for value in (change.a, change.b)]
    interval = "-" if change.interval is None else " to ".join(map(percent, change.interval))
    ratio = "-" if change.change is None else percent(change.change)
    return [change.figure, *sides, ratio, interval, f"{change.p:.2g}" if change.can_differ else "-", change.difference]
