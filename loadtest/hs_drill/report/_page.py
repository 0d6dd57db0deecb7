"""The report of a run: one HTML file that needs nothing else, no network and no JavaScript, and can be printed.

Every text goes through `_markup.el`, which escapes it: server messages and scenario texts are not ours.
"""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

import yaml

from hs_drill.metrics import ALL, EDGE, Latencies, OperationBatch, Series, TimeAxis, axis_of, busy_of, percentile, series_of
from hs_drill.store import RunDirectory

from . import _charts as charts
from ._kept_run import FaultSeen, KeptRun
from ._markup import Child, data, el, to_html
from ._words import EXIT_CODES, RESULTS, expectation_of, place_of, quantity

__all__ = ["render", "write_report"]

HERE = Path(__file__).parent
MAX_MISSED = 5
"""Of what did not hold, in the headline; all of it is among the expectations."""
MAX_ERRORS = 30
MAX_FAULTS = 200
"""Shown of each; a run with `every` may have thousands. The rest is in the kept result and history."""
COLUMNS = {"p50": 50.0, "p95": 95.0, "p99": 99.0, "p99.9": 99.9, "max": 100.0}
LATE = ("p50", "p99", "p99.9", "max")
AUDITED = {"lost": "writes lost", "applied_twice": "applied twice"}
PHASES = {"run": "whole run", "before": "before", "during": "during faults", "after": "after", EDGE: "at the edges"}
AUDIT_RESULTS = {
    "true": ("pass", "✓", "holds"),
    "false": ("miss", "✗", "violated"),
    "unknown": ("unknown", "?", "unknown"),
    "not applicable": ("not applicable", "∅", "not applicable"),
}


def write_report(directory: RunDirectory, result: dict[str, Any], path: Path | None = None) -> Path:
    """Draw a run and keep that, as `report.html` beside its files or as `path`. Blocking; raises OSError."""
    target = path or directory.report
    target.write_text(render(KeptRun.read(directory, result)), encoding="utf-8")
    return target


def render(run: KeptRun) -> str:
    """The page."""
    script, style = (HERE / "page.js").read_text(), (HERE / "page.css").read_text()
    longest = max((batch.end - batch.start for batch in run.batches), default=0)
    axis = axis_of(run.timeline.start, run.timeline.end, longest)
    views = _views(run, axis) if axis.count else []
    style += "\n".join(f"#choice-{i}:checked ~ #panel-{i} {{ display: block; }}" for i in range(len(views)))
    # Nothing may be loaded, and no script but ours runs, whatever got past the escaping.
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    back = charts.Backdrop(axis, run.faults, run.marks)
    page = el(
        "html",
        el(
            "head",
            el("meta", charset="utf-8"),
            el("meta", http_equiv="Content-Security-Policy", content=policy),
            el("meta", name="viewport", content="width=device-width, initial-scale=1"),
            el("title", f"{run.scenario.name}: {run.verdict}"),
            el("style", style),
        ),
        el(
            "body",
            _header(run),
            el(
                "main",
                _tiles(run),
                _expectations(run),
                _timeline(back, views),
                _operations(run),
                _engine(run, back),
                _errors(run),
                _servers(run),
                _faults(run, back),
                _audit(run),
                _environment(run),
                _scenario(run),
                _files(run),
            ),
            data(_numbers(back, views), "series") if views else None,
            el("script", script) if views else None,
        ),
        lang="en",
    )
    return to_html(page)


# ---- what it came to


def _header(run: KeptRun) -> Element:
    code = run.exit_code
    tone = {0: "pass", 4: "unknown"}.get(code, "miss")
    started = run.environment.get("started", "")
    about = [run.scenario.description, f"{run.record.seconds:.1f} s", started.replace("T", " ")]
    return el(
        "header",
        el(
            "div",
            el("strong", run.scenario.name),
            el("span", " · ".join(part for part in about if part), class_="soft"),
            class_="title",
        ),
        el(
            "div",
            el("span", RESULTS[tone][0], class_="sign", aria_hidden="true"),
            el("div", el("h1", run.verdict), el("p", f"Exit code {code}: {EXIT_CODES[code]}.", class_="soft"), _why(run)),
            class_=f"verdict {tone}",
        ),
    )


def _why(run: KeptRun) -> list[Element]:
    """What did not hold, the gravest first, whether the load engine was the limit, and what to do about it."""
    missed = sorted((one for one in run.result["expectations"] if one["result"] in ("miss", "unknown")), key=_gravity)
    shown = [
        el("li", el("strong", f"{RESULTS[one['result']][0]} {one['name']}: "), one["line"], class_=one["result"])
        for one in missed[:MAX_MISSED]
    ]
    if len(missed) > MAX_MISSED:
        shown.append(el("li", f"and {len(missed) - MAX_MISSED} more, see the expectations below"))
    advice = [el("li", line) for line in run.result["advice"]]
    limit = run.result["engine"]["limit"]
    return [
        *([el("ul", shown, class_="missed")] if shown else []),
        *([el("p", limit, class_="unknown limit")] if limit else []),
        *([el("h2", "What to do"), el("ul", advice)] if advice else []),
    ]


def _gravity(judged: dict[str, Any]) -> tuple[bool, bool]:
    """A miss before what is unknown, and what the audit found before the rest."""
    return judged["result"] != "miss", not judged["audit"]


def _tiles(run: KeptRun) -> Element:
    everything = Latencies()
    for operation in run.record.operations.values():
        everything.add(operation.ok)
    failures = run.record.failures
    count = everything.count + failures
    rate = everything.count / run.record.seconds if run.record.seconds else 0
    struck = sum(fault.struck is not None and not _useless(fault) for fault in run.faults)
    tiles: list[tuple[str, str, str]] = [
        *((what, _certain(run.checks[name]), "") for name, what in AUDITED.items() if run.checks is not None),
        ("failures", f"{failures:,}", f" {failures / count * 100:.3g} %" if failures else ""),
        *([("not started", f"{run.record.not_started:,}", "")] if run.scenario.load.open else []),
        *_recovered(run),
        ("faults struck", f"{struck} of {len(run.faults)}", ""),
        ("operations", f"{count:,}", ""),
        ("throughput", f"{rate:,.0f}", " /s"),
        *(
            (f"latency {name}", _ms(everything, percent), " ms")
            for name, percent in (("p50", 50.0), ("p99", 99.0), ("p99.9", 99.9))
        ),
    ]
    shown = [el("div", el("dt", name), el("dd", value, el("small", unit) if unit else None)) for name, value, unit in tiles]
    return el("dl", shown, class_="tiles")


def _certain(check: dict[str, Any]) -> str:
    return check["verdict"] if check["verdict"] in ("unknown", "not applicable") else f"{check['count']:,}"


def _recovered(run: KeptRun) -> Iterable[tuple[str, str, str]]:
    """How long the worst fault hurt."""
    times = [one.steady for one in run.recoveries()]
    known = [time for time in times if time is not None]
    if times:
        yield (
            ("longest recovery", f"{max(known):.2f}", " s")
            if len(known) == len(times)
            else ("longest recovery", "not seen", "")
        )


def _result_class(result: str) -> str:
    return f"result {result.replace(' ', '-')}"


def _ms(latencies: Latencies, percent: float) -> str:
    return f"{latencies.percentile(percent) / 1000:,.2f}" if latencies.count else "-"


def _expectations(run: KeptRun) -> Element:
    judged = run.result["expectations"]
    if not judged:
        return _section("Expectations", el("p", "Nothing was expected of this run.", class_="soft"))
    order = ["miss", "unknown", "pass", "not applicable"]
    rows = [
        el(
            "tr",
            el("td", f"{RESULTS[one['result']][0]} {RESULTS[one['result']][1]}", class_=_result_class(one["result"])),
            el("th", one["name"], scope="row"),
            el("td", quantity(one["name"], one["measured"]), class_="number"),
            el("td", quantity(one["name"], one["limit"]), class_="number"),
            el("td", one["line"], class_="long"),
        )
        for one in sorted(judged, key=lambda one: order.index(one["result"]))
    ]
    return _section("Expectations", _table(["result", "expectation", "#measured", "#limit", "how it was judged"], rows))


# ---- over time


@dataclass(frozen=True)
class _View:
    """What one set of charts is about."""

    label: str
    what: str
    series: Series
    headings: tuple[str, str, str]
    """Of throughput, latency and errors."""


OF_OPERATION = ("Throughput: operations that succeeded, per second", "Latency of those", "Errors per second")
OF_SERVER = (
    "Throughput: answers to the client's requests, per second",
    "Latency of the server: from the sending of a request to its answer",
    "Errors: operations that it refused and requests that it left without an answer, per second",
)


def _views(run: KeptRun, axis: TimeAxis) -> list[_View]:
    operations = series_of(run.batches, axis)
    servers = series_of(run.batches.of_servers(), axis)
    return [
        _View("all operations", "all operations", operations[ALL], OF_OPERATION),
        *(_View(name, name, operations[name], OF_OPERATION) for name in run.operations()),
        *(_View(name, f"the server {name}", servers[name], OF_SERVER) for name in run.servers()),
    ]


def _timeline(back: charts.Backdrop, views: Sequence[_View]) -> Element:
    if not views:
        return _section("Timeline", el("p", "No operation was carried out.", class_="soft"))
    choices, panels = [], []
    for number, view in enumerate(views):
        checked = "checked" if number == 0 else None
        if number and view.headings != views[number - 1].headings:
            choices.append(el("span", "by server", class_="soft between"))
        choices += [
            el("input", type="radio", name="view", id=f"choice-{number}", class_="choice", checked=checked),
            el("label", view.label, for_=f"choice-{number}"),
        ]
        panels.append(_panel(back, view, number))
    shaded = "Shaded: while a fault was on, from when it was asked for until it had healed. "
    return _section(
        "Timeline",
        el("p", f"{shaded if back.faults else ''}One point is {back.axis.slot:g} s.", class_="soft"),
        el("div", charts.draw_faults(back), class_="scroll"),
        el("div", choices, panels),
    )


def _panel(back: charts.Backdrop, view: _View, number: int) -> Element:
    throughput, latency, errors = view.headings
    return el(
        "div",
        el(
            "p", "Point at a chart, or go through it with the arrow keys, to read its numbers.", class_="readout", role="status"
        ),
        _figure(throughput, charts.draw_throughput(back, view.series, view.what)),
        _figure(
            f"{latency}: p50 (solid), p99 (dashed), p99.9 (dotted), on a logarithmic scale",
            charts.draw_latency(back, view.series, view.what),
        ),
        _figure(
            f"{errors}{'; hollow: those that were not started in time' if any(view.series.not_started) else ''}",
            charts.draw_errors(back, view.series, view.what),
        ),
        class_="panel",
        id=f"panel-{number}",
        data_view=str(number),
    )


def _figure(title: str, chart: Element) -> Element:
    return el("div", el("h3", title), el("div", chart, class_="scroll"), class_="figure")


def _numbers(back: charts.Backdrop, views: Sequence[_View]) -> dict[str, Any]:
    """What the script shows: four digits of each number."""
    return {
        "left": charts.LEFT,
        "plot": charts.PLOT,
        "width": charts.WIDTH,
        "slot": back.axis.slot,
        "count": (back.axis.end - back.axis.start) / back.axis.slot,
        "series": [
            {
                "rate": _digits(view.series.rate),
                "errors": _digits(view.series.errors),
                **({"not_started": _digits(view.series.not_started)} if any(view.series.not_started) else {}),
                **{percent: _digits(values) for percent, values in view.series.latency.items()},
            }
            for view in views
        ],
    }


def _digits(values: Iterable[float | None]) -> list[float | None]:
    return [None if value is None else float(f"{value:.4g}") for value in values]


# ---- tables


def _operations(run: KeptRun) -> Element:
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
    return _section("Operations", _table(headings, groups, caption))


def _servers(run: KeptRun) -> Element | None:
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
    return _section("Servers", _table(headings, groups, caption), failed)


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
            _number(f"{count:,}"),
            _number(f"{failures:,}", some=failures > 0),
            _number(f"{done.not_started:,}", some=done.not_started > 0) if open_loop else None,
            _number("-" if rate is None else f"{rate:,.0f}"),
            [_number(f"{percentile(done.ok, percent) / 1000:,.3f}" if done.ok else "-") for percent in COLUMNS.values()],
        )


def _engine(run: KeptRun, back: charts.Backdrop) -> Element | None:
    """How busy and how late the load engine was, and whether it was the limit; None of an older run, which does not tell."""
    engine = run.result["engine"]
    if not engine["phases"] or not back.axis.count:
        return None
    phases = [phase for phase in PHASES if phase in engine["phases"]] if run.timeline.faults else ["run"]
    rows = [
        el(
            "tr",
            el("td", PHASES[phase]),
            _number(f"{one['cpu']:.0%}"),
            _number(f"{one['waited_for_cpu']:.0%}"),
            _number(f"{one['no_time_left_seconds']:.1f} of {one['seconds']:.1f}", some=one["was_limit"]),
            [_number("-" if late is None else f"{late / 1000:,.3f}") for late in one["lag"].values()],
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
    return _section(
        "Load engine",
        el("p", engine["limit"], class_="unknown limit") if engine["limit"] else None,
        _table(headings, rows, caption),
        _figure("How busy it was, in percent of the time", charts.draw_busy(back, busy_of(run.batches, back.axis))),
        _figure(
            "How late its event loop was: p50 (solid), p99 (dashed), p99.9 (dotted), on a logarithmic scale",
            charts.draw_latency(back, lag, "the load engine's event loop"),
        ),
    )


def _errors(run: KeptRun) -> Element | None:
    table = _kinds("operation", {name: one.errors for name, one in run.record.operations.items()})
    return None if table is None else _section("Errors", table)


def _kinds(whose: str, errors: Mapping[str, Counter[str]]) -> Element | None:
    """The kinds of errors, the most frequent first; None without any."""
    kinds = sorted(((count, name, text) for name, one in errors.items() for text, count in one.items()), reverse=True)
    if not kinds:
        return None
    rows = [
        el("tr", _number(f"{count:,}"), el("th", name, scope="row"), el("td", text, class_="long"))
        for count, name, text in kinds[:MAX_ERRORS]
    ]
    more = f"The {MAX_ERRORS} most frequent of {len(kinds)}." if len(kinds) > MAX_ERRORS else None
    return _table(["#count", whose, "error"], rows, more)


def _faults(run: KeptRun, back: charts.Backdrop) -> Element | None:
    if not run.faults:
        return None
    rows = [_fault(fault, back) for fault in run.faults[:MAX_FAULTS]]
    more = f"The first {MAX_FAULTS} of {len(run.faults)}." if len(run.faults) > MAX_FAULTS else ""
    headings = ["result", "fault", "#asked for", "#struck after", "#over at", "#lasted", "what else"]
    recovered = [
        el(
            "tr",
            el("th", one.fault, scope="row"),
            _number("none" if one.first_error is None else f"{one.first_error:.2f} s"),
            _number("not seen" if one.first_success is None else f"{one.first_success:.2f} s"),
            _number("not seen" if one.steady is None else f"{one.steady:.2f} s"),
        )
        for one in run.recoveries()[:MAX_FAULTS]
    ]
    caption = (
        f"Seconds from each fault's start, to {run.timeline.slot:g} s: until the first error, until every operation that "
        "failed had succeeded again, and until nothing failed any more and each had a quarter of its throughput back."
    )
    return _section(
        "Faults as they happened",
        _table(headings, rows, f"Times count from the start of the load. {more}".strip()),
        el("h2", "Recovery"),
        _table(["fault", "#first error", "#first success", "#steady"], recovered, caption),
    )


def _useless(fault: FaultSeen) -> bool:
    """Whether it was on and did nothing."""
    return fault.ended is not None and fault.effects == 0


def _fault(fault: FaultSeen, back: charts.Backdrop) -> Element:
    if fault.error:
        word = ("miss", "✗ failed")
    elif _useless(fault):
        word = ("unknown", "? no effect")
    else:
        word = ("pass", "✓ struck") if fault.struck is not None else ("unknown", "? unknown")
    after = "-" if fault.struck is None else f"{fault.struck - fault.asked:.3f} s"
    lasted = "-" if fault.struck is None or fault.ended is None else f"{fault.ended - fault.asked:.2f} s"
    return el(
        "tr",
        el("td", word[1], class_=f"result {word[0]}"),
        el("th", fault.name, scope="row"),
        _number(back.seconds(fault.asked)),
        _number(after),
        _number(back.seconds(fault.ended)),
        _number(lasted),
        el("td", "; ".join(part for part in (fault.error, fault.note) if part), class_="long"),
    )


def _audit(run: KeptRun) -> Element:
    if run.checks is None:
        return _section(
            "Audit of the writes", el("p", "This run kept no history of its writes, so nothing was audited.", class_="soft")
        )
    groups = []
    for name, check in run.checks.items():
        tone, sign, word = AUDIT_RESULTS[check["verdict"]]
        if check["verdict"] == "false" and expectation_of(name, run.result["expectations"]) is None:
            tone, word = "unknown", "found"
        row = el(
            "tr",
            el("td", f"{sign} {word}", class_=_result_class(tone)),
            el("th", name, scope="row"),
            _number(f"{check['count']:,}"),
            _number(f"{check['possible']:,}"),
            el("td", check["explanation"], class_="long"),
        )
        groups.append(el("tbody", row, [_finding(finding) for finding in check["findings"]]))
    caption = (
        "What was acknowledged, compared with what was read and with what the primary held after everything had healed. "
        "What was found, where nothing was expected, does not count against the run."
    )
    return _section("Audit of the writes", _table(["result", "check", "#certain", "#possible", "explanation"], groups, caption))


def _finding(finding: dict[str, Any]) -> Element:
    return el(
        "tr",
        el("td"),
        el("td", f"key {finding['key']}"),
        el("td", f"{place_of(finding)}: {finding['line']}", colspan=3, class_="long"),
        class_="finding",
    )


def _environment(run: KeptRun) -> Element:
    rows = [el("tr", el("th", name, scope="row"), el("td", str(value))) for name, value in run.environment.items()]
    if not rows:
        return _section("Environment", el("p", "It was not kept.", class_="soft"))
    return _section("Environment", _table(["what", "value"], rows, "As it was when the run began."))


def _scenario(run: KeptRun) -> Element:
    text = yaml.safe_dump(
        run.scenario.model_dump(mode="json", by_alias=True, exclude_defaults=True), sort_keys=False, allow_unicode=True
    )
    return _section(
        "Scenario", el("p", "What differs from the defaults; durations in seconds.", class_="soft"), el("pre", el("code", text))
    )


def _files(run: KeptRun) -> Element:
    path = run.directory.path
    shown = str(Path(*path.parts[-2:]))
    return _section(
        "Files",
        el("p", "This run, with the history of its writes, is kept in ", el("code", shown), ". To judge and draw it again:"),
        el("pre", el("code", f"hs-drill analyze {shown} --explain --html again.html")),
    )


# ---- shapes


def _section(title: str, *content: Child) -> Element:
    return el("section", el("h2", title), *content)


def _number(text: str, *, some: bool = False) -> Element:
    return el("td", text, class_="number some" if some else "number")


def _table(headings: Sequence[str], rows: Sequence[Element], caption: str | None = None) -> Element:
    """Rows, or bodies of rows. A heading that begins with # is that of a column of numbers."""
    head = [el("th", one.lstrip("#"), scope="col", class_="number" if one.startswith("#") else None) for one in headings]
    bodies: Child = rows if rows and rows[0].tag == "tbody" else el("tbody", rows)
    return el(
        "div",
        el("table", el("caption", el("span", caption)) if caption else None, el("thead", el("tr", head)), bodies),
        class_="wide",
    )
