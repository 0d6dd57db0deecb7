"""Finds the answer to lose in MariaDB's own protocol. Pure: bytes in, decisions out.

1. All bytes are in packets: three bytes of length, a sequence number, and the payload. A command begins with sequence number 0.
   The rest of a long one, and all that a client sends while it logs in, has 1, 2 and so on. So the client's bytes alone show
   where each command begins, if they are followed from the connection's first one.
2. An answer may be many packets, and where it ends depends on what is in them. But a client waits for the whole answer before
   it sends the next command. So the first bytes that come after a command are the beginning of its answer, whatever that is.
3. When an answer begins, its statement was executed: a write is acknowledged by one packet, once it is committed. (Except by an
   INSERT ... RETURNING, which no load here sends: its rows come first.)
4. Commands without an answer do not count (to close a statement, to quit), nor do those that only prepare (SET, PREPARE, a
   change of the database). They are what `A` and `P` lines are to HandlerSocket.
5. An encrypted or compressed connection shows no commands: it never loses an answer.
"""

from __future__ import annotations

from ._replies import Replies

__all__ = ["SqlReplies"]

HEADER = 4
KEPT = 40
"""Bytes of a packet that tell what it is: at most a request for TLS, with its header."""
TLS_REQUEST = 32
"""The length of the payload that asks for TLS: a login without a name."""
COMPRESSED, ENCRYPTED = 0x20, 0x800
"""Flags of a login."""
QUERY, EXECUTE_PREPARED = 0x03, 0x17
PREPARING = (b"SET ", b"PREPARE ")


class SqlReplies(Replies):
    """Loses an answer from its first byte."""

    always = True

    def __init__(self) -> None:
        super().__init__()
        self._logged_in = False
        self._unreadable = False
        self._partial = b""
        self._skip = 0
        """Bytes of a packet under way that need not be looked at."""
        self._due = False
        """An answer that counts has not begun yet."""

    def requests(self, data: bytes) -> None:
        if self._unreadable:
            return
        data, at = self._partial + data, self._skip
        self._partial, self._skip = b"", 0
        while (left := len(data) - at) > 0:
            size = HEADER + int.from_bytes(data[at : at + 3], "little")
            if left < HEADER or left < min(size, KEPT):
                self._partial = data[at:]
                return
            self._look_at(data[at : at + min(size, KEPT)], size - HEADER)
            at += size
        self._skip = -left

    def answers(self, data: bytes) -> tuple[bytes, bool]:
        if not self._due:
            return data, False
        self._due = False
        self.lost_by = self._loses()
        if self.lost_by is None:
            return data, False
        return data[: len(data) // 2] if self.lost_by.cut == "middle" else b"", True

    def _look_at(self, packet: bytes, length: int) -> None:
        """Takes the beginning of one of the client's packets, and the length of its payload."""
        payload = packet[HEADER:]
        if not self._logged_in:
            flags = int.from_bytes(payload[:4], "little")
            self._logged_in = True
            self._unreadable = bool(flags & COMPRESSED or (flags & ENCRYPTED and length == TLS_REQUEST))
        elif packet[3] == 0:
            self._due = _counts(payload)


def _counts(command: bytes) -> bool:
    if command[:1] == bytes([QUERY]):
        return not command[1:].lstrip().upper().startswith(PREPARING)
    return command[:1] == bytes([EXECUTE_PREPARED])
