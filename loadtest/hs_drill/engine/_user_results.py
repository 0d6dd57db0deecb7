"""Counts what the code of users measures, and its exceptions, each with its place in the user's file."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Generator, Iterable
from time import monotonic_ns
from types import CodeType, TracebackType
from typing import Any, NoReturn

import trio

import trio_hs
from hs_drill._trio_child import first_error, one_line
from hs_drill.metrics import UNANSWERED
from hs_drill.user_classes import InterruptTaskSet

from ._meter import Meter
from ._tallies import Recorder, Tallies

__all__ = ["Measure", "UserFiles", "UserResults", "interrupt_in"]

logger = logging.getLogger("hs_drill.users")

MOST_NAMES = 200
"""Names of operations that are counted apart. Each costs room in every batch."""
OTHER_NAMES = "(other operations)"
LONGEST_NAME = 60
RESERVED = ("all", "Aggregated")
"""Names that stand for all operations together: in `expect` and in Locust's tables."""
LONGEST_ERROR = 200
"""Characters of an exception's text in the statistics."""
MOST_LOGGED = 50


class UserFiles:
    """The files of the users' code: those that were loaded, and others in the same folders, from which they may import."""

    def __init__(self, paths: Iterable[str]) -> None:
        self._folders = {os.path.dirname(os.path.abspath(path)) for path in paths}

    def has(self, code: CodeType) -> bool:
        return os.path.dirname(code.co_filename) in self._folders

    def place(self, trace: TracebackType | None) -> str:
        """`file:line` of the innermost call in these files; "" if there is none. Without the folder, so that it is the same on
        every worker."""
        found = ""
        while trace is not None:
            if self.has(code := trace.tb_frame.f_code):
                found = f"{os.path.basename(code.co_filename)}:{trace.tb_lineno}"
            trace = trace.tb_next
        return found


class UserResults:
    """Those of all users of a run. `ending` says whether the run is cancelling its last operations."""

    def __init__(self, tallies: Tallies, files: UserFiles, meter: Meter, ending: Callable[[], bool]) -> None:
        self._tallies = tallies
        self._files = files
        self._meter = meter
        self.ending = ending
        self._names: set[str] = set()
        self._logged: set[str] = set()
        self._recorders: dict[str, Recorder] = {}
        """Those of the newest generation."""

    def cut(self) -> None:
        """A new generation of operations has begun."""
        self._recorders.clear()

    def recorder(self, name: str) -> Recorder:
        """The recorder of an operation that begins now. Raises ValueError or TypeError for a name that cannot be one."""
        return self._recorders.get(name) or self._new_recorder(name)

    def _new_recorder(self, name: str) -> Recorder:
        if name not in self._names:
            if not isinstance(name, str):
                raise TypeError(f"measure needs the name of an operation, not {name!r}")
            if name in RESERVED or not name.isprintable() or name != name.strip() or not 0 < len(name) <= LONGEST_NAME:
                must = f"1 to {LONGEST_NAME} characters that can be printed, without a space at its ends"
                raise ValueError(f"measure: {name!r} cannot be the name of an operation: {must}, and not all or Aggregated")
            if len(self._names) >= MOST_NAMES:
                many = f"measure: {MOST_NAMES} names are in use; others, such as {name!r}, count as {OTHER_NAMES}"
                self.warn(OTHER_NAMES, many)
                return self._tallies.recorder(OTHER_NAMES)
            self._names.add(name)
        recorder = self._recorders[name] = self._tallies.recorder(name)
        return recorder

    def part(self, name: str) -> Recorder:
        """The recorder for what is not measured: an exception in a part of the code, such as `Shopper.browse`."""
        return self.recorder(name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 3]}...")

    def failed(self, recorder: Recorder, nanoseconds: int, error: BaseException, what: str) -> None:
        """Count a failed operation. `what` is its name."""
        first = first_error(error)
        place = self._files.place(first.__traceback__) or self._files.place(error.__traceback__)
        text = one_line(str(first))
        kind, at = type(first).__name__, f" ({place})" if place else ""
        if isinstance(first, trio.Cancelled):
            message = UNANSWERED if self.ending() else f"Cancelled: by the task itself{at}"
        else:
            told = f": {text}" if text else ""
            message = f"{kind}{told if len(text) <= LONGEST_ERROR else f'{told[:LONGEST_ERROR]}...'}{at}"
        recorder.failed.append(nanoseconds)
        recorder.errors.append(message)
        if isinstance(first, trio_hs.OperationalError):
            self._meter.refused(first, nanoseconds)
        # Servers fail on purpose here. Everything else may be a mistake in the code.
        if not isinstance(first, trio_hs.HandlerSocketError | trio.Cancelled):
            self.warn(f"{what} {kind} {place}", f"{what}: {message}")

    def not_awaited(self, function: str, file: str, line: int, called: str) -> None:
        """Count as failed that a function of the users' has called an async one, and not awaited it."""
        name, place = function.rpartition("<locals>.")[2], f"{os.path.basename(file)}:{line}"
        message = f"{called} was called, but never awaited, so it did nothing: write `await` before it ({place})"
        recorder = self.part(name)
        recorder.failed.append(0)
        recorder.errors.append(message)
        self.warn(f"never awaited {place}", f"{name}: {message}")

    def warn(self, key: str, line: str) -> None:
        """Log a line for the user, once for each key."""
        if key not in self._logged and len(self._logged) < MOST_LOGGED:
            self._logged.add(key)
            logger.error(line)


def interrupt_in(error: BaseException) -> InterruptTaskSet | None:
    """The InterruptTaskSet that an exception is; nurseries may have wrapped it."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error if isinstance(error, InterruptTaskSet) else None


class _Done:
    """Awaiting it takes no time, and costs less than an async method."""

    def __await__(self) -> Generator[Any, None, None]:
        return iter(())  # type: ignore[return-value]


_DONE = _Done()


class Measure:
    """One operation of the statistics: an async context manager. Neither its beginning nor its end is a checkpoint."""

    __slots__ = ("_begin", "_counted", "_name", "_recorder", "_results")

    def __init__(self, results: UserResults, name: str, counted: list[BaseException]) -> None:
        """The exception that ends the block is counted, and appended to `counted`."""
        self._results = results
        self._name = name
        self._counted = counted

    def __enter__(self) -> NoReturn:
        raise TypeError(f"write `async with self.measure({self._name!r})`")

    def __exit__(self, *_: object) -> None:
        """Python looks for it before `__enter__`."""

    def __aenter__(self) -> _Done:
        self._recorder = self._results.recorder(self._name)
        self._begin = monotonic_ns()
        return _DONE

    def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> _Done:
        taken = monotonic_ns() - self._begin
        if error is None or interrupt_in(error) is not None:  # it ends the task, as the code wants
            self._recorder.ok.append(taken)
        else:
            self._results.failed(self._recorder, taken, error, self._name)
            self._counted.append(error)
        return _DONE
