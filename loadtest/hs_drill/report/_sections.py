"""The sections of a report that say what happened: operations, load engine, errors, servers, faults and the audit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from xml.etree.ElementTree import Element

from hs_drill.metrics import ALL, EDGE, OperationBatch, busy_of, percentile, series_of
from hs_drill.scenario import unaudited_writes

from . import _charts as charts
from ._kept_run import FaultSeen, KeptRun
from ._markup import el
from ._shapes import figure, number_cell, result_class, row_heading, section, table
from ._told import Told, without_first
from ._words import expectation_of, outages, place_of, row_of

__all__ = [
    "audit_section",
    "engine_section",
    "errors_section",
    "faults_section",
    "operations_section",
    "servers_section",
]

MAX_ERRORS = 30
MAX_FAULTS = 200
"""In each table. A run with `every` may have thousands; `result.json` and the history have all of them."""
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
        caption += " Not started: failures of operations that had waited too long to be started."
    if len(phases) > 1:
        caption += (
            " During: while any fault was certainly on. After: after a fault, while none was on. At the edges: operations that "
            "were, or may have been, under way while a fault struck or healed; they count for the whole run only."
        )
    told = [el("li", line) for line in outages(run.result.get("outages", {}))]
    words = el("p", "Longest times without any success, from the start of the load:") if told else None
    return section("Operations", table(headings, groups, caption), words, el("ul", told) if told else None)


def servers_section(run: KeptRun) -> Element | None:
    names = run.servers()
    if not names:
        return None
    phases = list(PHASES) if run.timeline.faults else ["run"]
    headings = ["server", *(["phase"] if len(phases) > 1 else []), "#answers", "#failed", "#answers/s"]
    headings += [f"#{name} ms" for name in COLUMNS]
    groups = [el("tbody", _phases(run.server_totals, run.server_rates, name, phases, answers=True)) for name in names]
    caption = (
        "What each server did, measured where bytes leave and arrive: without the time spent in the client, and with every "
        "retry. Failed: operations that the server refused, and requests that it did not answer."
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
    """A row for each phase. `answers`: count answers, which a refusal is too, and no failures beside them. `open_loop`: add a
    column of operations that were not started."""
    found = [(phase, *totals[phase, name]) for phase in phases]
    shown = [(phase, done) for phase, done, length in found if phase == "run" or done or (length and phase != EDGE)]
    for number, (phase, done) in enumerate(shown):
        rate = None if phase == EDGE else rates[phase, name]
        failures = done.failed.total()
        count = done.ok.total() + (0 if answers else failures)
        yield el(
            "tr",
            row_heading(name, rows=len(shown)) if number == 0 else None,
            el("td", PHASES[phase]) if len(phases) > 1 else None,
            number_cell(f"{count:,}"),
            number_cell(f"{failures:,}", some=failures > 0),
            number_cell(f"{done.not_started:,}", some=done.not_started > 0) if open_loop else None,
            number_cell("-" if rate is None else f"{rate:,.0f}"),
            [number_cell(f"{percentile(done.ok, percent) / 1000:,.3f}" if done.ok else "-") for percent in COLUMNS.values()],
        )


def engine_section(run: KeptRun, back: charts.Backdrop) -> Element | None:
    """How busy and late the load engine was, and whether it was the limit. None for an older run, which has no figures."""
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
        "The load engine is the process that executes the operations. With several, the shares of a core are those of the "
        "busiest one, and the lateness is that of all event loops. An operation waits for the event loop up to three times. "
        "While an engine has no time left, operations of an open loop queue in it; in a closed loop it limits the throughput."
    )
    headings = ["phase", "#CPU, of a core", "#waited for a core", "#no time left, s", *(f"#late {name} ms" for name in LATE)]
    lag = series_of(run.batches.of_engines(), back.axis)[ALL]
    return section(
        "Load engine",
        el("p", engine["limit"], class_="unknown limit") if engine["limit"] else None,
        table(headings, rows, caption),
        figure("How busy the load engine was, in percent of the time", charts.draw_busy(back, busy_of(run.batches, back.axis))),
        figure(
            "How late the event loop was: p50 (solid), p99 (dashed), p99.9 (dotted), on a logarithmic scale",
            charts.draw_latency(back, lag, "the load engine's event loop"),
        ),
    )


def errors_section(run: KeptRun) -> Element | None:
    kinds = _kinds("operation", {name: one.errors for name, one in run.run_totals.operations.items()})
    return None if kinds is None else section("Errors", kinds)


def _kinds(whose: str, errors: Mapping[str, Counter[str]]) -> Element | None:
    """The kinds of errors, the most frequent first; None when there are none."""
    kinds = sorted(((count, name, text) for name, one in errors.items() for text, count in one.items()), reverse=True)
    if not kinds:
        return None
    rows = [
        el("tr", number_cell(f"{count:,}"), row_heading(name), el("td", text, class_="long"))
        for count, name, text in kinds[:MAX_ERRORS]
    ]
    more = f"The {MAX_ERRORS} most frequent of {len(kinds)}." if len(kinds) > MAX_ERRORS else None
    return table(["#count", whose, "error"], rows, more)


def faults_section(run: KeptRun, back: charts.Backdrop) -> Element | None:
    if not run.faults:
        return None
    rows = [_fault(fault, back) for fault in run.faults[:MAX_FAULTS]]
    more = f"The first {MAX_FAULTS} of {len(run.faults)}." if len(run.faults) > MAX_FAULTS else ""
    headings = ["result", "fault", "#requested at", "#struck after", "#over at", "#lasted", "note"]
    recovered = [
        el(
            "tr",
            row_heading(one.fault),
            number_cell("none" if one.first_error is None else f"{one.first_error:.2f} s"),
            number_cell("not seen" if one.first_success is None else f"{one.first_success:.2f} s"),
            number_cell("not seen" if one.steady is None else f"{one.steady:.2f} s"),
        )
        for one in run.recoveries()[:MAX_FAULTS]
    ]
    caption = (
        f"Seconds from each fault's start, in steps of {run.timeline.slot:g} s. First error: until an operation failed. First "
        "success: until every operation that failed had succeeded again. Steady: until none failed any more, and each had at "
        "least a quarter of its earlier throughput."
    )
    return section(
        "Faults as they happened",
        table(headings, rows, f"Times count from the start of the load. {more}".strip()),
        el("h2", "Recovery"),
        table(["fault", "#first error", "#first success", "#steady"], recovered, caption),
    )


def _fault(fault: FaultSeen, back: charts.Backdrop) -> Element:
    if fault.error:
        word = ("miss", "✗ failed")
    elif fault.without_effect:
        word = ("unknown", "? no effect")
    else:
        word = ("pass", "✓ struck") if fault.struck is not None else ("unknown", "? unknown")
    after = "-" if fault.struck is None else f"{fault.struck - fault.requested:.3f} s"
    lasted = "-" if fault.struck is None or fault.ended is None else f"{fault.ended - fault.requested:.2f} s"
    return el(
        "tr",
        el("td", word[1], class_=f"result {word[0]}"),
        row_heading(fault.name),
        number_cell(back.seconds(fault.requested)),
        number_cell(after),
        number_cell(back.seconds(fault.ended)),
        number_cell(lasted),
        el("td", "; ".join(part for part in (fault.error, fault.note) if part), class_="long"),
    )


def audit_section(run: KeptRun) -> Element:
    if run.checks is None:
        why = unaudited_writes(run.scenario)
        words = (
            f"The writes were measured and not audited: {why}." if why else "This run kept no history, so there is no audit."
        )
        return section("Audit of the writes", el("p", words, class_="soft"))
    groups, told = [], Told(None)
    for name, check in run.checks.items():
        tone, sign, word = AUDIT_RESULTS[check["verdict"]]
        if check["verdict"] == "false" and expectation_of(name, run.result["expectations"]) is None:
            tone, word = "unknown", "found"
        row = el(
            "tr",
            el("td", f"{sign} {word}", class_=result_class(tone)),
            row_heading(name),
            number_cell(f"{check['count']:,}"),
            number_cell(f"{check['possible']:,}"),
            el("td", without_first(check["explanation"], {name: check}), class_="long"),
        )
        groups.append(el("tbody", row, [_finding(finding, told.under(name, finding)) for finding in check["findings"]]))
    caption = (
        "Compares the acknowledged writes with what was read, and with what the primary held after everything had healed. "
        "Certain: no missing data can explain it. Possible: missing data may. Found: the check is violated, but the scenario "
        "expects nothing of it, so it does not count against the run."
    )
    return section("Audit of the writes", table(["result", "check", "#certain", "#possible", "explanation"], groups, caption))


def _finding(finding: dict[str, Any], under: str) -> Element:
    """`under`: the check that told it before."""
    line = f"told under {under}" if under else f"{place_of(finding)}: {finding['line']}"
    return el(
        "tr",
        el("td"),
        el("td", row_of(finding)),
        el("td", line, colspan=3, class_="long"),
        class_="finding",
    )
