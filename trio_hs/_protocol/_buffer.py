"""A buffer for long answers and tokens."""

from __future__ import annotations

import io

#: When a block grows and has to move, glibc copies it up to 32 MiB (measured: 13 ms). A larger one is moved by its page tables.
#: So from MANY bytes on the buffer has ROOM. Pages take no memory before they are written.
MANY = 1 << 22
ROOM = 1 << 26


class Buffer:
    """Collects bytes, and copies no more than MANY of them at a time."""

    __slots__ = ("_out", "_roomy", "size")

    def __init__(self) -> None:
        self._out = io.BytesIO()
        self._roomy = False
        self.size = 0

    def write(self, data: bytes | memoryview) -> None:
        self.size += self._out.write(data)
        if self.size > MANY and not self._roomy:
            begun = self._out.getvalue()
            self._out = io.BytesIO(bytes(ROOM))
            self._out.write(begun)
            self._roomy = True

    def contents(self) -> bytes:
        """What was written. Not copied, so write no more afterwards."""
        self._out.truncate()
        return self._out.getvalue()
