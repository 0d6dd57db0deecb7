"""A cluster of `mariadbd` processes on 127.0.0.1, made for one run and thrown away with it.

In the order of reading: what is installed, what a run owns, one server, the cluster, and the SQL helpers that the
harness uses on any cluster with a SQL port.
"""

from __future__ import annotations

import logging
import os
import pwd
import random
import re
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pymysql
import pymysql.cursors
import trio

from . import _keeper
from ._cluster import Cluster, ClusterError, Server

logger = logging.getLogger("loadtest.mariadb")

HOST = "127.0.0.1"
LEAST_FREE_BYTES = 1 << 30
START_SECONDS = 30.0
REPLICATION_SECONDS = 15.0
HANDLERSOCKET_SECONDS = 3.0
STOP_SECONDS = 10.0
POLL_SECONDS = 0.02

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


# --- What a run owns -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Account:
    """The user that the servers run as."""

    name: str
    uid: int
    gid: int


def _server_account() -> _Account | None:
    """`mysql` where we are root and it exists (mariadbd refuses to run as root unless told to), else ourselves."""
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam("mysql")
    except KeyError:
        return None
    return _Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


class _Run:
    """One directory, the processes that work in it, the ports they listen on, and the guardian that outlives us.

    Every method that starts something is synchronous and protected from Ctrl-C, so that nothing is ever started and
    not recorded.
    """

    @trio.lowlevel.enable_ki_protection
    def __init__(self, account: _Account | None) -> None:
        self.account = account
        self.directory = Path(tempfile.gettempdir(), f"trio-hs-{secrets.token_hex(6)}").absolute()
        self._processes: list[subprocess.Popen[bytes]] = []
        self._reserved: list[socket.socket] = []
        # Before the directory exists: there is no moment at which our death would leave one behind. In a session of its
        # own, so that neither Ctrl-C nor a kill of our process group reaches it.
        self._guardian = subprocess.Popen(
            [sys.executable, "-I", "-S", _keeper.__file__, "guard", str(self.directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
        )
        try:
            self.directory.mkdir(mode=0o700)
            self.give(self.directory)
        except OSError as error:
            self._end_all()
            self._guardian.wait(STOP_SECONDS)
            raise ClusterError(f"cannot use {self.directory.parent} for the servers' data: {error}") from error

    def give(self, path: Path) -> None:
        """Make the servers' user the owner of `path`."""
        if self.account is not None:
            os.chown(path, self.account.uid, self.account.gid)

    def write_secret_file(self, path: Path, text: str) -> None:
        path.unlink(missing_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w") as file:
            file.write(text)
        self.give(path)

    @trio.lowlevel.enable_ki_protection
    def spawn(self, argv: list[str], log: Path) -> subprocess.Popen[bytes]:
        """Start a program of the run, its output appended to `log`.

        Called from trio's own thread, and not through `trio.run_process`, which forks in a worker thread: the kernel
        ties a program's death signal to the thread that forked it, and idle worker threads end after a while.
        """
        account = self.account or _Account("", -1, -1)
        command = [sys.executable, "-I", "-S", _keeper.__file__, "launch"]
        with open(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as output:
            process = subprocess.Popen(
                [*command, str(os.getpid()), str(account.uid), str(account.gid), "--", *argv],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self.directory,
                env={
                    **os.environ,
                    _keeper.RUN_VARIABLE: str(self.directory),
                    "TMPDIR": str(self.directory),
                    "LC_ALL": "C",
                },
                process_group=0,  # the terminal's Ctrl-C is for us; what to do with the servers is ours to say
            )
            self._processes.append(process)
        return process

    @trio.lowlevel.enable_ki_protection
    def reserve_port(self) -> int:
        """A port of `HOST` that stays ours until the run ends, whether a server listens there or is down.

        Held by a socket that is bound and never listens: nobody else is given the port meanwhile, but a server that
        sets SO_REUSEADDR, as mariadbd and HandlerSocket do, may bind it beside us.
        """
        for port in random.sample(_fixed_ports(), 100):
            holder = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            try:
                # First without SO_REUSEADDR, so that it fails where anyone, another run included, has the port.
                holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
                holder.bind((HOST, port))
            except OSError:
                holder.close()
                continue
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._reserved.append(holder)
            return port
        raise ClusterError(f"no free port on {HOST} among 100 tried")

    async def close(self) -> None:
        """End the processes, wait for them, and see that the directory is gone. Shielded, at most `STOP_SECONDS`.

        With SIGKILL: an orderly stop takes a second and more, for data that are thrown away.
        """
        self._end_all()
        with trio.move_on_after(STOP_SECONDS, shield=True):
            await _until_ended(*self._processes, self._guardian)
            return
        pids = [process.pid for process in self._processes if process.poll() is None]
        logger.warning("still there after %s s: directory %s, processes %s", STOP_SECONDS, self.directory, pids)

    @trio.lowlevel.enable_ki_protection
    def _end_all(self) -> None:
        for process in self._processes:
            process.kill()
        for holder in self._reserved:
            holder.close()
        assert self._guardian.stdin is not None
        self._guardian.stdin.close()  # it removes the directory now


async def _until_ended(*processes: subprocess.Popen[bytes]) -> None:
    # Polled: this needs no more from the kernel than waitpid, and it is not a hot path.
    while any(process.poll() is None for process in processes):  # noqa: ASYNC110  (see above)
        await trio.sleep(POLL_SECONDS / 2)


def _fixed_ports() -> list[int]:
    """Ports outside the range from which the kernel takes the local ends of connections.

    A server that is restarted needs its old ports again, and under load thousands of connections use that range.
    """
    try:
        low, high = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    except (OSError, ValueError):
        low, high = 32768, 60999
    ports = [port for port in range(10000, 65536) if not low <= port <= high]
    return ports if len(ports) >= 1000 else list(range(10000, 65536))


@asynccontextmanager
async def _open_run(account: _Account | None) -> AsyncIterator[_Run]:
    run = _Run(account)
    try:
        yield run
    finally:
        # In a task of its own: a second Ctrl-C is raised in the main task, shielded or not, and would cut it short.
        async with trio.open_nursery() as nursery:
            nursery.cancel_scope.shield = True
            nursery.start_soon(run.close)


def _check_temporary_directory(account: _Account | None) -> None:
    directory = Path(tempfile.gettempdir()).absolute()
    free = shutil.disk_usage(directory).free
    if free < LEAST_FREE_BYTES:
        raise ClusterError(
            f"only {free >> 20} MiB free in {directory}, the servers need {LEAST_FREE_BYTES >> 20}: "
            "make room, or set TMPDIR to a directory with more"
        )
    for parent in [directory, *directory.parents]:
        if account is not None and not _may_enter(parent, account):
            raise ClusterError(
                f"the servers' user, {account.name}, may not enter {parent}: "
                "set TMPDIR to a directory that every user may enter, such as /tmp"
            )


def _may_enter(directory: Path, account: _Account) -> bool:
    status = directory.stat()
    if status.st_uid == account.uid:
        return bool(status.st_mode & 0o100)
    return bool(status.st_mode & (0o010 if status.st_gid == account.gid else 0o001))


# --- One server ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Passwords:
    admin_user: str
    admin: str
    replication_user: str
    replication: str


class _AddressInUseError(ClusterError):
    """Somebody took one of the ports in spite of the reservation."""


def _configuration(run: _Run, data: Path, server: Server, number: int, plugins: list[str]) -> str:
    replica = server.name != "writer"
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
        f"read-only={int(replica)}",
        # What was acknowledged must survive a kill, and on the writers a power cut as well.
        "innodb-flush-log-at-trx-commit=1",
        f"sync-binlog={int(durable)}",
        # Small, for a quick start and small directories.
        f"innodb-log-file-size={_REDO_SIZE}",
        "innodb-buffer-pool-size=64M",
        "key-buffer-size=1M",
        "aria-pagecache-buffer-size=8M",
        "performance-schema=OFF",
    ]
    return "\n".join(lines) + "\n"


_REDO_SIZE = "32M"


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


async def _make_template(run: _Run, installation: Installation) -> Path:
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
        await _until_ended(process)
        if process.returncode == 0:
            return template
        raise ClusterError(f"{installation.install_db} failed: {_reason(log)}")
    raise ClusterError(f"{installation.install_db} took more than {START_SECONDS:.0f} s: {_reason(log)}")


def _copy_template(run: _Run, template: Path, data: Path) -> None:
    def copy(source: str, destination: str) -> None:
        shutil.copyfile(source, destination)
        run.give(Path(destination))

    shutil.copytree(template, data, copy_function=copy)
    for directory, _, _ in os.walk(data):
        run.give(Path(directory))


async def _start_server(
    run: _Run,
    installation: Installation,
    template: Path,
    plugins: list[str],
    passwords: _Passwords,
    name: str,
    number: int,
) -> Server:
    """Start one server and wait until it answers on all its ports."""
    data = run.directory / name
    await trio.to_thread.run_sync(_copy_template, run, template, data)
    run.write_secret_file(data / "init.sql", _accounts_sql(passwords))
    attempts = 3
    while True:
        server = Server(
            name=name,
            host=HOST,
            read_port=run.reserve_port(),
            write_port=run.reserve_port(),
            sql_port=run.reserve_port(),
            read_secret=secrets.token_hex(16),
            write_secret=secrets.token_hex(16),
            admin_user=passwords.admin_user,
            admin_password=passwords.admin,
        )
        run.write_secret_file(data / "server.cnf", _configuration(run, data, server, number, plugins))
        log = data / "server.log"
        process = run.spawn([installation.mariadbd, f"--defaults-file={data}/server.cnf"], log)
        try:
            await _wait_until_up(server, process, log)
        except _AddressInUseError:
            attempts -= 1
            if not attempts:
                raise
            process.kill()  # it may live on, see _wait_until_up
            await _until_ended(process)
            log.rename(data / f"server.{attempts}.log")
        else:
            return replace(server, pid=process.pid)


async def _wait_until_up(server: Server, process: subprocess.Popen[bytes], log: Path) -> None:
    with trio.move_on_after(START_SECONDS):
        while not await _sql_answers(server):
            # "Aborting", because the process does not always end: with the SQL port taken it hangs in its shutdown.
            if process.poll() is not None or "[ERROR] Aborting" in _read(log):
                reason = _reason(log)
                kind = _AddressInUseError if "ddress already in use" in reason else ClusterError
                raise kind(f"{server.name} did not start (exit code {process.poll()}): {reason}")
            await trio.sleep(POLL_SECONDS)
        # HandlerSocket listens before SQL does. When it cannot, it says nothing and the server runs on without it.
        with trio.move_on_after(HANDLERSOCKET_SECONDS):
            while not await _handlersocket_answers(server):  # noqa: ASYNC110  (no event: the network is asked)
                await trio.sleep(POLL_SECONDS)
            return
        raise _AddressInUseError(
            f"{server.name} answers SQL, but not HandlerSocket on ports {server.read_port} and {server.write_port}: "
            "another program may have taken them"
        )
    raise ClusterError(f"{server.name} did not answer within {START_SECONDS:.0f} s: {_reason(log)}")


async def _sql_answers(server: Server) -> bool:
    # Not execute_sql, which is patient: whoever else has the port may accept and say nothing.
    ask = partial(_execute_sql, server, ("SELECT 1",), connect_timeout=1, read_timeout=1)
    try:
        await trio.to_thread.run_sync(ask, abandon_on_cancel=True)
    except (pymysql.MySQLError, OSError):
        return False
    return True


async def _handlersocket_answers(server: Server) -> bool:
    try:
        return await _authenticates(server.host, server.read_port, server.read_secret) and (
            await _authenticates(server.host, server.write_port, server.write_secret)
        )
    except OSError:
        return False


async def _authenticates(host: str, port: int, secret: str) -> bool:
    """Whether a real request is answered; that a connection is accepted says nothing (a stopped worker's is, too)."""
    answer = b""
    with trio.move_on_after(1):
        async with await trio.open_tcp_stream(host, port) as stream:
            await stream.send_all(b"A\t1\t%s\n" % secret.encode())
            while not answer.endswith(b"\n"):
                received = await stream.receive_some()
                if not received:
                    break
                answer += received
    return answer == b"0\t1\n"


def _read(log: Path) -> str:
    try:
        return log.read_text(errors="replace")
    except OSError:
        return ""


def _reason(log: Path, lines: int = 3) -> str:
    """What a log says of its program's end: the last errors, or else the last line."""
    text = [line.strip() for line in _read(log).splitlines() if line.strip()]
    errors = [line[line.index("[ERROR]") :] for line in text if "[ERROR]" in line]
    return " | ".join(errors[-lines:] or text[-1:]) or "it said nothing"


# --- The cluster -----------------------------------------------------------------------------------------------------


@asynccontextmanager
async def open_mariadb(
    installation: Installation,
    why: str,
    *,
    readers: int,
    standby: bool,
    write_databases: Mapping[str, str],
    progress: Callable[[str], None],
) -> AsyncIterator[Cluster]:
    """The `mariadb` kind of `open_cluster`, which says what it promises."""
    plugins = ["handlersocket.so"]
    if write_databases:
        plugins.append("ha_federatedx.so")
        _require_plugin(installation, plugins[-1])
    account = _server_account()
    _check_temporary_directory(account)
    names = ["writer", *(["standby"] if standby else []), *(f"reader-{i + 1}" for i in range(readers))]
    passwords = _Passwords("harness", secrets.token_hex(16), "replication", secrets.token_hex(16))

    async with _open_run(account) as run:
        progress("creating a data directory")
        template = await _make_template(run, installation)
        progress(f"starting {len(names)} MariaDB servers" if len(names) > 1 else "starting a MariaDB server")
        started: dict[str, Server] = {}

        async def start(name: str) -> None:
            number = names.index(name) + 1
            started[name] = await _start_server(run, installation, template, plugins, passwords, name, number)

        await _at_once(*(partial(start, name) for name in names))
        cluster = Cluster(
            kind="mariadb",
            why=why,
            version=installation.version,
            servers=tuple(started[name] for name in names),
            admin_user=passwords.admin_user,
            admin_password=passwords.admin,
            write_databases=write_databases,
            replication_user=passwords.replication_user,
            replication_password=passwords.replication,
        )
        if cluster.replicas:
            progress("starting replication")
            await _at_once(*(partial(_follow, replica, cluster) for replica in cluster.replicas))
        progress(f"{len(names)} servers are up")
        yield cluster


async def _follow(replica: Server, cluster: Cluster) -> None:
    """Make `replica` replicate from the writer, and wait until it does."""
    await execute_sql(
        replica,
        f"CHANGE MASTER TO master_host='{cluster.writer.host}', master_port={cluster.writer.sql_port}, "
        f"master_user='{cluster.replication_user}', master_password='{cluster.replication_password}', "
        # The default makes a replica wait a minute before it tries a restarted writer again.
        "master_use_gtid=slave_pos, master_connect_retry=1",
        "START SLAVE",
    )
    status: dict[str, Any] = {}
    with trio.move_on_after(REPLICATION_SECONDS):
        while True:
            status = (await execute_sql(replica, "SHOW SLAVE STATUS"))[0]
            if status["Slave_IO_Running"] == status["Slave_SQL_Running"] == "Yes":
                return
            await trio.sleep(POLL_SECONDS)
    raise ClusterError(f"{replica.name} does not replicate from {cluster.writer.name}: {_replication_trouble(status)}")


def _replication_trouble(status: Mapping[str, Any]) -> str:
    errors = [str(status[key]) for key in ("Last_IO_Error", "Last_SQL_Error") if status.get(key)]
    threads = f"IO thread {status.get('Slave_IO_Running')}, SQL thread {status.get('Slave_SQL_Running')}"
    return "; ".join([threads, *errors])


async def _at_once(*calls: Callable[[], Awaitable[None]]) -> None:
    """Run the calls concurrently. The first `ClusterError` cancels the others and comes out bare, not in a group."""
    errors: list[ClusterError] = []

    async def run(call: Callable[[], Awaitable[None]], nursery: trio.Nursery) -> None:
        try:
            await call()
        except ClusterError as error:
            errors.append(error)
            nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        for call in calls:
            nursery.start_soon(run, call, nursery)
    if errors:
        raise errors[0]


# --- SQL on any cluster with a SQL port ------------------------------------------------------------------------------


async def execute_sql(server: Server, *statements: str) -> list[dict[str, Any]]:
    """Run the statements in one connection of the administrator, each its own transaction; the last one's rows.

    Raises `ClusterError` when the server cannot be reached or refuses a statement. `trio.Cancelled` returns at once;
    the statement under way, and those after it, may still be carried out.
    """
    try:
        return await trio.to_thread.run_sync(_execute_sql, server, statements, abandon_on_cancel=True)
    except (pymysql.MySQLError, OSError) as error:
        code, message = (*error.args, "", "")[:2]
        raise ClusterError(f"{server.name}: SQL error {code}: {message}") from error


def _execute_sql(
    server: Server, statements: tuple[str, ...], connect_timeout: int = 5, read_timeout: int = 60
) -> list[dict[str, Any]]:
    connection = pymysql.connect(
        host=server.host,
        port=server.sql_port or 0,
        user=server.admin_user,
        password=server.admin_password,
        autocommit=True,
        charset="utf8mb4",
        connect_timeout=connect_timeout,
        read_timeout=read_timeout,
        cursorclass=pymysql.cursors.DictCursor,
    )
    with connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
        return list(cursor.fetchall())


def quoted(identifier: str) -> str:
    return "`" + identifier.replace("`", "``") + "`"


async def create_table(cluster: Cluster, database: str, table: str, columns_sql: str) -> None:
    """Create the InnoDB table `database.table (columns_sql)` on the writer, and wait until every replica has it.

    In the write-through topology, also the FEDERATED twin on every server: clients write to
    `cluster.write_databases[database]`, the server carries that out on its own `database` through SQL, and so it is
    logged. Clients must not open either table before this returns: to open a missing one on a write port spoils that
    writer thread (inserts fail with error 167) until the server restarts.

    Raises `ClusterError`. Cancelled, it may leave the table on some servers only.
    """
    await execute_sql(
        cluster.writer,
        f"CREATE DATABASE IF NOT EXISTS {quoted(database)}",
        f"CREATE TABLE {quoted(database)}.{quoted(table)} ({columns_sql}) ENGINE=InnoDB",
    )
    await wait_replicated(cluster, REPLICATION_SECONDS)
    # The position was reached; that the table is there is another matter (a replication filter of an external server).
    await _at_once(*(partial(_require_table, replica, database, table) for replica in cluster.replicas))
    if database in cluster.write_databases:
        twin = partial(_create_twin, cluster.write_databases[database], database, table, columns_sql)
        await _at_once(*(partial(twin, server) for server in cluster.servers))


async def _require_table(server: Server, database: str, table: str) -> None:
    await execute_sql(server, f"SELECT 1 FROM {quoted(database)}.{quoted(table)} LIMIT 0")


async def _create_twin(twin_database: str, database: str, table: str, columns_sql: str, server: Server) -> None:
    """The FEDERATED table that points back at its own server. Never logged: each server's names its own port."""
    itself = f"self_{database}"
    known = await execute_sql(server, f"SELECT 1 FROM mysql.servers WHERE server_name = '{itself}'")
    link = [] if known else _link_sql(server, database, itself)
    await execute_sql(
        server,
        "SET sql_log_bin=0",
        *link,
        f"CREATE DATABASE IF NOT EXISTS {quoted(twin_database)}",
        f"CREATE TABLE {quoted(twin_database)}.{quoted(table)} ({columns_sql}) ENGINE=FEDERATED CONNECTION='{itself}/{table}'",
    )


def _link_sql(server: Server, database: str, itself: str) -> list[str]:
    # An ordinary user, whom read_only stops: a write port must not write on a replica.
    user, password = f"'{itself}'@'{server.host}'", secrets.token_hex(16)
    pattern = quoted(database.replace("_", r"\_"))
    return [
        f"CREATE OR REPLACE USER {user} IDENTIFIED BY '{password}'",
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON {pattern}.* TO {user}",
        f"CREATE SERVER {quoted(itself)} FOREIGN DATA WRAPPER mysql OPTIONS (HOST '{server.host}', "
        f"PORT {server.sql_port}, USER '{itself}', PASSWORD '{password}', DATABASE '{database}')",
    ]


async def wait_replicated(cluster: Cluster, within: float = 10.0) -> None:
    """Wait until every replica has applied what the writer has logged by now, at most `within` seconds.

    Raises `ClusterError` that names the replica that did not, and its replication error. In the plain topology
    HandlerSocket's own writes are not logged, and so not waited for.
    """
    position = (await execute_sql(cluster.writer, "SELECT @@gtid_binlog_pos AS position"))[0]["position"]
    await _at_once(*(partial(_wait_applied, replica, position, within) for replica in cluster.replicas))


async def _wait_applied(replica: Server, position: str, within: float) -> None:
    deadline = trio.current_time() + within
    # In slices, so that a cancelled caller leaves no thread behind for long, and a stopped replica is noticed.
    wait = f"SELECT MASTER_GTID_WAIT('{position}', 0.25) AS late"
    while (await execute_sql(replica, wait))[0]["late"]:
        status = (await execute_sql(replica, "SHOW SLAVE STATUS"))[:1]
        stopped = not status or status[0]["Slave_SQL_Running"] != "Yes"
        if stopped or trio.current_time() >= deadline:
            trouble = _replication_trouble(status[0]) if status else "it replicates from nobody"
            raise ClusterError(f"{replica.name} has not applied {position} within {within:g} s: {trouble}")
