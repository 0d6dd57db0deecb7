"""The figures at the top of the report, in two rows: what is safe, and how fast it was."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree.ElementTree import Element

from hs_drill.metrics import Latencies

from ._kept_run import KeptRun
from ._markup import el
from ._words import RESULTS, longest_outage

__all__ = ["tiles"]

AUDITED = {"lost": "writes lost", "applied_twice": "applied twice", "split_brain": "split brain"}


@dataclass(frozen=True)
class _Tile:
    name: str
    value: str
    unit: str = ""
    judged_by: tuple[str, ...] = ()
    """Expectations, by how their names begin, and the operation and percentile of a latency."""


def tiles(run: KeptRun) -> list[Element]:
    """Two rows. A figure of which an expectation was missed is marked."""
    succeeded = Latencies()
    for operation in run.run_totals.operations.values():
        succeeded.add(operation.ok)
    return [_row("Safety", run, list(_safety(run, succeeded.count))), _row("Speed", run, list(_speed(run, succeeded)))]


def _row(title: str, run: KeptRun, row: Sequence[_Tile]) -> Element:
    return el("dl", [_shown(tile, run) for tile in row], class_="tiles", aria_label=title)


def _shown(tile: _Tile, run: KeptRun) -> Element:
    missed = any(_is_missed(one, tile) for one in run.result["expectations"])
    name = f"{RESULTS['miss'][0]} {tile.name}" if missed else tile.name
    unit = el("small", tile.unit) if tile.unit else None
    return el("div", el("dt", name), el("dd", tile.value, unit), class_="miss" if missed else None)


def _is_missed(judged: dict[str, Any], tile: _Tile) -> bool:
    name = judged["name"]
    return judged["result"] == "miss" and any(name == one or name.startswith(f"{one}.") for one in tile.judged_by)


def _safety(run: KeptRun, succeeded: int) -> Iterator[_Tile]:
    failures = run.run_totals.failures
    struck = sum(fault.struck is not None and not fault.without_effect for fault in run.faults)
    checks, outage = run.checks or {}, longest_outage(run.result.get("outages", {}))
    for name, what in AUDITED.items():
        if name in checks:
            yield _Tile(what, _count_or_result(checks[name]), "", (name,))
    share = f" {failures / (succeeded + failures) * 100:.3g} %" if failures else ""
    yield _Tile("failures", f"{failures:,}", share, ("failures", "errors", "availability"))
    if run.scenario.load.open:
        yield _Tile("not started", f"{run.run_totals.not_started:,}")
    yield from _recovered(run)
    if outage is not None:
        yield _Tile("without any success", f"{outage:.2f}", " s", ("outage",))
    yield _Tile("faults struck", f"{struck} of {len(run.faults)}", "", ("faults",))


def _speed(run: KeptRun, succeeded: Latencies) -> Iterator[_Tile]:
    seconds = run.run_totals.seconds
    yield _Tile("operations", f"{succeeded.count + run.run_totals.failures:,}")
    yield _Tile("throughput", f"{succeeded.count / seconds if seconds else 0:,.0f}", " /s", ("throughput",))
    for name, percent in (("p50", 50.0), ("p99", 99.0), ("p99.9", 99.9)):
        value = f"{succeeded.percentile(percent) / 1000:,.2f}" if succeeded.count else "-"
        yield _Tile(f"latency {name}", value, " ms", (f"latency.all.{name}",))


def _count_or_result(check: dict[str, Any]) -> str:
    return check["verdict"] if check["verdict"] in ("unknown", "not applicable") else f"{check['count']:,}"


def _recovered(run: KeptRun) -> Iterator[_Tile]:
    """The longest recovery from a fault."""
    times = [one.steady for one in run.recoveries()]
    known = [time for time in times if time is not None]
    if times:
        whole = len(known) == len(times)
        yield _Tile("longest recovery", f"{max(known):.2f}" if whole else "not seen", " s" if whole else "", ("recovery",))
