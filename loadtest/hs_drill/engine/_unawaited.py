"""Finds calls of async functions that the users' code does not await: they do nothing, and would count as fast successes."""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType
from typing import TextIO

__all__ = ["unawaited_reported"]

MESSAGE = re.compile(r"coroutine '(.*)' was never awaited")


@contextmanager
def unawaited_reported(is_users: Callable[[CodeType], bool], report: Callable[[str, str, int, str], None]) -> Iterator[None]:
    """Python warns of such a call when it removes what the call returned, most often in the line of the call. `report` gets the
    function of the user's that executes then, its file and line, and what was called."""

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        found = MESSAGE.match(str(message))
        frame = sys._getframe() if found else None
        while frame is not None and not is_users(frame.f_code):
            frame = frame.f_back
        if found is None or frame is None:
            usual(message, category, filename, lineno, file, line)
        else:
            report(frame.f_code.co_qualname, frame.f_code.co_filename, frame.f_lineno, found[1])

    with warnings.catch_warnings():
        usual = warnings.showwarning
        warnings.filterwarnings("always", MESSAGE.pattern, RuntimeWarning)
        warnings.showwarning = show
        yield
