"""`./dev bench memory`: what it looks at, and what it claims."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from benchmarks.memory import LIMIT, MIB, report, sample


@pytest.mark.process
def test_the_memory_of_a_process_is_found_by_its_module() -> None:
    # In the place of the load engine: a child's child that says when it has what it takes.
    engine = "import sys; held = bytearray(50 << 20); print('there', flush=True); sys.stdin.read()"
    outer = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {engine!r}, 'hs_drill.engine'])"
    with subprocess.Popen([sys.executable, "-c", outer], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        found = sample(os.getpid())
        assert found.keys() == {"load engine"}
        assert 50 * MIB < found["load engine"] < 80 * MIB
        process.communicate()


@pytest.mark.parametrize("more, holds", [(0, True), (1, False)])
def test_the_claim_is_about_both_at_the_same_time(more: int, holds: bool, capsys: pytest.CaptureFixture[str]) -> None:
    samples = [
        {"Locust": 300 * MIB},
        {"Locust": 100 * MIB, "load engine": (LIMIT - 100 + more) * MIB, "controller": 900 * MIB},
        {"controller": 950 * MIB},
    ]
    assert report(1_000_000, samples) is holds
    out = capsys.readouterr().out
    assert f"({LIMIT + more} MiB)" in out
    assert "950" in out
