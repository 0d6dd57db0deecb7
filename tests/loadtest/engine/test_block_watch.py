"""The watch over code that blocks the event loop: the line of the user's code, told only if two looks find the same call."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from types import CodeType, FrameType
from typing import Any

import pytest
import trio

from hs_drill.engine._block_watch import BlockWatch
from tests.support.patience import until


def frames() -> Iterator[FrameType]:
    """The frame of a function of the user, at one line and at another."""
    yield sys._getframe()
    yield sys._getframe()


def library(frame: FrameType) -> FrameType:
    """A frame of a library, which the user's code has called."""
    return sys._getframe()


def test_a_line_is_told_if_two_looks_find_its_call(capsys: pytest.CaptureFixture[str]) -> None:
    told: list[str] = []

    def is_users(code: CodeType) -> bool:
        return code.co_name == "user_task"

    watch = BlockWatch(is_users, lambda key, line: told.append(line))

    def user_task() -> Iterator[FrameType]:
        yield library(sys._getframe())
        yield sys._getframe()

    one = user_task()
    first: Any = next(one)
    watch.look(first, 1.0, 1.1)
    watch.look(None, 1.14, 1.15)  # it went on
    watch.look(first, 1.2, 1.31)
    watch.look(first, 1.32, 1.43)  # again: another step of the same task
    assert told == []
    next(one)
    watch.look(first, 1.32, 1.47)  # the same step, at another line: a loop that only computes
    assert len(told) == 1
    assert told[0].startswith("test_block_watch.py:")
    assert "blocked all users of this engine for 0.15 s or longer" in told[0]
    assert capsys.readouterr().err == ""
    watch.look(first, 1.32, 4.33)
    watch.look(first, 1.32, 9.0)
    assert capsys.readouterr().err == f"{told[1]}\n", "a loop that never runs again sends nothing"
    told.clear()
    nobody, other = BlockWatch(lambda code: False, lambda key, line: told.append(line)), next(frames())
    nobody.look(other, 1.0, 1.2)
    nobody.look(other, 1.0, 1.3)
    assert told == [], "code of others is no mistake of the user's"


async def test_a_task_that_blocks_is_found() -> None:
    told: list[str] = []
    found = threading.Event()

    def report(key: str, line: str) -> None:
        told.append(line)
        found.set()

    watch = BlockWatch(lambda code: code.co_filename == __file__ and code.co_name == "block", report)

    async def block() -> None:
        found.wait(60)  # as long as it takes

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch.run)
        await trio.sleep(0.01)
        await block()
        await until(lambda: bool(told))
        nursery.cancel_scope.cancel()
    assert "test_block_watch.py:" in told[0]
