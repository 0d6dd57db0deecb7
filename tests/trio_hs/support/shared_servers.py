"""Real servers that several tests share. To start them costs more than most tests."""

from __future__ import annotations

import queue
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial

import trio

from hs_drill._cluster import Cluster, Server
from hs_drill.servers import Control, open_servers


class SharedServers:
    """What tests do with a `Control`, from another run of trio than the one that owns the servers.

    `beside` has the outcome of the function that was given to `shared_servers`.
    """

    def __init__(self, control: Control, token: trio.lowlevel.TrioToken, beside: Future[None]) -> None:
        self._control = control
        self._token = token
        self.beside = beside

    @property
    def cluster(self) -> Cluster:
        return self._control.cluster

    def server(self, name: str) -> Server:
        return self._control.server(name)

    async def kill(self, name: str) -> None:
        await self._do(partial(self._control.kill, name))

    async def stop(self, name: str) -> None:
        await self._do(partial(self._control.stop, name))

    async def start(self, name: str) -> None:
        await self._do(partial(self._control.start, name))

    async def restart(self, name: str, *, new_secrets: bool = False) -> Server:
        await self._do(partial(self._control.restart, name, new_secrets=new_secrets))
        return self.server(name)

    async def pause(self, name: str) -> None:
        await self._do(partial(self._control.pause, name))

    async def resume(self, name: str) -> None:
        await self._do(partial(self._control.resume, name))

    async def heal(self) -> None:
        """Let every server run again, for the next test."""
        for server in self.cluster.servers:
            if self._control.state(server.name) == "paused":
                await self.resume(server.name)
            if self._control.state(server.name) == "down":
                await self.start(server.name)

    async def _do(self, operation: Callable[[], Awaitable[object]]) -> None:
        await trio.to_thread.run_sync(partial(trio.from_thread.run, operation, trio_token=self._token))


@contextmanager
def shared_servers(*, readers: int, beside: Callable[[Control], Awaitable[None]] | None = None) -> Iterator[SharedServers]:
    """A writer and readers for the block. They live in a thread, because pytest's fixtures outlive any one `trio.run`.

    `beside` runs there as long as the block does.
    """
    up: queue.SimpleQueue[SharedServers | BaseException] = queue.SimpleQueue()
    done = trio.Event()
    tokens: list[trio.lowlevel.TrioToken] = []

    async def run_beside(control: Control, outcome: Future[None]) -> None:
        assert beside is not None
        try:
            await beside(control)
        except Exception as error:
            outcome.set_exception(error)
        else:
            outcome.set_result(None)

    async def own() -> None:
        tokens.append(trio.lowlevel.current_trio_token())
        async with open_servers("mariadb", readers=readers) as control, trio.open_nursery() as nursery:
            outcome: Future[None] = Future()
            if beside is not None:
                nursery.start_soon(run_beside, control, outcome)
            up.put(SharedServers(control, tokens[0], outcome))
            await done.wait()
            nursery.cancel_scope.cancel()

    def run() -> None:
        try:
            trio.run(own)
        except BaseException as error:
            up.put(error)

    thread = threading.Thread(target=run, name="servers")
    thread.start()
    first = up.get()
    if isinstance(first, BaseException):
        raise first
    try:
        yield first
    finally:
        tokens[0].run_sync_soon(done.set)
        thread.join()
