"""A cluster of containers, created for one run and removed with it. They run what `_processes.py` runs as processes.

Every container has a fixed address in a network of the run. Docker's own names do not resolve while a container is down, and a
replica that looks one up waits 20 s. A container has the same ports inside as outside. They are published on 127.0.0.1, and it
keeps them while it is down. Its data are in its own writable layer: there is no volume.
"""

from __future__ import annotations

import io
import ipaddress
import tarfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import trio

from hs_drill._cluster import Cluster, ClusterError, server_names
from hs_drill.sandbox import (
    HOST,
    OWNER_LABEL,
    RUN_LABEL,
    ContainerEngine,
    Sandbox,
    check_memory,
    error_text,
    open_container_engine,
    open_sandbox,
    owner,
    provide_image,
    remove_leftovers,
)

from ._control import POLL_SECONDS
from ._instance import KILL_SECONDS, STOP_SECONDS, State
from ._mariadbd import AddressInUseError, Mariadbd, MariadbdControl, Settings, accounts_sql, bring_up, new_server
from ._sql import ask_version

DATA = "/var/lib/mysql"
USER_ID = 999
"""The id of the user `mysql` in the image."""


@dataclass
class _Plan:
    """What the containers of a run share."""

    sandbox: Sandbox
    engine: ContainerEngine
    image: str
    network: str
    addresses: Iterator[str]
    labels: Mapping[str, str]
    settings: Settings
    ends: dict[str, int] = field(default_factory=dict)
    """Exit codes by container id, for those that have ended since their last start: see `_record_ends`."""


class _Container(Mariadbd):
    """One server, and its container, if it has been created."""

    def __init__(self, plan: _Plan, name: str, number: int) -> None:
        super().__init__(plan.settings, DATA, number)
        self.server = replace(new_server(name, HOST, plan.settings.passwords), peer_host=next(plan.addresses))
        self._plan = plan
        self._container: Any = None
        self._started_at: float | None = None
        """Unix time; None if it has not been started."""
        self.paused = False

    @property
    def state(self) -> State:
        if self._started_at is None or self.exit_code() is not None:
            return "down"
        return "paused" if self.paused else "running"

    def exit_code(self) -> int | None:
        code = self._plan.ends.get(self._container.id)
        # Like shells, engines report a signal as 128 plus its number.
        return 128 - code if code is not None and code > 128 else code

    async def _call(self, done: str, function: Callable[[], Any]) -> Any:
        return await self._plan.engine.call(f"{self.server.name} cannot be {done}", function)

    async def create(self) -> None:
        await self._call("created", self._create)
        self._started_at = None

    def _create(self) -> None:
        import docker.types  # see engine_errors

        plan, server = self._plan, self.server
        if self._container is not None:
            self._container.remove(force=True, v=True)
        endpoint = docker.types.EndpointConfig(plan.engine.api.api.api_version, ipv4_address=server.peer_host)
        self._container = plan.engine.containers.create(
            plan.image,
            name=f"{plan.sandbox.directory.name}-{server.name}",
            hostname=server.name,
            labels=plan.labels,
            ports={f"{port}/tcp": (HOST, port) for port in (server.read_port, server.write_port, server.sql_port)},
            network=plan.network,
            networking_config={plan.network: endpoint},
            # This driver's logs can be read back, whatever the engine's default is.
            log_config=docker.types.LogConfig(type="json-file"),
            cap_drop=["ALL"],
            security_opt=["no-new-privileges"],
        )

    async def run_with(self, configuration: str) -> None:
        self.paused = False
        files = {"server.cnf": configuration, "init.sql": accounts_sql(self.settings)}
        try:
            await self._call("started", partial(self._start, files))
        except ClusterError as error:
            if "already in use" in str(error) or "already allocated" in str(error):
                raise AddressInUseError(str(error)) from error
            raise

    def _start(self, files: Mapping[str, str]) -> None:
        self._container.put_archive(DATA, _archive(files))
        self._started_at = None  # it counts as down until the engine has started it: it cannot be killed before
        self._plan.ends.pop(self._container.id, None)
        started_at = time.time()
        self._plan.engine.containers.start(self._container)
        self._container.reload()
        self.server = replace(self.server, pid=self._container.attrs["State"]["Pid"] or None)
        self._started_at = started_at

    async def read_log(self) -> str:
        log = await self._call("read", lambda: self._container.logs(since=self._started_at))
        return str(log, "utf-8", "replace")

    async def kill(self) -> None:
        if self.state != "down":
            await self._end("SIGKILL", KILL_SECONDS)

    async def stop(self) -> None:
        await self._end("SIGTERM", STOP_SECONDS)

    async def _end(self, signal: str, within: float) -> None:
        try:
            await self._call("ended", lambda: self._container.kill(signal))
        except ClusterError as error:
            # It may have ended already, and the engine reports that a moment later.
            if "is not running" not in str(error):
                raise
        with trio.move_on_after(within):
            while self.state != "down":  # noqa: ASYNC110  (a thread sets it)
                await trio.sleep(POLL_SECONDS / 4)
            return
        raise ClusterError(f"{self.server.name} still runs {within:g} s after {signal}: kill it")

    async def pause(self) -> None:
        await self._call("paused", lambda: self._container.pause())
        self.paused = True

    async def resume(self) -> None:
        await self._call("resumed", lambda: self._container.unpause())
        self.paused = False


def _archive(files: Mapping[str, str]) -> bytes:
    """A tar file of secrets, which only the server's user may read."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode, info.uid, info.gid = len(text.encode()), 0o600, USER_ID, USER_ID
            tar.addfile(info, io.BytesIO(text.encode()))
    return buffer.getvalue()


@contextmanager
def _record_ends(plan: _Plan) -> Iterator[None]:
    """Within the block, record the engine's events in `plan.ends`, so that a crashed container is down at once."""
    filters = {"label": f"{RUN_LABEL}={plan.sandbox.directory}", "event": "die"}
    events = plan.engine.api.events(filters=filters, decode=True)

    def listen() -> None:
        try:
            for event in events:
                plan.ends[event["id"]] = int(event["Actor"]["Attributes"]["exitCode"])
        except Exception:  # the engine or the block has ended
            pass

    thread = threading.Thread(target=listen, name="container events", daemon=True)
    thread.start()
    try:
        yield
    finally:
        events.close()
        thread.join(KILL_SECONDS)


def _make_network(engine: ContainerEngine, name: str, labels: Mapping[str, str]) -> tuple[str, Iterator[str]]:
    """Create a network for the run; return its name, and addresses in it. Blocking.

    The engine lets us choose addresses only in a subnet that we have chosen, and only the engine knows which subnets are free.
    So it creates a network, and we create it anew with the same subnet. Another run may take the subnet in between.
    """
    import docker.errors  # see engine_errors
    import docker.types

    attempts = 5
    while True:
        first = engine.api.networks.create(name, driver="bridge", labels=labels)
        first.reload()
        subnet = next(c["Subnet"] for c in first.attrs["IPAM"]["Config"] if ":" not in c["Subnet"])
        first.remove()
        gateway, *hosts = (str(address) for address, _ in zip(ipaddress.ip_network(subnet).hosts(), range(64), strict=False))
        pool = docker.types.IPAMPool(subnet=subnet, gateway=gateway)
        try:
            engine.api.networks.create(name, driver="bridge", labels=labels, ipam=docker.types.IPAMConfig(pool_configs=[pool]))
        except docker.errors.APIError as error:
            attempts -= 1
            if not attempts or "overlap" not in error_text(error):
                raise
        else:
            return name, iter(hosts)


@asynccontextmanager
async def open_docker(
    version: str,
    why: str,
    *,
    readers: int,
    standby: bool,
    database: str,
    write_databases: Mapping[str, str],
    replication: str,
    progress: Callable[[str], None],
) -> AsyncIterator[MariadbdControl]:
    """The `docker` kind of `open_servers`, which says what it promises."""
    settings = Settings(bool(write_databases), replication == "semisync", address="0.0.0.0", clients="%", database=database)
    names = server_names(readers, standby)
    check_memory(len(names))
    async with open_container_engine() as engine:
        await engine.call("asking the engine", engine.check_space)
        await remove_leftovers(engine, progress)
        image = await provide_image(engine, version, progress)
        async with open_sandbox(None, progress, engine.path) as sandbox:
            labels = {RUN_LABEL: str(sandbox.directory), OWNER_LABEL: owner()}
            make = partial(_make_network, engine, sandbox.directory.name, labels)
            network, addresses = await engine.call("no network for the servers", make)
            plan = _Plan(sandbox, engine, image, network, addresses, labels, settings)
            with _record_ends(plan):
                containers = {name: _Container(plan, name, number) for number, name in enumerate(names, 1)}
                cluster = Cluster(
                    "docker",
                    f"{why}: Docker {engine.version}",
                    "",
                    (),
                    write_databases=write_databases,
                    replication=replication,
                )
                cluster = await bring_up(cluster, containers, sandbox.reserve_port, progress)
                control = MariadbdControl(replace(cluster, version=await ask_version(cluster.writer)), containers)
                await control.begin_replication(progress)
                yield control
