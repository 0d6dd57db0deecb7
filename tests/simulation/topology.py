"""One world: its servers, their replication, and the client's settings, all drawn from the seed."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from trio_hs import RetryPolicy
from trio_hs._network._connection import TICKS
from trio_hs._network._link import LONGEST_PAUSE
from trio_hs._network._pool import MARGIN
from trio_hs.testing import Table

GROUPS = 4

#: Every value names its row: ``v`` is "id.version", and a counter starts at its id times STRIDE.
ITEMS = Table(
    "sim",
    "items",
    {"id": "INT NOT NULL", "grp": "INT NOT NULL", "v": "VARCHAR(40) NOT NULL"},
    primary_key=["id"],
    indexes={"by_grp": ["grp", "id"]},
)
COUNTERS = Table("sim", "counters", {"id": "INT NOT NULL", "n": "BIGINT NOT NULL"}, primary_key=["id"])
TABLES = (ITEMS, COUNTERS)
STRIDE = 1_000_000


@dataclass(frozen=True)
class Topology:
    """The settings of a run. They do not change during it.

    Attributes:
      writer_groups, reader_groups: names of servers, in the client's order of preference. The first writer is the primary.
      synchronous: how many replicas must have a write before it is answered. If this is more than the number of servers that
        cannot be promoted, a standby has every acknowledged write. 0 promises nothing.
      latency: the shortest and longest delay of an answer, in seconds.
      narrow: the share of connections that carry only a few bytes at a time.
      calm: whether there are no faults, so that nothing may fail.
      flood: whether all tasks send so much to a stalled server that the client must hold requests back.
      open_standbys: whether standbys take writes, as MariaDB's replicas do by default. The primary is never down then, and
        refuses nothing, whatever else is wrong. So no write may reach a standby.
      moves_on_silence: whether the client's writes move to the next group when a server is silent; not with open standbys.
    """

    writer_groups: Sequence[Sequence[str]]
    reader_groups: Sequence[Sequence[str]]
    synchronous: int
    connections: int
    timeout: float
    retry: RetryPolicy
    idle_timeout: float | None
    secret: str | None
    instrumented: bool
    low_level: bool
    latency: tuple[float, float]
    narrow: float
    flood: bool
    calm: bool
    tasks: int
    operations: int
    fault_seconds: float
    open_standbys: bool
    moves_on_silence: bool

    @property
    def writers(self) -> list[str]:
        return [name for group in self.writer_groups for name in group]

    @property
    def servers(self) -> list[str]:
        return list(dict.fromkeys([*self.writers, *(name for group in self.reader_groups for name in group)]))

    @property
    def patience(self) -> float:
        """Seconds after which no operation may be under way any more.

        An operation waits for a usable server for ``timeout`` and a margin in all. With a deadline in the policy it waits until
        that, and then for ``timeout`` and the margin again. An attempt waits for an answer until the watchdog has seen
        ``timeout`` of silence. The silence begins anew when another request on the connection is answered.
        """
        reaching = self.timeout + MARGIN + (self.retry.deadline or 0)
        answer = 2 * self.timeout * (1 + 2 / TICKS) + self.latency[1]
        return reaching + self.retry.attempts * (answer + self.retry.max_backoff) + 5


def draw_topology(rng: random.Random) -> Topology:
    flood = rng.random() < 0.06
    calm = rng.random() < 0.06
    standbys = [f"w{number}" for number in range(1, 1 + rng.choice((0, 1, 1, 2)))]
    readers = [f"r{number}" for number in range(rng.choice((0, 1, 1, 2, 3)))]
    writers = ["w0", *standbys]
    read_from = readers + [name for name in writers if rng.random() < 0.3] or ["w0"]
    rng.shuffle(read_from)
    synchronous = len(readers) + 1 if standbys and rng.random() < 0.6 else 0
    least = rng.choice((0.0, 0.0, 0.001, 0.02))
    writer_groups = [writers] if rng.random() < 0.4 else [[name] for name in writers]
    # Servers of one group share the writes, so only a standby in a group of its own can be open.
    open_standbys = len(writer_groups) > 1 and rng.random() < 0.5
    return Topology(
        writer_groups=writer_groups,
        reader_groups=[[name] for name in read_from] if flood else _partition(rng, read_from),
        synchronous=synchronous,
        connections=1 if flood else rng.choice((1, 1, 2, 3)),
        timeout=rng.choice((0.3, 1.0, 3.0)),
        retry=_draw_policy(rng, len(writers)),
        # A server that closes connections sooner than LONGEST_PAUSE after they were made counts as broken.
        idle_timeout=None if calm else rng.choice((None, None, 1.5 * LONGEST_PAUSE, 4.0)),
        secret=rng.choice((None, "s3cr\u00e9t\t")),
        instrumented=rng.random() < 0.3,
        low_level=rng.random() < 0.4,
        latency=(least, rng.choice((least, least + 0.002, least + 0.05))),
        narrow=0.0 if flood else rng.choice((0.0, 0.0, 0.0, 0.3, 1.0)),
        flood=flood,
        calm=calm,
        tasks=4 if flood else rng.choice((2, 4, 8, 16)),
        operations=rng.randint(8, 20),
        fault_seconds=rng.choice((2.0, 5.0, 10.0)),
        open_standbys=open_standbys,
        moves_on_silence=rng.random() < 0.4 and not open_standbys,
    )


def _partition(rng: random.Random, names: Sequence[str]) -> list[list[str]]:
    groups: list[list[str]] = [[]]
    for name in names:
        if groups[-1] and rng.random() < 0.4:
            groups.append([])
        groups[-1].append(name)
    return groups


def _draw_policy(rng: random.Random, writers: int) -> RetryPolicy:
    backoff = rng.choice((0.0, 0.01, 0.05))
    return RetryPolicy(
        # Each server that refuses writes may cost an attempt, and the one that takes them has to be reached.
        attempts=rng.randint(writers + 1, 6),
        backoff=backoff,
        max_backoff=backoff + rng.choice((0.0, 1.0)),
        deadline=rng.choice((None, None, None, 2.0)),
        hedge_after=rng.choice((None, None, None, 0.01, 0.1)),
        repeat_writes=rng.choice(((), (), (), ("update",), ("delete", "insert", "update"))),
    )
