"""The faults of a scenario: their names and keys, and what each may strike. `nemesis` injects them.

A fault strikes its target `at` seconds after the load has begun, and heals `for` seconds later; without `for` it heals when the
run ends. Some faults happen at once and have nothing to heal. `every` repeats a fault.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self, TypeAlias, get_args

from pydantic import AfterValidator, Field, model_validator
from pydantic.json_schema import SkipJsonSchema

from ._base import Model, Seconds, SecondsOrZero, refuse
from ._commands import Argv, CommandSpec, Timeout, unknown_here

__all__ = ["BY_COMMAND", "FAULTS", "AnyFault", "Fault", "NetworkFault", "kind_of"]


class Fault(Model):
    """The keys of every fault, and what other modules need to know of it. They ask these attributes, never for its name."""

    lasts: ClassVar[bool] = True
    """Whether there is something to heal."""
    needs_mariadb: ClassVar[bool] = False
    """Whether embedded servers cannot show it: they have no SQL, and not the weaknesses of the plugin."""
    needs_replication: ClassVar[bool] = False
    """Whether it makes sense only on servers that replicate."""
    only_handlersocket: ClassVar[bool] = False
    """Whether clients that use SQL do not notice it."""
    adds_up: ClassVar[bool] = False
    """Whether several of its kind can be on at once on one server."""
    unsettles: ClassVar[bool] = False
    """Whether it may end another fault on its server, or change the primary."""
    silences: ClassVar[bool] = False
    """Whether its server acknowledges no write while it is on."""
    fences: ClassVar[bool] = False
    """Whether it leaves an old primary down or read-only: a server that is not the primary starts read-only."""
    promotes: ClassVar[bool] = False
    """Whether it makes its server the primary."""
    demotes: ClassVar[bool] = False
    """Whether, before it promotes its server, it takes the writes from the old primary."""
    one_at_a_time: ClassVar[bool] = False
    """Whether the cluster bears only one at a time, because it depends on which server is the primary, or changes that."""
    repairs: ClassVar[bool] = False
    """Whether it repairs what an earlier fault has broken: the recovery from that one is observed beyond it."""

    by_command: ClassVar[bool] = False
    """Whether on external servers a command of their owner does it, from `cluster.commands`."""
    untargeted: ClassVar[bool] = False
    """Whether it has no target. Such a fault is for external servers: only their owner knows what it does to which of them."""

    target: str
    """A server's name, `primary` (the server that takes the writes at that moment), `one reader` (drawn each time) or
    `all readers`. For a fault of the network, which strikes between clients and server, `client->reader-1` means the same; with
    a `cluster.router` it strikes in front of that: `router`."""
    at: SecondsOrZero
    """Seconds after the load has begun."""
    for_: Seconds | None = Field(default=None, alias="for")
    """Seconds until it heals; if not given, it heals at the end of the run."""
    every: Seconds | None = None
    """Seconds from one start to the next."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.for_ is not None and not self.lasts:
            add = ", or add `heal`" if type(self).lasts else ""  # `lasts` of a command depends on its keys
            raise ValueError(f"{self.name} happens at once and has nothing to heal: leave `for` out{add}")
        if self.every is not None and self.lasts and (self.for_ is None or self.every <= self.for_):
            raise ValueError("needs a `for` shorter than `every`, so that it heals before it strikes again")
        return self

    @property
    def name(self) -> str:
        """Its name in a scenario."""
        return str(self.model_dump()["fault"])

    @property
    def subject(self) -> str:
        """What it is shown with beside its name: its target, or if it has none, what is done."""
        return self.target

    def command_of(self, commands: Mapping[str, CommandSpec]) -> CommandSpec | None:
        """The command that injects it on external servers, out of those for each kind of fault; None if there is none."""
        return commands.get(self.name)

    def __str__(self) -> str:
        return f"{self.name} {self.subject}"


class AtOnce(Fault):
    """A fault that has nothing to heal."""

    lasts: ClassVar[bool] = False


class NetworkFault(Fault):
    """A fault of the network in front of a server, or of the router. With one in the scenario, clients reach these through
    proxies."""

    adds_up: ClassVar[bool] = True

    listener: Literal["read", "write", "both"] = "both"
    """The listener that it strikes. `driver: sql` reads and writes on one port, so there it can only be `both`."""


# ---- of a server's process


class Kill(Fault):
    """SIGKILL. Healing starts the server again, with its data and on its ports."""

    by_command: ClassVar[bool] = True
    unsettles: ClassVar[bool] = True
    fences: ClassVar[bool] = True
    fault: Literal["kill"]


class Stop(Fault):
    """An orderly shutdown. Healing starts the server again."""

    by_command: ClassVar[bool] = True
    unsettles: ClassVar[bool] = True
    fences: ClassVar[bool] = True
    fault: Literal["stop"]
    drain: bool = False
    """true: HandlerSocket ends first, so that no client writes while the rest shuts down. false: a writer of the write-through
    topology may lose writes that it acknowledges in its last moment."""


class Restart(AtOnce):
    """An orderly shutdown, and a start right after it."""

    by_command: ClassVar[bool] = True
    unsettles: ClassVar[bool] = True
    fences: ClassVar[bool] = True
    fault: Literal["restart"]
    drain: bool = False
    """As for `stop`."""


class Pause(Fault):
    """SIGSTOP: the kernel still accepts connections, and nothing is answered. Healing is SIGCONT."""

    by_command: ClassVar[bool] = True
    silences: ClassVar[bool] = True
    fault: Literal["pause"]


# ---- of replication


class Promote(AtOnce):
    """A replica becomes the primary, without the old primary, which may be dead."""

    by_command: ClassVar[bool] = True
    needs_replication: ClassVar[bool] = True
    unsettles: ClassVar[bool] = True
    promotes: ClassVar[bool] = True
    one_at_a_time: ClassVar[bool] = True
    repairs: ClassVar[bool] = True
    fault: Literal["promote"]


class SwitchOver(AtOnce):
    """A planned change: the primary stops taking writes, the target takes its place, and the old primary becomes a replica."""

    by_command: ClassVar[bool] = True
    needs_replication: ClassVar[bool] = True
    unsettles: ClassVar[bool] = True
    promotes: ClassVar[bool] = True
    demotes: ClassVar[bool] = True
    one_at_a_time: ClassVar[bool] = True
    fault: Literal["switch-over"]
    suspend: bool = False
    """false: the primary is shut down cleanly, and clients get no answer until the target takes writes; with semisync a
    replica has every acknowledged write by then. true: the clients disconnect and wait, and the primary is made read-only in
    place, which would wait forever for connected clients; the target applies everything that the primary has logged."""


class Rejoin(AtOnce):
    """A server, such as the old primary, becomes a replica of the primary. It is rebuilt if its data have diverged."""

    by_command: ClassVar[bool] = True
    needs_replication: ClassVar[bool] = True
    unsettles: ClassVar[bool] = True
    fences: ClassVar[bool] = True
    one_at_a_time: ClassVar[bool] = True
    repairs: ClassVar[bool] = True
    fault: Literal["rejoin"]


class StopReplication(Fault):
    """A replica neither fetches nor applies changes. Healing lets it catch up."""

    by_command: ClassVar[bool] = True
    needs_replication: ClassVar[bool] = True
    fault: Literal["stop-replication"]


class Lag(Fault):
    """A replica applies each change `seconds` late."""

    needs_replication: ClassVar[bool] = True
    fault: Literal["lag"]
    seconds: int = Field(ge=1, le=3600)


# ---- of other clients of the server


class WriterLock(Fault):
    """Another connection holds `handlersocket_wr`, the plugin's own lock on all writes."""

    only_handlersocket: ClassVar[bool] = True
    needs_mariadb: ClassVar[bool] = True
    fault: Literal["writer-lock"]


class RowLock(Fault):
    """Another client's transaction holds a row of the table, which stalls the server's whole writer thread."""

    needs_mariadb: ClassVar[bool] = True
    fault: Literal["row-lock"]
    key: int = Field(default=1, ge=1)


class AlterTable(AtOnce):
    """An ALTER TABLE on the table under load. It waits for all clients that have the table open, and may give up.

    If it gives up, the report says so. With `suspend` the fault has failed then.
    """

    needs_mariadb: ClassVar[bool] = True
    fault: Literal["alter-table"]
    patience: Seconds = 10.0
    """How long it waits before it gives up."""
    suspend: bool = False
    """true: the clients disconnect and wait until the replicas have executed it too."""


class StopListener(Fault):
    """The listener for reads accepts connections and serves nothing. Healing restarts the server; nothing else cures that."""

    only_handlersocket: ClassVar[bool] = True
    unsettles: ClassVar[bool] = True
    needs_mariadb: ClassVar[bool] = True
    fault: Literal["stop-listener"]


# ---- of the network


class Partition(NetworkFault):
    """Nothing passes, and nothing is refused. Bytes are held back until it heals, as TCP would retransmit them."""

    silences: ClassVar[bool] = True
    fault: Literal["partition"]


class Latency(NetworkFault):
    """Everything arrives later, in each direction."""

    fault: Literal["latency"]
    delay: Seconds
    jitter: SecondsOrZero = 0.0


class Bandwidth(NetworkFault):
    """All connections to the server share this many bytes per second, in each direction."""

    fault: Literal["bandwidth"]
    bytes_per_second: int = Field(ge=1)


class Reset(NetworkFault):
    """Every open connection to the server is reset."""

    lasts: ClassVar[bool] = False
    fault: Literal["reset"]


class HalfOpen(NetworkFault):
    """The server's end of every open connection vanishes without notice to the clients."""

    fault: Literal["half-open"]


class Blackhole(NetworkFault):
    """The listener accepts connections and never answers; requests never reach the server."""

    silences: ClassVar[bool] = True
    fault: Literal["blackhole"]


class DropReplies(NetworkFault):
    """The server executes requests, but after every `after` answers the next one is lost, with its connection."""

    fault: Literal["drop-replies"]
    after: int = Field(default=100, ge=0)


class IdleTimeout(NetworkFault):
    """Connections that have been idle for `after` are closed without a reset, as by `handlersocket_timeout` or a firewall."""

    fault: Literal["idle-timeout"]
    after: Seconds


class Flapping(NetworkFault):
    """A partition that comes and goes."""

    fault: Literal["flapping"]
    down: Seconds = 0.2
    up: Seconds = 0.8


# ---- of servers of the user's own


def _shown_in_a_line(name: str) -> str:
    if not name.isprintable() or name != name.strip():
        raise ValueError("must be one line without spaces at its ends, for faults are shown by it")
    return name


class Command(Fault):
    """A command of yours, of which the run knows only that it ran. With `heal` the fault lasts; without, it happens at once."""

    unsettles: ClassVar[bool] = True
    untargeted: ClassVar[bool] = True
    fault: Literal["command"]
    target: SkipJsonSchema[str] = ""
    name_: Annotated[str, AfterValidator(_shown_in_a_line), Field(alias="name", min_length=1, max_length=100)]
    """What it does, in a few words: it is shown as this."""
    run: Argv
    """The program and its arguments, without a shell. The only placeholder is {primary}: the name of the server that is the
    primary when the command starts."""
    heal: Argv | None = None
    """The same for what undoes it."""
    timeout: Timeout = 30.0
    """Each of the two is killed after this time, and has failed then."""

    @model_validator(mode="after")
    def _check_placeholders(self) -> Self:
        why = "is of no server; name the server itself, or write {primary}"
        for key, argv in (("run", self.run), ("heal", self.heal)):
            refuse(unknown_here((key,), argv, ("primary",), why))
        return self

    @property
    def lasts(self) -> bool:  # type: ignore[override]  # of this fault alone it depends on the keys
        """Whether there is something to heal."""
        return self.heal is not None

    @property
    def subject(self) -> str:
        return self.name_

    def command_of(self, commands: Mapping[str, CommandSpec]) -> CommandSpec:
        return CommandSpec.model_construct(run=self.run, heal=self.heal, timeout=self.timeout)


class External(Fault):
    """Somebody else makes another server the primary: the run waits until it sees that, and at most for `for`."""

    needs_replication: ClassVar[bool] = True
    unsettles: ClassVar[bool] = True
    untargeted: ClassVar[bool] = True
    fault: Literal["external"]
    target: SkipJsonSchema[str] = ""
    for_: Seconds = Field(alias="for")
    """How long the run waits for that, at most."""

    @property
    def subject(self) -> str:
        return "failover"


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
    | Flapping
    | Command
    | External,
    Field(discriminator="fault"),
]


#: Every kind of fault, by its name.
FAULTS: dict[str, type[Fault]] = {
    str(get_args(kind.model_fields["fault"].annotation)[0]): kind for kind in get_args(get_args(AnyFault)[0])
}


#: The names of those that on external servers a command of their owner does.
BY_COMMAND = tuple(name for name, kind in FAULTS.items() if kind.by_command)


def kind_of(shown: str) -> type[Fault]:
    """The kind of a fault that a run shows, or its history names, as `kill writer`. `Fault` itself, which has no effect, for
    any other text, and for a kind that another version of the harness had."""
    return FAULTS.get(shown.partition(" ")[0], Fault)
