"""The latencies of a run for spreadsheets and programs: `latencies.csv` by second, and totals for JSON.

Times are whole microseconds, as exact as in a `Batch`.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ._batch import ALL, Batch, OperationBatch, add_operations, sum_of
from ._percentiles import PERCENTILES, percentiles
from ._series import LATE

__all__ = ["totals_of", "write_latencies"]

MEASURES = [f"{name}_us" for name in PERCENTILES]
COLUMNS = ["second", "operation", "outcome", "count", *MEASURES]
TOTAL = "total"


def totals_of(batches: Iterable[Batch]) -> dict[str, Any]:
    """Count and percentiles by operation (and `all`) and outcome, as plain data."""
    total: dict[str, OperationBatch] = {}
    for batch in batches:
        add_operations(total, batch.operations)
    return {
        name: {
            "ok": _measures(done.ok),
            "failed": _measures(done.failed),
            "not_started": done.not_started,
            "errors": dict(done.errors),
        }
        for name, done in _with_all(total).items()
    }


def write_latencies(path: Path, batches: Iterable[Batch]) -> None:
    """Write the CSV file: a row for each second (Unix time), operation and outcome that occurred, then the totals. Blocking.

    `batches` come as they were reported. If one comes more than `LATE` seconds after its time, its second has two rows.
    """
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        total: dict[str, OperationBatch] = {}
        for second, done in _seconds(batches):
            writer.writerows(_rows(second, done))
            add_operations(total, done)
        writer.writerows(_rows(TOTAL, total))


def _seconds(batches: Iterable[Batch]) -> Iterator[tuple[int, Mapping[str, OperationBatch]]]:
    """Each second with what all engines did in it. Only seconds that may be incomplete are in memory."""
    gathered: dict[int, dict[str, OperationBatch]] = {}
    for batch in batches:
        second = int((batch.start + batch.end) / 2)
        add_operations(gathered.setdefault(second, {}), batch.operations)
        for old in [one for one in gathered if one < second - LATE]:
            yield old, gathered.pop(old)
    for second in sorted(gathered):
        yield second, gathered[second]


def _with_all(done: Mapping[str, OperationBatch]) -> dict[str, OperationBatch]:
    return {**done, ALL: sum_of(done.values())}


def _rows(second: int | str, done: Mapping[str, OperationBatch]) -> Iterator[list[Any]]:
    for name, operation in _with_all(done).items():
        for outcome, latencies in (("ok", operation.ok), ("failed", operation.failed)):
            if latencies:
                yield [second, name, outcome, *_measures(latencies).values()]
        if operation.not_started:  # among the failed ones, so their latencies are not known
            yield [second, name, "not started", operation.not_started, *[None] * len(MEASURES)]


def _measures(latencies: Counter[int]) -> dict[str, int | None]:
    found = percentiles(latencies, PERCENTILES.values()) if latencies.total() else [None] * len(MEASURES)
    return {"count": latencies.total(), **dict(zip(MEASURES, found, strict=True))}
