"""Operations of histories that are written by hand for the audit."""

from __future__ import annotations

from typing import Any

from hs_drill.workload import first_insert_key
from tests.loadtest.support.histories import Op

NEW = first_insert_key(1, 0)
"""A key, or a version, of worker 0's own."""
THEIRS = first_insert_key(1, 1)

ONE: dict[str, Any] = {"loaded": 1}
PRIMARY: dict[str, Any] = {**ONE, "reads_primary": True}
LATER: dict[str, Any] = {"before": {1: (0, 7)}}


def insert(key: int, version: int, start: int, end: int, outcome: str = "ok", **more: Any) -> Op:
    return Op("insert", key, version, start, end, outcome, **more)


def update(key: int, version: int, start: int, end: int, outcome: str = "ok", **more: Any) -> Op:
    return Op("update", key, version, start, end, outcome, **more)


def delete(key: int, start: int, end: int, outcome: str = "ok", **more: Any) -> Op:
    return Op("delete", key, 0, start, end, outcome, **more)


def incr(key: int, step: int, end: int, outcome: str = "ok", **more: Any) -> Op:
    return Op("incr", key, step, end - 5, end, outcome, **more)


def decr(key: int, step: int, end: int, outcome: str = "ok", **more: Any) -> Op:
    return Op("decr", key, step, end - 5, end, outcome, **more)


def get(key: int, version: int, start: int, end: int, outcome: str = "ok", **more: Any) -> Op:
    return Op("get", key, version, start, end, outcome, **more)
