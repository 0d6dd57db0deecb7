"""The servers of a run: what they are, where they listen, and how to open a set of them.

A `Cluster` is plain data: it says how to reach the servers, and travels over msgpack to the other processes of a run.
Whoever opened it (`open_cluster`) owns the processes behind it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from ._control import Control

KINDS = ("auto", "docker", "mariadb", "embedded", "external")
TOPOLOGIES = ("plain", "write-through")
REPLICATIONS = ("none", "async", "semisync")


class ClusterError(Exception):
    """The servers cannot be had. The message is one clear line for the user; a traceback would add nothing."""


@dataclass(frozen=True)
class Server:
    """One server of a run. Secrets and passwords stay out of its `repr`."""

    name: str
    """`writer`, `standby`, `reader-1`, `reader-2`, …"""
    host: str
    read_port: int
    """HandlerSocket's read-only listener."""
    write_port: int
    """HandlerSocket's read-write listener. A replica refuses writes there until it is promoted."""
    read_secret: str = field(repr=False)
    write_secret: str = field(repr=False)
    sql_port: int | None = None
    pid: int | None = None
    """The server's process, where it runs on this machine; as it was when the cluster came up."""
    admin_user: str = ""
    admin_password: str = field(default="", repr=False)
    load_user: str = ""
    """The account of the load, where that asks by SQL. It has the rights of an application, so `read_only` stops it."""
    load_password: str = field(default="", repr=False)
    peer_host: str = ""
    """Where the run's other servers reach it, on the same ports, when that is not `host`."""


@dataclass(frozen=True)
class Cluster:
    """One writer and what replicates from it."""

    kind: str
    """`mariadb`, `docker`, `embedded` or `external`."""
    why: str
    """One line: why this kind was chosen."""
    version: str
    """The server's own version string."""
    servers: tuple[Server, ...]
    admin_user: str = ""
    admin_password: str = field(default="", repr=False)
    write_databases: Mapping[str, str] = field(default_factory=dict, hash=False)
    """`{"drill": "drill_wt"}` where writes go through a FEDERATED twin (write-through), `{}` where they go straight to
    InnoDB (plain)."""
    replication_user: str = ""
    replication_password: str = field(default="", repr=False)
    replication: str = "async"
    """`none`, `async` or `semisync`: see `open_controlled_cluster`."""

    @property
    def writer(self) -> Server:
        """The server that took the writes when the cluster came up."""
        return self._named("writer")[0]

    @property
    def standby(self) -> Server | None:
        """The server that waits to be promoted, if there is one. It is not one of the `readers`."""
        return next(iter(self._named("standby")), None)

    @property
    def readers(self) -> tuple[Server, ...]:
        return self._named("reader")

    @property
    def replicas(self) -> tuple[Server, ...]:
        """Every server but the writer: the standby and the readers."""
        return tuple(server for server in self.servers if server != self.writer)

    def _named(self, role: str) -> tuple[Server, ...]:
        return tuple(server for server in self.servers if server.name.partition("-")[0] == role)

    def to_dict(self) -> dict[str, Any]:
        """Lists, dicts, strings and numbers only, for msgpack or JSON. It holds the secrets: do not log it."""
        data = asdict(self)
        data["servers"] = [asdict(server) for server in self.servers]
        data["write_databases"] = dict(self.write_databases)
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Cluster:
        return cls(**{**data, "servers": tuple(Server(**server) for server in data["servers"])})


def server_names(readers: int, standby: bool) -> list[str]:
    return ["writer", *(["standby"] if standby else []), *(f"reader-{i + 1}" for i in range(readers))]


def _silent(message: str) -> None:
    pass


@asynccontextmanager
async def open_cluster(
    kind: str = "auto",
    *,
    readers: int = 2,
    standby: bool = False,
    topology: str = "plain",
    replication: str = "async",
    database: str = "drill",
    progress: Callable[[str], None] = _silent,
) -> AsyncIterator[Cluster]:
    """`open_controlled_cluster` for those who leave the servers alone: gives the cluster itself."""
    async with open_controlled_cluster(
        kind,
        readers=readers,
        standby=standby,
        topology=topology,
        replication=replication,
        database=database,
        progress=progress,
    ) as control:
        yield control.cluster


@asynccontextmanager
async def open_controlled_cluster(
    kind: str = "auto",
    *,
    readers: int = 2,
    standby: bool = False,
    topology: str = "plain",
    replication: str = "async",
    database: str = "drill",
    only_mariadb_can: Sequence[str] = (),
    only_owners_can: Sequence[str] = (),
    external: Sequence[Server] = (),
    may_create_table: bool = False,
    progress: Callable[[str], None] = _silent,
) -> AsyncIterator[Control]:
    """Bring up one writer, `readers` readers and perhaps a standby, and take them down when the block ends.

    `topology` is `plain` (HandlerSocket writes straight to InnoDB, which stock MariaDB does not replicate) or
    `write-through` (what is written to `database` goes through a FEDERATED twin and replicates). `replication` is
    `none` (every server for itself), `async`, or `semisync`: a logged commit is acknowledged once a replica has fetched
    it. `only_mariadb_can` names what the caller means to do that embedded servers cannot: they are refused then, before
    anything starts; `only_owners_can` likewise for `external` servers, which are those given in `external` (their names say
    what they do, `readers` and `standby` nothing), and where a missing table is created only if `may_create_table`.
    `progress` gets short lines for the user, from the task that opens the cluster.

    Gives the `Control` of the servers; its `cluster` says how to reach them.

    Raises `ClusterError` when the servers cannot be had. However the block ends (normally, by an exception, cancelled,
    or with this process killed) no server process and no file of the run stays behind; the clean-up after a
    cancellation is shielded and takes at most some 10 s, as a rule well below 1 s.
    """
    from ._external import open_external  # it imports this module

    if kind not in KINDS:
        raise ClusterError(f"no such kind of cluster: {kind!r} (one of {', '.join(KINDS)})")
    if topology not in TOPOLOGIES:
        raise ClusterError(f"no such topology: {topology!r} (one of {', '.join(TOPOLOGIES)})")
    if replication not in REPLICATIONS:
        raise ClusterError(f"no such replication: {replication!r} (one of {', '.join(REPLICATIONS)})")
    if replication == "semisync" and not (readers or standby):
        raise ClusterError("semisync needs a replica that acknowledges: ask for a reader or a standby")
    if readers < 0:
        raise ClusterError(f"a cluster cannot have {readers} readers")
    write_databases = {database: f"{database}_wt"} if topology == "write-through" else {}
    if kind == "external":
        _refuse("external servers", only_owners_can, "that takes more than the network; do it by your own means meanwhile")
        if not external:
            raise ClusterError("external servers must be named: cluster.servers in the scenario, or --servers")
        async with open_external(
            external,
            may_create=may_create_table,
            write_databases=write_databases,
            replication=replication,
            progress=progress,
        ) as control:
            yield control
        return

    async with (await _provider(kind, only_mariadb_can, progress))(
        readers=readers,
        standby=standby,
        database=database,
        write_databases=write_databases,
        replication=replication,
        progress=progress,
    ) as control:
        yield control


Provider: TypeAlias = "Callable[..., AbstractAsyncContextManager[Control]]"


async def _provider(kind: str, only_mariadb_can: Sequence[str], progress: Callable[[str], None]) -> Provider:
    """What opens servers of this kind. Raises `ClusterError`."""
    from . import _docker, _embedded, _mariadb  # they import this module

    match kind:
        case "auto":
            return await _first_that_works(only_mariadb_can, progress)
        case "docker":
            return partial(_docker.open_docker, "asked for")
        case "embedded":
            _refuse("embedded servers", only_mariadb_can, "use cluster kind mariadb or docker")
            return partial(_embedded.open_embedded, "asked for: it needs nothing that is not installed with the harness")
    installation = await _mariadb.find_installation()
    return partial(_mariadb.open_mariadb, installation, f"asked for: {installation}")


async def _first_that_works(only_mariadb_can: Sequence[str], progress: Callable[[str], None]) -> Provider:
    """Containers, if their image is there; processes; containers whose image has to be built first; embedded servers."""
    from . import _docker, _docker_engine, _embedded, _mariadb

    troubles, hint = [], ""
    async with AsyncExitStack() as stack:
        engine: _docker_engine.Engine | None = None
        try:
            engine = await stack.enter_async_context(_docker_engine.open_engine())
            if await _docker_engine.has_image(engine):
                return partial(_docker.open_docker, "the first kind that works here")
            hint = " (and Docker runs, but has no image for it yet: ask for docker to build one)"
        except ClusterError as error:
            troubles.append(str(error))
        try:
            installation = await _mariadb.find_installation()
            return partial(_mariadb.open_mariadb, installation, f"the first kind that works here: {installation}{hint}")
        except ClusterError as error:
            troubles.append(str(error))
        if engine is not None:
            try:
                await _docker_engine.provide_image(engine, progress)
                return partial(_docker.open_docker, f"the first kind that works here, for {troubles[-1]}")
            except ClusterError as error:
                troubles.append(str(error))
    _refuse("embedded servers", only_mariadb_can, f"and no other kind works here: {'; '.join(troubles)}")
    return partial(_embedded.open_embedded, f"no other kind works here: {'; '.join(troubles)}")


def _refuse(who: str, wanted: Sequence[str], why: str) -> None:
    if wanted:
        raise ClusterError(f"{who} cannot do {', '.join(dict.fromkeys(wanted))}: {why}")
