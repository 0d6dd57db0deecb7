"""Hedged reads: a second server is asked when the first takes too long, and the first answer wins."""

from __future__ import annotations

from collections.abc import Sequence

import trio

from .._network import Connection, Pool, Request
from .._protocol import Index


class _HedgedRequest(Request):
    """One of the two requests of a hedged read. Their task waits for both."""

    __slots__ = ("changed", "rival")

    def __init__(self, lines: int, rival: _HedgedRequest | None = None) -> None:
        super().__init__(lines)
        self.changed = trio.Event()
        self.rival = rival

    def complete(self) -> int:
        self.changed.set()
        return 0

    @property
    def deaths(self) -> int:
        return super().deaths + (self.rival.deaths if self.rival is not None else 0)


async def _any_change(racers: Sequence[_HedgedRequest]) -> None:
    """Returns when one more of them is finished."""
    changed = trio.Event()
    for racer in racers:
        racer.changed = changed
    if not all(racer.finished for racer in racers):
        await changed.wait()


async def hedged(pool: Pool, connection: Connection, index: Index, tails: Sequence[bytes], hedge_after: float) -> Request:
    """The first of two requests to be answered. The second goes to another server, ``hedge_after`` seconds after the first.

    The answer to the other request is dropped when it comes.
    """
    first = _HedgedRequest(len(tails))
    racers = [first]
    connection.submit(first, index, tails)
    try:
        with trio.move_on_after(hedge_after):
            await _any_change(racers)
        other = None if first.finished else pool.choose_other(connection)
        if other is not None:
            second = _HedgedRequest(len(tails), rival=first)
            racers.append(second)
            other.submit(second, index, tails)
        while not all(racer.finished for racer in racers):
            for racer in racers:
                if racer.finished and racer.failure is None:
                    return racer
            await _any_change(racers)
        # Both are finished now. Prefer one that was answered.
        return min(reversed(racers), key=lambda racer: racer.failure is not None)
    finally:
        for racer in racers:
            racer.abandon()
