"""A second program, for what `hs-drill export --format jsonl` writes. It knows docs/history.md alone."""

from __future__ import annotations

import json
from collections.abc import Iterable


def stale_reads(lines: Iterable[str]) -> list[int]:
    """The number of every read that saw a version which an acknowledged write had certainly replaced before the read began.
    Version 0 is older than every write."""
    operations = [json.loads(line) for line in lines]
    written = {}
    for one in operations:
        if one["kind"] in ("insert", "update", "delete") and one["outcome"] == "ok":
            written[one["row"], one["value"]] = one
    stale = []
    for read in operations:
        if read["kind"] not in ("get", "find", "get_many") or read["state"] != "version":
            continue
        origin = written.get((read["row"], read["value"]))
        since = origin["end_ns"] if origin else float("-inf") if read["value"] == 0 else float("inf")
        if any(
            row == read["row"] and since < one["start_ns"] and one["end_ns"] < read["start_ns"]
            for (row, _), one in written.items()
        ):
            stale.append(read["number"])
    return stale
