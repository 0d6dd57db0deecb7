"""Opens a pool for a block, with the tasks that keep its connections alive."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from trio.lowlevel import enable_ki_protection

from .._instruments import Instruments
from ._background import background_nursery
from ._pool import Pool
from ._secrets import Secret
from ._servers import Servers
from ._transport import Connect


@asynccontextmanager
@enable_ki_protection
async def open_pool(
    servers: Servers,
    *,
    secret: Secret | None,
    timeout: float,
    connections: int,
    connect: Connect,
    instruments: Instruments,
    for_writes: bool = False,
    moves_on_silence: bool = False,
) -> AsyncIterator[Pool]:
    """A :class:`Pool` for the block. Afterwards it has no task and no socket left, and using it raises ConnectionError."""
    async with background_nursery() as nursery:
        pool = Pool(
            nursery,
            servers,
            secret=secret,
            timeout=timeout,
            connections=connections,
            connect=connect,
            instruments=instruments,
            for_writes=for_writes,
            moves_on_silence=moves_on_silence,
        )
        # An instrument may want to end the program. Its callers are in the middle of something, so a task of its own raises it.
        instruments.end = lambda error: nursery.start_soon(_raise, error)
        instruments.call("pool_opened", pool)
        try:
            yield pool
        finally:
            instruments.call("pool_closed", pool)
            instruments.end = None
            pool.close()


async def _raise(error: BaseException) -> None:
    raise error
