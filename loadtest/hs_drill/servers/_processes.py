"""A cluster of `mariadbd` processes on 127.0.0.1, created for one run and removed with it.

Sections: the installed MariaDB, one server, the cluster.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import trio

from hs_drill._cluster import Cluster, ClusterError, server_names
from hs_drill.sandbox import HOST, Sandbox, check_memory, check_temporary_directory, open_sandbox, server_account, until_ended

from ._mariadbd import (
    REDO_SIZE,
    START_SECONDS,
    Mariadbd,
    MariadbdControl,
    Settings,
    accounts_sql,
    bring_up,
    new_server,
    reason_in,
)
from ._server_process import ServerProcess, read_log
from ._template_cache import keep_template, kept_template

# --- The installation ------------------------------------------------------------------------------------------------

_USUAL_DIRECTORIES = ("/usr/sbin", "/usr/local/sbin", "/usr/libexec", "/usr/local/bin", "/usr/local/mysql/bin")
_INSTALL_HINT = "on Debian or Ubuntu, as root: apt-get install mariadb-server"


@dataclass(frozen=True)
class Installation:
    """A MariaDB on this machine that has the HandlerSocket plugin."""

    mariadbd: str
    install_db: str
    plugin_directory: Path
    version: str

    def __str__(self) -> str:
        return f"MariaDB {self.version} with handlersocket.so is installed ({self.mariadbd})"


async def find_installation() -> Installation:
    """Look for `mariadbd`, `mariadb-install-db` and the HandlerSocket plugin, in PATH and the usual places.

    Raises `ClusterError`, which names the first one missing and says how to install it.
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
class _Plan:
    """What the servers of a run share."""

    sandbox: Sandbox
    installation: Installation
    template: Path
    settings: Settings


async def _template(sandbox: Sandbox, installation: Installation) -> Path:
    """The data directory of which each server gets a copy: creating one costs more than all the copies."""
    made_by = (installation.install_db, installation.mariadbd, installation.version, REDO_SIZE)
    kept = await trio.to_thread.run_sync(kept_template, *made_by)
    if kept is None:
        made = await _make_template(sandbox, installation)
        await trio.to_thread.run_sync(keep_template, made, *made_by)
        return made
    return kept


async def _make_template(sandbox: Sandbox, installation: Installation) -> Path:
    template, log = sandbox.directory / "template", sandbox.directory / "template.log"
    # Without --user: with it, as root, the script also changes the owner of a system directory. With --force it does not look
    # up this machine's name.
    process = sandbox.spawn(
        [
            installation.install_db,
            "--no-defaults",
            f"--datadir={template}",
            "--force",
            "--skip-test-db",
            "--skip-name-resolve",
            f"--innodb-log-file-size={REDO_SIZE}",
            # A server that starts removes the temporary tables of others in /tmp: two drills that began at once failed.
            f"--tmpdir={template}",
        ],
        log,
    )
    with trio.move_on_after(START_SECONDS):
        await until_ended(process)
        if process.returncode != 0:
            raise ClusterError(f"{installation.install_db} failed: {reason_in(read_log(log))}")
        # Views of performance_schema, which is off: half of all files that each server would copy.
        await trio.to_thread.run_sync(partial(shutil.rmtree, template / "sys", ignore_errors=True))
        return template
    raise ClusterError(f"{installation.install_db} took more than {START_SECONDS:.0f} s: {reason_in(read_log(log))}")


def _copy_template(sandbox: Sandbox, template: Path, data: Path) -> None:
    def copy(source: str, destination: str) -> None:
        shutil.copyfile(source, destination)
        sandbox.give(Path(destination))

    shutil.copytree(template, data, copy_function=copy)
    for directory, _, _ in os.walk(data):
        sandbox.give(Path(directory))


class _Process(ServerProcess, Mariadbd):
    """One `mariadbd`: its data directory, its ports, and its current process, if any."""

    def __init__(self, plan: _Plan, name: str, number: int) -> None:
        ServerProcess.__init__(self, new_server(name, HOST, plan.settings.passwords), plan.sandbox.directory / name)
        Mariadbd.__init__(self, plan.settings, str(self.directory), number)
        self._plan = plan

    async def create(self) -> None:
        await trio.to_thread.run_sync(partial(shutil.rmtree, self.directory, ignore_errors=True))
        await trio.to_thread.run_sync(_copy_template, self._plan.sandbox, self._plan.template, self.directory)
        self._plan.sandbox.write_secret_file(self.directory / "init.sql", accounts_sql(self._plan.settings))

    async def run_with(self, configuration: str) -> None:
        plan = self._plan
        plan.sandbox.write_secret_file(self.directory / "server.cnf", configuration)
        self.paused = False
        argv = [plan.installation.mariadbd, f"--defaults-file={self.directory}/server.cnf"]
        self.process = plan.sandbox.spawn(argv, self.new_log())
        self.server = replace(self.server, pid=self.process.pid)
        await trio.lowlevel.checkpoint()


# --- The cluster -----------------------------------------------------------------------------------------------------


@asynccontextmanager
async def open_mariadb(
    installation: Installation,
    why: str,
    *,
    readers: int,
    standby: bool,
    database: str,
    write_databases: Mapping[str, str],
    replication: str,
    progress: Callable[[str], None],
) -> AsyncIterator[MariadbdControl]:
    """The `mariadb` kind of `open_servers`, which says what it promises."""
    account = server_account()
    settings = Settings(
        write_through=bool(write_databases),
        semisync=replication == "semisync",
        address=HOST,
        clients=HOST,
        database=database,
        root=os.geteuid() == 0 and account is None,
    )
    for plugin in settings.plugins:
        _require_plugin(installation, plugin)
    names = server_names(readers, standby)
    check_temporary_directory(account)
    check_memory(len(names))

    async with open_sandbox(account, progress) as sandbox:
        progress("creating a data directory")
        plan = _Plan(sandbox, installation, await _template(sandbox, installation), settings)
        processes = {name: _Process(plan, name, number) for number, name in enumerate(names, 1)}
        cluster = Cluster("mariadb", why, installation.version, (), write_databases=write_databases, replication=replication)
        cluster = await bring_up(cluster, processes, sandbox.reserve_port, progress)
        control = MariadbdControl(cluster, processes)
        await control.begin_replication(progress)
        yield control
