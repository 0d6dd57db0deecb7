"""Only containers of a process that has certainly ended may be removed. (With real ones: `test_cluster_command.py`.)"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from hs_drill.sandbox._leftovers import certainly_ended, owner

MACHINE, BOOT, NAMESPACE, PID, START = range(5)


def changed(name: str, part: int, value: str) -> str:
    parts = name.split("/")
    parts[part] = value
    return "/".join(parts)


@contextmanager
def another() -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Another process and its name."""
    tell = "from hs_drill.sandbox._leftovers import owner; print(owner(), flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", tell], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip(), process
        process.kill()


@pytest.mark.process
def test_a_living_process_has_not_ended() -> None:
    assert not certainly_ended(owner())
    with another() as (name, _):
        assert name != owner()
        assert not certainly_ended(name)


@pytest.mark.process
def test_a_killed_process_has_ended_even_before_it_is_reaped() -> None:
    with another() as (name, process):
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert certainly_ended(name)
        process.wait()
        assert certainly_ended(name)


def test_a_reused_process_id_is_another_process() -> None:
    assert certainly_ended(changed(owner(), START, "1"))


def test_a_reboot_ends_every_process() -> None:
    if not owner().split("/")[MACHINE]:
        pytest.skip("this machine has no id")
    assert certainly_ended(changed(owner(), BOOT, "another"))


@pytest.mark.parametrize(
    "changes",
    [
        {NAMESPACE: "pid:[1]"},
        {NAMESPACE: "pid:[1]", PID: "999999999"},
        {MACHINE: "another", BOOT: "another"},
        {MACHINE: "", BOOT: "another"},
        {PID: ""},
        {PID: "x"},
    ],
)
def test_a_process_that_cannot_be_seen_from_here_may_be_alive(changes: dict[int, str]) -> None:
    name = owner()
    for part, value in changes.items():
        name = changed(name, part, value)
    assert not certainly_ended(name)


@pytest.mark.parametrize("name", ["", "4711", "a/b/c/d", "a/b/c/4711/e/f"])
def test_a_malformed_name_proves_nothing(name: str) -> None:
    assert not certainly_ended(name)
