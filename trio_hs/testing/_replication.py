"""Replication: the log of a server's transactions, and a replica that follows the log of another server.

As in MariaDB, a replica first receives a transaction, which is safe then and acknowledged to a synchronous source. Later it
applies the transaction, so that readers see it. Times are trio's, so all of it runs under a MockClock.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import trio

from ._table import Change, Database, DivergedError

#: Transactions that a log keeps. A replica that is further behind gets a copy of the tables.
KEPT_TRANSACTIONS = 100_000


class ReplicationError(Exception):
    """A replica cannot follow a server, because it has transactions that the server does not have."""


class Position(NamedTuple):
    """The position of a log: the number of its transactions, and the server that committed the last one."""

    number: int = 0
    origin: str = ""

    def __str__(self) -> str:
        return f"{self.number}@{self.origin}" if self.number else "the beginning"


class Transaction(NamedTuple):
    position: Position
    changes: Sequence[Change]


class Storage(Protocol):
    """Keeps transactions beyond the life of the process."""

    def append(self, transaction: Transaction) -> None:
        """Keeps one more transaction."""

    def keep(self, changes: Sequence[Change]) -> None:
        """Keeps changes that are not for replicas."""

    def begin(self, position: Position, rows: Sequence[Change]) -> None:
        """Forgets everything, and keeps these rows as the state at a position."""


class Log:
    """The last transactions that a server has committed, its own and those that it applied.

    Attributes:
      position: the position of the last transaction.
      changed: where to wait for the next transaction.
      journal: keeps transactions beyond the life of the process, or None.
    """

    def __init__(self, kept: int = KEPT_TRANSACTIONS) -> None:
        self.position = Position()
        self.journal: Storage | None = None
        self.changed = trio.lowlevel.ParkingLot()
        self._start = Position()  # the position before the first transaction kept
        self._kept = kept
        self._transactions: deque[tuple[Transaction, float]] = deque()

    def append(self, transaction: Transaction) -> None:
        if self.journal is not None:
            self.journal.append(transaction)
        self._transactions.append((transaction, trio.current_time()))
        self.position = transaction.position
        if len(self._transactions) > self._kept:
            self._start = self._transactions.popleft()[0].position
        self.changed.unpark_all()

    def holds(self, position: Position) -> bool:
        """Whether the log has been at this position, and still has all transactions that follow."""
        if position == self._start:
            return True
        offset = position.number - self._start.number - 1
        return 0 <= offset < len(self._transactions) and self._transactions[offset][0].position == position

    def after(self, position: Position) -> tuple[Transaction, float] | None:
        """The transaction after a position that the log holds, and when it was committed here."""
        offset = position.number - self._start.number
        return self._transactions[offset] if offset < len(self._transactions) else None

    def take_back(self, count: int) -> list[Transaction]:
        """Forgets the last transactions. Returns them, the last one first."""
        lost = [self._transactions.pop()[0] for _ in range(min(count, len(self._transactions)))]
        self.position = self._transactions[-1][0].position if self._transactions else self._start
        return lost

    def restart(self, position: Position, rows: Sequence[Change] = ()) -> None:
        """Forgets everything, and starts at a position at which the tables hold ``rows``."""
        if self.journal is not None:
            self.journal.begin(position, rows)
        self._transactions.clear()
        self._start = self.position = position
        self.changed.unpark_all()


class Source(Protocol):
    """The server that a replica follows: in this process, or at the other end of a socket."""

    name: str

    async def copy(self, position: Position, rebuild: bool) -> tuple[Position, list[Change]] | None:
        """Starts replication after ``position``. None if the source can continue there, otherwise a copy of its tables with
        the position of the copy.

        Raises ReplicationError if the source's log has never been at the position and ``rebuild`` is false, OSError if the
        source is down.
        """

    async def next(self, position: Position, transfer: Callable[[], float]) -> tuple[Transaction, float]:
        """The transaction after ``position`` and the time of its commit. Returns ``transfer()`` seconds after the commit.

        Raises OSError as ``copy`` does. Transactions on their way are lost then.
        """

    def acknowledge(self, replica: str, position: Position) -> None:
        """Tells the source that a replica has everything up to ``position``."""

    def close(self) -> None:
        """Closes what ``copy`` opened. ``copy`` may be called again."""


class Replica:
    """Follows another server for one server.

    Attributes:
      transfer: seconds between a transaction's commit and its arrival. A transaction on its way is lost with the source.
      connected: whether the source answers.
      error: why replication has stopped for good, or None.
      received: the position of the last transaction that has arrived.
    """

    #: Seconds between attempts to reach a source that is down.
    RETRY_SECONDS = 0.1

    def __init__(self, name: str, database: Database, log: Log) -> None:
        self._lag: float | Callable[[], float] = 0.0
        self.transfer = 0.0
        self._paused = False
        self.connected = False
        self.error: str | None = None
        self.received = log.position
        self._name = name
        self._database = database
        self._log = log
        self._relay: deque[tuple[Transaction, float]] = deque()
        self._changed = trio.lowlevel.ParkingLot()
        self._scope: trio.CancelScope | None = None

    @property
    def following(self) -> bool:
        """True between ``run`` and ``stop``."""
        return self._scope is not None

    @property
    def waiting(self) -> int:
        """How many transactions have arrived, but are not visible to readers yet."""
        return len(self._relay)

    @property
    def behind(self) -> float | None:
        """Seconds since the commit of the first transaction that readers do not see yet; None if that is not known."""
        if self._relay:
            return max(0.0, trio.current_time() - self._relay[0][1])
        return 0.0 if self.connected and not self.paused and self.error is None else None

    @property
    def lag(self) -> float | Callable[[], float]:
        """Seconds between a transaction's commit and the moment when readers of the replica see it.

        May be set at any time, also to a function that returns the lag of each transaction.
        """
        return self._lag

    @lag.setter
    def lag(self, lag: float | Callable[[], float]) -> None:
        self._lag = lag
        self._changed.unpark_all()

    @property
    def paused(self) -> bool:
        """While True, nothing is received or applied."""
        return self._paused

    @paused.setter
    def paused(self, paused: bool) -> None:
        self._paused = paused
        self._changed.unpark_all()

    async def run(self, source: Source, rebuild: bool) -> None:
        """Follows until :meth:`stop`, through every failure of the source. Raises nothing; see ``error``."""
        self.error = None
        self.received = self._relay[-1][0].position if self._relay else self._log.position
        with trio.CancelScope() as scope:
            self._scope = scope
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._apply)
                    await self._receive(source, rebuild)
                    nursery.cancel_scope.cancel()
            finally:
                source.close()
                if self._scope is scope:  # and not already that of the next run
                    self._scope = None
                    self.connected = False

    def stop(self) -> None:
        """Ends :meth:`run`. Transactions that have arrived are applied at once; others are not waited for."""
        self.forget()
        while self._relay and self.error is None:
            self._apply_next()

    def forget(self) -> None:
        """The process dies. Transactions that have arrived are kept, like a relay log on disk, and applied after the
        restart."""
        if self._scope is not None:
            self._scope.cancel()
            self._scope = None
            self.connected = False

    async def _receive(self, source: Source, rebuild: bool) -> None:
        while self.error is None:
            try:
                await self._when_unpaused()
                copied = await source.copy(self.received, rebuild)
                if copied is not None:
                    self._replace(*copied)
                rebuild = False
                self.connected = True
                source.acknowledge(self._name, self.received)
                while not self.paused:
                    transaction, committed = await source.next(self.received, lambda: self.transfer)
                    if self.paused:
                        break  # it came too late, and will be requested again
                    self._relay.append((transaction, committed))
                    self.received = transaction.position
                    source.acknowledge(self._name, self.received)
                    self._changed.unpark_all()
            except (ReplicationError, ValueError, KeyError, TypeError) as error:
                self.error = str(error)  # refused, or not a transaction of these tables
            except OSError:
                self.connected = False
                await trio.sleep(self.RETRY_SECONDS)

    def _replace(self, position: Position, rows: list[Change]) -> None:
        self._relay.clear()
        self._database.replace(rows)
        self._log.restart(position, rows)
        self.received = position

    async def _apply(self) -> None:
        while self.error is None:
            while not self._relay:
                await self._changed.park()
            committed = self._relay[0][1]
            lag = self.lag
            if callable(lag):
                drawn = lag()  # once for each transaction
                await self._until(committed, lambda drawn=drawn: drawn)  # type: ignore[misc]
            else:
                await self._until(committed, lambda: self.lag if isinstance(self.lag, float | int) else 0.0)
            if self._relay:
                self._apply_next()

    def _apply_next(self) -> None:
        transaction, _ = self._relay.popleft()
        try:
            self._database.apply(transaction.changes)
        except DivergedError as error:
            self.error = f"{transaction.position}: {error}"
            return
        self._log.append(transaction)

    async def _until(self, since: float, wait: Callable[[], float]) -> None:
        """Waits until ``wait()`` seconds after ``since``. The wait may change meanwhile, and does not end while paused."""
        while self.paused or since + wait() > trio.current_time():
            with trio.move_on_at(math.inf if self.paused else since + wait()):
                await self._changed.park()

    async def _when_unpaused(self) -> None:
        while self.paused:
            await self._changed.park()
