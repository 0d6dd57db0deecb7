"""Opens the servers of a run: chooses the provider for the requested kind of cluster."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TypeAlias

from hs_drill._cluster import (
    CLUSTER_KINDS,
    DEFAULT_VERSION,
    REPLICATIONS,
    SUITES,
    TOPOLOGIES,
    Cluster,
    ClusterError,
    Server,
    series,
)
from hs_drill.sandbox import ContainerEngine, has_image, open_container_engine, provide_image

from ._containers import open_docker
from ._control import Control
from ._embedded import open_embedded
from ._external import open_external
from ._processes import Installation, find_installation, open_mariadb

__all__ = ["Provider", "check_servers", "open_cluster", "open_servers"]


def _silent(message: str) -> None:
    pass


@asynccontextmanager
async def open_cluster(
    kind: str = "auto",
    *,
    version: str | None = None,
    readers: int = 2,
    standby: bool = False,
    topology: str = "plain",
    replication: str = "async",
    database: str = "drill",
    progress: Callable[[str], None] = _silent,
) -> AsyncIterator[Cluster]:
    """Like `open_servers`, but gives the cluster alone, for callers that need no `Control`."""
    async with open_servers(
        kind,
        version=version,
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
    version: str | None = None,
    readers: int = 2,
    standby: bool = False,
    topology: str = "plain",
    replication: str = "async",
    database: str = "drill",
    only_mariadb_can: Sequence[str] = (),
    only_owners_can: Sequence[str] = (),
    external: Sequence[Server] = (),
    may_create_table: bool = False,
    handlersocket_writes: bool = True,
    sql_only: bool = False,  # external servers need no HandlerSocket
    progress: Callable[[str], None] = _silent,
) -> AsyncIterator[Control]:
    """Bring up one writer, `readers` readers and perhaps a standby, and take them down when the block ends.

    `topology` is `plain` (HandlerSocket writes straight to InnoDB, which stock MariaDB does not replicate) or `write-through`
    (writes to `database` go through a FEDERATED twin and replicate). `replication` is `none`, `async`, or `semisync`: a logged
    commit is acknowledged once a replica has fetched it. `progress` gets short lines for the user, from the opening task.

    `version` is the version that every server must have, such as `11.8`. Without it any will do.

    `only_mariadb_can` lists what the caller will do and embedded servers cannot; `only_owners_can` the same for external
    servers. If the list is not empty, such servers are refused before anything starts.

    The kind `external` uses the servers in `external`. Their names are their roles. A missing table is created there only if
    `may_create_table`. `handlersocket_writes`: the caller will write through HandlerSocket, which Galera nodes do not stand.

    Gives the `Control` of the servers. Raises `ClusterError` if they cannot be started or reached. However the block ends (with
    an exception, cancelled, or with this process killed), no server process and no file of the run stays behind. The cleanup
    after a cancellation is shielded. It takes at most about 10 s, usually well below 1 s.
    """
    _check(kind, topology, replication, readers, standby)
    write_databases = {database: f"{database}_wt"} if topology == "write-through" else {}
    if kind == "external":
        _check_external(external, only_owners_can, replication)
        opened: AbstractAsyncContextManager[Control] = open_external(
            external,
            version=version,
            may_create=may_create_table,
            write_databases=write_databases,
            replication=replication,
            handlersocket_writes=handlersocket_writes,
            sql_only=sql_only,
            progress=progress,
        )
    else:
        opened = (await _provider(kind, version, only_mariadb_can, progress))(
            readers=readers,
            standby=standby,
            database=database,
            write_databases=write_databases,
            replication=replication,
            progress=progress,
        )
    async with opened as control:
        yield control


async def check_servers(
    kind: str,
    *,
    version: str | None,
    only_mariadb_can: Sequence[str],
    only_owners_can: Sequence[str],
    external: Sequence[Server],
    replication: str = "async",
    progress: Callable[[str], None] = _silent,
) -> None:
    """Raise `ClusterError` if `open_servers` cannot start such servers on this machine. Start none, and ask no external one.

    A missing image is built, because a run would build it too.
    """
    if kind == "external":
        _check_external(external, only_owners_can, replication)
        return
    await _provider(kind, version, only_mariadb_can, progress)
    if kind == "docker":
        async with open_container_engine() as engine:
            await provide_image(engine, _image_version(version), progress)


def _check(kind: str, topology: str, replication: str, readers: int, standby: bool) -> None:
    for what, given, known in (
        ("kind of cluster", kind, CLUSTER_KINDS),
        ("topology", topology, TOPOLOGIES),
        ("replication", replication, REPLICATIONS),
    ):
        if given not in known:
            raise ClusterError(f"no such {what}: {given!r} (one of {', '.join(known)})")
    if replication == "semisync" and not (readers or standby):
        raise ClusterError("semisync needs a replica that acknowledges: ask for a reader or a standby")
    if readers < 0:
        raise ClusterError(f"a cluster cannot have {readers} readers")


def _check_external(servers: Sequence[Server], only_owners_can: Sequence[str], replication: str) -> None:
    _refuse("external servers", only_owners_can, "that takes more than the network; do it by your own means meanwhile")
    if not servers:
        raise ClusterError("external servers must be named: cluster.servers in the scenario, or --servers")
    for server in servers if replication == "none" else ():
        if server.name == "standby":
            raise ClusterError(
                "a standby must replicate: with cluster.replication: none, what clients write there when they lose the writer "
                "never reaches the writer. Leave it out, or name it reader-1"
            )
        if server.sql_port is None and not server.write_port:
            raise ClusterError(
                f"{server.name} needs a sql_port or a write_port: with cluster.replication: none its rows are loaded there too"
            )


Provider: TypeAlias = Callable[..., AbstractAsyncContextManager[Control]]


async def _provider(
    kind: str, version: str | None, only_mariadb_can: Sequence[str], progress: Callable[[str], None]
) -> Provider:
    """The provider that opens servers of this kind and version. Raises `ClusterError`."""
    match kind:
        case "auto":
            return await _first_that_works(version, only_mariadb_can, progress)
        case "docker":
            return partial(open_docker, _image_version(version), "asked for")
        case "embedded":
            _refuse("embedded servers", only_mariadb_can, "use cluster kind mariadb or docker")
            return partial(open_embedded, version, "asked for: it needs nothing that is not installed with the harness")
    installation = await _find_installation(version)
    return partial(open_mariadb, installation, f"asked for: {installation}")


async def _first_that_works(version: str | None, only_mariadb_can: Sequence[str], progress: Callable[[str], None]) -> Provider:
    """In this order: containers if their image exists; processes; containers after building the image; embedded servers."""
    troubles, hint = [], ""
    async with AsyncExitStack() as stack:
        engine: ContainerEngine | None = None
        try:
            image = _image_version(version)
            engine = await stack.enter_async_context(open_container_engine())
            if await has_image(engine, image):
                return partial(open_docker, image, "the first kind that works here")
            hint = " (and Docker runs, but has no image for it yet: ask for docker to build one)"
        except ClusterError as error:
            troubles.append(str(error))
        try:
            installation = await _find_installation(version)
            return partial(open_mariadb, installation, f"the first kind that works here: {installation}{hint}")
        except ClusterError as error:
            troubles.append(str(error))
        if engine is not None:
            try:
                await provide_image(engine, image, progress)
                return partial(open_docker, image, f"the first kind that works here, for {troubles[-1]}")
            except ClusterError as error:
                troubles.append(str(error))
    if version is not None and version not in SUITES:
        raise ClusterError(f"no kind of servers that works here has the version {version}: {'; '.join(troubles)}")
    _refuse("embedded servers", only_mariadb_can, f"and no other kind works here: {'; '.join(troubles)}")
    return partial(open_embedded, version, f"no other kind works here: {'; '.join(troubles)}")


def _image_version(version: str | None) -> str:
    """The version that containers run. Raises `ClusterError` if there is no image for it."""
    if version is not None and version not in SUITES:
        raise ClusterError(f"containers have the versions {', '.join(SUITES)}, not {version}")
    return version or DEFAULT_VERSION


async def _find_installation(version: str | None) -> Installation:
    """The installed MariaDB. Raises `ClusterError` if there is none, or if it has another version."""
    installation = await find_installation()
    if version is not None and (found := series(installation.version)) != version:
        raise ClusterError(
            f"version {version} is asked for, but the installed MariaDB is {installation.version} ({installation.mariadbd}): "
            f"install {version}, ask for {found}, or use cluster kind docker, which has {', '.join(SUITES)}"
        )
    return installation


def _refuse(servers: str, wanted: Sequence[str], why: str) -> None:
    if wanted:
        raise ClusterError(f"{servers} cannot do {', '.join(dict.fromkeys(wanted))}: {why}")
