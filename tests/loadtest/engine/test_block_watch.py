"""The watch over code that blocks the event loop: the line of the user's code, told only if two looks find it."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from types import CodeType, FrameType
from typing import Any

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


def test_a_line_is_told_if_two_looks_find_it() -> None:
    told: list[str] = []

    def is_users(code: CodeType) -> bool:
        return code.co_name == "user_task"

    watch = BlockWatch(is_users, lambda key, line: told.append(line))

    def user_task() -> Iterator[FrameType]:
        yield library(sys._getframe())
        yield sys._getframe()

    one = user_task()
    first: Any = next(one)
    watch.look(first, 0.1)
    watch.look(None, 0.0)  # it went on
    watch.look(first, 0.1)
    assert told == []
    next(one)
    watch.look(first, 0.1)  # the same function at another line
    assert told == []
    watch.look(first, 0.15)
    assert len(told) == 1
    assert told[0].startswith("test_block_watch.py:")
    assert "blocked all users of this engine for 0.15 s or longer" in told[0]
    nobody, other = BlockWatch(lambda code: False, lambda key, line: told.append(line)), next(frames())
    nobody.look(other, 0.2)
    nobody.look(other, 0.3)
    assert len(told) == 1, "code of others is no mistake of the user's"


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
