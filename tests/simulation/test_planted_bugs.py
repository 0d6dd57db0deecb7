"""The simulation finds bugs: each of these is planted in the client and must be caught within a few hundred runs."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Any

import pytest
import trio

from trio_hs import ConnectionError
from trio_hs._dispatch import Dispatcher
from trio_hs._network import Connection, Pool, Request, failure_of
from trio_hs._network._link import Link
from trio_hs._protocol import Index

from .runner import run

#: The promise is 2,000 runs; each of these was caught within 110 for each of four seeds (docs/simulation.md).
RUNS = 300


def repeat_increments(patch: pytest.MonkeyPatch) -> None:
    """Repeats writes although they were sent."""
    write = Dispatcher.write

    async def repeating(self: Dispatcher, *args: Any, repeat: bool = False, **kwargs: Any) -> Any:
        return await write(self, *args, repeat=True, **kwargs)

    patch.setattr(Dispatcher, "write", repeating)


def forget_placeholders(patch: pytest.MonkeyPatch) -> None:
    """Drops the placeholder of a request that was cancelled after it was sent, so that the next caller gets its answer."""
    withdraw = Connection.withdraw

    def forgetting(self: Connection, request: Request) -> None:
        if request in self._sent:
            self._sent.remove(request)
            self.outstanding -= request.units
        withdraw(self, request)

    patch.setattr(Connection, "withdraw", forgetting)


def never_reopen_indexes(patch: pytest.MonkeyPatch) -> None:
    """Takes an index for open on a new connection when an earlier one to the same server had opened it."""
    opened: dict[Link, dict[Any, Any]] = {}
    connect = Link._connect

    async def remembering(self: Link) -> Connection | None:
        connection = await connect(self)
        if connection is not None:
            connection._opened.update(opened.get(self, {}))
            opened[self] = connection._opened
        return connection

    patch.setattr(Link, "_connect", remembering)


def forget_back_pressure(patch: pytest.MonkeyPatch) -> None:
    """Sends without end, however much is outstanding."""
    create = Connection.__init__

    def boundless(self: Connection, *args: Any, **kwargs: Any) -> None:
        create(self, *args, **kwargs)
        self._max_outstanding = 1 << 60

    patch.setattr(Connection, "__init__", boundless)


def wait_for_ever(patch: pytest.MonkeyPatch) -> None:
    """Never gives up a silent server."""

    async def watch(self: Connection) -> None:
        await trio.sleep_forever()

    patch.setattr(Connection, "_watch", watch)


def lie_about_doubts(patch: pytest.MonkeyPatch) -> None:
    """Reports a write that was sent and not answered as not applied."""

    def failure(request: Request, index: Index, operation: str, *, changes: bool) -> ConnectionError:
        return failure_of(request, index, operation, changes=False)

    patch.setattr("trio_hs._dispatch._dispatcher.failure_of", failure)
    patch.setattr("trio_hs._dispatch._many.failure_of", failure)


def leave_streams_open(patch: pytest.MonkeyPatch) -> None:
    """Forgets to close the stream to a server that was silent for too long."""
    invalidate = Connection.invalidate

    def forgetting(self: Connection, reason: BaseException) -> None:
        if isinstance(reason, TimeoutError):
            self._transport = copy(self._transport)
            self._transport.close = lambda: None  # type: ignore[method-assign]
        invalidate(self, reason)

    patch.setattr(Connection, "invalidate", forgetting)


def let_stalls_move_writes(patch: pytest.MonkeyPatch) -> None:
    """Sends writes to the standby as soon as the primary is silent for a moment, as the first version did."""
    patch.setattr(Pool, "_holds", lambda self, group: False)


def take_silence_for_a_refusal(patch: pytest.MonkeyPatch) -> None:
    """Sends writes to the standby when an attempt to connect to the primary fails for any reason."""
    patch.setattr("trio_hs._network._link.is_refusal", lambda error: True)


@pytest.mark.parametrize(
    "plant",
    [
        repeat_increments,
        forget_placeholders,
        never_reopen_indexes,
        pytest.param(forget_back_pressure, marks=pytest.mark.slow),
        wait_for_ever,
        lie_about_doubts,
        leave_streams_open,
        let_stalls_move_writes,
        take_silence_for_a_refusal,
    ],
    ids=lambda plant: plant.__name__,
)
def test_a_planted_bug_is_caught(plant: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        plant(patch)
        caught = next((number for number in range(RUNS) if run(f"planted:{number}").violations), None)
    assert caught is not None, f"unnoticed in {RUNS} runs"
    assert run(f"planted:{caught}").violations == (), "it is the client itself that fails in this run"
