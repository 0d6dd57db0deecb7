"""The timeline of a report: charts for all operations, for each operation and for each server, with their numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree.ElementTree import Element

from hs_drill.metrics import ALL, Series, TimeAxis, series_of

from . import _charts as charts
from ._kept_run import KeptRun
from ._markup import el
from ._shapes import figure, section

__all__ = ["View", "numbers_of", "timeline_section", "views_of"]


@dataclass(frozen=True)
class View:
    """One operation or server to choose, with its charts."""

    label: str
    what: str
    series: Series
    headings: tuple[str, str, str]
    """Of the charts of throughput, latency and errors."""


OF_OPERATION = ("Throughput: operations that succeeded, per second", "Latency of those operations", "Errors per second")
OF_SERVER = (
    "Throughput: answers to the client's requests, per second",
    "Latency of the server: from sending a request to its answer",
    "Errors: operations that the server refused and requests that it did not answer, per second",
)


def views_of(run: KeptRun, axis: TimeAxis) -> list[View]:
    operations = series_of(run.batches, axis)
    servers = series_of(run.batches.of_servers(), axis)
    return [
        View("all operations", "all operations", operations[ALL], OF_OPERATION),
        *(View(name, name, operations[name], OF_OPERATION) for name in run.operations()),
        *(View(name, f"the server {name}", servers[name], OF_SERVER) for name in run.servers()),
    ]


def timeline_section(back: charts.Backdrop, views: Sequence[View]) -> Element:
    if not views:
        return section("Timeline", el("p", "No operation was executed.", class_="soft"))
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
    shaded = "Shaded: a fault, from its request until it had healed. "
    return section(
        "Timeline",
        el("p", f"{shaded if back.faults else ''}One point is {back.axis.slot:g} s.", class_="soft"),
        el("div", charts.draw_faults(back), class_="scroll"),
        el("div", choices, panels),
    )


def _panel(back: charts.Backdrop, view: View, number: int) -> Element:
    throughput, latency, errors = view.headings
    return el(
        "div",
        el("p", "Point at a chart, or use the arrow keys in it, to read its numbers.", class_="readout", role="status"),
        figure(throughput, charts.draw_throughput(back, view.series, view.what)),
        figure(
            f"{latency}: p50 (solid), p99 (dashed), p99.9 (dotted), on a logarithmic scale",
            charts.draw_latency(back, view.series, view.what),
        ),
        figure(
            f"{errors}{'; hollow: operations that were not started in time' if any(view.series.not_started) else ''}",
            charts.draw_errors(back, view.series, view.what),
        ),
        class_="panel",
        id=f"panel-{number}",
        data_view=str(number),
    )


def numbers_of(back: charts.Backdrop, views: Sequence[View]) -> dict[str, Any]:
    """What the script shows, with four digits for each number."""
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
