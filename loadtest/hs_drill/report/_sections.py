"""The sections of a report that say what happened: operations, load engine, errors, servers, faults and the audit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from xml.etree.ElementTree import Element

from hs_drill.metrics import ALL, EDGE, OperationBatch, busy_of, percentile, series_of

from . import _charts as charts
from ._kept_run import FaultSeen, KeptRun
from ._markup import el
from ._shapes import figure, number_cell, result_class, section, table
from ._words import expectation_of, place_of

__all__ = [
    "audit_section",
    "engine_section",
    "errors_section",
    "faults_section",
    "operations_section",
    "servers_section",
    "without_effect",
]

MAX_ERRORS = 30
MAX_FAULTS = 200
"""Shown of each; a run with `every` may have thousands. The rest is in the kept result and history."""
COLUMNS = {"p50": 50.0, "p95": 95.0, "p99": 99.0, "p99.9": 99.9, "max": 100.0}
LATE = ("p50", "p99", "p99.9", "max")
PHASES = {"run": "whole run", "before": "before", "during": "during faults", "after": "after", EDGE: "at the edges"}
AUDIT_RESULTS = {
    "true": ("pass", "✓", "holds"),
    "false": ("miss", "✗", "violated"),
    "unknown": ("unknown", "?", "unknown"),
    "not applicable": ("not applicable", "∅", "not applicable"),
}


def operations_section(run: KeptRun) -> Element:
    phases = list(PHASES) if run.timeline.faults else ["run"]
    open_loop = run.scenario.load.open
    headings = ["operation", *(["phase"] if len(phases) > 1 else []), "#count", "#failures"]
    headings += [*(["#not started"] if open_loop else []), "#ops/s", *(f"#{name} ms" for name in COLUMNS)]
    shown = [*run.operations(), ALL]
    groups = [el("tbody", _phases(run.totals, run.rates, name, phases, open_loop=open_loop)) for name in shown]
    caption = "Latencies are of what succeeded, as the client saw them."
    if open_loop:
        caption += " Of the failures, not started are those that had waited for too long to be worth it."
    if len(phases) > 1:
        caption += (
            " Before the first fault; while any was certainly on; after that, while none was. At the edges are operations that "
            "were under way, or may have been, while a fault struck or healed, which count for the whole run only."
        )
    return section("Operations", table(headings, groups, caption))


def servers_section(run: KeptRun) -> Element | None:
    names = run.servers()
    if not names:
        return None
    phases = list(PHASES) if run.timeline.faults else ["run"]
    headings = ["server", *(["phase"] if len(phases) > 1 else []), "#answers", "#failed", "#answers/s"]
    headings += [f"#{name} ms" for name in COLUMNS]
    groups = [el("tbody", _phases(run.server_totals, run.server_rates, name, phases, answers=True)) for name in names]
    caption = (
        "What each server did, measured where the bytes leave and arrive: without the client's own part, and with every "
        "repetition. Failed are operations that it refused, and requests that it left without an answer."
    )
    failed = _kinds("server", {name: run.server_totals["run", name][0].errors for name in names})
    return section("Servers", table(headings, groups, caption), failed)


def _phases(
    totals: Mapping[tuple[str, str], tuple[OperationBatch, float]],
    rates: Mapping[tuple[str, str], float | None],
    name: str,
    phases: Sequence[str],
    *,
    answers: bool = False,
    open_loop: bool = False,
) -> Iterable[Element]:
    """With `answers` the count is that alone: a refusal is one. `open_loop`: with a column of those that were not started."""
    found = [(phase, *totals[phase, name]) for phase in phases]
    shown = [(phase, done) for phase, done, length in found if phase == "run" or done or (length and phase != EDGE)]
    for number, (phase, done) in enumerate(shown):
        rate = None if phase == EDGE else rates[phase, name]
        failures = done.failed.total()
        count = done.ok.total() + (0 if answers else failures)
        yield el(
            "tr",
            el("th", name, scope="rowgroup", rowspan=len(shown)) if number == 0 else None,
            el("td", PHASES[phase]) if len(phases) > 1 else None,
            number_cell(f"{count:,}"),
            number_cell(f"{failures:,}", some=failures > 0),
            number_cell(f"{done.not_started:,}", some=done.not_started > 0) if open_loop else None,
            number_cell("-" if rate is None else f"{rate:,.0f}"),
            [number_cell(f"{percentile(done.ok, percent) / 1000:,.3f}" if done.ok else "-") for percent in COLUMNS.values()],
        )


def engine_section(run: KeptRun, back: charts.Backdrop) -> Element | None:
    """How busy and how late the load engine was, and whether it was the limit; None of an older run, which does not tell."""
    engine = run.result["engine"]
    if not engine["phases"] or not back.axis.count:
        return None
    phases = [phase for phase in PHASES if phase in engine["phases"]] if run.timeline.faults else ["run"]
    rows = [
        el(
            "tr",
            el("td", PHASES[phase]),
            number_cell(f"{one['cpu']:.0%}"),
            number_cell(f"{one['waited_for_cpu']:.0%}"),
            number_cell(f"{one['no_time_left_seconds']:.1f} of {one['seconds']:.1f}", some=one["was_limit"]),
            [number_cell("-" if late is None else f"{late / 1000:,.3f}") for late in one["lag"].values()],
        )
        for phase, one in ((phase, engine["phases"][phase]) for phase in phases)
    ]
    caption = (
        "The process that carries out the operations: of several the busiest one, and how late the event loops of all were. An "
        "operation waits for the event loop up to three times. Where an engine had no time left, operations of an open loop "
        "queued within it, and the throughput of a closed loop was its own."
    )
    headings = ["phase", "#of a core", "#waited for a core", "#no time left, s", *(f"#late {name} ms" for name in LATE)]
    lag = series_of(run.batches.of_engines(), back.axis)[ALL]
    return section(
        "Load engine",
        el("p", engine["limit"], class_="unknown limit") if engine["limit"] else None,
        table(headings, rows, caption),
        figure("How busy it was, in percent of the time", charts.draw_busy(back, busy_of(run.batches, back.axis))),
        figure(
            "How late its event loop was: p50 (solid), p99 (dashed), p99.9 (dotted), on a logarithmic scale",
            charts.draw_latency(back, lag, "the load engine's event loop"),
        ),
    )


def errors_section(run: KeptRun) -> Element | None:
    kinds = _kinds("operation", {name: one.errors for name, one in run.record.operations.items()})
    return None if kinds is None else section("Errors", kinds)


def _kinds(whose: str, errors: Mapping[str, Counter[str]]) -> Element | None:
    """The kinds of errors, the most frequent first; None without any."""
    kinds = sorted(((count, name, text) for name, one in errors.items() for text, count in one.items()), reverse=True)
    if not kinds:
        return None
    rows = [
        el("tr", number_cell(f"{count:,}"), el("th", name, scope="row"), el("td", text, class_="long"))
        for count, name, text in kinds[:MAX_ERRORS]
    ]
    more = f"The {MAX_ERRORS} most frequent of {len(kinds)}." if len(kinds) > MAX_ERRORS else None
    return table(["#count", whose, "error"], rows, more)


def faults_section(run: KeptRun, back: charts.Backdrop) -> Element | None:
    if not run.faults:
        return None
    rows = [_fault(fault, back) for fault in run.faults[:MAX_FAULTS]]
    more = f"The first {MAX_FAULTS} of {len(run.faults)}." if len(run.faults) > MAX_FAULTS else ""
    headings = ["result", "fault", "#asked for", "#struck after", "#over at", "#lasted", "what else"]
    recovered = [
        el(
            "tr",
            el("th", one.fault, scope="row"),
            number_cell("none" if one.first_error is None else f"{one.first_error:.2f} s"),
            number_cell("not seen" if one.first_success is None else f"{one.first_success:.2f} s"),
            number_cell("not seen" if one.steady is None else f"{one.steady:.2f} s"),
        )
        for one in run.recoveries()[:MAX_FAULTS]
    ]
    caption = (
        f"Seconds from each fault's start, to {run.timeline.slot:g} s: until the first error, until every operation that "
        "failed had succeeded again, and until nothing failed any more and each had a quarter of its throughput back."
    )
    return section(
        "Faults as they happened",
        table(headings, rows, f"Times count from the start of the load. {more}".strip()),
        el("h2", "Recovery"),
        table(["fault", "#first error", "#first success", "#steady"], recovered, caption),
    )


def without_effect(fault: FaultSeen) -> bool:
    """Whether it was on and did nothing."""
    return fault.ended is not None and fault.effects == 0


def _fault(fault: FaultSeen, back: charts.Backdrop) -> Element:
    if fault.error:
        word = ("miss", "✗ failed")
    elif without_effect(fault):
        word = ("unknown", "? no effect")
    else:
        word = ("pass", "✓ struck") if fault.struck is not None else ("unknown", "? unknown")
    after = "-" if fault.struck is None else f"{fault.struck - fault.asked:.3f} s"
    lasted = "-" if fault.struck is None or fault.ended is None else f"{fault.ended - fault.asked:.2f} s"
    return el(
        "tr",
        el("td", word[1], class_=f"result {word[0]}"),
        el("th", fault.name, scope="row"),
        number_cell(back.seconds(fault.asked)),
        number_cell(after),
        number_cell(back.seconds(fault.ended)),
        number_cell(lasted),
        el("td", "; ".join(part for part in (fault.error, fault.note) if part), class_="long"),
    )


def audit_section(run: KeptRun) -> Element:
    if run.checks is None:
        return section(
            "Audit of the writes", el("p", "This run kept no history of its writes, so nothing was audited.", class_="soft")
        )
    groups = []
    for name, check in run.checks.items():
        tone, sign, word = AUDIT_RESULTS[check["verdict"]]
        if check["verdict"] == "false" and expectation_of(name, run.result["expectations"]) is None:
            tone, word = "unknown", "found"
        row = el(
            "tr",
            el("td", f"{sign} {word}", class_=result_class(tone)),
            el("th", name, scope="row"),
            number_cell(f"{check['count']:,}"),
            number_cell(f"{check['possible']:,}"),
            el("td", check["explanation"], class_="long"),
        )
        groups.append(el("tbody", row, [_finding(finding) for finding in check["findings"]]))
    caption = (
        "What was acknowledged, compared with what was read and with what the primary held after everything had healed. "
        "What was found, where nothing was expected, does not count against the run."
    )
    return section("Audit of the writes", table(["result", "check", "#certain", "#possible", "explanation"], groups, caption))


def _finding(finding: dict[str, Any]) -> Element:
    return el(
        "tr",
        el("td"),
        el("td", f"key {finding['key']}"),
        el("td", f"{place_of(finding)}: {finding['line']}", colspan=3, class_="long"),
        class_="finding",
    )
