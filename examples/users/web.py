"""A user in Python that sends no HandlerSocket at all: HTTP over a trio socket. Any client for trio would do in its place."""

from __future__ import annotations

import os

import trio

from hs_drill.users import TrioUser, between, task

HOST, _, PORT = os.environ.get("WEB", "127.0.0.1:8000").partition(":")


class Visitor(TrioUser):
    """Keeps a connection, as a browser does."""

    wait_time = between(0.01, 0.05)

    stream: trio.SocketStream | None = None

    async def on_stop(self) -> None:
        if self.stream is not None:
            await self.stream.aclose()

    @task
    async def home(self) -> None:
        async with self.measure("GET /"):
            with trio.fail_after(5):
                head, _ = await self.get("/")
            assert head.startswith(b"HTTP/1.1 200 "), head.decode(errors="replace").partition("\r\n")[0]

    async def get(self, path: str) -> tuple[bytes, bytes]:
        """The head and the body of the answer. After an error the next one has a new connection."""
        stream, self.stream = self.stream or await trio.open_tcp_stream(HOST, int(PORT)), None
        try:
            await stream.send_all(f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
            received = b""
            while b"\r\n\r\n" not in received:
                received += await more(stream)
            head, _, body = received.partition(b"\r\n\r\n")
            fields = dict(line.lower().split(b":", 1) for line in head.split(b"\r\n")[1:])
            while len(body) < int(fields[b"content-length"]):
                body += await more(stream)
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise
        self.stream = stream
        return head, body


async def more(stream: trio.SocketStream) -> bytes:
    if not (part := await stream.receive_some()):
        raise EOFError("the server closed the connection")
    return bytes(part)
