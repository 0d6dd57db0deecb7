"""The faults of a scenario: what each is called and takes, and when each starts and heals. What they do is `nemesis`'s.

A fault strikes its target `at` a moment after the load has begun and heals `for` so long afterwards; one without `for` lasts
until the run ends. Some happen at once and have nothing to heal. `every` repeats one.
"""

from __future__ import annotations

import heapq
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice
from typing import Annotated, ClassVar, Literal, Self, TypeAlias, get_args

from pydantic import Field, model_validator

from ._base import Model, Seconds, SecondsOrZero

__all__ = [
    "FAULTS",
    "ONLY_HANDLERSOCKET",
    "AnyFault",
    "Fault",
    "Moment",
    "NetworkFault",
    "clash",
    "not_on",
    "replication_missing",
    "targets_of",
    "timeline",
    "to_be_promoted",
    "unknown_target",
]


ONLY_HANDLERSOCKET = ("writer-lock", "stop-listener")
"""Faults of the plugin, of which who asks by SQL notices nothing."""
MOST_MOMENTS = 10_000
"""Of a schedule, looked through for faults that exclude each other: one with a small `every` has more than that."""
LINK = "client->"
"""How a target begins that is the network between clients and a server."""


class Fault(Model):
    """What every fault has."""

    lasts: ClassVar[bool] = True
    """Whether there is something to heal."""
    needs_mariadb: ClassVar[bool] = False
    """Whether embedded servers, which have no SQL and no such weakness, cannot show it."""

    target: str
    """A server's name, `primary` (who takes the writes then), `one reader` (drawn anew each time) or `all readers`. A fault of
    the network lies between clients and server, and may say so: `client->reader-1`."""
    at: SecondsOrZero
    """Seconds after the load has begun."""
    for_: Seconds | None = Field(default=None, alias="for")
    """Seconds until it heals; without it at the end of the run."""
    every: Seconds | None = None
    """Seconds from one start to the next."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.for_ is not None and not self.lasts:
            raise ValueError(f"{self.name} happens at once and has nothing to heal: leave `for` out")
        if self.every is not None and self.lasts and (self.for_ is None or self.every <= self.for_):
            raise ValueError("needs a `for` shorter than `every`, so that it has healed before it comes again")
        return self

    @property
    def name(self) -> str:
        """What the scenario calls it."""
        return str(self.model_dump()["fault"])

    def __str__(self) -> str:
        return f"{self.name} {self.target}"


class AtOnce(Fault):
    """A fault that has nothing to heal."""

    lasts: ClassVar[bool] = False


class NetworkFault(Fault):
    """A fault of the network in front of a server; clients reach every server through a proxy then."""

    listener: Literal["read", "write", "both"] = "both"
    """Which of the server's listeners."""


# ---- of a server's process


class Kill(Fault):
    """SIGKILL. Healing starts the server again, with its data and on its ports."""

    fault: Literal["kill"]


class Stop(Fault):
    """An orderly shutdown. Healing starts the server again."""

    fault: Literal["stop"]
    drain: bool = False
    """true: HandlerSocket ends first, so that no client writes while the rest shuts down. (false, a writer of the write-through
    topology may lose what it acknowledges in its last moment.)"""


class Restart(AtOnce):
    """An orderly shutdown, and a start right behind it."""

    fault: Literal["restart"]
    drain: bool = False
    """As that of `stop`."""


class Pause(Fault):
    """SIGSTOP: the kernel still accepts connections, and nothing is answered. Healing is SIGCONT."""

    fault: Literal["pause"]


# ---- of replication


class Promote(AtOnce):
    """A replica becomes the primary. The old one is not asked: it may be dead."""

    fault: Literal["promote"]


class SwitchOver(AtOnce):
    """Planned: the primary stops taking writes, the target takes its place, and the old one becomes a replica."""

    fault: Literal["switch-over"]
    suspend: bool = False
    """false: the primary is shut down in order, and clients get no answer until the target takes writes; with semisync a
    replica has every acknowledged write by then. true: the clients let go of the servers and wait, and the primary is made
    read-only in place, which would else wait for them for ever; the target applies all that the primary has logged."""


class Rejoin(AtOnce):
    """A server, such as the old primary, becomes a replica of the primary, rebuilt when its data have gone another way."""

    fault: Literal["rejoin"]


class StopReplication(Fault):
    """A replica neither fetches nor applies. Healing lets it catch up."""

    fault: Literal["stop-replication"]


class Lag(Fault):
    """A replica applies everything `seconds` late."""

    fault: Literal["lag"]
    seconds: int = Field(ge=1, le=3600)


# ---- of what other clients of the server do


class WriterLock(Fault):
    """Another connection holds the plugin's own lock on all writing, `handlersocket_wr`."""

    needs_mariadb: ClassVar[bool] = True
    fault: Literal["writer-lock"]


class RowLock(Fault):
    """Another client's transaction holds a row of the table, which stalls the server's whole writer thread."""

    needs_mariadb: ClassVar[bool] = True
    fault: Literal["row-lock"]
    key: int = Field(default=1, ge=1)


class AlterTable(AtOnce):
    """An ALTER TABLE on the table under load. It waits for all who have the table open, and then perhaps gives up.

    That it gave up is no failure of the fault, it is told with it; but with `suspend` it is one.
    """

    needs_mariadb: ClassVar[bool] = True
    fault: Literal["alter-table"]
    patience: Seconds = 10.0
    """How long it waits."""
    suspend: bool = False
    """true: the clients let go of the servers and wait, until the replicas have carried it out too."""


class StopListener(Fault):
    """The listener for reads accepts connections and serves nothing. Only a restart cures that, so healing is one."""

    needs_mariadb: ClassVar[bool] = True
    fault: Literal["stop-listener"]


# ---- of the network


class Partition(NetworkFault):
    """Nothing passes, and nothing is refused. Bytes are held, as TCP would send them again."""

    fault: Literal["partition"]


class Latency(NetworkFault):
    """Everything arrives later, in each direction."""

    fault: Literal["latency"]
    delay: Seconds
    jitter: SecondsOrZero = 0.0


class Bandwidth(NetworkFault):
    """All connections to the server together get so many bytes a second, in each direction."""

    fault: Literal["bandwidth"]
    bytes_per_second: int = Field(ge=1)


class Reset(NetworkFault):
    """Every open connection to the server is reset."""

    lasts: ClassVar[bool] = False
    fault: Literal["reset"]


class HalfOpen(NetworkFault):
    """The server's end of every open connection vanishes, and the clients are not told."""

    fault: Literal["half-open"]


class Blackhole(NetworkFault):
    """The listener accepts connections and never answers; what it is sent never reaches the server."""

    fault: Literal["blackhole"]


class DropReplies(NetworkFault):
    """The server carries requests out, and every so many answers one is lost, with its connection."""

    fault: Literal["drop-replies"]
    after: int = Field(default=100, ge=0)


class IdleTimeout(NetworkFault):
    """Connections on which nothing has passed for a while are closed in order, as by `handlersocket_timeout` or a firewall."""

    fault: Literal["idle-timeout"]
    after: Seconds


class Flapping(NetworkFault):
    """A partition that comes and goes."""

    fault: Literal["flapping"]
    down: Seconds = 0.2
    up: Seconds = 0.8


AnyFault: TypeAlias = Annotated[
    Kill
    | Stop
    | Restart
    | Pause
    | Promote
    | SwitchOver
    | Rejoin
    | StopReplication
    | Lag
    | WriterLock
    | RowLock
    | AlterTable
    | StopListener
    | Partition
    | Latency
    | Bandwidth
    | Reset
    | HalfOpen
    | Blackhole
    | DropReplies
    | IdleTimeout
    | Flapping,
    Field(discriminator="fault"),
]


#: Every kind of fault, by its name.
FAULTS: dict[str, type[Fault]] = {
    str(get_args(kind.model_fields["fault"].annotation)[0]): kind for kind in get_args(get_args(AnyFault)[0])
}


# ---- whom, and when


def unknown_target(fault: Fault, readers: int, standby: bool) -> str | None:
    """What is wrong with a fault's target in a cluster of so many readers, or None."""
    target = fault.target.removeprefix(LINK)
    if target != fault.target and not isinstance(fault, NetworkFault):
        what = f"{fault.target} is the network between clients and a server, and {fault.name} strikes the server itself"
        return f"{what}: say {target!r}"
    if target == "all readers" and readers > 1 and isinstance(fault, Promote | SwitchOver):
        return f"must be one server, for there is one primary: {fault.name} all readers would make {readers}; say one reader"
    reader = re.fullmatch(r"reader-([1-9][0-9]*)", target)
    if target in ("writer", "primary", "one reader", "all readers") or (reader and int(reader[1]) <= readers):
        return None
    if target == "standby":
        return None if standby else "must be a server of this cluster: for a standby say cluster.standby: true"
    if reader:
        return f"must be a server of this cluster: {target} is not, for cluster.readers is {readers}"
    known = ["writer", "primary", *(["standby"] if standby else []), *(f"reader-{n + 1}" for n in range(readers))]
    return f"must be one of {', '.join(known)}, one reader, all readers, not {fault.target!r}"


def not_on(fault: Fault, kind: str) -> str | None:
    """Why a fault cannot be had on servers of this kind, or None."""
    if kind == "external" and not isinstance(fault, NetworkFault):
        return f"external servers cannot do {fault.name}: that takes more than the network; do it by your own means meanwhile"
    if kind == "embedded" and fault.needs_mariadb:
        return f"embedded servers cannot do {fault.name}: use cluster kind mariadb or docker"
    return None


def replication_missing(fault: Fault, replication: str) -> str | None:
    """What is wrong with a fault in a cluster that replicates so, or None."""
    if isinstance(fault, SwitchOver) and not fault.suspend and replication != "semisync":
        without = f"{fault.name} without `suspend: true` needs cluster.replication: semisync"
        return f"{without}, or it loses what no replica has got yet; not {replication}"
    if isinstance(fault, Promote | SwitchOver | Rejoin | StopReplication | Lag) and replication == "none":
        return f"{fault.name} needs servers that replicate, and cluster.replication is none"
    return None


RESTARTING = (Kill, Stop, Restart, StopListener, Promote, SwitchOver, Rejoin)
"""What may end another fault on its server, or change who is the primary."""


def clash(faults: Sequence[Fault], readers: int, duration: float) -> tuple[int, str] | None:
    """Which fault begins while its own kind is on already on the same server, counted from 0, and what is wrong with that; None
    if none certainly does. Such a fault cannot strike, or its healing would end the other one as well. Faults of the network
    add up."""
    on: set[int] = set()
    for moment in islice(timeline(faults, duration), MOST_MOMENTS):
        fault = faults[moment.number]
        if moment.heals:
            on.discard(moment.number)
        elif fault.lasts and not isinstance(fault, NetworkFault):
            for number in sorted(on):
                if _same(fault, faults[number]) and _certain(fault, faults, readers) & _certain(
                    faults[number], faults, readers
                ):
                    is_on = f"faults.{number} has {fault.name} on already on the same server, {moment.at:g} s after the start"
                    return moment.number, f"{is_on}: let one of them heal before the other one begins"
            on.add(moment.number)
    return None


def _same(one: Fault, other: Fault) -> bool:
    """Whether only one of them can be on."""
    return one.name == other.name and getattr(one, "key", None) == getattr(other, "key", None)


def _certain(fault: Fault, faults: Sequence[Fault], readers: int) -> set[str]:
    """The servers on which a fault is on from its start until it heals, whatever is drawn and whatever other faults do."""
    if any(isinstance(one, RESTARTING) and one.name != fault.name for one in faults):
        return set()
    everyone = {f"reader-{number + 1}" for number in range(readers)}
    match fault.target:
        case "all readers":
            return everyone
        case "one reader":
            return everyone if readers == 1 else set()
        case "primary":
            return {"writer"}
        case name:
            return {name}


def targets_of(target: str, names: Sequence[str], primary: str, rng: random.Random) -> list[str]:
    """The names of the servers that a target means now."""
    readers = [name for name in names if name.startswith("reader-")]
    target = target.removeprefix(LINK)
    match target:
        case "primary":
            return [primary]
        case "one reader":
            return [rng.choice(readers)]
        case "all readers":
            return readers
    return [target]


def to_be_promoted(faults: Sequence[Fault], names: Sequence[str]) -> list[str]:
    """The names of the servers that the faults may make the primary."""
    targets = {fault.target for fault in faults if isinstance(fault, Promote | SwitchOver)}
    any_reader = bool(targets & {"one reader", "all readers"})
    return [name for name in names if name in targets or (any_reader and name.startswith("reader-"))]


@dataclass(frozen=True)
class Moment:
    """A fault's start or its healing."""

    at: float
    """Seconds after the load has begun."""
    number: int
    """Which of the scenario's faults, counted from 0."""
    occurrence: int
    """Which time, counted from 0."""
    heals: bool


def timeline(faults: Sequence[Fault], duration: float) -> Iterator[Moment]:
    """Every start and healing within a run of so many seconds, in order; at one moment healing comes first.

    Without end when `duration` is infinite (a run lasts until somebody stops it) and a fault repeats.
    """
    each = [_moments(number, fault, duration) for number, fault in enumerate(faults)]
    return heapq.merge(*each, key=lambda moment: (moment.at, not moment.heals, moment.number))


def _moments(number: int, fault: Fault, duration: float) -> Iterator[Moment]:
    for occurrence in range(1) if fault.every is None else count():
        start = fault.at + occurrence * (fault.every or 0)
        if start >= duration:
            return
        yield Moment(start, number, occurrence, heals=False)
        if fault.lasts and fault.for_ is not None and start + fault.for_ < duration:
            yield Moment(start + fault.for_, number, occurrence, heals=True)
