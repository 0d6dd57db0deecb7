"""`hs-drill cluster`: a scenario's servers without its load.

`up` keeps them until Ctrl-C or `down`; `status` and `down` find them from another terminal. `check` says whether what
HandlerSocket writes on a cluster reaches its readers: on the one that is up, or on one of its own. Where several are up, `down`
and `check` want to be told which one.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from signal import SIGINT, SIGTERM
from typing import Any

import trio

from hs_drill._cluster import CLUSTER_KINDS, REPLICATIONS, TOPOLOGIES, Cluster, ClusterError
from hs_drill._exit_codes import ExitCode
from hs_drill._trio_child import first_error
from hs_drill.controller import fill_table, load_table, open_scenario_servers
from hs_drill.sandbox import open_container_engine, provide_image, remove_leftovers
from hs_drill.scenario import SERVERS_HELP, Scenario, ScenarioError, load_scenario, with_cluster
from hs_drill.servers import Control, check_replication

from ._cluster_socket import ask, kept_up, offered
from ._cluster_text import print_cluster, who_keeps
from ._shared import console, safely

__all__ = ["main"]

NOT_REPLICATED = 1
NOT_TESTED = 2
"""There is no reader that is another server."""
DOWN_SECONDS = 60.0
ROWS = 1000
"""Of the table, where no scenario says how many."""


def main(arguments: Sequence[str]) -> int:
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], Awaitable[int]] = options.run
    return safely(lambda: _carry_out(command, options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("hs-drill cluster", description=__doc__)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def add(name: str, run: Callable[[argparse.Namespace], Awaitable[int]], text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(run=run)
        return command

    up = add("up", _up, "start servers, say how to reach them, and keep them until Ctrl-C")
    status = add("status", _status, "the servers that are up, and how they replicate")
    down = add("down", _down, "end them, and remove the containers of runs that were killed with their guardian")
    check = add("check", _check, "whether what HandlerSocket writes reaches the binary log and the readers")
    add("image", _image, "build the image that containers run from, if the engine does not have it")
    for command in (up, status):
        command.add_argument("--show-secrets", action="store_true", help="print secrets and passwords, too")
    for command in (up, check):
        _add_cluster_options(command)
    status.add_argument("--pid", type=int, metavar="PID", help="only those that this process keeps up")
    check.add_argument("--pid", type=int, metavar="PID", help="on those that this process keeps up, as `status` tells")
    which = down.add_mutually_exclusive_group()
    which.add_argument("--pid", type=int, metavar="PID", help="end those that this process keeps up, as `status` tells")
    which.add_argument("--all", action="store_true", help="end all that this user keeps up, also from other directories")
    return parser


def _add_cluster_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "scenario", metavar="SCENARIO", nargs="?", help="a YAML file: its cluster and table; the rest is ignored"
    )
    command.add_argument("--cluster", dest="kind", metavar="KIND", choices=CLUSTER_KINDS, help=", ".join(CLUSTER_KINDS))
    command.add_argument("--servers", metavar="SERVERS", help=SERVERS_HELP)
    command.add_argument(
        "--create-table", action="store_true", default=None, help="let it create a missing table on your servers"
    )
    command.add_argument("--readers", type=int, metavar="N")
    command.add_argument("--standby", action=argparse.BooleanOptionalAction, default=None)
    command.add_argument("--topology", choices=TOPOLOGIES)
    command.add_argument("--replication", choices=REPLICATIONS)


def _carry_out(command: Callable[[argparse.Namespace], Awaitable[int]], options: argparse.Namespace) -> int:
    code: int = ExitCode.START_FAILED

    async def until_signal() -> None:
        nonlocal code
        # Before anything else: until then a Ctrl-C is an exception in whatever runs.
        with trio.open_signal_receiver(SIGINT, SIGTERM) as signals:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_end_on, signals, nursery.cancel_scope)
                code = await command(options)
                nursery.cancel_scope.cancel()

    try:
        # when a signal ends it: what has not been found out is no good news
        code = 0 if command is _up else ExitCode.INTERRUPTED
        trio.run(until_signal)
    except* ClusterError as errors:
        sys.stderr.write(f"{first_error(errors)}\n")
        code = ExitCode.START_FAILED
    except* ScenarioError as errors:
        sys.stderr.write(f"{first_error(errors)}\n")
        code = ExitCode.START_FAILED
    return code


async def _end_on(signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
    async for _ in signals:
        scope.cancel()


def _tell(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def _wanted(options: argparse.Namespace) -> Scenario:
    """The cluster and table that are asked for. Raises `ScenarioError`."""
    scenario: dict[str, Any] = {"name": "cluster", "table": {"rows": ROWS}, "mix": {"get": 1}}
    if options.scenario is not None:
        of_file = load_scenario(options.scenario)
        scenario |= {"name": of_file.name, "table": of_file.table.model_dump(), "cluster": of_file.cluster.model_dump()}
    chosen = {
        name: getattr(options, name) for name in ("kind", "readers", "standby", "topology", "replication", "create_table")
    }
    given = {name: value for name, value in chosen.items() if value is not None}
    return with_cluster(Scenario.model_validate(scenario), options.servers, given)


# --- The commands ----------------------------------------------------------------------------------------------------


async def _up(options: argparse.Namespace) -> int:
    scenario = _wanted(options)
    if scenario.cluster.kind == "external":
        raise ClusterError("external servers are up already: `check` looks at them")
    async with open_scenario_servers(scenario, _tell) as control:
        await fill_table(control, scenario, _tell)
        down = trio.Event()
        kept = {"since": time.time(), "directory": os.getcwd(), "scenario": options.scenario}

        async def described() -> dict[str, Any]:
            return {**await _described(control, scenario), "kept": kept}

        async def answer(question: str) -> dict[str, Any]:
            if question == "down":
                down.set()
                return {}
            return await described()

        async with offered(answer):
            await _print(await described(), options.show_secrets)
            _tell(f"up until Ctrl-C, or `hs-drill cluster down --pid {os.getpid()}` in another terminal")
            await down.wait()
    return 0


async def _described(control: Control, scenario: Scenario) -> dict[str, Any]:
    """The cluster as it is now, for JSON; with its secrets."""
    servers: dict[str, dict[str, Any]] = {}
    for server in control.cluster.servers:
        state: dict[str, Any] = {"state": control.state(server.name)}
        if state["state"] == "running":
            try:
                state["replication"] = vars(await control.replication_status(server.name))
            except ClusterError as error:
                state["trouble"] = str(error)
        servers[server.name] = state
    table = {"database": scenario.table.database, "name": scenario.table.name, "rows": scenario.table.rows}
    return {"cluster": control.cluster.to_dict(), "primary": control.primary, "servers": servers, "table": table}


async def _print(described: dict[str, Any], secrets: bool) -> None:
    print_cluster(console(), described, secrets=secrets)
    sys.stdout.flush()
    await trio.lowlevel.checkpoint()


async def _status(options: argparse.Namespace) -> int:
    pids = _those_up() if options.pid is None else [_named(options.pid)]
    for number, pid in enumerate(pids):
        described = await ask(pid, "status")
        if number:
            print()
        print(who_keeps(pid, described))
        await _print(described, options.show_secrets)
    return 0


async def _down(options: argparse.Namespace) -> int:
    cleared = False
    with suppress(ClusterError):  # where there is no engine, there are no containers
        async with open_container_engine() as engine:
            cleared = await remove_leftovers(engine, _tell)
    if cleared and options.pid is None and not kept_up():
        return 0
    how = "name the one to end with `--pid PID`, or end all with `--all`"
    for pid in _those_up() if options.all else [await _the_one(options.pid, how)]:
        await ask(pid, "down")
        with trio.move_on_after(DOWN_SECONDS):
            while pid in kept_up():  # noqa: ASYNC110  (another process's end)
                await trio.sleep(0.05)
            _tell(f"the cluster of process {pid} is down")
            continue
        raise ClusterError(f"the cluster of process {pid} is still up after {DOWN_SECONDS:g} s")
    return 0


def _those_up() -> list[int]:
    found = kept_up()
    if not found:
        raise ClusterError("no cluster is up: `hs-drill cluster up` starts one")
    return found


def _named(pid: int) -> int:
    if pid not in kept_up():
        raise ClusterError(f"process {pid} keeps no cluster up: `hs-drill cluster status` shows those that are")
    return pid


async def _the_one(pid: int | None, how: str) -> int:
    """The process that keeps up the one that is meant. Several may belong to other people's work: none of them is meant by
    chance, and `how` says how to name one."""
    if pid is not None:
        return _named(pid)
    found = _those_up()
    if len(found) > 1:
        lines = dict.fromkeys(found, "")

        async def look(pid: int) -> None:
            try:
                lines[pid] = who_keeps(pid, await ask(pid, "status"))
            except ClusterError as error:
                lines[pid] = str(error)

        async with trio.open_nursery() as nursery:
            for one in found:
                nursery.start_soon(look, one)
        for line in lines.values():
            _tell(line)
        raise ClusterError(f"{len(found)} clusters are up: {how}")
    return found[0]


async def _check(options: argparse.Namespace) -> int:
    named = any((options.scenario, options.kind, options.servers))
    if named and options.pid is not None:
        raise ClusterError("`--pid` is of a cluster that is up: name that, or describe one, but not both")
    if options.pid is not None or (not named and kept_up()):
        pid = await _the_one(options.pid, "name the one to check with `--pid PID`, or describe one of its own")
        described = await ask(pid, "status")
        # Without its rows: they need not go with the groups that a table has by default.
        table = {name: described["table"][name] for name in ("database", "name")}
        scenario = Scenario.model_validate({"name": "check", "mix": {"get": 1}, "table": table})
        return await _detect(Cluster.from_dict(described["cluster"]), scenario, described["primary"])
    scenario = _wanted(options)
    async with open_scenario_servers(scenario, _tell) as control:
        await control.create_table(load_table(scenario))
        return await _detect(control.cluster, scenario, control.primary, control.aliases)


async def _detect(cluster: Cluster, scenario: Scenario, primary: str, aliases: Collection[str] = ()) -> int:
    (writer,) = (server for server in cluster.servers if server.name == primary)
    table = load_table(scenario)
    _tell(f"writing a marker row to {table.database}.{table.name} on {primary}, and deleting it again")
    detection = await check_replication(cluster, table, writer, aliases=aliases)
    for line in detection.lines():
        print(line)
    if not detection.replicas:
        return NOT_TESTED
    return 0 if detection.replicates else NOT_REPLICATED


async def _image(_: argparse.Namespace) -> int:
    async with open_container_engine() as engine:
        print(await provide_image(engine, _tell))
    return 0
