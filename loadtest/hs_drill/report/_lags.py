"""The section of a report that says how far reads were behind over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree.ElementTree import Element

from hs_drill._counted import counted

from . import _charts as charts
from ._markup import el
from ._shapes import figure, section

__all__ = ["lags_section"]

TITLE = "How far reads were behind"


def lags_section(lags: Mapping[str, Any] | None, back: charts.Backdrop) -> Element | None:
    """None for an older run, which has no lags, and if no read could have been stale."""
    if lags is None or not lags["slots"] or not back.axis.count:
        return None
    slots: Sequence[Mapping[str, Any]] = lags["slots"]
    examined, stale = (sum(slot[name] for slot in slots) for name in ("examined", "stale"))
    reads = f"{counted(examined, 'read')} of rows that had been changed"
    if not stale:
        return section(TITLE, el("p", f"None of {reads} was stale.", class_="soft"))
    longest = max(slot["max"] or 0.0 for slot in slots)
    words = f"{stale:,} of {reads} {'was' if stale == 1 else 'were'} stale, by at most {longest:.3f} s."
    since = [lags["began"] + slot["start"] for slot in slots]
    drawn = [
        (start, start + lags["slot"], *(None if slot[name] is None else slot[name] * 1e3 for name in ("p50", "max")))
        for start, slot in zip(since, slots, strict=True)
    ]
    why = (
        "From the acknowledgement of the write that replaced what a read showed until the read began. A history does not say "
        "which server answered a read, so all servers are together. Line below: when such reads were examined; where it "
        f"has a gap, nothing is known. One point is {lags['slot']:g} s."
    )
    return section(
        TITLE,
        el("p", f"{words} {why}", class_="soft"),
        figure("Lag of the stale reads: the most and the median, on a logarithmic scale", charts.draw_lags(back, drawn, words)),
    )
