"""What latency, bandwidth and partition do to the bytes of one direction, on all connections of a proxy together."""

from __future__ import annotations

import random
from collections.abc import Sequence

import trio

from ._disturbances import Bandwidth, Direction, Disturbance, Latency, Partition

__all__ = ["BUFFER_BYTES", "Lane"]

BUFFER_BYTES = 256 * 1024
SLICE_SECONDS = 0.01
"""Under a limited bandwidth, bytes go in portions that take this long."""


class Lane:
    """One direction of all connections.

    Attributes:
      held: True while a partition holds the bytes.
      delays: True while bytes take the slow path, for a latency or a bandwidth.
      bytes: how many have passed.
      buffer: for all pumps. They can share it because nothing awaits between a receive and its send.
    """

    def __init__(self, direction: Direction, rng: random.Random) -> None:
        self.held = False
        self.delays = False
        self.bytes = 0
        self.buffer = bytearray(BUFFER_BYTES)
        self._direction = direction
        self._rng = rng
        self._latencies: list[Latency] = []
        self._healed = 0
        self._rate: float | None = None
        self._free_at = 0.0
        self._changed = trio.Event()

    def set(self, disturbances: Sequence[Disturbance]) -> None:
        """Make these the active ones. Wakes every task that waits here."""
        mine = [one for one in disturbances if getattr(one, "direction", None) in ("both", self._direction)]
        self.held = any(isinstance(one, Partition) for one in mine)
        before, self._latencies = self._latencies, [one for one in mine if isinstance(one, Latency)]
        self._healed += any(all(old is not one for one in self._latencies) for old in before)
        self._rate = min((one.rate for one in mine if isinstance(one, Bandwidth)), default=None)
        self._free_at = 0.0
        self.delays = bool(self._latencies) or self._rate is not None
        self._changed.set()
        self._changed = trio.Event()

    async def opened(self) -> None:
        """Wait until no partition holds the bytes."""
        while self.held:
            await self._changed.wait()

    def due(self) -> tuple[int, float]:
        """When bytes that came now may go on, for `wait_due`."""
        late = sum(one.latency + self._rng.uniform(-one.jitter, one.jitter) for one in self._latencies)
        return self._healed, trio.current_time() + max(0.0, late)

    async def wait_due(self, due: tuple[int, float]) -> None:
        """Wait until that time, or until a latency has healed since, even if another has begun at once."""
        healed, at = due
        while healed == self._healed and trio.current_time() < at:
            with trio.move_on_at(at):
                await self._changed.wait()

    async def transmit(self, size: int) -> int:
        """Wait until a portion of at most `size` bytes has had its time on the wire. Returns its size."""
        if self._rate is None:
            return size
        size = min(size, max(1, int(self._rate * SLICE_SECONDS)))
        due = self._free_at = max(self._free_at, trio.current_time()) + size / self._rate
        while self._rate is not None and trio.current_time() < due:
            with trio.move_on_at(due):
                await self._changed.wait()
        return size
