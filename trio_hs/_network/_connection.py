"""One connection to one listener: a pipeline that many tasks share.

How a request travels
---------------------
``submit`` is synchronous: in one step it puts the request's bytes into the queue and the request into the order of answers,
so the order needs no lock. The queue is sent in one system call. ``submit`` makes it when the connection was idle (a lone
request must not wait), when the request stands for many (it needs no company), or when every task that the last answers woke
has submitted its next request. Otherwise the writer task makes it in the scheduler's next pass, when all tasks of this pass
have queued their requests. The reader task hands each answer to the oldest request. So a request is in one of three states:

- backlog: too much is outstanding, and nothing of it has been sent.
- queued: its bytes are in the queue, and can be withdrawn without a trace.
- sent: the kernel has at least some of its bytes, and an answer is due. When its caller is cancelled now, the request stays
  as a placeholder that swallows its own answer.

Grouping. When everything outstanding is answered together, the server is idle while the tasks make their next requests, and
the client is idle while the server executes them. So the first half of the requests is sent alone, and from then on
two groups take turns. Where commits are quick, that made 1.5 times as many writes and 1.2 times as many reads. Where the
server takes longer than the tasks, it would be wrong: a commit would serve half as many writes, which cost 40 % when one took
1 ms. There the groups are joined: requests stay in the queue until everything outstanding is answered, which the server
finishes first anyway.

Acknowledgements. The server leaves Nagle's algorithm on: a write waits until the one before it is acknowledged, and a kernel
with nothing to send delays its acknowledgement by up to 40 ms. So while more answers are due, the kernel is told to
acknowledge at once. (Measured: 1,000 rows in four requests took 9 ms without this, 3 ms with it.)

Ctrl-C. Callers run most of this in their own tasks, where Ctrl-C could be raised between any two lines. If a request were in
the order of answers but never sent, each later request would get the answer of the one before it. So steps that must not be
interrupted are protected, and so are the background tasks; trio raises KeyboardInterrupt when the main task waits next.

Silence. No request has a timer. Answers come in order, so a server that is silent while something is outstanding owes all of
it. One watchdog per connection looks for silence a few times per timeout, and sleeps while nothing is outstanding. A trickle
of bytes that completes no answer is silence too.

Unasked answers. One that comes while nothing is outstanding ends the connection. One that comes between others would shift all
later ones, until nothing is outstanding or an answer has the wrong number of columns. MariaDB sends none. A request with an
unmistakable answer now and then (an unknown command: ``2 1 cmd``) would show it. We don't send one: a proxy or another server
may treat it otherwise, and to end a healthy connection puts writes in doubt, which is the more likely harm.

Longer than most modules because its tasks share one state, and to reach it through another object would cost every request.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import trio
from trio.lowlevel import enable_ki_protection, reschedule

from .._counted import counted
from .._protocol import Answers, Index, check_answer
from ..exceptions import ProtocolError
from ._background import Sleeper
from ._failures import without_tracebacks
from ._handshake import authenticate
from ._request import WOKEN, OpenedIndex, OpenRequest, Request
from ._transport import Transport

#: Requests that may be outstanding on a connection before callers wait their turn. The server goes on reading while its answers
#: are not taken, so the bound has to be ours. Each UNIT_BYTES of a request count as one more, and a list of keys counts as one
#: request per key: the server builds the answers to everything it has received before it sends any.
MAX_OUTSTANDING = 1024
UNIT_BYTES = 4096
#: A request of this many units is sent at once, so that the server has work. Smaller ones wait for others, even if they
#: are long. Measured: inserts of 2 KB that were sent one by one, and so did not share a commit, took 1.3 times as long.
FULL_UNITS = 64
#: From this many bytes on a request of one line is not copied behind its prefix: its ``data`` is the tail alone, which begins
#: with a TAB. Measured: a copy of 33 MB takes 16 ms.
LONG_REQUEST = 1 << 18

#: From this many woken tasks on, two groups of requests pay off.
GROUPED_TASKS = 16
#: The server is slower than the tasks when the client waits for answers SLOWER times as long as the tasks take. The wait
#: includes the round trip. Measured: two groups of writes are a gain up to about this factor.
SLOWER = 1.5

#: How often the watchdog looks per timeout. A silent server is given up at most timeout / TICKS too late.
TICKS = 16
#: After this many silent looks with requests outstanding, a server is avoided while others answer.
STALLED_TICKS = 2
#: Without a whole answer, a look sees progress only if this many bytes moved in either direction.
PROGRESS_BYTES = 1024

#: The server keeps an index open until the connection closes. A connection with this many is due to be replaced.
MAX_OPENED = 10_000


class Connection:
    """A pipelined connection. ``run`` keeps it going; ``submit`` and then ``Request.wait`` use it.

    Attributes:
      usable: True until something goes wrong with it, then False for good.
      stalled: True while the server is suspiciously silent with requests outstanding; after the end, whether it was then.
      outstanding: the requests that wait for an answer (long ones count for several), without the backlog.
      cancelled: True if that was because its task was cancelled, with the block that opened the pool.
      retired: True if it takes no new requests and closes after the last answer.
      worn: True if MAX_OPENED indexes are open on it, so that its owner should replace it.
      answered: how many answers have come.
      fruitless: True if it ended with requests outstanding and had never answered one.
      ended_idle: True if it ended with nothing outstanding.
      reason: why it is no longer usable.
      peer: the server, for people.
      near: whether the round trip is short compared with the time that the server takes to look up a few hundred keys.
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
        self.cancelled = False
        self.stalled = False
        self.retired = False
        self.worn = False
        self.outstanding = 0
        self.answered = 0
        self.fruitless = self.ended_idle = False
        self.reason: BaseException | None = None
        self._transport = transport
        self.peer = peer
        self.near = False
        self._timeout = timeout
        self._on_closed = on_closed
        self._on_changed = on_changed  # called when `stalled` or `worn` has changed
        self._max_outstanding = max_outstanding
        self._scope = trio.CancelScope()
        self._answers = Answers()
        self._opened: dict[Index, OpenedIndex] = {}
        self._free_ids: list[int] = []
        self._holders = 0
        self._backlog: OrderedDict[Request, None] = OrderedDict()
        self._queue: list[Request] = []
        self._sent: deque[Request] = deque()
        # What the kernel has not taken yet of the requests in `_sent`.
        self._unsent: list[memoryview] = []
        # Whether a request in the queue or the backlog may be a long one.
        self._long = False
        # Bytes that moved since the watchdog's last look. A whole answer counts as PROGRESS_BYTES.
        self._progress = 0
        self._writer = Sleeper()
        self._watchdog = Sleeper()
        # The grouping of requests. Woken tasks expected to submit another request:
        self._expected = 0
        # `_expected` when the first half of them has submitted, and the queue is sent. -1 turns that off.
        self._half = -1
        # Whether the queue waits until everything sent is answered, and whether that wait has just ended.
        self._joining = self._joined = False
        self._delivered_at = self._flushed_at = 0.0

    def __repr__(self) -> str:
        state = f"closed: {self.reason}" if not self.usable else "stalled" if self.stalled else "usable"
        waiting = f", {len(self._backlog)} in the backlog" if self._backlog else ""
        indexes = counted(len(self._opened), "index", "indexes")
        return f"<Connection {self.peer} {state}, {self.outstanding} outstanding{waiting}, {indexes}>"

    @property
    def load(self) -> int:
        """How much a new request would have to wait for."""
        return self.outstanding + len(self._backlog)

    # ---- its life

    async def authenticate(self, secret: str | None) -> None:
        """The first exchange, before ``run``. Raises AuthenticationError, OSError or ProtocolError.

        The caller sets the deadline, and closes the transport after a failure.
        """
        self.near = await authenticate(self._transport, secret, self.peer)

    @enable_ki_protection
    async def run(self) -> None:
        """Sends, receives and watches until the connection ends. Raises nothing but Cancelled.

        When it returns or is cancelled, every request has its answers or its failure, and the stream is closed.
        """
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._write)
                    nursery.start_soon(self._watch)
                    nursery.start_soon(self._read)
        except BaseException:  # Cancelled, or a group of them
            self.cancelled = self.usable
            raise
        finally:
            self.invalidate(OSError("the client closed the connection"))

    @enable_ki_protection
    def invalidate(self, reason: BaseException) -> None:
        """Ends the connection now: closes the stream and fails everything outstanding with ``reason``.

        ``reason`` loses its traceback: it is kept for as long as the server is down, and would keep what the frames hold.
        """
        if not self.usable:
            return
        self.usable = False
        self.reason = without_tracebacks(reason)
        self.fruitless = bool(self._sent) and not self.answered
        self.ended_idle = not self.load
        self._scope.cancel()
        self._transport.close()
        # The server executes whole lines only. A line whose end was not sent cannot have been executed.
        unsent = sum(map(len, self._unsent))
        for request in reversed(self._sent):
            size = len(request.data)
            request.sent_lines = request.lines - request.data.count(b"\n", max(0, size - unsent))
            if request.data.startswith(b"\t"):
                size += len(request.opened.prefix)
            unsent = max(0, unsent - size)
        for request in (*self._queue, *self._backlog):
            request.sent_lines = 0
        for request in (*self._sent, *self._queue, *self._backlog):
            request.failure = reason
            request.complete()
        self._sent.clear()
        self._queue.clear()
        self._backlog.clear()
        self._unsent.clear()
        self._answers.clear()
        self.outstanding = 0
        self._on_closed(self)

    @enable_ki_protection
    def retire(self) -> None:
        """Closes the connection after the last answer. The owner sends nothing more through it."""
        self.retired = True
        self._close_if_retired()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keeps a retired connection open for the block, which submits its requests bit by bit."""
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
        """Puts a request of ``request.lines`` tails on its way, and opens its index first where needed.

        Never waits and never raises: ``request.failure`` says what went wrong, at once or later. ``more`` says that the caller
        submits another request before it waits, so that both leave in one system call.
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
        if request.lines > 1:
            data = prefix + prefix.join(tails)
            size = len(data)
        else:
            data = tails[0]
            size = len(data)
            if size < LONG_REQUEST:
                data = prefix + data
            else:
                self._long = True
        # The same as `_enqueue`, without the cost of a call.
        request.data = data
        units = request.units
        if size >= UNIT_BYTES:
            request.units = units = units + size // UNIT_BYTES
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
        """Forgets a request that was not sent. One that was sent stays as the placeholder of its answer."""
        if request in self._backlog:
            request.sent_lines = 0
            del self._backlog[request]
        elif request in self._queue:
            request.sent_lines = 0
            self._queue.remove(request)
            self.outstanding -= request.units
            self._admit()
        self._close_if_retired()

    def _admit(self) -> None:
        """Moves requests from the backlog to the queue, as far as the bound allows."""
        while self._backlog and self.outstanding < self._max_outstanding:
            request, _ = self._backlog.popitem(last=False)
            self.outstanding += request.units
            self._queue.append(request)
            self._writer.wake()

    def _leave_idleness(self) -> None:
        """Before the first request after a pause: look whether the stream has ended. Servers close idle connections
        (``handlersocket_timeout``), and a request sent into one would have an unknown outcome for nothing."""
        self._watchdog.wake()
        self._receive()

    # ---- the three tasks

    def _flush(self) -> None:
        """Sends the queue in one call. The writer task sends later what the kernel does not take now."""
        if not self._queue:
            return
        if self._long:
            data = self._first_piece()
        elif len(self._queue) == 1:
            data = self._queue[0].data
        else:
            data = b"".join([request.data for request in self._queue])
            self._flushed_at = trio.current_time()
        try:
            self._sent.extend(self._queue)
            self._queue.clear()
            taken = self._transport.send(data)
            if taken < len(data):
                self._unsent.insert(0, memoryview(data)[taken:])
                self._writer.wake()
        except OSError as error:
            self._unsent.insert(0, memoryview(data))
            self.invalidate(error)
        except BaseException as error:  # raised by a signal handler; the data may have been sent
            self.invalidate(OSError(f"{type(error).__name__} was raised while requests were being sent"))
            raise

    def _first_piece(self) -> bytes:
        """The queue up to the first long request. The pieces after that go into ``_unsent``. A long request is one of them."""
        small: list[bytes] = []
        pieces: list[bytes] = []
        for request in self._queue:
            if request.data.startswith(b"\t"):
                pieces += [b"".join([*small, request.opened.prefix]), request.data]
                small = []
            else:
                small.append(request.data)
        pieces.append(b"".join(small))
        self._long = bool(self._backlog)
        self._unsent = [memoryview(piece) for piece in pieces[1:] if piece]
        self._writer.wake()
        return pieces[0]

    @enable_ki_protection
    async def _write(self) -> None:
        while self.usable:
            if self._unsent:
                await self._transport.wait_sendable()
                if self.usable:  # another task may have ended it in this pass of the scheduler
                    self._send_rest()
            elif self._joined:
                # The tasks that the last answers woke run in this pass too, and belong to the same group.
                self._joined = False
                await trio.lowlevel.cancel_shielded_checkpoint()
            elif self._queue and not self._joining:
                self._flush()
            else:
                await self._writer.sleep()

    def _send_rest(self) -> None:
        piece = self._unsent[0]
        try:
            taken = self._transport.send(piece)
        except OSError as error:
            self.invalidate(error)
            return
        if taken < len(piece):
            self._unsent[0] = piece[taken:]
        else:
            del self._unsent[0]
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
        """Hands answers to the oldest requests, and wakes the tasks whose requests are complete."""
        sent = self._sent
        count = len(lines)
        self.answered += count
        woken = 0
        position = 0
        while position < count:
            if not sent:
                raise ProtocolError("an answer without a request", lines[position])
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
            task = request.task
            if task is None:
                woken += request.complete()
            else:  # the same as `Request.complete`, without the cost of a call
                request.task = None
                reschedule(task, WOKEN)
                woken += 1
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
        """Decides whether the next requests of the woken tasks go out in one group or two."""
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
        """The server did not open an index: the next request on it tries again.

        Its id may go to another index. Requests that were sent or queued under it come before that index is opened, and find
        nothing open. An id that was opened is never given to another index: if the second opening failed, requests would run on
        the table of the first.
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
