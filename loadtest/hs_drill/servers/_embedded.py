"""A cluster of this project's own HandlerSocket servers: `python -m trio_hs.testing` processes on 127.0.0.1, rows in memory.

They need nothing beyond what is installed with the harness. They answer as MariaDB does; their speed says nothing about
MariaDB's.
"""

from __future__ import annotations

import json
import logging
import secrets
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import metadata
from typing import Any

import trio

from hs_drill._cluster import DEFAULT_VERSION, SUITES, Cluster, ClusterError, Server, server_names
from hs_drill._counted import counted
from hs_drill.sandbox import HOST, Sandbox, check_temporary_directory, open_sandbox
from trio_hs.testing import Table

from ._control import (
    POLL_SECONDS,
    Control,
    Rejoined,
    ReplicationStatus,
    Row,
    bounded,
    chunked,
    handlersocket_answers,
    require_lag,
)
from ._server_process import ServerProcess, read_log
from ._server_table import description, plain_values
from ._sql import collecting, run_all

logger = logging.getLogger("hs_drill.control")

START_SECONDS = 30.0
COMMAND_SECONDS = 30.0
ATTACH_SECONDS = 15.0
"""How long a running replica may take to attach to a running source, or to be refused; it tries ten times a second."""
APPLY_SECONDS = 30.0
REBUILD_SECONDS = 120.0
BATCH_BYTES = 500_000


@dataclass
class _Plan:
    """What the servers of a run share."""

    sandbox: Sandbox
    options: list[str]
    tables: list[Table] = field(default_factory=list)


class _EmbeddedServer(ServerProcess):
    """One server: its directory with the journal, its ports and its process."""

    def __init__(self, plan: _Plan, name: str) -> None:
        reserve = plan.sandbox.reserve_port
        super().__init__(Server(name, HOST, reserve(), reserve(), "", ""), plan.sandbox.directory / name)
        self._plan = plan
        self._lives = 0
        self.replication_port = reserve()
        self.control_port = reserve()
        self.directory.mkdir(mode=0o700)

    async def start(self, *options: str, new_secrets: bool = False, fresh: bool = False) -> None:
        """Start it and wait until it answers. `fresh` discards its rows. If it does not start, its process is killed."""
        if new_secrets:
            self.server = replace(self.server, read_secret=secrets.token_hex(16), write_secret=secrets.token_hex(16))
        if fresh:
            # It gets another name, for its transactions are numbered from 1 again and must not be mistaken for the old ones.
            (self.directory / "journal").unlink(missing_ok=True)
            self._lives += 1
        server = self.server
        files = {
            "read-secret": server.read_secret,
            "write-secret": server.write_secret,
            "tables": json.dumps([description(table) for table in self._plan.tables]),
        }
        for name, text in files.items():
            self._plan.sandbox.write_secret_file(self.directory / name, text)
        ports = {
            "read": server.read_port,
            "write": server.write_port,
            "replication": self.replication_port,
            "control": self.control_port,
        }
        argv = [sys.executable, "-m", "trio_hs.testing", f"--name={server.name}.{self._lives}", f"--host={HOST}"]
        argv += [f"--port-{name}={port}" for name, port in ports.items()]
        argv += [f"--{name}-file={self.directory / name}" for name in ("read-secret", "write-secret")]
        argv += [f"--table-file={self.directory / 'tables'}", f"--journal={self.directory / 'journal'}"]
        self.paused = False
        self.process = self._plan.sandbox.spawn([*argv, *self._plan.options, *options], self.new_log())
        self.server = replace(server, pid=self.process.pid)
        try:
            await self._wait_until_up()
        except ClusterError:
            await self.kill()
            raise

    async def _wait_until_up(self) -> None:
        assert self.process is not None
        name = self.server.name
        with trio.move_on_after(START_SECONDS):
            while '{"ready":' not in read_log(self.log) or not await handlersocket_answers(self.server):
                if self.process.poll() is not None:
                    reason = read_log(self.log).strip().rpartition("\n")[2] or "no output"
                    raise ClusterError(f"{name} did not start (exit code {self.process.poll()}): {reason}")
                await trio.sleep(POLL_SECONDS)
            return
        raise ClusterError(f"{name} did not answer within {START_SECONDS:.0f} s")

    async def ask(self, command: str, argument: object = None) -> Any:
        """Send a command to the server's control port, and return the answer. Raises `ClusterError`, also for a refusal."""
        line = f"{command} {json.dumps(argument)}" if argument is not None else command
        name = self.server.name
        with bounded(f"asking {name} to {command}", COMMAND_SECONDS):
            try:
                answer = await _exchange(self.control_port, line.encode() + b"\n")
            except (OSError, ValueError) as error:
                raise ClusterError(f"{name} does not answer: {error}") from error
        if "error" in answer:
            raise ClusterError(f"{name}: {answer['error']}")
        return answer["ok"]


async def _exchange(port: int, line: bytes) -> Any:
    answer = bytearray()
    try:
        async with await trio.open_tcp_stream(HOST, port) as stream:
            await stream.send_all(line)
            while not answer.endswith(b"\n"):
                received = await stream.receive_some()
                if not received:
                    raise ValueError("it closed the connection")
                answer += received
    except trio.BrokenResourceError as error:
        raise ValueError("the connection broke") from error
    return json.loads(answer)


class EmbeddedControl(Control):
    """A `Control` over embedded servers, through their control ports."""

    _instances: Mapping[str, _EmbeddedServer]

    def __init__(self, cluster: Cluster, servers: Mapping[str, _EmbeddedServer], plan: _Plan) -> None:
        super().__init__(cluster, servers)
        self._plan = plan
        self._semisync = cluster.replication == "semisync"
        # Each replica's source and lag. They survive restarts, as on MariaDB, which keeps them beside the data.
        self._sources = {} if cluster.replication == "none" else {s.name: self.primary for s in cluster.replicas}
        self._lags: dict[str, int] = {}

    # ---- start

    async def start(self, name: str, *, new_secrets: bool = False) -> Server:
        self.require(name, "down")
        await self.launch(name, new_secrets=new_secrets)
        if name == self.primary:
            await self.secure()
        return self.server(name)

    async def launch(self, name: str, *, new_secrets: bool = False, fresh: bool = False) -> None:
        await self.look_for_deaths()
        options = [f"--lag={self._lags.get(name, 0)}"]
        if name in self._sources:
            options.append(f"--follow={HOST}:{self._instances[self._sources[name]].replication_port}")
        if name != self.primary:
            options.append("--read-only")
        elif self._semisync and self._replicas():
            options.append("--synchronous=1")  # from its first commit on
        try:
            await self._instances[name].start(*options, new_secrets=new_secrets, fresh=fresh)
            self._serving.add(name)
            (self._opened.add if name == self.primary else self._opened.discard)(name)
        finally:
            self._update(self._instances[name].server)

    async def secure(self) -> None:
        """With semisync, make the primary's commits wait for a replica, if one runs: alone its first commit would hang."""
        if not self._semisync:
            return
        if not self._replicas():
            logger.warning("%s has no replica: its commits do not wait until one rejoins", self.primary)
        await self._instances[self.primary].ask(f"synchronous {int(bool(self._replicas()))}")

    # ---- replication

    def _replicas(self, *, but: str = "") -> list[str]:
        """The names of the running replicas."""
        return [name for name in self._sources if name != but and self.state(name) == "running"]

    def _require_replica(self, name: str) -> _EmbeddedServer:
        self.require(name, "running")
        if name not in self._sources:
            raise ClusterError(f"{name} is not a replica")
        return self._instances[name]

    async def _status(self, name: str) -> dict[str, Any]:
        status: dict[str, Any] = await self._instances[name].ask("status")
        return status

    async def follow(self, name: str, source: str, within: float = ATTACH_SECONDS) -> None:
        """Make a server replicate from another, from its own position on, and wait until it does. Raises `_RefusedError`."""
        server = self._instances[name]
        await server.ask("resume")
        await server.ask(f"follow {HOST} {self._instances[source].replication_port}")
        self._opened.discard(name)  # a replica is read-only
        self._sources[name] = source
        await self.wait_attached(name, within)

    async def wait_attached(self, name: str, within: float = ATTACH_SECONDS) -> None:
        with bounded(f"waiting for {name} to replicate from {self._sources[name]}", within):
            while not (status := await self._status(name))["replicating"]:
                if status["replication_error"]:
                    raise _RefusedError(f"{name} cannot replicate: {status['replication_error']}")
                await trio.sleep(POLL_SECONDS)

    async def _wait_applied(self, name: str, number: int, within: float) -> None:
        status: dict[str, Any] = {}
        with trio.move_on_after(within):
            while True:
                status = await self._status(name)
                if status["position"][0] >= number:
                    return
                if status["replication_error"]:
                    raise ClusterError(f"{name} does not replicate: {status['replication_error']}")
                await trio.sleep(POLL_SECONDS)
        at = f"it is at {status['position'][0]}" if status else "it does not answer"
        stopped = ", and its replication was stopped" if status.get("paused") else ""
        raise ClusterError(f"{name} has not applied transaction {number} within {within:g} s: {at}{stopped}")

    async def wait_replicated(self, within: float = 10.0) -> None:
        number = (await self._status(self.require(self.primary, "running").name))["position"][0]
        await run_all(*(partial(self._wait_applied, name, number, within) for name in self._replicas()))

    async def stop_replication(self, name: str) -> None:
        await self._require_replica(name).ask("pause")

    async def start_replication(self, name: str) -> None:
        await self._require_replica(name).ask("resume")
        await self.wait_attached(name)

    async def set_lag(self, name: str, seconds: int) -> None:
        require_lag(seconds)
        server = self._require_replica(name)
        source = self._sources[name]
        if self.state(source) != "running":  # possible here, but drills must behave alike on every kind of server
            raise ClusterError(f"the lag of {name} cannot be set while {source} does not run")
        await server.ask(f"lag {seconds}")
        self._lags[name] = seconds

    async def replication_status(self, name: str) -> ReplicationStatus:
        self.require(name, "running")
        status, source = await self._status(name), self._sources.get(name)
        if source is None:
            return ReplicationStatus(None, False, None, 0, "")
        running = status["replicating"] and not status["paused"] and not status["replication_error"]
        trouble = status["replication_error"] or ("it was stopped" if status["paused"] else f"{source} does not answer")
        return ReplicationStatus(
            source=source,
            running=running,
            lag=status["behind"] if running else None,
            delay=self._lags.get(name, 0),
            error="" if running else trouble,
        )

    # ---- failover

    async def promote(self, name: str) -> None:
        self.require(name, "running")
        if name == self.primary:
            raise ClusterError(f"{name} is the primary already")
        target = self._require_replica(name)
        others = self._replicas(but=name)
        with bounded(f"promoting {name}", COMMAND_SECONDS + APPLY_SECONDS + ATTACH_SECONDS):
            await self._gather(name, others)
            del self._sources[name]
            self.primary = name
            self._once_primary.add(name)
            self._lags.pop(name, None)
            await target.ask("lag 0")
            await self.secure()  # first wait for a replica: what the primary acknowledges alone could be lost with it
            await target.ask("promote")
            self._opened.add(name)
            troubles: list[str] = []
            await run_all(*(collecting(troubles, partial(self.follow, other, name)) for other in others))
        if troubles:
            raise ClusterError(f"{name} is the primary now, but: {'; '.join(troubles)}; let them rejoin")

    async def _gather(self, name: str, others: list[str]) -> None:
        """Make `name` apply everything that it or any of the others has received: any of them may have acknowledged it."""
        target = self._instances[name]
        await target.ask("detach")
        positions = {name: (await self._status(name))["position"][0]}
        troubles: list[str] = []

        async def detach(other: str) -> None:
            await self._instances[other].ask("detach")
            positions[other] = (await self._status(other))["position"][0]

        await run_all(*(collecting(troubles, partial(detach, other)) for other in others))
        if troubles:
            logger.warning("promoting %s without what other replicas may have received: %s", name, "; ".join(troubles))
        ahead = max(positions, key=lambda one: (positions[one], one == name))
        if ahead != name:
            await self.follow(name, ahead)
            await self._wait_applied(name, positions[ahead], APPLY_SECONDS)

    async def _takes_writes(self, name: str) -> bool:
        return not (await self._status(name))["read_only"]

    async def close_for_writes(self) -> None:
        self._opened.discard(self.primary)
        await self._instances[self.require(self.primary, "running").name].ask("read-only on")

    async def open_for_writes(self) -> None:
        await self._instances[self.require(self.primary, "running").name].ask("read-only off")
        self._opened.add(self.primary)

    async def rejoin(self, name: str) -> Rejoined:
        if self.cluster.replication == "none":
            raise ClusterError(f"{name} cannot rejoin: the servers of this cluster do not replicate")
        if name == self.primary:
            raise ClusterError(f"{name} is the primary: promote another server first")
        self.require(self.primary, "running")
        self.require(name, "running", "down")
        self._lags.pop(name, None)
        if name in self._once_primary and self.unlogged_writes:
            reason = "it was the primary, and no server logs clients' writes in the plain topology: the two cannot be compared"
            return await self._rebuild(name, reason)
        if self.state(name) == "down":
            self._sources.pop(name, None)
            await self.launch(name)
        try:
            await self._attach(name, APPLY_SECONDS)
        except _RefusedError as error:
            return await self._rebuild(name, str(error))
        return Rejoined(False, f"{self.primary} has all that {name} had")

    async def _attach(self, name: str, within: float) -> None:
        await self._instances[name].ask("lag 0")
        await self.follow(name, self.primary, within)
        await self._wait_applied(name, (await self._status(self.primary))["position"][0], within)
        await self.secure()

    async def _rebuild(self, name: str, reason: str) -> Rejoined:
        """Discard the rows. Apply the primary's log from its beginning, or copy its tables if the log is no longer complete."""
        if self.state(name) != "down":
            await self.kill(name)
        self._sources.pop(name, None)
        await self.launch(name, fresh=True)
        self._once_primary.discard(name)
        await self._attach(name, REBUILD_SECONDS)
        return Rejoined(True, reason)

    # ---- tables

    async def create_table(self, table: Table) -> None:
        # On the replicas first: a change to a table that they lack would stop their replication.
        create = [partial(server.ask, "create", description(table)) for server in self._instances.values()]
        await run_all(*(create[1:]))
        await create[0]()
        self._plan.tables.append(table)

    async def fill(self, table: Table, rows: Iterable[Row]) -> None:
        filled = [self._instances[server.name] for server in self._to_fill()]
        plain = plain_values(table)
        for some in chunked(rows, BATCH_BYTES):
            chunk = {"database": table.database, "name": table.name, "rows": [plain(row) for row in some]}
            await run_all(*(partial(server.ask, "load", chunk) for server in filled))

    async def read_rows(self, name: str, table: Table, *, after: Sequence[Any] | None = None, limit: int = 10_000) -> list[Row]:
        self.require(name, "running")
        wanted = {"database": table.database, "name": table.name, "after": after, "limit": limit}
        return [tuple(row) for row in await self._instances[name].ask("rows", wanted)]


class _RefusedError(ClusterError):
    """The replica has transactions that the source lacks. Only a rebuild helps."""


@asynccontextmanager
async def open_embedded(
    version: str | None,
    why: str,
    *,
    readers: int,
    standby: bool,
    database: str,
    write_databases: Mapping[str, str],
    replication: str,
    progress: Callable[[str], None],
) -> AsyncIterator[Control]:
    """The `embedded` kind of `open_servers`, which says what it promises."""
    if version is not None and version not in SUITES:
        raise ClusterError(f"embedded servers answer as {' or '.join(SUITES)}, not as {version}")
    check_temporary_directory(None)
    names = server_names(readers, standby)
    # As on MariaDB: direct writes to the tables do not replicate (MDEV-33967); writes through their twins do.
    options = [f"--twin={twin}={database}" for database, twin in write_databases.items()] or ["--unlogged"]
    version = version or DEFAULT_VERSION
    options.append(f"--server-version={version}")
    async with open_sandbox(None, progress) as sandbox:
        progress(f"starting {len(names)} embedded servers" if len(names) > 1 else "starting an embedded server")
        plan = _Plan(sandbox, options)
        servers = {name: _EmbeddedServer(plan, name) for name in names}
        cluster = Cluster(
            kind="embedded",
            why=why,
            version=f"trio-hs {metadata.version('trio-hs')} as MariaDB {version}",
            servers=tuple(server.server for server in servers.values()),
            write_databases=write_databases,
            replication=replication,
        )
        control = EmbeddedControl(cluster, servers, plan)
        await run_all(*(partial(control.launch, name, new_secrets=True) for name in names))
        await run_all(*(partial(control.wait_attached, name) for name in names if name != "writer" and replication != "none"))
        await control.secure()
        progress(f"{counted(len(names), 'server is', 'servers are')} up")
        yield control
