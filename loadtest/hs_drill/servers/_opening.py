"""Opens the servers of a run: picks the provider for the kind of cluster that was asked for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TypeAlias

from hs_drill._cluster import CLUSTER_KINDS, REPLICATIONS, TOPOLOGIES, Cluster, ClusterError, Server
from hs_drill.sandbox import ContainerEngine, has_image, open_container_engine, provide_image

from ._containers import open_docker
from ._control import Control
from ._embedded import open_embedded
from ._external import open_external
from ._processes import find_installation, open_mariadb

__all__ = ["Provider", "open_cluster", "open_servers"]


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
    """`open_servers` for those who leave the servers alone: gives the cluster itself."""
    async with open_servers(
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
async def open_servers(
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
    if kind not in CLUSTER_KINDS:
        raise ClusterError(f"no such kind of cluster: {kind!r} (one of {', '.join(CLUSTER_KINDS)})")
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


Provider: TypeAlias = Callable[..., AbstractAsyncContextManager[Control]]


async def _provider(kind: str, only_mariadb_can: Sequence[str], progress: Callable[[str], None]) -> Provider:
    """What opens servers of this kind. Raises `ClusterError`."""
    match kind:
        case "auto":
            return await _first_that_works(only_mariadb_can, progress)
        case "docker":
            return partial(open_docker, "asked for")
        case "embedded":
            _refuse("embedded servers", only_mariadb_can, "use cluster kind mariadb or docker")
            return partial(open_embedded, "asked for: it needs nothing that is not installed with the harness")
    installation = await find_installation()
    return partial(open_mariadb, installation, f"asked for: {installation}")


async def _first_that_works(only_mariadb_can: Sequence[str], progress: Callable[[str], None]) -> Provider:
    """Containers, if their image is there; processes; containers whose image has to be built first; embedded servers."""
    troubles, hint = [], ""
    async with AsyncExitStack() as stack:
        engine: ContainerEngine | None = None
        try:
            engine = await stack.enter_async_context(open_container_engine())
            if await has_image(engine):
                return partial(open_docker, "the first kind that works here")
            hint = " (and Docker runs, but has no image for it yet: ask for docker to build one)"
        except ClusterError as error:
            troubles.append(str(error))
        try:
            installation = await find_installation()
            return partial(open_mariadb, installation, f"the first kind that works here: {installation}{hint}")
        except ClusterError as error:
            troubles.append(str(error))
        if engine is not None:
            try:
                await provide_image(engine, progress)
                return partial(open_docker, f"the first kind that works here, for {troubles[-1]}")
            except ClusterError as error:
                troubles.append(str(error))
    _refuse("embedded servers", only_mariadb_can, f"and no other kind works here: {'; '.join(troubles)}")
    return partial(open_embedded, f"no other kind works here: {'; '.join(troubles)}")


def _refuse(who: str, wanted: Sequence[str], why: str) -> None:
    if wanted:
        raise ClusterError(f"{who} cannot do {', '.join(dict.fromkeys(wanted))}: {why}")
