"""The `mariadbd` servers of a run, as processes or in containers: their configuration, their start, and their replication."""

from __future__ import annotations

import os
import secrets
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

import pymysql
import trio

from hs_drill._cluster import Cluster, ClusterError, Server
from hs_drill._counted import counted
from hs_drill._sql_text import any_table

from ._control import POLL_SECONDS, handlersocket_answers
from ._instance import Instance
from ._replication import follow
from ._sql import run_all, run_sql
from ._sql_control import SqlControl

START_SECONDS = 30.0
HANDLERSOCKET_SECONDS = 3.0
TURNED_AWAY_SECONDS = 0.2
"""The pause after a connection that was opened in vain: every one of them costs CPU."""
REDO_SIZE = "32M"
"""The template of the data directories has the same size: a start that changes it takes a second longer."""


class AddressInUseError(ClusterError):
    """Another program took one of the ports in spite of the reservation."""


@dataclass(frozen=True)
class Passwords:
    admin_user: str = "harness"
    admin: str = field(default_factory=lambda: secrets.token_hex(16))
    replication_user: str = "replication"
    replication: str = field(default_factory=lambda: secrets.token_hex(16))
    load_user: str = "load"
    load: str = field(default_factory=lambda: secrets.token_hex(16))


@dataclass(frozen=True)
class Settings:
    """What the servers of a run share.

    Attributes:
      address: the address to listen on.
      clients: the host part of the accounts, as in `user@host`.
      database: the database that the load's account may read and write.
      root: whether the servers run as root, which mariadbd refuses unless told to.
    """

    write_through: bool
    semisync: bool
    address: str
    clients: str
    database: str
    root: bool = False
    passwords: Passwords = field(default_factory=Passwords)

    @property
    def plugins(self) -> list[str]:
        return ["handlersocket.so", *(["ha_federatedx.so"] if self.write_through else [])]


def new_server(name: str, host: str, passwords: Passwords) -> Server:
    """A server without ports and secrets, which come later."""
    return Server(
        name,
        host,
        0,
        0,
        "",
        "",
        admin_user=passwords.admin_user,
        admin_password=passwords.admin,
        load_user=passwords.load_user,
        load_password=passwords.load,
        own=True,
    )


def configuration(
    data: str, server: Server, number: int, settings: Settings, *, read_only: bool, listening: bool = True
) -> str:
    """The option file of a server with the data directory `data`, which holds `init.sql`, and the server id `number`.

    A server that is not `listening` has no HandlerSocket.
    """
    durable = server.name in ("writer", "standby")
    plugins = settings.plugins if listening else settings.plugins[1:]
    lines = [
        "[mariadbd]",
        *(["user=root"] if settings.root else []),
        f"datadir={data}",
        f"tmpdir={data}",
        f"init-file={data}/init.sql",
        # Relative to the data directory: the server refuses a path of more than 107 bytes.
        "socket=sql.sock",
        "pid-file=server.pid",
        f"bind-address={settings.address}",
        f"port={server.sql_port}",
        "skip-name-resolve",
        "default-time-zone=+00:00",
        "character-set-server=utf8mb4",
        "max-connections=500",
        # The plugin's maturity is Beta, which the server's default does not load.
        "plugin-maturity=beta",
        *(f"plugin-load-add={plugin}" for plugin in plugins),
        *(_listeners(server, settings) if listening else []),
        f"server-id={number}",
        "log-bin=binlog",
        "binlog-format=ROW",
        "log-slave-updates=1",
        "gtid-strict-mode=1",
        "slave-net-timeout=10",
        f"read-only={int(read_only)}",
        # Acknowledged writes must survive a kill, and on the writer and standby also a power failure.
        "innodb-flush-log-at-trx-commit=1",
        f"sync-binlog={int(durable)}",
        *(_SEMISYNC if settings.semisync else []),
        *(["rpl-semi-sync-slave-enabled=1"] if settings.semisync and read_only else []),
        # Small, so that the server starts quickly and its directory stays small.
        f"innodb-log-file-size={REDO_SIZE}",
        "innodb-buffer-pool-size=64M",
        "key-buffer-size=1M",
        "aria-pagecache-buffer-size=8M",
        "performance-schema=OFF",
    ]
    return "\n".join(lines) + "\n"


def _listeners(server: Server, settings: Settings) -> list[str]:
    return [
        f"handlersocket_address={settings.address}",
        f"handlersocket_port={server.read_port}",
        f"handlersocket_port_wr={server.write_port}",
        f"handlersocket_plain_secret={server.read_secret}",
        f"handlersocket_plain_secret_wr={server.write_secret}",
        f"handlersocket_threads={min(16, max(2, os.cpu_count() or 2))}",
        "handlersocket_threads_wr=1",
        # Otherwise it writes its secrets into the log.
        "handlersocket_verbose=0",
    ]


_SEMISYNC = [
    # After this time a commit is acknowledged without a replica. A day, so that it never happens in a run.
    f"rpl-semi-sync-master-timeout={24 * 3600 * 1000}",
    # Otherwise a commit is visible to others before a replica has it, and stays in the primary if no replica gets it.
    "rpl-semi-sync-master-wait-point=AFTER_SYNC",
]


def accounts_sql(settings: Settings) -> str:
    """`init.sql`, which the server runs at every start, before it accepts connections."""
    passwords = settings.passwords
    users = (passwords.admin_user, passwords.replication_user, passwords.load_user)
    admin, replication, load = (f"'{user}'@'{settings.clients}'" for user in users)
    # One statement per line, as init-file requires. Not logged: each server creates its own users. Replicated ones would clash,
    # or give the replicas GTIDs from before they began to replicate.
    return (
        "SET sql_log_bin=0;\n"
        f"CREATE USER IF NOT EXISTS {admin} IDENTIFIED BY '{passwords.admin}';\n"
        f"GRANT ALL PRIVILEGES ON *.* TO {admin} WITH GRANT OPTION;\n"
        f"CREATE USER IF NOT EXISTS {replication} IDENTIFIED BY '{passwords.replication}';\n"
        f"GRANT REPLICATION SLAVE ON *.* TO {replication};\n"
        # The rights of an application and no more: read_only does not apply to an administrator.
        f"CREATE USER IF NOT EXISTS {load} IDENTIFIED BY '{passwords.load}';\n"
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON {any_table(settings.database)} TO {load};\n"
    )


class Mariadbd(Instance):
    """One `mariadbd` of a run, in a process or a container."""

    def __init__(self, settings: Settings, data: str, number: int) -> None:
        self.settings = settings
        self._data = data
        self.number = number
        """Its server id."""

    @abstractmethod
    async def create(self) -> None:
        """Make an empty data directory, in place of a former one. The server must be down."""

    @abstractmethod
    async def run_with(self, configuration: str) -> None:
        """Start it with this option file. Do not wait until it is up."""

    async def start_somewhere(self, reserve_port: Callable[[], int], *, read_only: bool) -> None:
        """Reserve ports, and start on them. If another program has taken one, try others."""
        attempts = 3
        while True:
            self.server = replace(self.server, read_port=reserve_port(), write_port=reserve_port(), sql_port=reserve_port())
            try:
                await self.create()
                return await self.start(read_only=read_only, new_secrets=True)
            except AddressInUseError:
                attempts -= 1
                if not attempts:
                    raise

    async def start(self, *, read_only: bool, new_secrets: bool = False, listening: bool = True) -> None:
        """Start, and wait until it answers on all its ports, or by SQL alone if not `listening`. If it does not, kill it."""
        if new_secrets:
            self.server = replace(self.server, read_secret=secrets.token_hex(16), write_secret=secrets.token_hex(16))
        text = configuration(self._data, self.server, self.number, self.settings, read_only=read_only, listening=listening)
        await self.run_with(text)
        try:
            await self._wait_until_up(listening)
        except ClusterError:
            await self.kill()  # it may still run: see _require_alive
            raise

    async def _wait_until_up(self, listening: bool) -> None:
        server = self.server
        with trio.move_on_after(START_SECONDS):
            while (answer := await _ask_sql(server)) != "answered":
                await self._require_alive()
                # Nobody listens yet: asking again costs no connection.
                await trio.sleep(POLL_SECONDS if answer == "refused" else TURNED_AWAY_SECONDS)
            # HandlerSocket listens before SQL does. If it cannot, the server runs on without it and reports nothing.
            with trio.move_on_after(HANDLERSOCKET_SECONDS):
                while listening and not await handlersocket_answers(server):
                    await self._require_alive()
                    await trio.sleep(POLL_SECONDS)
                return
            raise AddressInUseError(
                f"{server.name} answers SQL, but not HandlerSocket on ports {server.read_port} and {server.write_port}: "
                "another program may have taken them"
            )
        raise ClusterError(f"{server.name} did not answer within {START_SECONDS:.0f} s: {reason_in(await self.read_log())}")

    async def _require_alive(self) -> None:
        """Raise `ClusterError` with the reason if the start has failed."""
        # Look for "Aborting", too: the process does not always end. If the SQL port is taken it hangs in its shutdown.
        if (code := self.exit_code()) is not None or "[ERROR] Aborting" in await self.read_log():
            reason = reason_in(await self.read_log())
            kind = AddressInUseError if "ddress already in use" in reason else ClusterError
            raise kind(f"{self.server.name} did not start (exit code {code}): {reason}")


async def _ask_sql(server: Server) -> Literal["answered", "refused", "turned away"]:
    """What becomes of a query: `refused` if nothing listens, `turned away` if what listens does not answer it."""
    # Not execute_sql, whose timeouts are long: if another program has the port, it may accept and never answer.
    ask = partial(run_sql, server, ("SELECT 1",), connect_timeout=1, read_timeout=1)
    try:
        await trio.to_thread.run_sync(ask, abandon_on_cancel=True)
    except (pymysql.MySQLError, OSError) as error:
        refused = isinstance(getattr(error, "original_exception", error), ConnectionRefusedError)
        return "refused" if refused else "turned away"
    return "answered"


def reason_in(log: str, lines: int = 3) -> str:
    """Why the program that wrote this log has ended: its last errors, or else its last line."""
    text = [line.strip() for line in log.splitlines() if line.strip()]
    errors = [line[line.index("[ERROR]") :] for line in text if "[ERROR]" in line]
    return " | ".join(errors[-lines:] or text[-1:]) or "it wrote no log"


# --- A cluster of them -----------------------------------------------------------------------------------------------


async def bring_up(
    cluster: Cluster,
    servers: Mapping[str, Mariadbd],
    reserve_port: Callable[[], int],
    progress: Callable[[str], None],
) -> Cluster:
    """Create and start the servers, and return the cluster with them. They do not replicate yet: see `begin_replication`."""
    progress(f"starting {len(servers)} MariaDB servers" if len(servers) > 1 else "starting a MariaDB server")

    async def start(server: Mariadbd) -> None:
        await server.start_somewhere(reserve_port, read_only=server.server.name != "writer")

    await run_all(*(partial(start, server) for server in servers.values()))
    passwords = servers["writer"].settings.passwords
    return replace(
        cluster,
        servers=tuple(server.server for server in servers.values()),
        admin_user=passwords.admin_user,
        admin_password=passwords.admin,
        replication_user=passwords.replication_user,
        replication_password=passwords.replication,
    )


class MariadbdControl(SqlControl):
    """A `Control` over MariaDB servers that the run has started, as processes or in containers."""

    _instances: Mapping[str, Mariadbd]

    def __init__(self, cluster: Cluster, servers: Mapping[str, Mariadbd]) -> None:
        super().__init__(cluster, servers)
        self._serving |= servers.keys()
        self._next_number = len(servers) + 1

    async def begin_replication(self, progress: Callable[[str], None]) -> None:
        cluster = self.cluster
        if cluster.replicas and cluster.replication != "none":
            progress("starting replication")
            await run_all(*(partial(follow, replica, cluster.writer, cluster) for replica in cluster.replicas))
            await self.secure()
        progress(f"{counted(len(cluster.servers), 'server is', 'servers are')} up")

    async def _launch(self, name: str, *, read_only: bool, new_secrets: bool = False, fresh: bool = False) -> None:
        await self.look_for_deaths()
        server = self._instances[name]
        if fresh:
            # A replica skips transactions with its own server id: under the old id it would miss its own former writes.
            server.number, self._next_number = self._next_number, self._next_number + 1
            await server.create()
        try:
            await server.start(read_only=read_only, new_secrets=new_secrets, listening=not fresh)
            self._serving.add(name)
            (self._opened.discard if read_only else self._opened.add)(name)
        finally:
            self._update(server.server)
