"""A cluster of `mariadbd` processes on 127.0.0.1, made for one run and thrown away with it.

In the order of reading: what is installed, one server, the cluster and its control.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pymysql
import trio

from ._cluster import Cluster, ClusterError, Server
from ._control import handlersocket_answers
from ._process import ProcessControl, ServerProcess, read_log
from ._replication import create_table as create_table
from ._replication import follow
from ._replication import wait_replicated as wait_replicated
from ._run import HOST, POLL_SECONDS, Run, check_temporary_directory, open_run, server_account, until_ended
from ._sql import at_once, run_sql
from ._sql import execute_sql as execute_sql
from ._sql_control import SqlControl

START_SECONDS = 30.0
HANDLERSOCKET_SECONDS = 3.0

# --- What is installed -----------------------------------------------------------------------------------------------

_USUAL_DIRECTORIES = ("/usr/sbin", "/usr/local/sbin", "/usr/libexec", "/usr/local/bin", "/usr/local/mysql/bin")
_INSTALL_HINT = "on Debian or Ubuntu, as root: apt-get install mariadb-server"


@dataclass(frozen=True)
class Installation:
    """A MariaDB of this machine that can serve HandlerSocket."""

    mariadbd: str
    install_db: str
    plugin_directory: Path
    version: str

    def __str__(self) -> str:
        return f"MariaDB {self.version} with handlersocket.so is installed ({self.mariadbd})"


async def find_installation() -> Installation:
    """Look for `mariadbd`, `mariadb-install-db` and the HandlerSocket plugin, in PATH and the usual places.

    Raises `ClusterError` that names the first one missing and says how to get it.
    """
    mariadbd = _find_program("mariadbd")
    install_db = _find_program("mariadb-install-db")
    result = await trio.run_process(
        [mariadbd, "--no-defaults", "--verbose", "--help"], capture_stdout=True, capture_stderr=True, check=False
    )
    text = result.stdout.decode(errors="replace")
    plugins = re.search(r"^plugin-dir\s+(\S+)", text, re.MULTILINE)
    version = re.search(r"\sVer (\S+)", text)
    if not plugins or not version:
        reason = result.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise ClusterError(f"{mariadbd} does not run: {''.join(reason) or f'exit code {result.returncode}'}")
    installation = Installation(mariadbd, install_db, Path(plugins[1]), version[1])
    _require_plugin(installation, "handlersocket.so")
    return installation


def _find_program(name: str) -> str:
    found = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", os.defpath), *_USUAL_DIRECTORIES]))
    if found is None:
        raise ClusterError(f"{name} not found in PATH or {', '.join(_USUAL_DIRECTORIES)}; {_INSTALL_HINT}")
    return found


def _require_plugin(installation: Installation, name: str) -> None:
    if not (installation.plugin_directory / name).exists():
        raise ClusterError(
            f"{name} not found in {installation.plugin_directory}, the plugin directory of {installation.mariadbd}: "
            f"MariaDB's own packages have it, MySQL's do not; {_INSTALL_HINT}"
        )


# --- One server ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Passwords:
    admin_user: str
    admin: str
    replication_user: str
    replication: str


@dataclass
class _Plan:
    """What the servers of a run have in common."""

    run: Run
    installation: Installation
    template: Path
    plugins: list[str]
    passwords: _Passwords
    semisync: bool


class _AddressInUseError(ClusterError):
    """Somebody took one of the ports in spite of the reservation."""


def _configuration(
    run: Run, data: Path, server: Server, number: int, plugins: list[str], *, read_only: bool, semisync: bool
) -> str:
    durable = server.name in ("writer", "standby")
    lines = [
        "[mariadbd]",
        *([] if run.account or os.geteuid() else ["user=root"]),
        f"datadir={data}",
        f"tmpdir={data}",
        f"init-file={data}/init.sql",
        # Relative to the data directory: a path of more than 107 bytes would be refused.
        "socket=sql.sock",
        "pid-file=server.pid",
        f"bind-address={HOST}",
        f"port={server.sql_port}",
        "skip-name-resolve",
        "default-time-zone=+00:00",
        "character-set-server=utf8mb4",
        "max-connections=500",
        # The plugin calls itself Beta, and the server's default is stricter.
        "plugin-maturity=beta",
        *(f"plugin-load-add={plugin}" for plugin in plugins),
        f"handlersocket_address={HOST}",
        f"handlersocket_port={server.read_port}",
        f"handlersocket_port_wr={server.write_port}",
        f"handlersocket_plain_secret={server.read_secret}",
        f"handlersocket_plain_secret_wr={server.write_secret}",
        f"handlersocket_threads={min(16, max(2, os.cpu_count() or 2))}",
        "handlersocket_threads_wr=1",
        # Else it writes its secrets into the log.
        "handlersocket_verbose=0",
        f"server-id={number}",
        "log-bin=binlog",
        "binlog-format=ROW",
        "log-slave-updates=1",
        "gtid-strict-mode=1",
        "slave-net-timeout=10",
        f"read-only={int(read_only)}",
        # What was acknowledged must survive a kill, and on the writers a power cut as well.
        "innodb-flush-log-at-trx-commit=1",
        f"sync-binlog={int(durable)}",
        *(_SEMISYNC if semisync else []),
        *(["rpl-semi-sync-slave-enabled=1"] if semisync and read_only else []),
        # Small, for a quick start and small directories.
        f"innodb-log-file-size={_REDO_SIZE}",
        "innodb-buffer-pool-size=64M",
        "key-buffer-size=1M",
        "aria-pagecache-buffer-size=8M",
        "performance-schema=OFF",
    ]
    return "\n".join(lines) + "\n"


_REDO_SIZE = "32M"

_SEMISYNC = [
    # A commit that has waited so long is acknowledged without a replica: never, in the life of a run.
    f"rpl-semi-sync-master-timeout={24 * 3600 * 1000}",
    # Else a commit is seen by others, and survives in the primary alone, before a replica has it.
    "rpl-semi-sync-master-wait-point=AFTER_SYNC",
]


def _accounts_sql(passwords: _Passwords) -> str:
    """Run at every start of a server, before it takes connections."""
    admin, replication = f"'{passwords.admin_user}'@'{HOST}'", f"'{passwords.replication_user}'@'{HOST}'"
    # One statement a line, as init-file wants it. Not logged: each server has its own, and replicated users would give
    # the replicas GTIDs of the writer's past, or clash.
    return (
        "SET sql_log_bin=0;\n"
        f"CREATE USER IF NOT EXISTS {admin} IDENTIFIED BY '{passwords.admin}';\n"
        f"GRANT ALL PRIVILEGES ON *.* TO {admin} WITH GRANT OPTION;\n"
        f"CREATE USER IF NOT EXISTS {replication} IDENTIFIED BY '{passwords.replication}';\n"
        f"GRANT REPLICATION SLAVE ON *.* TO {replication};\n"
    )


async def _make_template(run: Run, installation: Installation) -> Path:
    """A fresh data directory that the servers' own are copied from: creating one costs more than all the copies."""
    template, log = run.directory / "template", run.directory / "template.log"
    # Without --user: run by root with it, the script also changes the owner of a system directory. With --force it does
    # not look this machine's name up.
    process = run.spawn(
        [
            installation.install_db,
            "--no-defaults",
            f"--datadir={template}",
            "--force",
            "--skip-test-db",
            "--skip-name-resolve",
            f"--innodb-log-file-size={_REDO_SIZE}",
        ],
        log,
    )
    with trio.move_on_after(START_SECONDS):
        await until_ended(process)
        if process.returncode == 0:
            return template
        raise ClusterError(f"{installation.install_db} failed: {_reason(log)}")
    raise ClusterError(f"{installation.install_db} took more than {START_SECONDS:.0f} s: {_reason(log)}")


def _copy_template(run: Run, template: Path, data: Path) -> None:
    def copy(source: str, destination: str) -> None:
        shutil.copyfile(source, destination)
        run.give(Path(destination))

    shutil.copytree(template, data, copy_function=copy)
    for directory, _, _ in os.walk(data):
        run.give(Path(directory))


class _Mariadbd(ServerProcess):
    """One `mariadbd`: its data directory, its ports, and the process that serves them at the moment, if any."""

    def __init__(self, plan: _Plan, name: str, number: int) -> None:
        admin = plan.passwords
        server = Server(name, HOST, 0, 0, "", "", admin_user=admin.admin_user, admin_password=admin.admin)
        super().__init__(server, plan.run.directory / name)
        self._plan = plan
        self.number = number

    async def create(self) -> None:
        """An empty data directory, in place of the one that there may be."""
        await trio.to_thread.run_sync(partial(shutil.rmtree, self.directory, ignore_errors=True))
        await trio.to_thread.run_sync(_copy_template, self._plan.run, self._plan.template, self.directory)
        self._plan.run.write_secret_file(self.directory / "init.sql", _accounts_sql(self._plan.passwords))

    async def start_somewhere(self, *, read_only: bool) -> None:
        """Start on ports that are free, and keep them."""
        attempts = 3
        while True:
            reserve = self._plan.run.reserve_port
            self.server = replace(self.server, read_port=reserve(), write_port=reserve(), sql_port=reserve())
            try:
                return await self.start(read_only=read_only, new_secrets=True)
            except _AddressInUseError:
                attempts -= 1
                if not attempts:
                    raise

    async def start(self, *, read_only: bool, new_secrets: bool = False) -> None:
        """Start and wait until it answers on all its ports. When it does not, no process is left."""
        if new_secrets:
            self.server = replace(self.server, read_secret=secrets.token_hex(16), write_secret=secrets.token_hex(16))
        plan = self._plan
        text = _configuration(
            plan.run, self.directory, self.server, self.number, plan.plugins, read_only=read_only, semisync=plan.semisync
        )
        plan.run.write_secret_file(self.directory / "server.cnf", text)
        self.paused = False
        argv = [plan.installation.mariadbd, f"--defaults-file={self.directory}/server.cnf"]
        self.process = plan.run.spawn(argv, self.new_log())
        self.server = replace(self.server, pid=self.process.pid)
        try:
            await _wait_until_up(self.server, self.process, self.log)
        except ClusterError:
            await self.kill()  # it may live on, see _wait_until_up
            raise


async def _wait_until_up(server: Server, process: subprocess.Popen[bytes], log: Path) -> None:
    with trio.move_on_after(START_SECONDS):
        while not await _sql_answers(server):
            # "Aborting", because the process does not always end: with the SQL port taken it hangs in its shutdown.
            if process.poll() is not None or "[ERROR] Aborting" in read_log(log):
                reason = _reason(log)
                kind = _AddressInUseError if "ddress already in use" in reason else ClusterError
                raise kind(f"{server.name} did not start (exit code {process.poll()}): {reason}")
            await trio.sleep(POLL_SECONDS)
        # HandlerSocket listens before SQL does. When it cannot, it says nothing and the server runs on without it.
        with trio.move_on_after(HANDLERSOCKET_SECONDS):
            while not await handlersocket_answers(server):  # noqa: ASYNC110  (no event: the network is asked)
                await trio.sleep(POLL_SECONDS)
            return
        raise _AddressInUseError(
            f"{server.name} answers SQL, but not HandlerSocket on ports {server.read_port} and {server.write_port}: "
            "another program may have taken them"
        )
    raise ClusterError(f"{server.name} did not answer within {START_SECONDS:.0f} s: {_reason(log)}")


async def _sql_answers(server: Server) -> bool:
    # Not execute_sql, which is patient: whoever else has the port may accept and say nothing.
    ask = partial(run_sql, server, ("SELECT 1",), connect_timeout=1, read_timeout=1)
    try:
        await trio.to_thread.run_sync(ask, abandon_on_cancel=True)
    except (pymysql.MySQLError, OSError):
        return False
    return True


def _reason(log: Path, lines: int = 3) -> str:
    """What a log says of its program's end: the last errors, or else the last line."""
    text = [line.strip() for line in read_log(log).splitlines() if line.strip()]
    errors = [line[line.index("[ERROR]") :] for line in text if "[ERROR]" in line]
    return " | ".join(errors[-lines:] or text[-1:]) or "it said nothing"


# --- The cluster -----------------------------------------------------------------------------------------------------


class MariadbControl(ProcessControl, SqlControl):
    """A `Control` over the `mariadbd` processes of a run."""

    def __init__(self, cluster: Cluster, processes: Mapping[str, _Mariadbd]) -> None:
        super().__init__(cluster, processes)
        self._servers = processes
        self._next_number = len(processes) + 1

    async def _launch(self, name: str, *, read_only: bool, new_secrets: bool = False, fresh: bool = False) -> None:
        process = self._servers[name]
        if fresh:
            # A replica skips what its own server id wrote: under the old one it would miss all its own former writes.
            process.number, self._next_number = self._next_number, self._next_number + 1
            await process.create()
        try:
            await process.start(read_only=read_only, new_secrets=new_secrets)
        finally:
            self._refresh(name)


@asynccontextmanager
async def open_mariadb(
    installation: Installation,
    why: str,
    *,
    readers: int,
    standby: bool,
    write_databases: Mapping[str, str],
    replication: str,
    progress: Callable[[str], None],
) -> AsyncIterator[MariadbControl]:
    """The `mariadb` kind of `open_controlled_cluster`, which says what it promises."""
    plugins = ["handlersocket.so"]
    if write_databases:
        plugins.append("ha_federatedx.so")
        _require_plugin(installation, plugins[-1])
    account = server_account()
    check_temporary_directory(account)
    names = ["writer", *(["standby"] if standby else []), *(f"reader-{i + 1}" for i in range(readers))]
    passwords = _Passwords("harness", secrets.token_hex(16), "replication", secrets.token_hex(16))

    async with open_run(account) as run:
        progress("creating a data directory")
        template = await _make_template(run, installation)
        progress(f"starting {len(names)} MariaDB servers" if len(names) > 1 else "starting a MariaDB server")
        plan = _Plan(run, installation, template, plugins, passwords, replication == "semisync")
        processes = {name: _Mariadbd(plan, name, number) for number, name in enumerate(names, 1)}

        async def start(process: _Mariadbd) -> None:
            await process.create()
            await process.start_somewhere(read_only=process.server.name != "writer")

        await at_once(*(partial(start, process) for process in processes.values()))
        cluster = Cluster(
            kind="mariadb",
            why=why,
            version=installation.version,
            servers=tuple(process.server for process in processes.values()),
            admin_user=passwords.admin_user,
            admin_password=passwords.admin,
            write_databases=write_databases,
            replication_user=passwords.replication_user,
            replication_password=passwords.replication,
            replication=replication,
        )
        control = MariadbControl(cluster, processes)
        if cluster.replicas and replication != "none":
            progress("starting replication")
            await at_once(*(partial(follow, replica, cluster.writer, cluster) for replica in cluster.replicas))
            await control.secure()
        progress(f"{len(names)} servers are up")
        yield control
