"""What the active faults do to the bytes of one direction, for all the connections of a proxy together."""

from __future__ import annotations

import random
from collections.abc import Sequence

import trio

from ._disturbances import Bandwidth, Direction, Disturbance, Latency, Partition

__all__ = ["BUFFER_BYTES", "Lane"]

BUFFER_BYTES = 256 * 1024
SLICE_SECONDS = 0.01
"""A limited bandwidth is used in portions of so many seconds."""


class Lane:
    """One direction of all connections: what the active faults do to its bytes."""

    def __init__(self, direction: Direction, rng: random.Random) -> None:
        self.held = False
        self.delays = False
        self.bytes = 0
        # Nothing awaits between a receive and its send, so all the pumps of a lane can use one buffer.
        self.buffer = bytearray(BUFFER_BYTES)
        self._direction = direction
        self._rng = rng
        self._latencies: list[Latency] = []
        self._healed = 0
        self._rate: float | None = None
        self._free_at = 0.0
        self._changed = trio.Event()

    def set(self, faults: Sequence[Disturbance]) -> None:
        """Only these are active from now on. Wakes everyone who waits here."""
        mine = [fault for fault in faults if getattr(fault, "direction", None) in ("both", self._direction)]
        self.held = any(isinstance(fault, Partition) for fault in mine)
        before, self._latencies = self._latencies, [fault for fault in mine if isinstance(fault, Latency)]
        self._healed += any(all(fault is not one for one in self._latencies) for fault in before)
        self._rate = min((fault.rate for fault in mine if isinstance(fault, Bandwidth)), default=None)
        self._free_at = 0.0
        self.delays = bool(self._latencies) or self._rate is not None
        self._changed.set()
        self._changed = trio.Event()

    async def opened(self) -> None:
        """Returns when no partition holds the bytes."""
        while self.held:
            await self._changed.wait()

    def due(self) -> tuple[int, float]:
        """When bytes that came now may go on, for `wait_due`."""
        late = sum(fault.latency + self._rng.uniform(-fault.jitter, fault.jitter) for fault in self._latencies)
        return self._healed, trio.current_time() + max(0.0, late)

    async def wait_due(self, due: tuple[int, float]) -> None:
        """Returns when it is due, or when a latency has healed since: another may have begun at once."""
        healed, at = due
        while healed == self._healed and trio.current_time() < at:
            with trio.move_on_at(at):
                await self._changed.wait()

    async def transmit(self, size: int) -> int:
        """Waits for a portion of at most `size` bytes to have had its time on the wire, and says how large it was."""
        if self._rate is None:
            return size
        size = min(size, max(1, int(self._rate * SLICE_SECONDS)))
        due = self._free_at = max(self._free_at, trio.current_time()) + size / self._rate
        while self._rate is not None and trio.current_time() < due:
            with trio.move_on_at(due):
                await self._changed.wait()
        return size
