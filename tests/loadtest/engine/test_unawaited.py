"""Calls of async functions that the users' code does not await: each is told with its place, and counts as failed."""

from __future__ import annotations

import warnings

import pytest

from hs_drill.engine._meter import Meter
from hs_drill.engine._tallies import Tallies
from hs_drill.engine._unawaited import unawaited_reported
from hs_drill.engine._user_results import UserFiles, UserResults


async def get() -> None: ...


class Shopper:
    def browse(self) -> None:
        get()  # type: ignore[unused-coroutine]


def test_each_is_counted_with_its_place(caplog: pytest.LogCaptureFixture) -> None:
    tallies = Tallies()
    files = UserFiles([__file__])
    results = UserResults(tallies, files, Meter({}), lambda: False)
    with unawaited_reported(files.has, results.not_awaited):
        Shopper().browse()
        Shopper().browse()
    ((_, _, taken),) = tallies.take()
    line = Shopper.browse.__code__.co_firstlineno + 1
    message = f"get was called, but never awaited, so it did nothing: write `await` before it (test_unawaited.py:{line})"
    assert taken == {"Shopper.browse": ([], [0, 0], [message] * 2)}
    assert [record.getMessage() for record in caplog.records] == [f"Shopper.browse: {message}"]


def test_warnings_of_others_stay_warnings() -> None:
    told: list[str] = []
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        with unawaited_reported(lambda code: False, lambda *found: told.append(found[0])):
            Shopper().browse()
            warnings.warn("another one", stacklevel=1)
    assert [str(one.message) for one in seen] == ["coroutine 'get' was never awaited", "another one"]
    assert told == []
