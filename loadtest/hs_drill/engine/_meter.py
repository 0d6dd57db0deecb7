"""Measures each server where its bytes pass: how fast it answered, whatever the client did with the answers.

Asking the client which server answered would cost every operation. But answers come in the order of the requests, and one
system call carries many of both. So the meter reads the clock once per call, and counts the lines in it together.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from time import monotonic_ns

import trio_hs
from hs_drill.metrics import OperationBatch, Standing, collapse
from trio_hs import Transport, connect_transport

from ._primary_reads import Acknowledged
from ._server_names import server_of

__all__ = ["NO_ANSWER", "Answered", "Meter", "WriteWatch"]

NO_ANSWER = "no answer: the connection ended"
READ_ONLY = b"1\t1\tlock_tables\n"
"""How a server that is read-only answers a write."""
_REFUSAL = READ_ONLY[0]
_NO_WRITES = (b"P", b"A")
"""How requests begin that open an index, or authenticate."""


@dataclass
class Answered:
    """From when to when a server answered, in nanoseconds; 0 if it did not."""

    first: int = 0
    last: int = 0
    before: int = 0
    """The last answer when `Meter.take_answered` was called before."""

    def note(self, now: int) -> None:
        self.first = self.first or now
        self.last = now


class WriteWatch:
    """Notices that a client opens an index of one of some tables where it writes: it does so before its first write there.

    `addresses` are the listeners for writes. `tables` are pairs of database and table. Calls `noticed` once.
    """

    def __init__(self, addresses: Collection[str], tables: Iterable[tuple[str, str]], noticed: Callable[[], None]) -> None:
        self.addresses = frozenset(addresses)
        names = "|".join(f"{re.escape(database)}\t{re.escape(table)}" for database, table in tables)
        self._opens = re.compile(rf"(?:^|\n)P\t\d+\t(?:{names})\t".encode())
        self._noticed: Callable[[], None] | None = noticed

    def look(self, sent: bytes) -> None:
        if b"P\t" in sent and self._noticed is not None and self._opens.search(sent):
            noticed, self._noticed = self._noticed, None
            noticed()


class Meter:
    """Measures all connections of a run. `names` are the servers' names by their listeners' addresses, `writers` the addresses
    to which writes go. If it is given, `acknowledged` is kept up to date."""

    def __init__(
        self, names: Mapping[str, str], writers: Collection[str] = (), acknowledged: Acknowledged | None = None
    ) -> None:
        self.acknowledged = acknowledged
        self._names = names
        self._writers = frozenset(writers)
        self._tallies: dict[str, _Tally] = {}
        self._writing: dict[str, Answered] = {}
        """When each server answered on connections for writes, but for refusals, since `take_answered` gave it."""

    async def connect(self, server: trio_hs.Server, watch: WriteWatch | None = None) -> Transport:
        """Connect, with a metered transport: for `open_manager(connect=)`. `watch` looks at what is sent to servers that take
        writes."""
        name = self._name_of(str(server))
        answered = self.answered_writes(name) if str(server) in self._writers else Answered()
        transport, tally = await connect_transport(server), self._tallies.setdefault(name, _Tally())
        if watch is not None and str(server) in watch.addresses:
            return _Watched(transport, tally, answered, watch)
        if self.acknowledged is not None and str(server) in self._writers:
            return _Followed(transport, tally, answered, self.acknowledged, name)
        return _Metered(transport, tally, answered)

    def answered_writes(self, name: str) -> Answered:
        """Where to note a server's answers on connections for writes. Those that refuse because it is read-only do not count:
        a client asks such a server again and again, and it acknowledges nothing."""
        return self._writing.setdefault(name, Answered())

    def note_acknowledged(self, name: str) -> Callable[[int], None]:
        """What to call with the time when a server acknowledged a write, if it is not seen on a metered connection."""
        note, acknowledged = self.answered_writes(name).note, self.acknowledged
        if acknowledged is None:
            return note

        def note_both(now: int) -> None:
            note(now)
            acknowledged.last = name

        return note_both

    def take_answered(self, *, everything: bool = False) -> Iterator[tuple[str, int, int]]:
        """The servers that answered on connections for writes, and have not since the last call, with the time of the first and
        the last answer. With `everything` also those that still answer."""
        for name, answered in self._writing.items():
            if answered.first and (everything or answered.last == answered.before):
                yield name, answered.first, answered.last
                answered.first = answered.last = 0
            answered.before = answered.last

    def take(self) -> dict[str, OperationBatch]:
        """What each server has done since the last time.

        `ok` are its answers, by the time from sending a request to its answer. They include refusals, and answers to the
        client's own requests (open an index, authenticate). `failed` are requests without an answer, and operations that
        failed because of a refusal.
        """
        taken = {name: tally.take() for name, tally in self._tallies.items()}
        return {name: done for name, done in taken.items() if done}

    def refused(self, error: trio_hs.OperationalError, nanoseconds: int) -> None:
        """Count an operation that a server refused."""
        tally = self._tallies.get(server_of(error, self._names))
        if tally is not None:
            tally.fail(nanoseconds, f"{type(error).__name__}: {error.code} {error.message}")

    def standings(self, *clients: trio_hs.Statistics) -> dict[str, Standing]:
        """The current state of the connections to each server that one of the clients has tried to reach."""
        found: dict[str, Standing] = {}
        for one in (one for statistics in clients for one in (*statistics.readers, *statistics.writers)):
            if one.connected or one.failed_attempts:
                name = self._name_of(one.server)
                standing = Standing(one.connections, one.stalled, one.outstanding, int(one.refusing))
                found[name] = found.get(name, Standing()).plus(standing)
        return found

    def _name_of(self, address: str) -> str:
        return self._names.get(address, address)


class _Tally:
    """What one server did since the last batch. Plain dicts: adding to a `Counter` was measured to cost several times as
    much."""

    def __init__(self) -> None:
        self.ok: dict[int, int] = {}
        self.failed: dict[int, int] = {}
        self.errors: dict[str, int] = {}

    def take(self) -> OperationBatch:
        taken = OperationBatch(collapse(self.ok), collapse(self.failed), Counter(self.errors))
        self.ok.clear()
        self.failed.clear()
        self.errors.clear()
        return taken

    def fail(self, nanoseconds: int, error: str, lines: int = 1) -> None:
        latency = nanoseconds // 1000
        self.failed[latency] = self.failed.get(latency, 0) + lines
        self.errors[error] = self.errors.get(error, 0) + lines


class _Metered:
    """A transport that counts and times its lines."""

    def __init__(self, transport: Transport, tally: _Tally, answered: Answered) -> None:
        self._transport = transport
        self._tally = tally
        self._note = answered.note
        self._send, self._receive = transport.send, transport.receive
        self.wait_sendable, self.wait_receivable = transport.wait_sendable, transport.wait_receivable
        self.acknowledge = transport.acknowledge
        self._sent: deque[tuple[int, int]] = deque()
        """When requests were sent, and how many of those are still unanswered."""

    @property
    def round_trip(self) -> float | None:
        seconds: float | None = getattr(self._transport, "round_trip", None)
        return seconds

    def send(self, data: bytes | memoryview) -> int:
        begin = monotonic_ns()  # read before sending: the server may answer at once
        taken = self._send(data)
        lines = bytes(data[:taken]).count(b"\n")
        if lines:
            self._sent.append((begin, lines))
        return taken

    def receive(self) -> bytes | None:
        received = self._receive()
        if received:
            self._answered(received)
        return received

    def close(self) -> None:
        """Close, and count unanswered requests as failed. May be called again."""
        now = monotonic_ns()
        for begin, lines in self._sent:
            self._tally.fail(now - begin, NO_ANSWER, lines)
        self._sent.clear()
        self._transport.close()

    def _answered(self, received: bytes) -> None:
        now, sent, ok = monotonic_ns(), self._sent, self._tally.ok
        count = received.count(b"\n")
        # Nearly every answer begins with 0, so the longer comparison is rare.
        if received[0] != _REFUSAL or received != READ_ONLY * count:
            self._note(now)
        while count and sent:  # at answers without a request the client drops the connection
            begin, lines = sent.popleft()
            if lines > count:
                sent.appendleft((begin, lines - count))
                lines = count
            count -= lines
            latency = (now - begin) // 1000
            ok[latency] = ok.get(latency, 0) + lines


class _Followed(_Metered):
    """One that notes in `Acknowledged` that its server acknowledged a write."""

    def __init__(self, transport: Transport, tally: _Tally, answered: Answered, acknowledged: Acknowledged, name: str) -> None:
        super().__init__(transport, tally, answered)
        self._acknowledged, self._name = acknowledged, name
        self._asked, self._told = b"", b""
        """The beginnings of lines that were sent or received in part."""
        self._writes: deque[bool] = deque()
        """Of each request without an answer, whether it is a write. Others open an index or authenticate: that a replica
        answers, too."""

    def send(self, data: bytes | memoryview) -> int:
        taken = super().send(data)
        *lines, self._asked = (self._asked + bytes(data[:taken])).split(b"\n")
        self._writes.extend(line[:1] not in _NO_WRITES for line in lines)
        return taken

    def _answered(self, received: bytes) -> None:
        super()._answered(received)
        *lines, self._told = (self._told + received).split(b"\n")
        for line in lines:
            if self._writes and self._writes.popleft() and line[:1] == b"0":
                self._acknowledged.last = self._name


class _Watched(_Metered):
    """One that shows what is sent to a `WriteWatch`."""

    def __init__(self, transport: Transport, tally: _Tally, answered: Answered, watch: WriteWatch) -> None:
        super().__init__(transport, tally, answered)
        self._look = watch.look

    def send(self, data: bytes | memoryview) -> int:
        self._look(bytes(data))
        return super().send(data)
