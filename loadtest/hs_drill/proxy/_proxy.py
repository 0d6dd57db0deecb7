"""A TCP proxy before one port of a server, which disturbs the network without privileges and counts what it has seen.

`async with open_proxy("127.0.0.1", server.read_port, rng=rng) as proxy:` listens on `proxy.port` and forwards to the server.
`proxy.start(disturbance)` and `proxy.heal(disturbance)` are synchronous, so that healing works in a cancelled task too.
Undisturbed, a close, a half-close or a reset of one side reaches the other at once. A refused connection cannot be imitated: by
the time the server refuses, the kernel has accepted the client's connection, so the proxy resets it.

Needs Linux, to keep a port reserved while it is closed, and to see which clients hung up during a partition.
"""

from __future__ import annotations

import random
import select
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio

from ._connection import Connection
from ._disturbances import Blackhole, Disturbance, DropReplies, Flapping, HalfOpen, IdleTimeout, Partition, ResetPeer
from ._lane import Lane
from ._replies import Count, LineReplies, Replies
from ._sql_replies import SqlReplies

__all__ = ["Proxy", "ProxyStatistics", "open_proxy"]

HOST = "127.0.0.1"
BACKLOG = 1024
IDLE_LOOKS = 10
"""How often to look for idle connections, within the time after which one is closed."""
NO_FILES_SECONDS = 0.05
"""Pause when the process has no file descriptor for another connection."""


@dataclass(frozen=True)
class ProxyStatistics:
    """What a proxy has seen so far."""

    disturbances: tuple[Disturbance, ...]
    """The active ones, in the order in which they began."""
    open: int
    """Connections that are open now."""
    accepted: int
    """Connections that were accepted, including those that wait for the server or found it unreachable."""
    unreachable: int
    """Connections that were reset because the server could not be connected to."""
    cut: int
    """Connections that `DropReplies` has ended: each has lost an answer."""
    reset: int
    """Connections that `ResetPeer` has ended."""
    half_open: int
    """Connections that `HalfOpen` has taken one side from."""
    upstream_bytes: int
    """Bytes that were read from clients and not swallowed."""
    downstream_bytes: int
    """Bytes that were read from the server and not swallowed."""


class _Active:
    """A disturbance that has begun."""

    def __init__(self, disturbance: Disturbance) -> None:
        self.disturbance = disturbance
        self.effect: Disturbance | None = None if isinstance(disturbance, Flapping) else disturbance
        """What it does at the moment; None while it does nothing."""
        self.scope = trio.CancelScope()
        self.count = Count()


class Proxy:
    """Made by `open_proxy`.

    Attributes:
      host, port: where it listens. The port stays reserved until the proxy is closed.
    """

    def __init__(
        self, nursery: trio.Nursery, target: tuple[str, int], port: int, rng: random.Random, replies: type[Replies]
    ) -> None:
        self.host = HOST
        self._nursery = nursery
        self._target = target
        self._replies = replies
        self._upstream = Lane("upstream", rng)
        self._downstream = Lane("downstream", rng)
        self._active: list[_Active] = []
        self._connections: set[Connection] = set()
        self._accepted = self._unreachable = self._cut = self._reset = self._half_open = 0
        self._silent = False
        self._reopened = trio.Event()
        # It never listens: it only keeps the port while a partition has closed the listener.
        self._reserved = _bound(port)
        self.port: int = self._reserved.getsockname()[1]
        self._listener: socket.socket | None = None

    def __repr__(self) -> str:
        disturbances = ", ".join(map(repr, self.statistics().disturbances)) or "undisturbed"
        return f"<Proxy {self.host}:{self.port} to {self._target[0]}:{self._target[1]}, {disturbances}>"

    def start(self, disturbance: Disturbance) -> None:
        """Begin a disturbance, now. Several may be active at once, even equal ones, each until it is healed: latencies add up,
        the narrowest bandwidth counts, and a partition lasts until the last one has healed.

        Raises ValueError for an object that is active already.
        """
        if any(active.disturbance is disturbance for active in self._active):
            raise ValueError(f"cannot start {disturbance!r}: it is active; heal it first, or start an equal one")
        if isinstance(disturbance, ResetPeer):
            for connection in self._connections:
                connection.reset()
            self._reset += len(self._connections)
            return
        active = _Active(disturbance)
        self._active.append(active)
        for connection in self._connections:
            self._disturb(connection, active)
        if isinstance(disturbance, Flapping):
            self._nursery.start_soon(self._flap, active, disturbance)
        if isinstance(disturbance, IdleTimeout):
            self._nursery.start_soon(self._close_idle, active, disturbance)
        self._apply()

    def heal(self, disturbance: Disturbance | None = None) -> None:
        """End a disturbance, by default all. Held bytes go on their way; connections that have lost bytes are reset.

        Of several equal ones it ends the very object that was started, or else the one that began first. Without effect if
        none is active. Synchronous: it works in a cancelled task, and after the proxy's end.
        """
        equal = [active for active in self._active if active.disturbance == disturbance]
        equal.sort(key=lambda active: active.disturbance is not disturbance)
        healed = self._active if disturbance is None else equal[:1]
        self._active = [active for active in self._active if active not in healed]
        for active in healed:
            active.scope.cancel()
            for connection in self._connections:
                if isinstance(active.disturbance, DropReplies):
                    connection.stop_dropping(active.disturbance)
                if connection.broken_by is active.disturbance:
                    connection.reset()
        self._apply()

    def statistics(self) -> ProxyStatistics:
        """What is active now, and the counts so far."""
        return ProxyStatistics(
            disturbances=tuple(active.disturbance for active in self._active),
            open=len(self._connections),
            accepted=self._accepted,
            unreachable=self._unreachable + sum(connection.unreachable for connection in self._connections),
            cut=self._cut + sum(connection.cut for connection in self._connections),
            reset=self._reset,
            half_open=self._half_open,
            upstream_bytes=self._upstream.bytes,
            downstream_bytes=self._downstream.bytes,
        )

    def listen(self) -> None:
        """For `open_proxy`."""
        self._listener = _bound(self.port)
        self._listener.listen(BACKLOG)
        self._reopened.set()
        self._reopened = trio.Event()

    def close(self) -> None:
        """For `open_proxy`: no new connections, and the port is free."""
        self._close_listener()
        self._reserved.close()

    async def accept(self) -> None:
        """For `open_proxy`: accept connections until cancelled."""
        while True:
            if self._listener is None or self._silent:
                await self._reopened.wait()
                continue
            try:
                await trio.lowlevel.wait_readable(self._listener)
            except trio.ClosedResourceError:  # closed by a partition
                continue
            if self._listener is not None and not self._silent and not self._accept_waiting():
                await trio.sleep(NO_FILES_SECONDS)

    def _accept_waiting(self, *, only_present: bool = False) -> bool:
        """Accept all connections that the kernel has ready; False if it may have more that cannot be accepted now.

        `only_present` leaves out clients that have hung up.
        """
        while self._listener is not None:
            try:
                client, _ = self._listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return True
            except OSError:
                return False
            if only_present and _hung_up(client):
                client.close()
                continue
            client.setblocking(False)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._accepted += 1
            connection = Connection(client, self._connect, self._upstream, self._downstream, self._replies())
            self._connections.add(connection)
            for active in self._active:
                if not isinstance(active.disturbance, HalfOpen):  # that is for connections open when it began
                    self._disturb(connection, active)
            self._nursery.start_soon(self._carry, connection)
        return True

    async def _carry(self, connection: Connection) -> None:
        try:
            await connection.run()
        finally:
            self._connections.remove(connection)
            self._unreachable += connection.unreachable
            self._cut += connection.cut

    async def _connect(self) -> socket.socket:
        stream = await trio.open_tcp_stream(*self._target)  # without Nagle's algorithm
        server = socket.socket(fileno=stream.socket.detach())
        server.setblocking(False)
        return server

    def _disturb(self, connection: Connection, active: _Active) -> None:
        """Apply a disturbance to one connection, beyond what it does to the lanes."""
        match active.disturbance:
            case HalfOpen(vanished=side) as disturbance if connection.broken_by is None:
                connection.lose(side, disturbance)
                self._half_open += 1
            case Blackhole() as disturbance if connection.broken_by is None:
                connection.lose(None, disturbance)
            case DropReplies() as disturbance:
                connection.drop_replies(disturbance, active.count)

    async def _flap(self, active: _Active, disturbance: Flapping) -> None:
        with active.scope:
            while True:
                active.effect = disturbance.partition
                self._apply()
                await trio.sleep(disturbance.down)
                active.effect = None
                self._apply()
                await trio.sleep(disturbance.up)

    async def _close_idle(self, active: _Active, disturbance: IdleTimeout) -> None:
        idle: dict[Connection, tuple[int, float]] = {}
        """How much had passed on each when it last carried something, and when that was."""
        with active.scope:
            while True:
                now = trio.current_time()
                before, idle = idle, {}
                for connection in self._connections:
                    passed, since = before.get(connection, (connection.passed, now))
                    idle[connection] = (passed, since) if passed == connection.passed else (connection.passed, now)
                    if now - idle[connection][1] >= disturbance.after:
                        connection.close()
                await trio.sleep(disturbance.after / IDLE_LOOKS)

    def _apply(self) -> None:
        """Make the lanes and the listener match the active disturbances."""
        effects = [active.effect for active in self._active if active.effect is not None]
        self._upstream.set(effects)
        self._downstream.set(effects)
        partitions = [effect for effect in effects if isinstance(effect, Partition)]
        was_silent, self._silent = self._silent, bool(partitions)
        if any(partition.new_connections == "refuse" for partition in partitions):
            self._close_listener()
        elif self._listener is None and self._reserved.fileno() != -1:
            self.listen()
        if was_silent and not self._silent:
            # A real partition loses handshakes: clients that gave up meanwhile were never connected.
            self._accept_waiting(only_present=True)
            self._reopened.set()
            self._reopened = trio.Event()

    def _close_listener(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            trio.lowlevel.notify_closing(listener)
            listener.close()


@asynccontextmanager
async def open_proxy(
    target_host: str, target_port: int, *, port: int = 0, rng: random.Random, sql: bool = False
) -> AsyncIterator[Proxy]:
    """A `Proxy` for the block, before `target_host:target_port`, on `port` of 127.0.0.1 (0 chooses a free one).

    `rng` draws the jitter. `sql`: the port is for SQL, not one of HandlerSocket's listeners. The target need not be up. Raises
    OSError if the port is taken. Afterwards no task, no socket and no connection is left, whatever was active.
    """
    async with _background_nursery() as nursery:
        proxy = Proxy(nursery, (target_host, target_port), port, rng, SqlReplies if sql else LineReplies)
        try:
            proxy.listen()
            nursery.start_soon(proxy.accept)
            yield proxy
        finally:
            proxy.close()


@asynccontextmanager
async def _background_nursery() -> AsyncIterator[trio.Nursery]:
    """A nursery that is cancelled at the end of the block, and leaves an exception of the block as it is.

    trio's own nursery would wrap that exception in a group.
    """
    manager = trio.open_nursery()
    nursery = await manager.__aenter__()
    try:
        yield nursery
    finally:
        nursery.cancel_scope.shield = True  # the tasks stop at once, and close what they hold
        nursery.cancel_scope.cancel()
        try:
            await manager.__aexit__(None, None, None)
        except BaseExceptionGroup as group:
            if group.split(KeyboardInterrupt)[1] is None:  # Ctrl-C while the tasks were stopping
                raise KeyboardInterrupt from None
            raise


def _bound(port: int) -> socket.socket:
    # On Linux two sockets with this option may be bound to one port, as long as only one listens.
    sock = socket.socket()
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((HOST, port))
    except BaseException:
        sock.close()
        raise
    return sock


def _hung_up(sock: socket.socket) -> bool:
    """Whether the peer has closed, even if bytes of it are still unread."""
    poll = select.poll()
    poll.register(sock, getattr(select, "POLLRDHUP", 0))
    return bool(poll.poll(0))
