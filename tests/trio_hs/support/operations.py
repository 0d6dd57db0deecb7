"""One operation of each kind on a manager, and how long docs/delivery.md lets it wait."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from trio_hs import ConnectionError, Manager, RetryPolicy
from trio_hs._network._connection import TICKS
from trio_hs._network._pool import MARGIN

TIMEOUT = 3.0
#: The client gives up a silent server with outstanding requests after this many seconds at the latest.
SILENCE = TIMEOUT * (1 + 2 / TICKS)
#: How long an operation waits for a usable server, and how long it pauses between its attempts, in seconds.
WAIT = TIMEOUT + MARGIN
PAUSES = sum(min(RetryPolicy().backoff * 2**attempt, RetryPolicy().max_backoff) for attempt in range(RetryPolicy().attempts))


async def write(hs: Manager) -> object:
    return await hs.incr("d", "t", "=", ["n"], [1])


async def insert_many(hs: Manager) -> object:
    """Raises the first row's error."""
    outcomes = await hs.insert_many("d", "t", ["id"], [[number] for number in range(3000)])
    if isinstance(outcomes[0], Exception):
        raise outcomes[0]
    return outcomes[0]


async def read(hs: Manager) -> object:
    return await hs.get("d", "t", ["id"], 1)


async def get_many(hs: Manager) -> object:
    return await hs.get_many("d", "t", ["id"], range(3000))


async def in_doubt(hs: Manager, call: Callable[[Manager], Awaitable[object]]) -> bool:
    """Whether the call failed in doubt. Any other failure is raised."""
    try:
        await call(hs)
    except ConnectionError as error:
        if not error.maybe_applied:
            raise
        return True
    return False
