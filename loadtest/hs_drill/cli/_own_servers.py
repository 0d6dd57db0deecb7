"""The part of `hs-drill cluster check` that asks servers of the user's own what they are, and prints it. It writes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import trio
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hs_drill._cluster import Server
from hs_drill._exit_codes import ExitCode
from hs_drill.scenario import Scenario
from hs_drill.servers import Answers, Privilege, SeenRouter, ask_router, ask_servers, needed_by_load, needed_privileges

from ._rehearsal import Rehearsal, rehearsal

__all__ = ["ask_own_servers", "exit_code", "print_rehearsal", "privileges_on"]

MISSING = ExitCode.EXPECTATION_MISSED


async def ask_own_servers(scenario: Scenario) -> Rehearsal:
    """What could be rehearsed on the servers that the scenario names. Takes a few seconds at most, and half a minute for
    each port of a router. Raises `ClusterError` if a secret is missing."""
    servers = [server.resolved() for server in scenario.cluster.servers]
    needed = {server.name: privileges_on(server, scenario) for server in servers}
    found: dict[str, list[Answers]] = {"run": [], "load": []}

    async def ask(account: str, servers: Sequence[Server], needed: Mapping[str, Sequence[Privilege]]) -> None:
        found[account] = await ask_servers(servers, needed, listeners=account == "run")

    routers: list[SeenRouter] = []
    by_sql = scenario.driver.name == "sql"
    router = scenario.cluster.router.resolved(servers) if scenario.cluster.router is not None else None

    async def ask_about_router(router: Server) -> None:
        routers.append(await ask_router(router, servers, by_sql=by_sql))

    load: dict[str, Sequence[Privilege]] = {}
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, "run", servers, needed)
        if router is not None:
            nursery.start_soon(ask_about_router, router)
        if by_sql:
            load = {server.name: _needed_by_load(server, scenario) for server in servers}
            nursery.start_soon(ask, "load", [_as_load(server) for server in servers], load)
    return rehearsal(scenario, found["run"], needed, found["load"], load, *routers)


def _needed_by_load(server: Server, scenario: Scenario) -> Sequence[Privilege]:
    table = scenario.table
    return needed_by_load(
        (table.database, table.name), written=server.name == "writer" or scenario.cluster.replication == "none"
    )


def _as_load(server: Server) -> Server:
    """A server that is asked as the account of `driver: sql`."""
    return replace(server, admin_user=server.load_user, admin_password=server.load_password)


def privileges_on(server: Server, scenario: Scenario) -> Sequence[Privilege]:
    """What a run of the scenario needs on a server."""
    cluster, table = scenario.cluster, scenario.table
    own = not table.existing
    return needed_privileges(
        marked=own and server.name == "writer",
        loaded=own and (server.name == "writer" or cluster.replication == "none"),
        creates=own and cluster.create_table,
        table=(table.database, table.name),
        twin=f"{table.database}_wt" if cluster.topology == "write-through" and server.write_port else None,
    )


def exit_code(found: Rehearsal) -> int:
    if found.unreachable:
        return ExitCode.START_FAILED
    return MISSING if found.missing else ExitCode.PASSED


def print_rehearsal(out: Console, found: Rehearsal) -> None:
    for title, rows in (
        ("servers", found.servers),
        ("promotions", found.promotions),
        ("what could be rehearsed", found.faults),
    ):
        table = Table(title=title, title_style="bold", title_justify="left", show_header=False, box=box.SIMPLE, show_edge=False)
        table.add_column(max_width=24)
        table.add_column()
        for name, what in rows:
            table.add_row(Text(name), Text(what))
        out.print(table)
        out.print()
    if not found.missing:
        asked = " of what was asked for" if found.unasked else ""
        out.print(Text(f"nothing{asked} is missing for a run of this scenario", style="green"), soft_wrap=True)
    else:
        out.print(Text("missing", style="bold"))
        for line in found.missing:
            out.print(Text(f"  - {line}"), soft_wrap=True)
    if found.unasked:
        out.print(Text("not asked for, and said when a run begins", style="bold"))
        for line in found.unasked:
            out.print(Text(f"  - {line}"), soft_wrap=True)
    if found.statements:
        out.print(Text("\nSQL that grants what is missing", style="bold"))
        for line in found.statements:  # as they are, to be copied
            out.print(Text(line), soft_wrap=True)
    out.print()
