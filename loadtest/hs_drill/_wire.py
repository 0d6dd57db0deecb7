"""Messages between Locust's process and its children: a 4-byte big-endian length, then msgpack. No I/O.

Locust's end of the socket is `BlockingChannel`, a child's is `TrioChannel`.
"""

from __future__ import annotations

from typing import Any

import msgpack

__all__ = ["Decoder", "Message", "WireError", "encode"]

Message = dict[str, Any]

HEADER = 4
MAX_MESSAGE = 64 * 1024 * 1024
CHUNK = 256 * 1024


class WireError(Exception):
    """The other side sent something that is not a message. Nothing after it can be trusted."""


def encode(message: Message) -> bytes:
    """One message as bytes."""
    body: bytes = msgpack.packb(message)
    return len(body).to_bytes(HEADER, "big") + body


class Decoder:
    """Assembles messages from bytes that arrive in chunks of any size."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes | bytearray) -> None:
        """Append received bytes."""
        self._buffer += data

    def next(self) -> Message | None:
        """The next complete message, or None until more bytes are fed. Raises `WireError`."""
        buffer = self._buffer
        if len(buffer) < HEADER:
            return None
        end = HEADER + int.from_bytes(buffer[:HEADER], "big")
        if end > HEADER + MAX_MESSAGE:
            raise WireError(f"a message of {end - HEADER} bytes")
        if len(buffer) < end:
            return None
        try:
            message = msgpack.unpackb(memoryview(buffer)[HEADER:end].tobytes(), strict_map_key=False)
        except (ValueError, msgpack.UnpackException) as error:
            raise WireError(f"not msgpack: {error}") from error
        del buffer[:end]
        if not isinstance(message, dict):
            raise WireError(f"a message is a map, not {type(message).__name__}")
        return message
