"""A running cluster as text: its servers, their state, how they replicate, and the program that connects to them."""

from __future__ import annotations

import time
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hs_drill._cluster import Cluster, Server
from hs_drill._counted import counted
from hs_drill.scenario import TableSpec

from ._program_text import program

__all__ = ["cluster_line", "print_cluster", "table_of"]


def cluster_line(pid: int, described: dict[str, Any]) -> str:
    """One line that distinguishes this cluster from other running ones."""
    kept = described.get("kept", {})  # one of an older version may lack this
    since = f" since {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(kept['since']))}" if "since" in kept else ""
    of = f" of {kept['scenario']}" if kept.get("scenario") else ""
    where = f" in {kept['directory']}" if "directory" in kept else ""
    return f"process {pid}: {described['cluster']['kind']} servers{of}, up{since}{where}"


def table_of(described: dict[str, Any]) -> TableSpec:
    """The table of a cluster."""
    table = described["table"]
    if "declared" in table:  # an older version has none
        return TableSpec.model_validate(table["declared"])
    # Without the number of rows, which may not match the default number of groups.
    return TableSpec(database=table["database"], name=table["name"])


def print_cluster(out: Console, described: dict[str, Any], *, secrets: bool) -> None:
    """Print a cluster for `cluster up` and `cluster status`; `described` is what the process of `cluster up` answers."""
    cluster = Cluster.from_dict(described["cluster"])
    table = described["table"]
    writes = "write-through" if cluster.write_databases else "plain: readers do not get them (docs/replication.md)"
    out.print(Text(f"{cluster.kind}: {cluster.version} ({cluster.why})", style="bold"), soft_wrap=True)
    out.print(Text(f"replication {cluster.replication}, writes {writes}"), soft_wrap=True)
    out.print(Text(f"table {table['database']}.{table['name']}, loaded with {counted(table['rows'], 'row')}"), soft_wrap=True)
    out.print()
    out.print(_servers(cluster, described))
    if secrets:
        out.print()
        for server in cluster.servers:
            out.print(Text(_secrets(server)), soft_wrap=True)
    else:
        out.print(Text("secrets and passwords: --show-secrets", style="dim"))
    out.print()
    out.print(Text(program(cluster, table_of(described), secrets=secrets)), soft_wrap=True)


def _servers(cluster: Cluster, described: dict[str, Any]) -> Table:
    table = Table(box=box.SIMPLE, show_edge=False, pad_edge=False)
    for column in ("server", "address", "read", "write", "SQL", "state", "replicates from", "behind"):
        table.add_column(column, overflow="fold")
    for server in cluster.servers:
        state = described["servers"][server.name]
        name = f"{server.name} (primary)" if server.name == described["primary"] else server.name
        ports = (server.read_port, server.write_port or "-", server.sql_port or "-")
        table.add_row(name, server.host, *map(str, ports), state["state"], *_replication(state))
    return table


def _replication(state: dict[str, Any]) -> tuple[str, str]:
    status = state.get("replication")
    if status is None:
        return state.get("trouble", "-"), "-"
    if status["source"] is None:
        return "-", "-"
    if not status["running"]:
        return f"{status['source']}: stopped: {status['error']}", "-"
    return status["source"], "?" if status["lag"] is None else f"{status['lag']:g} s"


def _secrets(server: Server) -> str:
    sql = f", SQL user {server.admin_user}, SQL password {server.admin_password}" if server.sql_port else ""
    if server.load_user:
        sql += f"; the load's SQL user {server.load_user}, password {server.load_password}"
    return f"{server.name}: read secret {server.read_secret}, write secret {server.write_secret}{sql}"
