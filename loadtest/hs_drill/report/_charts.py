"""The charts of a report, as SVG. All share one time axis, so that one moment is in the same column of every chart."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from hs_drill.metrics import CHARTED, Series, TimeAxis

from ._frame import (
    BOTTOM,
    LEFT,
    PLOT,
    TOP,
    WIDTH,
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
from ._kept_run import FaultSeen, Mark
from ._markup import el

__all__ = [
    "LEFT",
    "PLOT",
    "WIDTH",
    "Backdrop",
    "draw_busy",
    "draw_errors",
    "draw_faults",
    "draw_lags",
    "draw_latency",
    "draw_throughput",
]

LANE = 24
LETTER = 6.6
"""The approximate width of a letter in a label."""
STEPS = (0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)


@dataclass(frozen=True)
class Backdrop:
    """What all charts have in common."""

    axis: TimeAxis
    faults: Sequence[FaultSeen]
    marks: Sequence[Mark]

    def x(self, time: float) -> float:
        """The position of a moment. Moments outside of the run are at its edge."""
        length = max(self.axis.end - self.axis.start, 1e-9)
        return LEFT + PLOT * min(max((time - self.axis.start) / length, 0), 1)

    def window(self, fault: FaultSeen) -> tuple[float, float]:
        """From where to where a fault was on."""
        return self.x(fault.requested), self.x(self.axis.end if fault.ended is None else fault.ended)

    def seconds(self, time: float | None) -> str:
        """A moment in words, counted from the run's start."""
        return "-" if time is None else f"{time - self.axis.start:.2f} s"


def draw_faults(back: Backdrop) -> Element | None:
    """A lane for each fault and each kind of mark; None when there are none."""
    lanes = list(dict.fromkeys([*(fault.name for fault in back.faults), *(_lane_of(mark) for mark in back.marks)]))
    if not lanes:
        return None
    bottom = TOP + LANE * len(lanes)
    drawn: list[Element] = []
    for number, lane in enumerate(lanes):
        y = TOP + LANE * number
        edges: list[float] = []
        for fault in back.faults:
            if fault.name == lane:
                edges += back.window(fault)
                drawn.append(_bar(back, fault, y))
        for mark in back.marks:
            if _lane_of(mark) == lane:
                edges.append(back.x(mark.time))
                drawn.append(_sign(back, mark, y))
        drawn.append(_beside(_lane_label(back, lane), min(edges), max(edges), y + LANE / 2 + 4))
    described = [f"{fault.name} from {back.seconds(fault.requested)} to {back.seconds(fault.ended)}" for fault in back.faults]
    described += [f"{_lane_of(mark)} at {back.seconds(mark.time)}" for mark in back.marks]
    return svg(
        "Faults and events over time",
        "; ".join(described) + ".",
        bottom + BOTTOM,
        _time_axis(back, TOP, bottom),
        drawn,
        name="faults",
    )


def _lane_of(mark: Mark) -> str:
    return " ".join(part for part in (mark.kind.replace("-", " "), mark.name) if part)


def _lane_label(back: Backdrop, lane: str) -> str:
    """With the times, when it happened only once."""
    faults = [fault for fault in back.faults if fault.name == lane]
    marks = [mark for mark in back.marks if _lane_of(mark) == lane]
    if len(faults) + len(marks) > 1:
        return f"{lane}, {len(faults) or len(marks)} times"
    if marks:
        return f"{lane}, {back.seconds(marks[0].time)}"
    if faults[0].struck is None:
        return f"{lane}, {back.seconds(faults[0].requested)}: failed"
    return f"{lane}, {back.seconds(faults[0].requested)} to {back.seconds(faults[0].ended)}"


def _bar(back: Backdrop, fault: FaultSeen, y: float) -> Element:
    since, until = back.window(fault)
    failed = fault.struck is None
    until = max(until if not failed else since, since + 3)
    title = f"{fault.name}: {back.seconds(fault.requested)} to {back.seconds(fault.ended)}"
    return el(
        "rect",
        el("title", f"{title}; {fault.error}" if fault.error else title),
        class_="bar failed" if failed else "bar",
        x=since,
        y=y + 4,
        width=until - since,
        height=LANE - 8,
        rx=2,
    )


def _sign(back: Backdrop, mark: Mark, y: float) -> Element:
    x, middle = back.x(mark.time), y + LANE / 2
    shape = f"M{x:.1f},{middle - 7:.1f}l6,7l-6,7l-6,-7z"
    return el("path", el("title", f"{_lane_of(mark)}: {back.seconds(mark.time)}"), class_="sign", d=shape)


def _beside(label: str, left: float, right: float, y: float) -> Element:
    """A label to the right of what it names, or to the left when there is no room, or else on it."""
    room = len(label) * LETTER + 10
    if right + room <= WIDTH:
        return el("text", label, class_="label", x=right + 10, y=y)
    if left - room >= 0:
        return el("text", label, class_="label", x=left - 10, y=y, text_anchor="end")
    return el("text", label, class_="label", x=left + 6, y=y)


def draw_throughput(back: Backdrop, series: Series, what: str) -> Element:
    height = 150
    top = ceiling(max(series.rate, default=0))
    scale = linear(top, height)
    area = _path(back, series.rate, scale, steps=True)
    lowest = min(series.rate, default=0)
    words = f"Between {lowest:,.0f} and {max(series.rate, default=0):,.0f} per second. {_faults_in_words(back)}"
    return svg(
        f"Throughput of {what}",
        words,
        TOP + height + BOTTOM,
        _bands(back, height),
        grid(ticks(top), scale, lambda value: f"{value:,.0f}"),
        _time_axis(back, TOP, TOP + height),
        el("path", class_="area", d=f"{area}V{TOP + height}H{LEFT}Z") if area else None,
        el("path", class_="line rate", d=area),
        labels([("ops/s", scale(series.rate[-1]), "rate")] if series.rate else []),
    )


def draw_busy(back: Backdrop, percent: Sequence[float]) -> Element:
    """How busy the load engine was, slot by slot."""
    height = 80
    scale = linear(max(100.0, *percent), height)
    line = _path(back, percent, scale, steps=True)
    words = f"Between {min(percent):.0f} and {max(percent):.0f} % of the time. {_faults_in_words(back)}"
    return svg(
        "How busy the load engine was",
        words,
        TOP + height + BOTTOM,
        _bands(back, height),
        grid([0.0, 50.0, 100.0], scale, lambda value: f"{value:g} %"),
        _time_axis(back, TOP, TOP + height),
        el("path", class_="area", d=f"{line}V{TOP + height}H{LEFT}Z"),
        el("path", class_="line rate", d=line),
        labels([("busy", scale(percent[-1]), "rate")]),
    )


def draw_latency(back: Backdrop, series: Series, what: str) -> Element:
    """On a logarithmic scale: a stall takes a thousand times as long as an answer."""
    height = 210
    values = [value for line in series.latency.values() for value in line if value is not None]
    low, high = decades(values)
    scale = logarithmic(low, high, height)
    lines, ends = [], []
    for percent, points in series.latency.items():
        name = percent.replace(".", "")
        lines.append(el("path", class_=f"line {name}", d=_path(back, points, scale)))
        last = next((value for value in reversed(points) if value is not None), None)
        if last is not None:
            ends.append((percent, scale(last), name))
    words = ", ".join(
        f"{percent} between {min(known):.3g} and {max(known):.3g} ms"
        for percent in CHARTED
        if (known := [value for value in series.latency[percent] if value is not None])
    )
    return svg(
        f"Latency of {what}",
        f"{words or 'Nothing succeeded'}. {_faults_in_words(back)}",
        TOP + height + BOTTOM,
        _bands(back, height),
        grid(log_ticks(low, high), scale, milliseconds),
        _time_axis(back, TOP, TOP + height),
        lines,
        labels(ends),
    )


Lag = tuple[float, float, float | None, float | None]
"""From when to when (Unix time), and the median and the greatest lag then, in milliseconds; None if no read was stale."""


def draw_lags(back: Backdrop, slots: Sequence[Lag], words: str) -> Element:
    """How far stale reads were behind, on a logarithmic scale. A line at the bottom shows when reads were examined."""
    height = 150
    low, high = decades([lag for slot in slots for lag in slot[2:] if lag is not None])
    scale = logarithmic(low, high, height)

    def steps(values: Iterable[tuple[float, float, float | None]]) -> str:
        return "".join(
            f"M{back.x(since):.1f},{scale(lag):.1f}H{back.x(until):.1f}" for since, until, lag in values if lag is not None
        )

    median, most = ([(slot[0], slot[1], slot[place]) for slot in slots] for place in (2, 3))
    ends = [
        (name, scale(next(lag for _, _, lag in reversed(values) if lag is not None)), name)
        for name, values in (("most", most), ("median", median))
    ]
    examined = "".join(f"M{back.x(since):.1f},{TOP + height + 3}H{back.x(until):.1f}" for since, until, *_ in slots)
    return svg(
        "How far reads were behind",
        f"{words} {_faults_in_words(back)}",
        TOP + height + BOTTOM,
        _bands(back, height),
        grid(log_ticks(low, high), scale, milliseconds),
        _time_axis(back, TOP, TOP + height),
        el("path", class_="line examined", d=examined),
        el("path", class_="line median", d=steps(median)),
        el("path", class_="line most", d=steps(most)),
        labels(ends),
    )


def draw_errors(back: Backdrop, series: Series, what: str) -> Element:
    height = 80
    most = max(series.errors, default=0)
    top = ceiling(most)
    scale = linear(top, height)
    total, not_started = (_sum(back, rates) for rates in (series.errors, series.not_started))
    words = f"{total:,.0f} in all, at most {most:,.0f} per second." if total else "There were none."
    if not_started:
        words += f" Of these {not_started:,.0f} were not started in time."
    none = el("text", "no errors", class_="none", x=LEFT + PLOT / 2, y=TOP + height / 2 + 4, text_anchor="middle")
    return svg(
        f"Errors of {what}",
        f"{words} {_faults_in_words(back)}",
        TOP + height + BOTTOM,
        _bands(back, height),
        grid(ticks(top) if total else [0.0], scale, lambda value: f"{value:,.10g}"),
        _time_axis(back, TOP, TOP + height),
        el("path", class_="errors", d=_bars(back, series.errors, scale)) if total else none,
        el("path", class_="not-started", d=_bars(back, series.not_started, scale)) if not_started else None,
    )


def _bars(back: Backdrop, rates: Sequence[float], scale: Scale) -> str:
    bottom = scale(0)
    bars = []
    for index, rate in enumerate(rates):
        if rate > 0:
            since = back.axis.start + index * back.axis.slot
            left, right = back.x(since), back.x(since + back.axis.slot)
            bars.append(f"M{left:.1f},{bottom:g}V{scale(rate):.1f}H{right:.1f}V{bottom:g}Z")
    return "".join(bars)


def _sum(back: Backdrop, rates: Sequence[float]) -> float:
    return sum(rate * back.axis.length(index) for index, rate in enumerate(rates))


def _bands(back: Backdrop, height: float) -> list[Element]:
    """The windows of the faults behind a chart, and the marks."""
    drawn = []
    for fault in back.faults:
        since, until = back.window(fault)
        if fault.struck is not None:
            until = max(until, since + 1)
            drawn.append(el("rect", class_="band", x=since, y=TOP, width=until - since, height=height, data_fault=fault.name))
            drawn += [el("line", class_="edge", x1=x, x2=x, y1=TOP, y2=TOP + height) for x in (since, until)]
    for mark in back.marks:
        if not mark.kind.startswith("connection"):  # there may be thousands; they have a lane of their own
            x = back.x(mark.time)
            drawn.append(el("line", class_="mark", x1=x, x2=x, y1=TOP, y2=TOP + height))
    return drawn


def _faults_in_words(back: Backdrop) -> str:
    described = [
        f"{fault.name} from {back.seconds(fault.requested)} to {back.seconds(fault.ended)}" for fault in back.faults[:10]
    ]
    return f"Faults: {', '.join(described)}." if described else ""


# ---- parts of a chart


def _time_axis(back: Backdrop, top: float, bottom: float) -> list[Element]:
    length = back.axis.end - back.axis.start
    step = next((step for step in STEPS if length / step <= 10), STEPS[-1])
    drawn = [el("line", class_="axis", x1=LEFT, x2=LEFT + PLOT, y1=bottom, y2=bottom)]
    for number in range(int(length / step + 1e-6) + 1):
        x = back.x(back.axis.start + number * step)
        drawn.append(el("line", class_="grid", x1=x, x2=x, y1=top, y2=bottom))
        drawn.append(el("text", _clock(number * step), class_="tick", x=x, y=bottom + 16, text_anchor="middle"))
    return drawn


def _clock(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:g} s"
    minutes, rest = divmod(int(seconds), 60)
    hours, rest_minutes = divmod(minutes, 60)
    return f"{hours}:{rest_minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _path(back: Backdrop, values: Sequence[float | None], scale: Scale, *, steps: bool = False) -> str:
    """A line through the middles of the slots, with gaps where values are None. `steps`, for rates: from edge to edge."""
    pieces = []
    pen = "M"
    for index, value in enumerate(values):
        if value is None:
            pen = "M"
            continue
        since = back.axis.start + index * back.axis.slot
        y = scale(value)
        if steps:
            left, right = back.x(since), back.x(since + back.axis.slot)
            pieces.append(f"{'M' if pen == 'M' else 'L'}{left:.1f},{y:.1f}H{right:.1f}")
        else:
            # A lone point is a line without length, which round caps make visible.
            pieces.append(f"{pen}{back.x(since + back.axis.length(index) / 2):.1f},{y:.1f}{'h0' if pen == 'M' else ''}")
        pen = "L"
    return "".join(pieces)
