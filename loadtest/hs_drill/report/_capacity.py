"""The report of a search for capacity: one HTML file, like that of a run. Its charts are over the offered rate."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any
from xml.etree.ElementTree import Element

from hs_drill.metrics import ALL, CHARTED

from ._frame import (
    BOTTOM,
    LEFT,
    PLOT,
    TOP,
    Scale,
    ceiling,
    decades,
    grid,
    labels,
    linear,
    log_ticks,
    logarithmic,
    milliseconds,
    svg,
    ticks,
)
from ._markup import el, to_html
from ._shapes import figure, number_cell, result_class, row_heading, section, table
from ._words import RESULTS, rate_in_words

__all__ = ["ACHIEVED", "render_search"]

ACHIEVED = f"{ALL}.throughput.before"
"""The figure of a step: what succeeded per second before the load ended. (That of the whole run has more.)"""

STYLE = Path(__file__).parent / "page.css"
RESULT_OF = {"holds": "pass", "missed": "miss", "engine": "unknown"}
TONES = {0: "pass", 1: "miss", 3: "miss"}
Step = Mapping[str, Any]


def render_search(result: Mapping[str, Any]) -> str:
    """Draw the page. `result` is the search's `result.json`, in which `runs` is where the steps' runs are from the page."""
    page = el(
        "html",
        el(
            "head",
            el("meta", charset="utf-8"),
            el("meta", http_equiv="Content-Security-Policy", content="default-src 'none'; style-src 'unsafe-inline'"),
            el("meta", name="viewport", content="width=device-width, initial-scale=1"),
            el("title", f"{result['scenario']}: {result['result']}"),
            el("style", STYLE.read_text()),
        ),
        el("body", _header(result), el("main", _tiles(result), _curves(result), _steps(result), _about(result))),
        lang="en",
    )
    return to_html(page)


def _header(result: Mapping[str, Any]) -> Element:
    tone = TONES.get(result["exit_code"], "unknown")
    about = [f"capacity of {result['scenario']}", str(result.get("started", "")).replace("T", " ")]
    return el(
        "header",
        el("div", el("strong", result["scenario"]), el("span", " · ".join(filter(None, about)), class_="soft"), class_="title"),
        el(
            "div",
            el("span", RESULTS[tone][0], class_="sign", aria_hidden="true"),
            el("div", el("h1", result["result"]), el("p", f"Exit code {result['exit_code']}.", class_="soft")),
            class_=f"verdict {tone}",
        ),
    )


def _tiles(result: Mapping[str, Any]) -> Element:
    steps = result["steps"]
    tiles = [
        ("holds", _rate(result["holds"])),
        ("does not hold", _rate(result["fails"])),
        ("every step up to here held", _rate(result["certain"][0])),
        ("no step from here on held", _rate(result["certain"][1])),
        ("steps", f"{len(steps):,}"),
    ]
    return el("dl", [el("div", el("dt", name), el("dd", value)) for name, value in tiles], class_="tiles")


def _rate(rate: float | None) -> str:
    return "-" if rate is None else rate_in_words(rate)


# ---- the curves


def _curves(result: Mapping[str, Any]) -> Element:
    steps = [step for step in result["steps"] if step["counts"]]
    if not steps:
        return section("Curves", el("p", "No step was taken.", class_="soft"))
    limits = [one for one in result["objectives"] if one["percentile"]]
    operations = list(dict.fromkeys(one["operation"] for one in limits)) or [ALL]
    top = ceiling(max(step["rate"] for step in steps))
    drawn = [
        figure(f"Latency of {'all operations' if name == ALL else name}", _latency(steps, top, name, limits, result))
        for name in operations
    ]
    words = (
        "Each sign is a step: ● holds, ✕ an objective was missed, ○ the load engine was the limit. Lines join the medians of "
        "each rate. The vertical line is the highest rate that holds. Shaded: from there on not every step held, or none was "
        "taken; beyond it none held."
    )
    return section(
        "Curves over the offered rate",
        el("p", words, class_="soft"),
        drawn,
        figure("Achieved per second, over what was offered", _achieved(steps, top, result)),
    )


def _x(rate: float, top: float) -> float:
    return LEFT + PLOT * rate / top


def _latency(
    steps: Sequence[Step], top: float, operation: str, limits: Sequence[Mapping[str, Any]], result: Mapping[str, Any]
) -> Element:
    """On a logarithmic scale: beyond the knee a latency is a thousand times what it was before."""
    height = 260
    limits = [one for one in limits if one["operation"] == operation]
    names = dict.fromkeys([*CHARTED, *(one["percentile"] for one in limits)])
    values = {name: _points(steps, f"{operation}.{name}") for name in names}
    every = [value for points in values.values() for _, value, _ in points]
    low, high = decades([*every, *(one["limit"] for one in limits)])
    scale = logarithmic(low, high, height)
    ends: list[tuple[str, float, str]] = []
    parts: list[Element] = []
    for name, points in values.items():
        style = name.replace(".", "")
        if points:
            joined = _medians(points)
            parts.append(el("path", class_=f"line {style}", d=_line(joined, top, scale)))
            parts += [
                _sign(step, _x(rate, top), scale(value), f"{name} {value:,.3f} ms", style) for rate, value, step in points
            ]
            ends.append((name, scale(joined[-1][1]), style))
    for one in limits:
        y = scale(one["limit"])
        parts.append(el("line", el("title", one["text"]), class_="limit-line", x1=LEFT, x2=LEFT + PLOT, y1=y, y2=y))
        parts.append(el("text", one["text"], class_="label", x=LEFT + 8, y=y - 5))
    words = ", ".join(
        f"{name} up to {max(value for _, value, _ in points):,.3g} ms" for name, points in values.items() if points
    )
    return svg(
        f"Latency of {operation} over the offered rate",
        f"{words or 'Nothing succeeded'}.",
        TOP + height + BOTTOM,
        grid(log_ticks(low, high), scale, milliseconds),
        _rate_axis(top, TOP + height),
        _bounds(result, top, height),
        parts,
        labels(ends),
    )


def _achieved(steps: Sequence[Step], top: float, result: Mapping[str, Any]) -> Element:
    height = 150
    scale = linear(top, height)
    points = _points(steps, ACHIEVED)
    joined = _medians(points)
    most = max((value for _, value, _ in points), default=0.0)
    return svg(
        "Achieved per second over the offered rate",
        f"At most {most:,.0f} per second.",
        TOP + height + BOTTOM,
        grid(ticks(top), scale, lambda value: f"{value:,.0f}"),
        _rate_axis(top, TOP + height),
        _bounds(result, top, height),
        el(
            "path",
            el("title", "as much as was offered"),
            class_="edge",
            d=f"M{LEFT},{scale(0):.1f}L{LEFT + PLOT},{scale(top):.1f}",
        ),
        el("path", class_="line rate", d=_line(joined, top, scale)),
        [_sign(step, _x(rate, top), scale(value), rate_in_words(value), "rate") for rate, value, step in points],
        labels([("ops/s", scale(joined[-1][1]), "rate")] if joined else []),
    )


def _points(steps: Sequence[Step], figure: str) -> list[tuple[float, float, Step]]:
    """Rate, value and step, by rate; without steps that did not measure it."""
    known = [(step["rate"], step["figures"][figure], step) for step in steps if figure in step.get("figures", {})]
    return sorted(known, key=lambda one: one[0])


def _medians(points: Iterable[tuple[float, float, Step]]) -> list[tuple[float, float]]:
    by_rate: dict[float, list[float]] = {}
    for rate, value, _ in points:
        by_rate.setdefault(rate, []).append(value)
    return [(rate, median(values)) for rate, values in by_rate.items()]


def _line(points: Sequence[tuple[float, float]], top: float, scale: Scale) -> str:
    return "M" + "L".join(f"{_x(rate, top):.1f},{scale(value):.1f}" for rate, value in points) if points else ""


def _sign(step: Step, x: float, y: float, words: str, style: str) -> Element:
    title = el("title", f"{rate_in_words(step['rate'])}: {words}, {step['outcome']}")
    if step["outcome"] == "missed":
        return el("path", title, class_=f"point {style} missed", d=f"M{x - 4:.1f},{y - 4:.1f}l8,8m0,-8l-8,8")
    return el("circle", title, class_=f"point {style} {step['outcome']}", cx=x, cy=y, r=3.5)


def _bounds(result: Mapping[str, Any], top: float, height: float) -> list[Element]:
    """The highest rate that holds, and the range in which steps do not agree or none was taken."""
    drawn = []
    low, high = result["certain"]
    if low is not None and high is not None:
        drawn.append(el("rect", class_="band", x=_x(low, top), y=TOP, width=_x(high, top) - _x(low, top), height=height))
    if result["holds"] is not None:
        x = _x(result["holds"], top)
        drawn.append(el("line", el("title", "holds"), class_="mark", x1=x, x2=x, y1=TOP, y2=TOP + height))
    return drawn


def _rate_axis(top: float, bottom: float) -> list[Element]:
    drawn = [el("line", class_="axis", x1=LEFT, x2=LEFT + PLOT, y1=bottom, y2=bottom)]
    for rate in ticks(top):
        x = _x(rate, top)
        drawn.append(el("line", class_="grid", x1=x, x2=x, y1=TOP, y2=bottom))
        drawn.append(el("text", rate_in_words(rate), class_="tick", x=x, y=bottom + 16, text_anchor="middle"))
    return drawn


# ---- tables


def _steps(result: Mapping[str, Any]) -> Element:
    objectives = result["objectives"]
    headings = [
        "#offered",
        "#achieved",
        *(f"#{one['figure']}" for one in objectives),
        "#engines",
        "#engine busy",
        "result",
        "run",
    ]
    rows = []
    for step in sorted(result["steps"], key=lambda one: one["rate"]):
        tone = RESULT_OF[step["outcome"]]
        figures = step.get("figures", {})
        what = f"{RESULTS[tone][0]} {step['outcome']}{'' if step['counts'] else ', measured again with more engines'}"
        rows.append(
            el(
                "tr",
                el("th", rate_in_words(step["rate"]), scope="row", class_="number"),
                number_cell(_rate(figures.get(ACHIEVED))),
                [number_cell(_value(one, figures)) for one in objectives],
                number_cell(f"{step['engines']}"),
                number_cell(_busy(step.get("engine"))),
                el(
                    "td",
                    el("span", what, class_=result_class(tone)),
                    el("div", "; ".join(step["why"]), class_="soft"),
                    class_="long",
                ),
                el("td", _run(step, result.get("runs", ""))),
            )
        )
    return section("Steps", table(headings, rows, "By rate. result.json has them in the order in which they were taken."))


def _value(objective: Mapping[str, Any], figures: Mapping[str, float]) -> str:
    value = figures.get(objective["figure"])
    if value is None:
        return "-"
    return f"{value:.4g} %" if objective["figure"].endswith(".errors") else f"{value:,.3f} ms"


def _busy(engine: Mapping[str, Any] | None) -> str:
    return "-" if not engine else f"{engine['cpu'] + engine['waited_for_cpu']:.0%}"


def _run(step: Step, runs: str) -> Element | str:
    name = Path(step.get("run", "")).name
    return el("a", name, href=f"{runs}/{name}/report.html") if name else "-"


def _about(result: Mapping[str, Any]) -> Element:
    decide = {step["rate"]: step for step in result["steps"] if step["rate"] in (result["holds"], result["fails"])}
    cpu = [
        f"{name} {use['cores']:.2f} cores and {use['thread']:.0%} of one in its busiest thread at {rate_in_words(rate)}"
        for rate, step in sorted(decide.items())
        for name, use in step.get("servers_cpu", {}).items()
    ]
    limits = result["range"]
    rows = [
        ("objectives", "; ".join(one["text"] for one in result["objectives"])),
        (
            "searched",
            f"from {rate_in_words(limits['from'])} to {rate_in_words(limits['to'])}, to {limits['precision'] * 100:g} %",
        ),
        ("a step", str(result.get("step", ""))),
        ("servers' CPU", "; ".join(cpu) or "not known"),
        *((name, str(value)) for name, value in result.get("environment", {}).items()),
    ]
    return section(
        "Environment", table(["what", "value"], [el("tr", row_heading(name), el("td", value)) for name, value in rows])
    )
