"""Servers of somebody else, for runs that know nothing of how they are started: the scripts of an example.

Nothing here imports the harness. What the owner does, it does by those scripts and by MariaDB's own client.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.loadtest.support.locust_process import ROOT, free_port
from tests.support.patience import patience, wait_until

EXAMPLES = ROOT / "examples"
NAMES = ("writer", "standby", "reader-1")

CHANGED_BY_FAILOVER = {
    "init_rpl_role",
    "read_only",
    "rpl_semi_sync_master_enabled",
    "rpl_semi_sync_slave_enabled",
    "server_id",
}
"""Variables that the owner's own scripts set when another server becomes the primary."""
MOVING = re.compile(r"gtid_|last_gtid|timestamp|error_count|pseudo|rand_seed|_usec|identity|last_insert_id|in_transaction")
"""Variables that move by themselves."""


class Owner:
    """The servers of an example, in a directory. They end with the process that has made this."""

    def __init__(self, directory: Path, example: str = "own-failover") -> None:
        self.directory = directory / "servers"
        self.scripts = directory / "examples" / example
        """A copy of the example, with other ports."""
        self._common = directory / "examples" / "own-failover"
        """The scripts that all examples use."""
        self.ports = self._copy_example()
        self._out = directory / "out"
        with self._out.open("w") as out:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", str(self.scripts / "servers.sh")],
                env={**os.environ, "MY_SERVERS": str(self.directory)},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        try:
            wait_until(self._are_up, lambda: f"the servers do not start: {self._out.read_text()}", 60)
        except BaseException:
            self.end()
            raise

    def _copy_example(self) -> dict[str, tuple[int, int, int]]:
        """Copy it, and return each server's ports: of SQL, for reads and for writes."""
        shutil.copytree(EXAMPLES, self.scripts.parent)
        given = re.findall(r"^([\w-]+) +(\d+) +(\d+) +(\d+)$", (self.scripts / "servers.conf").read_text(), re.MULTILINE)
        others: dict[str, str] = defaultdict(lambda: str(free_port()))
        incidents = (self.scripts.parent / "incidents").rglob("*.yaml")  # they are about the servers of the first example
        for path in (*self.scripts.iterdir(), *incidents):
            if path.suffix in (".conf", ".cfg", ".yaml"):
                path.write_text(re.sub(r"\b\d{5}\b", lambda match: others[match[0]], path.read_text()))
        return {name: (int(others[sql]), int(others[read]), int(others[write])) for name, sql, read, write in given}

    def _are_up(self) -> bool:
        assert self._process.poll() is None, self._out.read_text()
        return "the servers are up" in self._out.read_text()

    def end(self) -> None:
        self._process.terminate()
        self._process.wait()

    @property
    def environment(self) -> dict[str, str]:
        """What a run of the harness needs to know."""
        return dict(re.findall(r"(\w+)='?([^\s']+)'?", (self.directory / "env").read_text()))

    @property
    def servers(self) -> list[dict[str, Any]]:
        """The scenario's `cluster.servers`."""
        return [
            {"name": name, "host": "127.0.0.1", "sql_port": sql, "read_port": read, "write_port": write}
            for name, (sql, read, write) in self.ports.items()
        ]

    def prepare(self, replication: str) -> None:
        """As at the beginning: the others replicate in this way from `writer`, and the run's table is empty."""
        if not all(map(self.is_up, self.ports)) or not self.all_replicate_from("writer"):
            self._execute([str(self._common / "reset.sh"), replication], {})
        elif (self.directory / "replication").read_text().strip() != replication:
            self.sql("writer", "SET GLOBAL rpl_semi_sync_master_enabled=0")
            (self.directory / "replication").write_text(replication)
            self._execute([str(self._common / "open.sh"), "writer"], {})
        self.sql("writer", "TRUNCATE drill.t")

    def run(self, script: str, *arguments: str, env: dict[str, str] | None = None) -> str:
        """Run one of the owner's scripts."""
        return self._execute([str(self.scripts / script), *arguments], env or {})

    def sql(self, name: str, statement: str, seconds: int = 60) -> list[list[str]]:
        command = ["sh", "-c", '. "$0"; sql "$1" "$2"', str(self._common / "common.sh"), name, statement]
        text = self._execute(command, {"PATIENCE": str(seconds)})
        return [line.split("\t") for line in text.splitlines()]

    def _execute(self, command: Sequence[str], env: dict[str, str]) -> str:
        result = subprocess.run(
            command,
            env={**os.environ, "MY_SERVERS": str(self.directory), **env},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=patience(90),
        )
        assert result.returncode == 0, (command, result.stdout, result.stderr)
        return result.stdout

    def is_alive(self, name: str) -> bool:
        """Whether its process runs, perhaps paused."""
        try:
            self._execute(["sh", "-c", '. "$0"; alive "$1"', str(self._common / "common.sh"), name], {})
        except AssertionError:
            return False
        return True

    def is_up(self, name: str, seconds: int = 60) -> bool:
        try:
            return self.sql(name, "SELECT 1", seconds) == [["1"]]
        except AssertionError:
            return False

    def all_replicate_from(self, primary: str) -> bool:
        """Whether this server takes writes, and all others are read-only and replicate from it with both threads."""
        port = str(self.ports[primary][0])
        for name in self.ports:
            status = self.replication(name)
            given = (status.get("Master_Port"), status.get("Slave_IO_Running"), status.get("Slave_SQL_Running"))
            read_only = self.sql(name, "SELECT @@read_only") == [["1"]]
            if (read_only, given) != ((False, (None, None, None)) if name == primary else (True, (port, "Yes", "Yes"))):
                return False
        return True

    def wait_until_all_replicate_from(self, primary: str) -> None:
        wait_until(lambda: self.all_replicate_from(primary), f"not every server replicates from {primary}")

    def replication(self, name: str) -> dict[str, str]:
        text = self._execute(
            ["sh", "-c", '. "$0"; client "$1" -e "SHOW SLAVE STATUS\\G"', str(self._common / "common.sh"), name], {}
        )
        return dict(re.findall(r"^ *(\w+): (.*)$", text, re.MULTILINE))

    def belongings(self, name: str) -> dict[str, list[list[str]]]:
        """Everything on a server that is no business of a run's: all but the rows of its table."""
        tables = self.sql(
            name,
            "SELECT CONCAT('`', table_schema, '`.`', table_name, '`') FROM information_schema.tables WHERE engine IS NOT NULL "
            "AND engine <> 'FEDERATED' AND table_schema NOT IN ('information_schema', 'performance_schema', 'sys') AND "
            "table_name NOT IN ('gtid_slave_pos', 'innodb_table_stats', 'innodb_index_stats', 'general_log', 'slow_log') "
            "AND (table_schema, table_name) <> ('drill', 't') ORDER BY 1",
        )
        users = self.sql(name, "SELECT CONCAT('`', user, '`@`', host, '`') FROM mysql.user WHERE user <> '' ORDER BY 1")
        asked = {
            "databases": "SHOW DATABASES",
            "tables": f"CHECKSUM TABLE {', '.join(table for (table,) in tables)}",
            "grants": "; ".join(f"SHOW GRANTS FOR {user}" for (user,) in users),
            "its table": "SHOW CREATE TABLE drill.t; SHOW CREATE TABLE drill_wt.t",
            "plugins": "SELECT plugin_name, plugin_status FROM information_schema.plugins ORDER BY 1",
            "variables": "SHOW GLOBAL VARIABLES",
        }
        parts = "; ".join(f"SELECT 'now: {what}'; {statement}" for what, statement in asked.items())
        found: dict[str, list[list[str]]] = {}
        for line in self.sql(name, parts):
            if line[0].startswith("now: "):
                found[line[0]] = []
            elif not (MOVING.search(line[0]) or line[0] in CHANGED_BY_FAILOVER):
                found[list(found)[-1]].append(line)
        return found
