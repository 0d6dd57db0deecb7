"""The timelines of rows that findings of the audit are about: drawn for the report, and as lines of text."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any
from xml.etree.ElementTree import Element

from hs_drill._counted import counted

from ._markup import el
from ._shapes import section
from ._words import row_of

__all__ = ["timeline_lines", "timelines_section"]

SIGNS = {"ok": "✓", "fail": "✗", "unknown": "?"}
WIDTH = 1000
"""Units of a lane, which is as wide as there is room."""
LEAST = 8
"""The least width of a bar."""
SHORT = 1e-4
"""Seconds. Widths grow with the logarithm of what is longer: an answer takes a millisecond, a fault many seconds."""
CAPTION = (
    "Each operation on the row around the finding, from when it was sent until it was answered or given up. ✓ ok, ✗ fail: not "
    "applied, ? unknown: it may be applied at any later time, or never. Bold: what the finding is about. "
    "Reads that saw nothing are left out. The order of all beginnings and ends is exact; lengths are logarithmic, because some "
    "take a millisecond and others seconds. Times count from when the history began."
)


def timelines_section(timelines: Mapping[str, Any] | None) -> Element | None:
    """None if there are no findings, and for an older run, which has no timelines."""
    if timelines is None or not (timelines["rows"] or timelines["failed"]):
        return None
    if timelines["failed"]:
        words = f"The histories could not be searched for the rows with findings: {timelines['failed']}"
        return section("What happened to the rows", el("p", words, class_="unknown limit"))
    more = f" {counted(timelines['left_out'], 'more row has', 'more rows have')} findings." if timelines["left_out"] else ""
    return section(
        "What happened to the rows",
        el("p", CAPTION + more, class_="soft"),
        [_row(row, first=number == 0) for number, row in enumerate(timelines["rows"])],
    )


def _row(row: Mapping[str, Any], *, first: bool) -> Element:
    place = _places(row)
    return el(
        "details",
        el("summary", el("strong", row_of(row)), f": {_found(row)}"),
        el("p", f"{_shown(row, len(row['operations']))}.{_events(row)}", class_="soft"),
        el(
            "ol",
            [_operation(one, row, place) for one in row["operations"]],
            el("li", el("strong", "at the end", class_="when"), el("span", row["final"])) if row["final"] else None,
            class_="steps",
        ),
        open="" if first else None,
    )


def _found(row: Mapping[str, Any]) -> str:
    times: dict[str, list[str]] = {}
    for name, time in row["findings"]:
        times.setdefault(name, []).append("at the end" if time is None else f"at {time:.3f} s")
    return "; ".join(f"{name} {', '.join(dict.fromkeys(some))}" for name, some in times.items())


def _shown(row: Mapping[str, Any], shown: int) -> str:
    if not row["kept"]:
        return "The histories have no operation on it"
    return f"{shown:,} of {counted(row['kept'], 'operation')} on it"


def _events(row: Mapping[str, Any]) -> str:
    if not row["events"]:
        return ""
    return f" Shaded: {'; '.join(f'{what}, {_when(since, until)}' for what, since, until in row['events'])}."


def _when(since: float, until: float | None) -> str:
    if until is None:
        return f"from {since:.3f} s until the end of the run"
    return f"at {since:.3f} s" if until - since < 5e-4 else f"{since:.3f} to {until:.3f} s"


def _operation(one: Mapping[str, Any], row: Mapping[str, Any], place: Callable[[float], int]) -> Element:
    left, right = place(one["start"]), place(one["end"])
    right = max(right, min(left + LEAST, WIDTH))
    left = min(left, right - LEAST)
    events = [(place(since), WIDTH if until is None else place(until)) for _, since, until in row["events"]]
    bands = "".join(f"M{since} 0H{until}V10H{since}Z" for since, until in events if until > since)
    marks = "".join(f"M{since} 0V10" for since, until in events if until <= since)
    kind = "reads" if one["reads"] else "writes"
    return el(
        "li",
        el("span", f"{one['start']:.4f} s", class_="when"),
        el("span", f"{SIGNS[one['outcome']]} {_words(one)}"),
        el(
            "svg",
            el("path", class_="band", d=bands) if bands else None,
            el("path", class_="mark", d=marks) if marks else None,
            el("path", class_=f"step {kind} {one['outcome']}", d=f"M{left} 2H{right}V8H{left}Z"),
            viewBox=f"0 0 {WIDTH} 10",
            preserveAspectRatio="none",
            aria_hidden="true",
        ),
        class_="about" if one["about"] else None,
    )


def _words(one: Mapping[str, Any]) -> str:
    verb = "saw" if one["reads"] else "wrote"
    worker = f" of worker {one['worker']}" if one["worker"] else ""
    by = f" {'at' if one['error'] else 'by'} {one['server']}" if one["server"] else ""
    outcome = f"{one['outcome']} ({one['error']}{by})" if one["error"] else f"{one['outcome']}{by}"
    lasted = f"{(one['end'] - one['start']) * 1e3:,.3f} ms"
    return f"user {one['user']}{worker}: {one['name']} {verb} {one['value'].removeprefix('version ')}, {outcome}, {lasted}"


def _places(row: Mapping[str, Any]) -> Callable[[float], int]:
    """Where a moment is in a lane. Exact in its order, logarithmic in its lengths."""
    operations = row["operations"]
    if not operations:
        return lambda time: 0
    first, last = min(one["start"] for one in operations), max(one["end"] for one in operations)
    moments = {time for one in operations for time in (one["start"], one["end"])}
    moments |= {time for _, *times in row["events"] for time in times if time is not None and first < time < last}
    known = sorted(moments)
    lengths = [1 + math.log2(1 + (until - since) / SHORT) for since, until in pairwise(known)]
    total, at, places = sum(lengths) or 1.0, 0.0, {known[0]: 0}
    for time, length in zip(known[1:], lengths, strict=True):
        at += length
        places[time] = round(at / total * WIDTH)
    return lambda time: places[min(max(time, first), last)]


# ---- as text


def timeline_lines(row: Mapping[str, Any], most: int) -> Iterator[str]:
    """A timeline in lines. Of more than `most` operations, those that the finding is about and those nearest to it."""
    shown = _nearest(row, most)
    yield f"what happened to {row_of(row)} ({_found(row)}), {_shown(row, len(shown))}:"
    timed: list[tuple[float, str]] = [(one["start"], f"{one['start']:10.4f} s  {_words(one)}") for one in shown]
    if shown:
        first, last = shown[0]["start"], max(one["end"] for one in shown)
        for what, since, until in row["events"]:
            if since <= last and (until is None or until >= first):
                timed.append((since, f"{since:10.4f} s  {what}, {_when(since, until)}"))
    yield from (f"  {line}" for _, line in sorted(timed))
    if row["final"]:
        yield f"    at the end  {row['final']}"


def _nearest(row: Mapping[str, Any], most: int) -> Sequence[Mapping[str, Any]]:
    operations: Sequence[Mapping[str, Any]] = row["operations"]
    time = row["findings"][0][1]
    moment = math.inf if time is None else time
    if moment == math.inf:
        moment = max((one["end"] for one in operations), default=0.0)
    nearest = sorted(operations, key=lambda one: (not one["about"], abs(one["end"] - moment)))[:most]
    return sorted(nearest, key=lambda one: (one["start"], one["end"]))
