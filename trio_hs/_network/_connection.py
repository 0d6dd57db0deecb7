"""One connection to one listener: a pipeline that many tasks share.

How a request travels
---------------------
``submit`` is synchronous: it puts the request's bytes into the queue and the request into the order of answers in one
step, so the order needs no lock. Then one of two things sends the queue in one system call: ``submit`` itself when the
connection was idle (a lone request must not wait), when the request stands for many (it needs no company) or when the last of
the tasks that the last answers woke has come back, or else the writer task in the scheduler's next pass, when all that run in
this one have queued their requests. The reader task hands each answer to the oldest request.

- backlog: over the bound on what may be outstanding; nothing of it has been sent.
- queued: bytes are in the queue; can be withdrawn without a trace.
- sent: bytes went (at least partly) to the kernel; an answer is due. A caller that is cancelled now leaves its request here
  as a placeholder that swallows its own answer.

When all that was outstanding is answered together, the server is idle while the tasks make their next requests, and the client
while the server carries them out. So the first half of them is sent by itself, and from then on two groups take turns. That
would be wrong where the server takes longer than the tasks: a commit would serve half as many writes, which cost 40 % when one
took 1 ms. Then the groups are joined: requests stay in the queue until what is outstanding, which the server finishes first
anyway, is answered. (Where commits are quick, two groups did 1.5 times as many writes, and 1.2 times as many reads.)

The server leaves Nagle's algorithm on: what it writes while an earlier write is not acknowledged waits for that, and a kernel
with nothing to send delays its acknowledgement by up to 40 ms. So whoever receives while more answers are due has the kernel
acknowledge at once. (Measured: without it 1,000 rows took 9 ms in four requests, with it 3 ms.)

Callers run most of this in their own tasks, where Ctrl-C would be raised between any two lines: a request that is in the order
of answers and was never sent would give every later one the answer of the one before. So what must happen as a whole is
protected, and so are the background tasks: trio raises KeyboardInterrupt when the main task waits next.

No request has a timer. Answers come in order, so a server that is silent while something is outstanding owes all of it:
one watchdog per connection counts the silence in a few looks per timeout, and sleeps while nothing is outstanding. A trickle
of bytes that completes no answer is silence too.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import trio
from trio.lowlevel import enable_ki_protection

from .._protocol import Answers, Index, check_answer
from ..exceptions import ProtocolError
from ._background import Sleeper
from ._handshake import authenticate
from ._request import OpenedIndex, OpenRequest, Request
from ._transport import Transport

#: Requests that a connection has outstanding before callers wait their turn. The server reads on without bound while its
#: answers are not taken, so the bound has to be ours. Every further UNIT_BYTES of a request count as one more, and a list of
#: keys counts as one request for each: the server builds the answers to all that it has received before it sends any.
MAX_OUTSTANDING = 1024
UNIT_BYTES = 4096
#: A request that stands for so many is sent without waiting for company: the server has work the sooner. Fewer do wait, also
#: long ones: inserts of 2 KB that went out one by one, and so did not share a commit, were measured to take 1.3 times as long.
FULL_UNITS = 64

#: So many tasks that are woken at once are worth two groups of requests.
GROUPED_TASKS = 16
#: Whether the server is slower than they are is seen by how long the client waits for answers, which has the way there and back
#: in it. Two groups of writes were measured to be a gain up to about so many times what the tasks take.
SLOWER = 1.5

#: How often per timeout the watchdog looks: a silent server is given up at most timeout / TICKS too late.
TICKS = 16
#: A server that was silent for so many looks with requests outstanding is avoided while others answer.
STALLED_TICKS = 2
#: A look without a whole answer finds progress only when so many bytes of one moved, in either direction.
PROGRESS_BYTES = 1024

#: The server keeps an index open until the connection closes. With so many on it, a connection is due to be replaced.
MAX_OPENED = 10_000


class Connection:
    """A pipelined connection. ``run`` keeps it going; ``submit`` and then ``Request.wait`` use it.

    Attributes:
      usable: True until something went wrong with it, then for ever False.
      stalled: True while the server is suspiciously silent with requests outstanding; when closed, whether it was at the end.
      outstanding: how much waits for an answer, in requests (long ones count for several), without the backlog.
      retired: True when it takes no new requests and closes after the last answer.
      worn: True when so many indexes are open on it that its owner should replace it.
      answered: how many answers have come.
      fruitless: True when it ended with requests outstanding and had never answered one.
      reason: why it is not usable any more.
      peer: the server, for people.
      near: whether the way to the server and back is short beside the time in which it looks up a few hundred keys.
    """

    def __init__(
        self,
        transport: Transport,
        peer: str,
        *,
        timeout: float,
        on_closed: Callable[[Connection], None],
        on_changed: Callable[[Connection], None] = lambda connection: None,
        max_outstanding: int = MAX_OUTSTANDING,
    ) -> None:
        self.usable = True
        self.stalled = False
        self.retired = False
        self.worn = False
        self.outstanding = 0
        self.answered = 0
        self.fruitless = False
        self.reason: BaseException | None = None
        self._transport = transport
        self.peer = peer
        self.near = False
        self._timeout = timeout
        self._on_closed = on_closed
        self._on_changed = on_changed  # `stalled` or `worn` is another now
        self._max_outstanding = max_outstanding
        self._scope = trio.CancelScope()
        self._answers = Answers()
        self._opened: dict[Index, OpenedIndex] = {}
        self._free_ids: list[int] = []
        self._holders = 0
        self._backlog: OrderedDict[Request, None] = OrderedDict()
        self._queue: list[Request] = []
        self._sent: deque[Request] = deque()
        self._unsent = memoryview(b"")
        # Tasks that the last answers woke and that have not come back with a next request yet.
        self._expected = 0
        # How many of them are expected when the first half has come back, which is then sent; -1 for no such thing.
        self._half = -1
        # Whether what is queued waits until what was sent is answered; and whether that has just come to an end.
        self._joining = self._joined = False
        self._delivered_at = self._flushed_at = 0.0
        # Of the bytes that moved since the watchdog's last look; a whole answer counts as PROGRESS_BYTES.
        self._progress = 0
        self._writer = Sleeper()
        self._watchdog = Sleeper()

    def __repr__(self) -> str:
        state = f"closed: {self.reason}" if not self.usable else "stalled" if self.stalled else "usable"
        waiting = f", {len(self._backlog)} in the backlog" if self._backlog else ""
        return f"<Connection {self.peer} {state}, {self.outstanding} outstanding{waiting}, {len(self._opened)} indexes>"

    @property
    def load(self) -> int:
        """What a new request would wait behind."""
        return self.outstanding + len(self._backlog)

    # ---- its life

    async def authenticate(self, secret: str | None) -> None:
        """The first exchange, before ``run``. Raises AuthenticationError, OSError or ProtocolError.

        The caller sets the deadline, and closes the transport after a failure.
        """
        self.near = await authenticate(self._transport, secret, self.peer)

    @enable_ki_protection
    async def run(self) -> None:
        """Sends, receives and watches until the connection ends, however it ends. Raises nothing but Cancelled.

        When it returns or is cancelled, every request has its answers or its failure and the stream is closed.
        """
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._write)
                    nursery.start_soon(self._watch)
                    nursery.start_soon(self._read)
        finally:
            self.invalidate(OSError("the client closed the connection"))

    @enable_ki_protection
    def invalidate(self, reason: BaseException) -> None:
        """Ends the connection now: closes the stream and fails everything outstanding with ``reason``."""
        if not self.usable:
            return
        self.usable = False
        self.reason = reason
        self.fruitless = bool(self._sent) and not self.answered
        self._scope.cancel()
        self._transport.close()
        # The server runs whole lines only, so a line whose end is still here cannot have been carried out.
        unsent = len(self._unsent)
        for request in reversed(self._sent):
            kept = min(unsent, len(request.data))
            unsent -= kept
            request.sent_lines = request.lines - request.data.count(b"\n", len(request.data) - kept)
        for request in (*self._queue, *self._backlog):
            request.sent_lines = 0
        for request in (*self._sent, *self._queue, *self._backlog):
            request.failure = reason
            request.complete()
        self._sent.clear()
        self._queue.clear()
        self._backlog.clear()
        self._unsent = memoryview(b"")
        self.outstanding = 0
        self._on_closed(self)

    @enable_ki_protection
    def retire(self) -> None:
        """Lets the connection end by itself: the owner sends nothing more through it, and the last answer closes it."""
        self.retired = True
        self._close_if_retired()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keeps a retired connection open for the block, whose requests do not all go out at once."""
        self._holders += 1
        try:
            yield
        finally:
            self._holders -= 1
            self._close_if_retired()

    def _close_if_retired(self) -> None:
        if self.retired and not (self._holders or self._sent or self._queue or self._backlog):
            self.invalidate(OSError("the client closed the connection"))

    # ---- requests

    @enable_ki_protection
    def submit(self, request: Request, index: Index, tails: Sequence[bytes], *, more: bool = False) -> None:
        """Puts a request of ``request.lines`` tails on its way, its index opened in front of it where needed.

        Never waits and never raises: what goes wrong is in ``request.failure`` then, at once or later. ``more`` says that the
        caller has another request to submit before it waits, so that both leave in one system call.
        """
        assert tails, "a request of no lines would merge with the next one"
        request.connection = self
        if self._watchdog.asleep:
            self._leave_idleness()
        if not self.usable:
            request.failure = self.reason
            request.sent_lines = 0
            return
        opened = self._opened.get(index)
        if opened is None:
            opened = self._open(index)
        request.opened = opened
        prefix = opened.prefix
        expected = self._expected
        due = expected == 1 or expected == self._half or (not expected and not self.outstanding)
        data = prefix + tails[0] if request.lines == 1 else prefix + prefix.join(tails)
        # As `_enqueue` does; the call would be felt.
        request.data = data
        request.units = units = request.units + (len(data) // UNIT_BYTES)
        if self.outstanding < self._max_outstanding and not self._backlog:
            self.outstanding += units
            self._queue.append(request)
        else:
            self._backlog[request] = None
        if expected:
            self._expected = expected - 1
        if self._joining:
            return
        if (due or units >= FULL_UNITS) and not more and not self._unsent:
            self._flush()
        elif self._writer.asleep:
            self._writer.wake()

    def _open(self, index: Index) -> OpenedIndex:
        number = self._free_ids.pop() if self._free_ids else len(self._opened)
        opened = self._opened[index] = OpenedIndex(index, number)
        request = OpenRequest()
        request.connection = self
        request.opened = opened
        self._enqueue(request, b"P\t" + opened.prefix + index.open_tail)
        if len(self._opened) >= MAX_OPENED and not self.worn:
            self.worn = True
            self._on_changed(self)
        return opened

    def _enqueue(self, request: Request, data: bytes) -> None:
        request.data = data
        request.units = units = request.units + (len(data) // UNIT_BYTES)
        if self.outstanding >= self._max_outstanding or self._backlog:
            self._backlog[request] = None
        else:
            self.outstanding += units
            self._queue.append(request)

    def withdraw(self, request: Request) -> None:
        """Forgets a request that was not sent; leaves one that was as the placeholder of its answer."""
        if request in self._backlog:
            del self._backlog[request]
        elif request in self._queue:
            self._queue.remove(request)
            self.outstanding -= request.units
            self._admit()
        self._close_if_retired()

    def _admit(self) -> None:
        """Moves requests from the backlog to the queue as far as the bound allows."""
        while self._backlog and self.outstanding < self._max_outstanding:
            request, _ = self._backlog.popitem(last=False)
            self.outstanding += request.units
            self._queue.append(request)
            self._writer.wake()

    def _leave_idleness(self) -> None:
        """Before the first request after a pause: an end of the stream may have come in unnoticed, and a request sent into
        it would have an unknown outcome for nothing. (Servers close idle connections, ``handlersocket_timeout``.)"""
        self._watchdog.wake()
        self._receive()

    # ---- the three tasks

    def _flush(self) -> None:
        """Sends the queue in one call. What the kernel does not take now, the writer task sends later."""
        if not self._queue:
            return
        if len(self._queue) == 1:
            data = self._queue[0].data
        else:
            data = b"".join([request.data for request in self._queue])
            self._flushed_at = trio.current_time()
        try:
            self._sent.extend(self._queue)
            self._queue.clear()
            taken = self._transport.send(data)
            if taken < len(data):
                self._unsent = memoryview(data)[taken:]
                self._writer.wake()
        except OSError as error:
            self._unsent = memoryview(data)
            self.invalidate(error)
        except BaseException as error:  # of a signal's handler; whether the data went out, nobody knows
            self.invalidate(error)
            raise

    @enable_ki_protection
    async def _write(self) -> None:
        while self.usable:
            if self._unsent:
                await self._transport.wait_sendable()
                if self.usable:  # another task may have ended it in the same pass of the scheduler
                    self._send_rest()
            elif self._joined:
                # Those whom the last answers woke run in this pass too, and belong to the same group.
                self._joined = False
                await trio.lowlevel.cancel_shielded_checkpoint()
            elif self._queue and not self._joining:
                self._flush()
            else:
                await self._writer.sleep()

    def _send_rest(self) -> None:
        try:
            taken = self._transport.send(self._unsent)
        except OSError as error:
            self.invalidate(error)
            return
        self._unsent = self._unsent[taken:]
        self._progress += taken  # a long request on a slow line is progress, not silence

    @enable_ki_protection
    async def _read(self) -> None:
        while self.usable:
            await self._transport.wait_receivable()
            if self.usable:
                self._receive()

    def _receive(self) -> None:
        try:
            received = self._transport.receive()
        except OSError as error:
            self.invalidate(error)
            return
        if received is not None:
            self._received(received)

    def _received(self, data: bytes) -> None:
        try:
            if not data:
                inside = " in the middle of an answer" if self._answers.incomplete else ""
                raise OSError(f"the server closed the connection{inside}")
            lines = self._answers.feed(data)
            if not lines:
                self._progress += len(data)
                return
            self._progress += PROGRESS_BYTES
            if self.stalled:
                self._set_stalled(False)
            self._deliver(lines)
            if self._sent and self.usable:
                self._transport.acknowledge()
        except (OSError, ProtocolError) as error:
            self.invalidate(error)

    def _deliver(self, lines: list[bytes]) -> None:
        """Hands answers to the oldest requests and wakes whose answers are complete."""
        sent = self._sent
        count = len(lines)
        self.answered += count
        woken = 0
        position = 0
        while position < count:
            if not sent:
                raise ProtocolError(f"an answer that nothing was asked for: {lines[position][:60]!r}")
            request = sent[0]
            if request.lines == 1:
                line = lines[position]
                if not line.startswith(b"0\t"):
                    check_answer(line)
                request.answers = [line]
                position += 1
            else:
                part = lines[position : position + request.lines - len(request.answers)]
                for line in part:
                    if not line.startswith(b"0\t"):
                        check_answer(line)
                request.answers = [*request.answers, *part]
                position += len(part)
                if len(request.answers) < request.lines:
                    break
            sent.popleft()
            self.outstanding -= request.units
            woken += request.complete()
        self._expected = woken
        self._half = -1
        if self._joining:
            self._joining = False
            self._joined = True
            self._writer.wake()
        if woken >= GROUPED_TASKS or sent:
            self._group(woken)
        if self._backlog:
            self._admit()
        if self.retired:
            self._close_if_retired()

    def _group(self, woken: int) -> None:
        """Decides whether the requests of so many woken tasks go out in two groups."""
        now = trio.current_time()
        waited, worked = now - self._flushed_at, self._flushed_at - self._delivered_at
        self._delivered_at = now
        if woken >= GROUPED_TASKS:
            slow = waited > SLOWER * worked
            if self._sent:
                self._joining = slow
            elif not slow:
                self._half = woken // 2

    def index_refused(self, opened: OpenedIndex) -> None:
        """An index could not be opened: the next request on it tries again.

        The id may serve another index then. Whatever was sent or queued under it comes before that one's own opening, and
        finds nothing opened. An id that was opened is never given to another index: had its second opening failed, requests
        would run on the first one's table.
        """
        del self._opened[opened.index]
        self._free_ids.append(opened.number)

    @enable_ki_protection
    async def _watch(self) -> None:
        silent = 0
        while True:
            if not (self._sent or self._queue):
                silent = 0
                await self._watchdog.sleep()
            self._progress = 0
            await trio.sleep(self._timeout / TICKS)
            silent = 0 if self._progress >= PROGRESS_BYTES else silent + 1
            self._set_stalled(silent >= STALLED_TICKS and bool(self._sent))
            if silent > TICKS and self._sent:
                self.invalidate(TimeoutError(f"no answer for {self._timeout:g} s"))

    def _set_stalled(self, stalled: bool) -> None:
        if self.stalled != stalled:
            self.stalled = stalled
            self._on_changed(self)
