"""A HandlerSocket server in memory that does exactly what a test tells it to.

By default it accepts every secret, opens every index, and answers a find with that find's first key value (or with its list of
keys), so that every caller can tell its own answer from another's.
"""

from __future__ import annotations

from collections.abc import Callable

import trio

import trio_hs
from trio_hs import Server

#: What an attempt to connect and a broken connection raise.
REFUSED = ConnectionRefusedError(111, "Connection refused")
RESET = ConnectionResetError(104, "Connection reset by peer")


class MemoryTransport:
    """One end of a stream in memory. The test side is :class:`FakeConnection`."""

    def __init__(self, window: int) -> None:
        self.window = window
        self.to_server = bytearray()
        self.to_client = bytearray()
        self.eof = False
        self.broken: OSError | None = None
        self.closed = False
        self.sends = 0
        self.acknowledged = 0
        self.changed = trio.lowlevel.ParkingLot()

    def send(self, data: bytes | memoryview) -> int:
        assert not self.closed
        self.sends += 1
        if self.broken is not None:
            raise self.broken
        taken = min(len(data), self.window - len(self.to_server))
        self.to_server += bytes(data[:taken])
        self.changed.unpark_all()
        return taken

    async def wait_sendable(self) -> None:
        assert not self.closed
        await trio.lowlevel.checkpoint()
        while len(self.to_server) >= self.window and self.broken is None:
            await self.changed.park()

    def receive(self) -> bytes | None:
        assert not self.closed
        if self.broken is not None:
            raise self.broken
        data = bytes(self.to_client)
        self.to_client.clear()
        return data or (b"" if self.eof else None)

    async def wait_receivable(self) -> None:
        assert not self.closed
        await trio.lowlevel.checkpoint()
        while not self.to_client and not self.eof and self.broken is None:
            await self.changed.park()

    def acknowledge(self) -> None:
        assert not self.closed
        self.acknowledged += 1

    def close(self) -> None:
        self.closed = True
        self.changed.unpark_all()


class FakeConnection:
    """A connection as the server sees it."""

    def __init__(self, transport: MemoryTransport) -> None:
        self.transport = transport
        self.received = bytearray()

    def say(self, data: bytes) -> None:
        self.transport.to_client += data
        self.transport.changed.unpark_all()

    def end(self) -> None:
        """End the stream without a reset."""
        self.transport.eof = True
        self.transport.changed.unpark_all()

    def reset(self) -> None:
        self.transport.broken = ConnectionResetError(104, "Connection reset by peer")
        self.transport.changed.unpark_all()

    async def line(self) -> bytes | None:
        """The next request without its LF, or None when the client has gone."""
        while (end := self.received.find(b"\n")) < 0:
            if self.transport.closed:
                return None
            if not self.transport.to_server:
                await self.transport.changed.park()
            self.received += self.transport.to_server
            self.transport.to_server.clear()
            self.transport.changed.unpark_all()
        line = bytes(self.received[:end])
        del self.received[: end + 1]
        return line


def echo(line: bytes) -> bytes:
    """The default answers."""
    if line[:1] in (b"A", b"P"):
        return b"0\t1\n"
    tokens = line.split(b"\t")
    if tokens[1] == b"+" or {b"U", b"D", b"+", b"-"} & set(tokens[4:]):
        return b"0\t1\t1\n"
    if tokens[6:7] == [b"@"]:
        return b"0\t1\t" + b"\t".join(tokens[9 : 9 + int(tokens[8])]) + b"\n"
    return b"0\t1\t" + tokens[3] + b"\n"


class FakeServer:
    """``connect`` goes to ``open_manager(connect=...)``; ``answer`` decides what each line gets (None: nothing, yet)."""

    def __init__(self, nursery: trio.Nursery, answer: Callable[[bytes], bytes | None] = echo, window: int = 1 << 20) -> None:
        self.nursery = nursery
        self.answer = answer
        self.window = window
        self.refuses: OSError | None = None
        self.lines: list[bytes] = []
        self.connections: list[FakeConnection] = []
        #: While set to an event, nothing is read or answered.
        self.gate = trio.Event()
        self.gate.set()

    async def connect(self, server: Server) -> MemoryTransport:
        await trio.lowlevel.checkpoint()
        if self.refuses is not None:
            raise self.refuses
        transport = MemoryTransport(self.window)
        connection = FakeConnection(transport)
        self.connections.append(connection)
        self.nursery.start_soon(self.serve, connection)
        return transport

    async def serve(self, connection: FakeConnection) -> None:
        while (line := await connection.line()) is not None:
            if not self.gate.is_set():  # like the real one, answer together what arrived together
                await self.gate.wait()
            self.lines.append(line)
            answer = self.answer(line)
            if answer is not None:
                connection.say(answer)

    @property
    def requests(self) -> list[bytes]:
        """The received requests on open indexes."""
        return [line for line in self.lines if line[:1].isdigit()]

    @property
    def open(self) -> list[FakeConnection]:
        """The connections that the client has not closed."""
        return [connection for connection in self.connections if not connection.transport.closed]


class Network:
    """Several fake servers, told apart by their port."""

    def __init__(self, servers: dict[int, FakeServer]) -> None:
        self.servers = servers

    async def connect(self, server: Server) -> MemoryTransport:
        assert server.port is not None
        return await self.servers[server.port].connect(server)


def kill(fake: FakeServer) -> None:
    """Reset every connection and refuse new ones."""
    fake.refuses = REFUSED
    for connection in fake.open:
        connection.reset()


def die_on_the_first_request(*fakes: FakeServer, then: bytes = b"0\t1\t1\n") -> list[bytes]:
    """The server that gets the first request resets the connection instead of answering. Later requests get the answer `then`.

    Returns a list of the requests, which grows as they come.
    """
    seen: list[bytes] = []

    def answer(line: bytes) -> bytes | None:
        if not line[:1].isdigit():
            return echo(line)
        seen.append(line)
        if len(seen) == 1:
            for fake in fakes:
                if line in fake.lines:
                    fake.connections[-1].reset()
            return None
        return then

    for fake in fakes:
        fake.lines.clear()
        fake.answer = answer
    return seen


def read_only(line: bytes) -> bytes | None:
    """The answers of a server that refuses every request, as a read-only one refuses writes."""
    return b"1\t1\tlock_tables\n" if line[:1].isdigit() else echo(line)


def nonsense(line: bytes) -> bytes:
    """Well-formed answers with more columns than any request asks for."""
    return echo(line) if line[:1] in b"AP" else b"0\t3\ta\tb\tc\n"


def black_hole(fake: FakeServer) -> None:
    """Lose everything sent to the server from now on: connections fall silent, and attempts to connect hang."""
    fake.gate = trio.Event()

    async def connect(server: trio_hs.Server) -> MemoryTransport:
        await trio.sleep_forever()
        raise AssertionError

    fake.connect = connect  # type: ignore[method-assign]


def slow_to_connect(fake: FakeServer, seconds: float) -> None:
    connect = fake.connect

    async def slowly(server: trio_hs.Server) -> MemoryTransport:
        await trio.sleep(seconds)
        return await connect(server)

    fake.connect = slowly  # type: ignore[method-assign]
