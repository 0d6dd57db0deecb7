"""Seconds without any success: kept for every operation, and judged if the scenario expects something of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hs_drill._counted import counted
from hs_drill.metrics import ALL, OFTEN, Outage, Timeline
from hs_drill.scenario import operation_words

from ._judged import Judged, Result, unknown

__all__ = ["judge_outage", "outages_result"]

NAME = "outage"


def outages_result(outages: Mapping[str, Outage]) -> dict[str, dict[str, Any]]:
    """For `result.json`: the longest time without a success, by operation and for `all`."""
    return {
        name: {
            "seconds": round(one.seconds, 3),
            "at_most": round(one.most, 3),
            "start": round(one.start, 3),
            "end": round(one.end, 3),
            "shows": one.shows,
            "never": one.never,
            "faults": list(one.faults),
        }
        for name, one in outages.items()
    }


def judge_outage(limit: float | None, timeline: Timeline) -> Iterator[Judged]:
    """Judges the operations of which successes were to be expected within the limit, and all operations together."""
    if limit is None:
        return
    outages = timeline.outages()
    if not outages:
        yield unknown(NAME, limit, "no operation was counted")
        return
    judged = {name: one for name, one in outages.items() if one.never or one.rate * limit >= OFTEN}
    expected = f"at most {limit:g} s expected"
    if not judged:
        rare = f"no operation succeeds {OFTEN} times in {limit:g} s, so a time without a success shows nothing"
        yield unknown(NAME, limit, f"{rare}; {expected}")
        return
    # Of equal ones, `all` says the most.
    name, worst = max(judged.items(), key=lambda pair: (pair[1].seconds, pair[0] == ALL))
    what = "no operation" if name == ALL else f"no {operation_words(name)[0]}"
    during = f" during {', '.join(worst.faults)}" if worst.faults else ""
    when = f", from {worst.start:.2f} to {worst.end:.2f} s{during}" if worst.seconds else ""
    rare = f"; {counted(len(outages) - len(judged), 'operation')} too rare to judge" if len(judged) < len(outages) else ""
    line = f"{what} succeeded for {worst.seconds:.2f} to {worst.most:.2f} s{when}{rare}; {expected}"
    result = Result.MISS if worst.seconds > limit else Result.UNKNOWN if worst.most > limit else Result.PASS
    yield Judged(NAME, result, worst.seconds, limit, line)
