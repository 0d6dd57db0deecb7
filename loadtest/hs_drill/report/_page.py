"""The report of a run: one HTML file that needs no other file, no network and no JavaScript, and can be printed.

Every text goes through `_markup.el`, which escapes it: server messages and scenarios are not to be trusted.
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

import yaml

from hs_drill.metrics import axis_of
from hs_drill.store import RunDirectory

from . import _charts as charts
from ._kept_run import KeptRun
from ._lags import lags_section
from ._markup import data, el, to_html
from ._other_requests import other_requests_section
from ._over_time import numbers_of, timeline_section, views_of
from ._row_timelines import timelines_section
from ._sections import (
    audit_section,
    engine_section,
    errors_section,
    faults_section,
    operations_section,
    servers_section,
)
from ._shapes import result_class, row_heading, section, table
from ._tiles import tiles
from ._told import Told, without_first
from ._words import RESULTS, exit_code_of, quantity

__all__ = ["render", "write_report"]

HERE = Path(__file__).parent
MAX_MISSED = 5
"""Expectations in the headline that do not hold. The table of expectations has all."""


def write_report(directory: RunDirectory, result: dict[str, Any], path: Path | None = None) -> Path:
    """Draw a run's report and keep it as `path`, or as `report.html` beside the run's files. Blocking. Raises OSError."""
    target = path or directory.report
    target.write_text(render(KeptRun.read(directory, result)), encoding="utf-8")
    return target


def render(run: KeptRun) -> str:
    """Draw the page."""
    script, style = (HERE / "page.js").read_text(), (HERE / "page.css").read_text()
    longest = max((batch.end - batch.start for batch in run.batches), default=0)
    axis = axis_of(run.timeline.start, run.timeline.end, longest)
    views = views_of(run, axis) if axis.count else []
    style += "\n".join(f"#choice-{i}:checked ~ #panel-{i} {{ display: block; }}" for i in range(len(views)))
    # The page loads nothing and runs no script but ours, even if something got past the escaping.
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
                *tiles(run),
                _expectations(run),
                timeline_section(back, views),
                operations_section(run),
                engine_section(run, back),
                errors_section(run),
                other_requests_section(run.result.get("other_requests")),
                servers_section(run),
                faults_section(run, back),
                audit_section(run),
                lags_section(run.result.get("lags"), back),
                timelines_section(run.result.get("timelines")),
                _environment(run),
                _scenario(run),
                _files(run),
            ),
            data(numbers_of(back, views), "series") if views else None,
            el("script", script) if views else None,
        ),
        lang="en",
    )
    return to_html(page)


def _header(run: KeptRun) -> Element:
    code = run.exit_code
    tone = {0: "pass", 4: "unknown", 5: "unknown"}.get(code, "miss")
    started = run.environment.get("started", "")
    meaning = exit_code_of(code, run.result["expectations"])
    about = [run.scenario.description, f"{run.run_totals.seconds:.1f} s", started.replace("T", " ")]
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
            el("div", el("h1", run.verdict), el("p", f"Exit code {code}: {meaning}.", class_="soft"), _why(run)),
            class_=f"verdict {tone}",
        ),
    )


def _why(run: KeptRun) -> list[Element]:
    """What does not hold, the gravest first; whether the load engine was the limit; and what to do."""
    missed = sorted((one for one in run.result["expectations"] if one["result"] in ("miss", "unknown")), key=_gravity)
    told = Told(run.checks)
    shown = [
        el(
            "li",
            el("strong", f"{RESULTS[one['result']][0]} {one['name']}: "),
            told.line(one["name"], one["line"]),
            class_=one["result"],
        )
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
    """Misses come before unknown results, findings of the audit before the rest."""
    return judged["result"] != "miss", not judged["audit"]


def _expectations(run: KeptRun) -> Element:
    judged = run.result["expectations"]
    if not judged:
        return section("Expectations", el("p", "The scenario expects nothing of this run.", class_="soft"))
    order = ["miss", "unknown", "pass", "not applicable"]
    rows = [
        el(
            "tr",
            el("td", f"{RESULTS[one['result']][0]} {RESULTS[one['result']][1]}", class_=result_class(one["result"])),
            row_heading(one["name"]),
            el("td", quantity(one["name"], one["measured"]), class_="number"),
            el("td", quantity(one["name"], one["limit"]), class_="number"),
            el("td", without_first(one["line"], run.checks), class_="long"),
        )
        for one in sorted(judged, key=lambda one: order.index(one["result"]))
    ]
    whole = table(["result", "expectation", "#measured", "#limit", "how it was judged"], rows)
    return section("Expectations", whole, name="expectations")


def _environment(run: KeptRun) -> Element:
    rows = [el("tr", row_heading(name), el("td", str(value))) for name, value in run.environment.items()]
    if not rows:
        return section("Environment", el("p", "The environment was not kept.", class_="soft"))
    return section("Environment", table(["what", "value"], rows, "As it was when the run began."))


def _scenario(run: KeptRun) -> Element:
    text = yaml.safe_dump(
        run.scenario.model_dump(mode="json", by_alias=True, exclude_defaults=True), sort_keys=False, allow_unicode=True
    )
    return section(
        "Scenario",
        el("p", "Only what differs from the defaults. Durations are in seconds.", class_="soft"),
        el("pre", el("code", text)),
    )


def _files(run: KeptRun) -> Element:
    path = run.directory.path
    shown = str(Path(*path.parts[-2:]))
    return section(
        "Files",
        el("p", "This run, with the history of its writes, is kept in ", el("code", shown), ". To judge and draw it again:"),
        el("pre", el("code", f"hs-drill analyze {shown} --explain --html again.html")),
    )
