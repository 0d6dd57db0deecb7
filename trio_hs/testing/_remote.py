"""Replication between processes: lines of JSON over TCP.

The replica sends its name and position. The source continues from there, sends a copy of its tables, or refuses. Then it sends
transactions with their age, and the replica sends acknowledgements.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import trio

from ._local_source import copy_for
from ._replication import Position, ReplicationError, Transaction
from ._server import EmbeddedServer
from ._table import Change
from ._wire import decode, encode, pack_changes, pack_transaction, unpack_changes, unpack_position, unpack_transaction

#: Rows per line of a copy.
_COPY_ROWS = 500
_CONNECT_SECONDS = 5.0
#: The sender puts up to this many transactions into one send. Measured: in batches each costs 25 us of CPU (a commit costs
#: 12). One by one each cost 124 us, and a replica that was behind stayed behind.
_BATCH = 100


class Lines:
    """The lines that arrive on a stream."""

    def __init__(self, stream: trio.abc.ReceiveStream) -> None:
        self._stream = stream
        self._whole: deque[bytes] = deque()
        self._pieces: list[bytes] = []

    @property
    def buffered(self) -> bool:
        """Whether a whole line has arrived already."""
        return bool(self._whole)

    async def next(self) -> bytes | None:
        """The next line without its LF, or None at the end of the stream. Raises trio.BrokenResourceError."""
        while not self._whole:
            data = bytes(await self._stream.receive_some())
            if not data:
                return None
            *whole, rest = data.split(b"\n")
            if whole:
                whole[0] = b"".join([*self._pieces, whole[0]])
                self._pieces.clear()
            self._pieces.append(rest)
            self._whole += whole
        return self._whole.popleft()


async def serve_replicas(server: EmbeddedServer, listener: trio.SocketListener) -> None:
    """Lets replicas of other processes follow ``server``, until cancelled."""

    async def handle(stream: trio.SocketStream) -> None:
        try:
            await _serve_replica(server, stream)
        except* (trio.BrokenResourceError, trio.ClosedResourceError, ValueError, KeyError, TypeError):
            pass  # it disconnected, or was not a replica; `except*`, because the sender has a nursery

    await trio.serve_listeners(handle, [listener])


async def _serve_replica(server: EmbeddedServer, stream: trio.SocketStream) -> None:
    received = Lines(stream)
    hello = decode(await received.next() or b"null")
    name, position = str(hello["name"]), unpack_position(hello["position"])
    try:
        copied = copy_for(server, position, bool(hello["rebuild"]))
    except ReplicationError as error:
        await stream.send_all(encode({"error": str(error)}))
        return
    if copied is not None:
        position, rows = copied
        for start in range(0, len(rows), _COPY_ROWS):
            await stream.send_all(encode({"rows": pack_changes(rows[start : start + _COPY_ROWS])}))
    await stream.send_all(encode({"go": list(position), "copied": copied is not None}))
    async with trio.open_nursery() as nursery:
        sender = _Sender(server, stream, float(hello["transfer"]))
        nursery.start_soon(sender.run, position)
        while (line := await received.next()) is not None:
            message = decode(line)
            server.acknowledge(name, unpack_position(message["have"]))
            sender.transfer = float(message["transfer"])
        nursery.cancel_scope.cancel()


class _Sender:
    """Sends transactions when they are old enough. Those that wait here are lost if this process dies."""

    def __init__(self, server: EmbeddedServer, stream: trio.SocketStream, transfer: float) -> None:
        self._server = server
        self._stream = stream
        self.transfer = transfer

    async def run(self, position: Position) -> None:
        source = self._server.as_source()
        try:
            while True:
                batch = [await source.next(position, lambda: self.transfer)]
                while len(batch) < _BATCH and (due := source.due(batch[-1][0].position, self.transfer)):
                    batch.append(due)
                now = trio.current_time()
                lines = [encode({**pack_transaction(transaction), "age": now - committed}) for transaction, committed in batch]
                await self._stream.send_all(b"".join(lines))
                position = batch[-1][0].position
        except OSError:
            await self._stream.aclose()  # the log no longer goes that far back


class RemoteSource:
    """A server of another process, by its replication port, for :meth:`EmbeddedServer.follow`."""

    def __init__(self, replica: str, host: str, port: int) -> None:
        self.name = f"{host}:{port}"
        self._replica = replica
        self._host = host
        self._port = port
        self._stream: trio.SocketStream | None = None
        self._lines: Lines | None = None
        self._have = Position()
        self._told: tuple[Position, float] | None = None

    async def copy(self, position: Position, rebuild: bool) -> tuple[Position, list[Change]] | None:
        """See :meth:`Source.copy`."""
        self.close()
        with trio.move_on_after(_CONNECT_SECONDS):
            self._stream = await trio.open_tcp_stream(self._host, self._port)
        if self._stream is None:
            raise OSError(f"{self.name} does not answer")
        self._lines = Lines(self._stream)
        self._told = None
        await self._send({"name": self._replica, "position": list(position), "rebuild": rebuild, "transfer": 0.0})
        rows: list[Change] = []
        while "go" not in (message := decode(await self._line())):
            if "error" in message:
                raise ReplicationError(message["error"])
            rows += unpack_changes(message["rows"])
        return (unpack_position(message["go"]), rows) if message["copied"] else None

    async def next(self, position: Position, transfer: Callable[[], float]) -> tuple[Transaction, float]:
        """See :meth:`Source.next`. A new ``transfer`` counts from the transaction after the next one."""
        assert self._lines is not None
        # One acknowledgement for everything that has arrived.
        if not self._lines.buffered and self._told != (self._have, transfer()):
            self._told = (self._have, transfer())
            await self._send({"have": list(self._have), "transfer": transfer()})
        message = decode(await self._line())
        return unpack_transaction(message), trio.current_time() - message["age"]

    def acknowledge(self, replica: str, position: Position) -> None:
        """Is sent by the next call of :meth:`next`."""
        self._have = position

    async def _send(self, message: dict[str, object]) -> None:
        assert self._stream is not None
        try:
            await self._stream.send_all(encode(message))
        except trio.BrokenResourceError as error:
            raise OSError(f"{self.name} closed the connection") from error

    async def _line(self) -> bytes:
        assert self._lines is not None
        try:
            line = await self._lines.next()
        except trio.BrokenResourceError as error:
            raise OSError(f"{self.name} closed the connection") from error
        if line is None:
            raise OSError(f"{self.name} closed the connection")
        return line

    def close(self) -> None:
        """See :meth:`Source.close`."""
        if self._stream is not None:
            self._stream.socket.close()
            self._stream = None
