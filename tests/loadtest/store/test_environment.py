"""The environment of a run: how many cores it may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hs_drill.store._environment import _cores


@pytest.mark.parametrize(
    "group, limits, cores",
    [
        ("0::/\n", {"": "150000 100000\n"}, 1.5),
        ("0::/\n", {"": "max 100000\n"}, 8),
        ("0::/\n", {}, 8),
        ("0::/\n", {"": "900000 100000\n"}, 8),
        ("0::/a/b\n", {"a": "300000 100000\n", "a/b": "max 100000\n"}, 3),
        ("0::/a/b\n", {"a": "300000 100000\n", "a/b": "50000 100000\n"}, 0.5),
        ("4:cpu:/a\n", {"a": "100000 100000\n"}, 8),
        ("", {"": "damaged"}, 8),
    ],
)
def test_a_limit_of_cpu_time_counts_as_fewer_cores(
    group: str, limits: dict[str, str], cores: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
    (tmp_path / "own").write_text(group)
    for folder, text in limits.items():
        (tmp_path / "cgroup" / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / "cgroup" / folder / "cpu.max").write_text(text)
    assert _cores(tmp_path / "cgroup", tmp_path / "own") == cores
