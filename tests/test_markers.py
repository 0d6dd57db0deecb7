"""A test that starts a process without saying so by a marker fails, so that `./dev test --fast` starts none."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable

import pytest
import trio


def in_a_child_of_multiprocessing() -> None:
    multiprocessing.get_context("spawn").Process(target=print).start()


def fork() -> None:
    if os.fork() == 0:
        os._exit(0)


@pytest.mark.parametrize(
    "start",
    [
        lambda: subprocess.run([sys.executable, "-V"], check=True),
        lambda: trio.run(trio.run_process, [sys.executable, "-V"]),
        lambda: os.system("true"),
        fork,
        in_a_child_of_multiprocessing,
    ],
    ids=["subprocess", "trio", "system", "fork", "multiprocessing"],
)
def test_a_process_without_a_marker_is_refused(start: Callable[[], object]) -> None:
    with pytest.raises(BaseException) as refused:
        start()
    assert "mark it with @pytest.mark.process" in "".join(map(str, flat(refused.value)))


def flat(error: BaseException) -> list[BaseException]:
    return [one for each in error.exceptions for one in flat(each)] if isinstance(error, BaseExceptionGroup) else [error]


@pytest.mark.process
def test_a_process_with_the_marker_is_started() -> None:
    assert subprocess.run([sys.executable, "-c", ""], check=False).returncode == 0
