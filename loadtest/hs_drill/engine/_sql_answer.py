"""Waits until an answer by SQL has arrived whole, so that mysqlclient reads it without blocking the engine.

mysqlclient waits for the rest of an answer in its own thread, which is the engine's. On a slow network that stopped every other
operation as well: for 3 s when a bandwidth of 200 bytes/s delivered the answer in pieces (measured).
"""

from __future__ import annotations

import os
import socket

import trio

__all__ = ["Arrivals", "is_whole"]

MOST = 64 * 1024
"""Bytes up to which to look for the answer's end. A longer one is read at once, and its rest may block."""
HEADER = 4
"""Bytes before each packet: its length (3) and its number."""
OK, EOF, ERROR = 0x00, 0xFE, 0xFF
"""What packets begin with. EOF ends column definitions and rows. Other clients get an OK packet that begins as EOF does."""
EOF_LENGTH = 5
MOST_COLUMNS = 250
"""More are counted in several bytes."""
PEEK = socket.MSG_PEEK | socket.MSG_DONTWAIT
TLS = b"\x17\x03\x03"
"""Begins a record of an encrypted connection."""

_buffer = memoryview(bytearray(MOST))


class Arrivals:
    """What has arrived on a connection and was not read yet."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._socket = socket.socket(fileno=os.dup(fd))

    async def wait(self, silence: float) -> bool:
        """Wait until an answer is there, or the connection has ended. False: nothing more came for so many seconds."""
        came = 0
        try:
            while True:
                with trio.move_on_after(silence) as patience:
                    await trio.lowlevel.wait_readable(self._fd)
                if patience.cancelled_caught:
                    return False
                data = self._peek()
                if len(data) <= came or len(data) >= MOST or is_whole(data):
                    return True
                came = len(data)
                self._wake_at(came + 1)
        finally:
            if came:
                self._wake_at(1)

    def _peek(self) -> bytes:
        try:
            size = self._socket.recv_into(_buffer, MOST, PEEK)
        except OSError:  # the next read will say why
            return b""
        return bytes(_buffer[:size])

    def _wake_at(self, size: int) -> None:
        """Have the socket become readable when it holds so many bytes."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, size)

    def close(self) -> None:
        self._socket.close()


def is_whole(data: bytes) -> bool:
    """Whether an answer to one statement has arrived whole. True also for what shows no packets, such as encrypted ones."""
    if len(data) <= HEADER:
        return False
    kind, at = data[HEADER], _end(data, 0)
    if data[:3] == TLS or MOST_COLUMNS < kind < ERROR:
        return True
    if kind in (OK, ERROR):
        return at <= len(data)
    for _ in range(kind):  # the definitions of columns
        at = _end(data, at)
    if at + HEADER < len(data) and data[at + HEADER] == EOF and data[at] == EOF_LENGTH:
        at = _end(data, at)
        if at <= (last := len(data) - HEADER - EOF_LENGTH) and data[last] == EOF_LENGTH and data[last + HEADER] == EOF:
            return True  # most likely: without going through the rows
    while at + HEADER < len(data):
        last, at = data[at + HEADER], _end(data, at)
        if last in (EOF, ERROR):
            return at <= len(data)
    return False


def _end(data: bytes, at: int) -> int:
    """Where the packet ends that begins there; beyond the data if its header is not there."""
    return at + HEADER + int.from_bytes(data[at : at + 3], "little")
