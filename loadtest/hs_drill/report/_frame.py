"""The frame of a chart as SVG: its size, scales, grid, and the names at the ends of its lines.

Positions are in units of the viewBox. Colours, dashes and fonts come from the style sheet, by class.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from xml.etree.ElementTree import Element

from ._markup import Child, el

__all__ = [
    "BOTTOM",
    "LEFT",
    "PLOT",
    "TOP",
    "WIDTH",
    "Scale",
    "ceiling",
    "decades",
    "grid",
    "labels",
    "linear",
    "log_ticks",
    "logarithmic",
    "milliseconds",
    "svg",
    "ticks",
]

WIDTH, LEFT, RIGHT = 1080, 66, 74
PLOT = WIDTH - LEFT - RIGHT
TOP, BOTTOM = 10, 24
LINE = 14
"""The least distance between labels."""


def svg(title: str, words: str, height: float, *parts: Child, name: str = "") -> Element:
    return el(
        "svg",
        el("title", title),
        el("desc", words),
        *parts,
        viewBox=f"0 0 {WIDTH} {height:g}",
        role="img",
        aria_label=f"{title}. {words}",
        class_=f"chart {name}".strip(),
    )


# ---- scales

Scale = Callable[[float], float]


def linear(top: float, height: float) -> Scale:
    return lambda value: TOP + height * (1 - value / top)


def logarithmic(low: float, high: float, height: float) -> Scale:
    return lambda value: TOP + height * (1 - math.log(max(value, low) / low) / math.log(high / low))


def ceiling(value: float) -> float:
    """The next multiple of a round step."""
    return math.ceil(round(value / _step(value), 6)) * _step(value) if value > 0 else 1.0


def _step(top: float) -> float:
    """The distance between the lines of a grid, so that there are three to five."""
    power = 10.0 ** math.floor(math.log10(top))
    return next(power * step for step in (0.2, 0.5, 1, 2) if top / (power * step) <= 5.000001)


def ticks(top: float) -> list[float]:
    step = _step(top)
    return [step * number for number in range(round(top / step) + 1)]


def decades(values: Sequence[float]) -> tuple[float, float]:
    """Round numbers below and above all values, at least a factor of ten apart."""
    low, high = max(min(values, default=1), 0.001), max(max(values, default=10), 0.002)
    rounds = [10.0**power * step for power in range(-4, 9) for step in (1, 2, 5)]
    low = max(number for number in rounds if number <= low)
    high = min(number for number in rounds if number >= high)
    return (low, high) if high / low >= 10 else (low, low * 10)


def log_ticks(low: float, high: float) -> list[float]:
    steps = (1, 2, 5) if high / low <= 1000 else (1,)
    every = [10.0**power * step for power in range(-4, 9) for step in steps]
    return [number for number in every if low * 0.999 <= number <= high * 1.001]


def milliseconds(value: float) -> str:
    return f"{value / 1000:g} s" if value >= 1000 else f"{value:g} ms"


# ---- parts of a chart


def grid(ticks: Sequence[float], scale: Scale, text: Callable[[float], str]) -> list[Element]:
    drawn = []
    for value in ticks:
        y = scale(value)
        drawn.append(el("line", class_="grid", x1=LEFT, x2=LEFT + PLOT, y1=y, y2=y))
        drawn.append(el("text", text(value), class_="tick", x=LEFT - 8, y=y + 4, text_anchor="end"))
    return drawn


def labels(ends: Sequence[tuple[str, float, str]]) -> list[Element]:
    """Names at the ends of the lines, moved apart."""
    drawn = []
    above = -math.inf
    for text, y, name in sorted(ends, key=lambda end: end[1]):
        above = max(y, above + LINE)
        drawn.append(el("text", text, class_=f"name {name}", x=LEFT + PLOT + 8, y=above + 4))
    return drawn
