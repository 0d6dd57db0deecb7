"""A run in the terminal: the summary, with a row for each operation in milliseconds to the microsecond, and the verdict."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hs_drill._counted import counted
from hs_drill._exit_codes import ExitCode
from hs_drill.metrics import Batch, Latencies, OperationTotals, RunTotals
from hs_drill.store import RunDirectory, analyze_command
from hs_drill.verdict import NO_TIME_LEFT

from ._row_timelines import timeline_lines
from ._told import Told
from ._words import expectation_of, outages, place_of, row_of

__all__ = ["PlainConsole", "print_no_verdict", "print_summary", "print_verdict", "progress_line"]

PERCENTILES = (50.0, 95.0, 99.0, 99.9)
WIDTH = 110
"""Columns when the output is not a terminal."""
MAX_ERRORS = 20
MAX_FINDINGS = 5
"""For each check of the audit. `result.json` has more."""
MAX_TIMELINES = 5
MAX_OPERATIONS = 6
"""Of a row's timeline; twice as many where everything is explained."""


class PlainConsole(Console):
    """A console that raises `BrokenPipeError`. rich would end the process with exit code 1, which means something else here."""

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(highlight=False, stderr=stderr)

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def print_summary(
    totals: RunTotals, title: str, order: list[str], console: Console | None = None, *, open_loop: bool = False
) -> None:
    """Print the summary of a run. `order` is the order of the operations; those that never ran are left out.

    `open_loop`: a column says how many of the failures were operations that never started.
    """
    console = console or PlainConsole()
    if not console.is_terminal:
        console.width = WIDTH
    console.print()
    if not totals.operations:
        console.print(Text(f"{title}: no operation was executed"))
        return
    names = sorted(totals.operations, key=lambda name: (order.index(name) if name in order else len(order), name))
    console.print(_table(totals, names, title, open_loop=open_loop))
    if totals.not_started:
        waited = counted(totals.not_started, "operation arrived and was", "operations arrived and were")
        console.print(Text(f"  {waited} not started in time", style="red"))
    _print_errors(totals, names, console)


def _table(totals: RunTotals, names: list[str], title: str, *, open_loop: bool) -> Table:
    table = Table(title=Text(title), title_style="bold", title_justify="left", box=box.SIMPLE_HEAD, show_footer=len(names) > 1)
    total = OperationTotals()
    for name in names:
        total.add(totals.operations[name])
    headings = ["count", "failures", *(["not started"] if open_loop else [])]
    headings += ["ops/s", *(f"p{percent:g} ms" for percent in PERCENTILES), "max ms"]
    table.add_column("operation", "all", overflow="fold")
    for heading, footer in zip(headings, _cells(total, totals.seconds, open_loop=open_loop), strict=True):
        table.add_column(heading, footer, justify="right")
    for name in names:
        table.add_row(Text(name), *_cells(totals.operations[name], totals.seconds, open_loop=open_loop))
    return table


def _cells(operation: OperationTotals, seconds: float, *, open_loop: bool) -> list[Text | str]:
    count, failures = operation.ok.count + operation.failed.count, operation.failed.count
    rate = f"{operation.ok.count / seconds:,.0f}" if seconds > 0 else "-"
    bad = [failures, operation.not_started] if open_loop else [failures]
    shown = [Text(f"{number:,}", style="bold red" if number else "") for number in bad]
    return [f"{count:,}", *shown, rate, *_latencies(operation.ok)]


def _latencies(latencies: Latencies) -> list[str]:
    """Of operations that succeeded: how fast one fails says nothing about how fast it is."""
    if not latencies.count:
        return ["-"] * (len(PERCENTILES) + 1)
    return [f"{us / 1000:.3f}" for us in (*map(latencies.percentile, PERCENTILES), latencies.max)]


_VERDICT_STYLES: dict[int, str] = {
    ExitCode.PASSED: "bold green",
    ExitCode.INCONCLUSIVE: "bold yellow",
    ExitCode.ENDED_EARLY: "bold yellow",
}
_SIGNS = {
    "pass": ("pass", "green"),
    "miss": ("MISS", "bold red"),
    "unknown": ("UNKNOWN", "bold yellow"),
    "not applicable": ("not applicable", "blue"),
}


def print_verdict(
    result: dict[str, Any], directory: str, *, explain: bool, timelines: bool = False, console: Console | None = None
) -> None:
    """Print the verdict of a run, and the expectations that do not hold; with `explain` all expectations. `timelines`: also
    what happened to rows for which one does not hold."""
    console = console or PlainConsole()
    if not console.is_terminal:
        console.width = WIDTH
    for line in outages(result.get("outages", {})):
        console.print(Text(f"  {line}", style="red"), soft_wrap=True)
    _print_engine(result["engine"], console)
    told = Told(result["audit"])
    table = Table(box=None, show_header=False, padding=(0, 1))
    for judged in result["expectations"]:
        word, style = _SIGNS[judged["result"]]
        if explain or judged["result"] in ("miss", "unknown"):
            table.add_row(Text(word, style=style), Text(judged["name"]), Text(told.line(judged["name"], judged["line"])))
    if table.row_count:
        console.print(table)
    for name, check in (result["audit"] or {}).items():
        _print_check(name, check, expectation_of(name, result["expectations"]), told, console)
    if timelines:
        _print_timelines(result, console, explain=explain)
    style = _VERDICT_STYLES.get(result["exit_code"], "bold red")
    console.print(Text(f"verdict: {result['verdict']}", style=style), soft_wrap=True)  # one line, for programs as well
    for line in result["advice"]:
        console.print(Text(f"  {line}"))
    if edges := result.get("at_edges"):
        under_way = counted(edges, "operation was", "operations were")
        no_phase = "it counts" if edges == 1 else "they count"
        console.print(f"{under_way} under way, or may have been, while a fault struck or healed: {no_phase} for no phase")
    if server := result.get("server"):
        console.print(Text(f"servers: {server}"), soft_wrap=True)
    console.print(Text(f"kept in {directory}"), soft_wrap=True)
    report = RunDirectory(Path(directory)).report
    if report.exists():
        console.print(Text(f"report: {report}"), soft_wrap=True)


def _print_engine(engine: dict[str, Any], console: Console) -> None:
    if engine["line"]:
        console.print(Text(f"  {engine['line']}"), soft_wrap=True)
    if engine["limit"]:
        console.print(Text(f"  {engine['limit']}", style="bold yellow"), soft_wrap=True)


def print_no_verdict(directory: str, console: Console | None = None) -> None:
    """Print where a run without a verdict is kept, and how to judge it."""
    console = console or PlainConsole()
    console.print(Text("no verdict: the run did not come to its end", style="bold yellow"))
    console.print(Text(f"kept in {directory}"), soft_wrap=True)
    console.print(Text(f"to judge what is kept: {analyze_command(directory)}"), soft_wrap=True)


def _print_check(name: str, check: dict[str, Any], expected: str | None, told: Told, console: Console) -> None:
    """The first findings of a check that were not told before. When the scenario expects nothing of it, one line is enough."""
    if check["verdict"] == "false" and expected is None:
        console.print(Text(f"  {name}, of which nothing was expected: {told.line(name, check['explanation'])}"))
    elif expected in ("miss", "unknown"):
        for finding in check["findings"][:MAX_FINDINGS]:
            if not told.under(name, finding):
                console.print(Text(f"  {name}: {row_of(finding)} {place_of(finding)}: {finding['line']}", style="red"))


def _print_timelines(result: dict[str, Any], console: Console, *, explain: bool) -> None:
    """What happened to the first row for which an expectation does not hold; with `explain`, to more rows with findings."""
    timelines = result.get("timelines") or {"rows": [], "left_out": 0, "failed": ""}
    if timelines["failed"]:
        console.print(Text(f"  the histories could not be searched for the rows with findings: {timelines['failed']}"))
    rows = [row for row in timelines["rows"] if explain or _is_missed(row, result["expectations"])]
    shown = rows[: MAX_TIMELINES if explain else 1]
    for row in shown:
        for line in timeline_lines(row, MAX_OPERATIONS * (2 if explain else 1)):
            console.print(Text(f"  {line}"), soft_wrap=True)
    if more := len(rows) - len(shown):
        console.print(Text(f"  the report draws {counted(more, 'more row', 'more rows')} (analyze --html FILE)"))


def _is_missed(row: dict[str, Any], judged: list[dict[str, Any]]) -> bool:
    return any(expectation_of(name, judged) in ("miss", "unknown") for name, _ in row["findings"])


def _print_errors(totals: RunTotals, names: list[str], console: Console) -> None:
    errors = [(count, name, text) for name in names for text, count in totals.operations[name].errors.items()]
    errors.sort(reverse=True)
    for count, name, text in errors[:MAX_ERRORS]:
        console.print(Text(f"  {count:,} x {name}: {text}", style="red"))
    if len(errors) > MAX_ERRORS:
        console.print(Text(f"  and {counted(len(errors) - MAX_ERRORS, 'more kind', 'more kinds')} of error", style="red"))


def progress_line(batch: Batch, users: int, seconds: float, phase: str = "") -> str:
    """One line about the last few seconds of a run that has lasted `seconds`, and its current phase."""
    latencies = Latencies()
    failures = 0
    for operation in batch.operations.values():
        latencies.record(operation.ok.items())
        failures += operation.failed.total()
    rate = latencies.count / max(batch.end - batch.start, 1e-9)
    p50, p99 = latencies.percentile(50) / 1000, latencies.percentile(99) / 1000
    figures = f"{counted(users, 'user')}  {rate:,.0f} ops/s  p50 {p50:.3f} ms  p99 {p99:.3f} ms  {counted(failures, 'failure')}"
    busy = max((use.busy for use in batch.engines.values()), default=0.0)
    engine = f"  engine {busy:.0%} busy{' (no time left)' if busy >= NO_TIME_LEFT else ''}" if batch.engines else ""
    return f"{seconds:4.0f} s  {figures}{engine}{f'  {phase}' if phase else ''}"
