"""`hs-drill cluster`: a scenario's servers without its load.

`up` starts the servers and keeps them until Ctrl-C or `down`. `status` and `down` work from another terminal. `check` tests
whether HandlerSocket's writes reach the readers, on the cluster that is up or on one that it starts. If several are up, choose
one with `--pid`. Of servers of your own it first says what they are, what could be rehearsed on them, and what is missing.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from signal import SIG_DFL, SIGHUP, SIGINT, SIGTERM, getsignal
from typing import Any

import trio

from hs_drill._cluster import (
    CLUSTER_KINDS,
    DEFAULT_VERSION,
    REPLICATIONS,
    SUITES,
    TOPOLOGIES,
    VERSION_HELP,
    Cluster,
    ClusterError,
)
from hs_drill._counted import counted
from hs_drill._exit_codes import ExitCode
from hs_drill._trio_child import first_error
from hs_drill.controller import fill_table, foreign_rows, load_table, marker_row, open_scenario_servers
from hs_drill.sandbox import open_container_engine, provide_image, remove_leftover_directories, remove_leftovers
from hs_drill.scenario import SERVERS_HELP, Scenario, ScenarioError, load_scenario, with_cluster
from hs_drill.servers import Control, check_replication

from ._cluster_socket import answering, ask, clusters_up
from ._cluster_text import cluster_line, print_cluster, table_of
from ._own_servers import ask_own_servers, exit_code, print_rehearsal
from ._shared import console, safely

__all__ = ["main", "make_parser"]

NOT_REPLICATED = 1
NOT_TESTED = 2
"""No reader is a server of its own."""
DOWN_SECONDS = 60.0
ROWS = 1000
"""Rows of the table if no scenario says how many."""


def main(arguments: Sequence[str]) -> int:
    options = make_parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], Awaitable[int]] = options.run
    return safely(lambda: _carry_out(command, options))


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("hs-drill cluster", description=__doc__)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def add(name: str, run: Callable[[argparse.Namespace], Awaitable[int]], text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(run=run)
        return command

    up = add("up", _up, "start servers, print how to reach them, and keep them until Ctrl-C")
    status = add("status", _status, "show the servers that are up, and how they replicate")
    down = add("down", _down, "end a cluster that is up, and remove what killed runs left behind")
    check = add("check", _check, "test whether HandlerSocket's writes reach the binary log and the readers")
    image = add("image", _image, "build the image of the containers, unless the engine has it")
    image.add_argument(
        "--server-version", choices=SUITES, default=DEFAULT_VERSION, help=f"the servers' version (default: {DEFAULT_VERSION})"
    )
    for command in (up, status):
        command.add_argument("--show-secrets", action="store_true", help="print secrets and passwords too")
    for command in (up, check):
        _add_cluster_options(command)
    status.add_argument("--pid", type=int, metavar="PID", help="only the cluster of this process")
    check.add_argument("--pid", type=int, metavar="PID", help="check the cluster of this process; `status` lists them")
    check.add_argument(
        "--ask-only", action="store_true", help="on servers of your own: only ask them, by SQL, and write no marker row"
    )
    which = down.add_mutually_exclusive_group()
    which.add_argument("--pid", type=int, metavar="PID", help="end the cluster of this process; `status` lists them")
    which.add_argument(
        "--all", action="store_true", help="end all clusters of this user, including those started in other directories"
    )
    return parser


def _add_cluster_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "scenario", metavar="SCENARIO", nargs="?", help="a YAML file: use its cluster and table, and ignore the rest"
    )
    command.add_argument(
        "--cluster", dest="kind", metavar="KIND", choices=CLUSTER_KINDS, help=f"the kind of servers: {', '.join(CLUSTER_KINDS)}"
    )
    command.add_argument("--server-version", dest="version", metavar="VERSION", help=VERSION_HELP)
    command.add_argument("--servers", metavar="SERVERS", help=SERVERS_HELP)
    command.add_argument("--create-table", action="store_true", default=None, help="create a missing table on external servers")
    command.add_argument("--readers", type=int, metavar="N", help="the number of readers")
    command.add_argument("--standby", action=argparse.BooleanOptionalAction, default=None, help="have a standby to promote")
    command.add_argument(
        "--topology", choices=TOPOLOGIES, help="whether writes reach the readers (write-through) or not (plain)"
    )
    command.add_argument("--replication", choices=REPLICATIONS, help="how the servers replicate")


def _carry_out(command: Callable[[argparse.Namespace], Awaitable[int]], options: argparse.Namespace) -> int:
    code: int = ExitCode.START_FAILED

    async def until_signal() -> None:
        nonlocal code
        # Before anything else: until then a Ctrl-C raises KeyboardInterrupt anywhere.
        hangup = [SIGHUP] if getsignal(SIGHUP) is SIG_DFL else []  # nohup ignores it
        with trio.open_signal_receiver(SIGINT, SIGTERM, *hangup) as signals:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_cancel_on, signals, nursery.cancel_scope)
                code = await command(options)
                nursery.cancel_scope.cancel()

    failure: BaseException | None = None
    try:
        # the exit code after a signal, which is the normal end of `up` only
        code = 0 if command is _up else ExitCode.INTERRUPTED
        trio.run(until_signal)
    except* (ClusterError, ScenarioError, BrokenPipeError) as errors:
        failure = first_error(errors)
    # Not in the handler: what is raised there comes out in a group.
    if isinstance(failure, BrokenPipeError):
        raise failure  # see `hs_drill.__main__`
    if failure is not None:
        sys.stderr.write(f"{failure}\n")
        code = ExitCode.START_FAILED
    return code


async def _cancel_on(signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
    async for _ in signals:
        scope.cancel()


def _print_line(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def _scenario(options: argparse.Namespace) -> Scenario:
    """A scenario with the cluster and table that the options ask for. Raises `ScenarioError`."""
    scenario: dict[str, Any] = {"name": "cluster", "table": {"rows": ROWS}, "mix": {"get": 1}}
    if options.scenario is not None:
        of_file = load_scenario(options.scenario)
        if of_file.table.existing:
            raise ScenarioError(
                f"{options.scenario}: table.existing: `hs-drill cluster` creates its own table: use another scenario"
            )
        scenario |= {"name": of_file.name, "table": of_file.table.model_dump(), "cluster": of_file.cluster.model_dump()}
    return with_cluster(Scenario.model_validate(scenario), options.servers, _chosen(options))


def _chosen(options: argparse.Namespace) -> dict[str, Any]:
    """The keys of `cluster` that the options give."""
    keys = ("kind", "version", "readers", "standby", "topology", "replication", "create_table")
    chosen = {name: getattr(options, name) for name in keys}
    return {name: value for name, value in chosen.items() if value is not None}


def _on_own_servers(options: argparse.Namespace) -> tuple[Scenario, list[str]] | None:
    """The whole scenario for servers of the user's own, and why a run there would refuse it; None if it is for others.

    Raises `ScenarioError`.
    """
    whole = _scenario(options) if options.scenario is None else load_scenario(options.scenario)
    if options.servers is None and (options.kind or whole.cluster.kind) != "external":
        return None
    try:
        return with_cluster(whole, options.servers, _chosen(options)), []
    except ScenarioError as error:
        return _scenario(options), str(error).splitlines()


# --- The commands ----------------------------------------------------------------------------------------------------


async def _up(options: argparse.Namespace) -> int:
    scenario = _scenario(options)
    if scenario.cluster.kind == "external":
        raise ClusterError("external servers are already up: use `hs-drill cluster check`")
    async with open_scenario_servers(scenario, _print_line) as control:
        await fill_table(control, scenario, _print_line)
        down = trio.Event()
        kept = {"since": time.time(), "directory": os.getcwd(), "scenario": options.scenario}

        async def described() -> dict[str, Any]:
            return {**await _described(control, scenario), "kept": kept}

        async def answer(question: str) -> dict[str, Any]:
            if question == "down":
                down.set()
                return {}
            return await described()

        async with answering(answer):
            await _print(await described(), options.show_secrets)
            _print_line(f"up until Ctrl-C, or `hs-drill cluster down --pid {os.getpid()}` in another terminal")
            await down.wait()
    return 0


async def _described(control: Control, scenario: Scenario) -> dict[str, Any]:
    """The cluster's current state for JSON, with its secrets."""
    servers: dict[str, dict[str, Any]] = {}
    for server in control.cluster.servers:
        state: dict[str, Any] = {"state": control.state(server.name)}
        if state["state"] == "running":
            try:
                state["replication"] = vars(await control.replication_status(server.name))
            except ClusterError as error:
                state["trouble"] = str(error)
        servers[server.name] = state
    table: dict[str, Any] = {key: getattr(scenario.table, key) for key in ("database", "name", "rows")}
    if scenario.table.declared:
        table["declared"] = scenario.table.model_dump(mode="json")
    return {"cluster": control.cluster.to_dict(), "primary": control.primary, "servers": servers, "table": table}


async def _print(described: dict[str, Any], secrets: bool) -> None:
    print_cluster(console(), described, secrets=secrets)
    sys.stdout.flush()
    await trio.lowlevel.checkpoint()


async def _status(options: argparse.Namespace) -> int:
    pids = _all_up() if options.pid is None else [_require_up(options.pid)]
    for number, pid in enumerate(pids):
        described = await ask(pid, "status")
        if number:
            print()
        print(cluster_line(pid, described))
        await _print(described, options.show_secrets)
    return 0


async def _down(options: argparse.Namespace) -> int:
    removed = await remove_leftover_directories(_print_line)
    with suppress(ClusterError):  # without a container engine there are no containers
        async with open_container_engine() as engine:
            removed = await remove_leftovers(engine, _print_line) or removed
    if removed and options.pid is None and not clusters_up():
        return 0
    how = "choose one with `--pid PID`, or end all with `--all`"
    for pid in _all_up() if options.all else [await _select(options.pid, how)]:
        await ask(pid, "down")
        with trio.move_on_after(DOWN_SECONDS):
            while pid in clusters_up():  # noqa: ASYNC110  (another process's end)
                await trio.sleep(0.05)
            _print_line(f"the cluster of process {pid} is down")
            continue
        raise ClusterError(f"the cluster of process {pid} is still up after {DOWN_SECONDS:g} s")
    return 0


def _all_up() -> list[int]:
    found = clusters_up()
    if not found:
        raise ClusterError("no cluster is up: `hs-drill cluster up` starts one")
    return found


def _require_up(pid: int) -> int:
    if pid not in clusters_up():
        raise ClusterError(f"process {pid} runs no cluster: `hs-drill cluster status` lists those that are up")
    return pid


async def _select(pid: int | None, how: str) -> int:
    """The process of the cluster to use: `pid`, or the only one.

    If there are several, none is chosen, because others may be using them: raises `ClusterError`, which says `how` to choose.
    """
    if pid is not None:
        return _require_up(pid)
    found = _all_up()
    if len(found) > 1:
        lines = dict.fromkeys(found, "")

        async def look(pid: int) -> None:
            try:
                lines[pid] = cluster_line(pid, await ask(pid, "status"))
            except ClusterError as error:
                lines[pid] = str(error)

        async with trio.open_nursery() as nursery:
            for one in found:
                nursery.start_soon(look, one)
        for line in lines.values():
            _print_line(line)
        raise ClusterError(f"{len(found)} clusters are up: {how}")
    return found[0]


async def _check(options: argparse.Namespace) -> int:
    named = any((options.scenario, options.kind, options.version, options.servers))
    if named and options.pid is not None:
        raise ClusterError("`--pid` names a cluster that is up, the other options describe one to start: use only one of these")
    if options.pid is not None or (not named and clusters_up()):
        pid = await _select(options.pid, "choose one with `--pid PID`, or describe one to start")
        described = await ask(pid, "status")
        scenario = Scenario.model_validate({"name": "check", "mix": {"get": 1}, "table": table_of(described)})
        return await _check_replication(Cluster.from_dict(described["cluster"]), scenario, described["primary"])
    if (own := _on_own_servers(options)) is not None:
        asked_only = await _ask_own(*own, only=options.ask_only)
        if asked_only is not None:
            return asked_only
    elif options.ask_only:
        raise ClusterError("--ask-only is for servers of your own: name them with --servers, or in a scenario")
    scenario = _scenario(options)
    async with open_scenario_servers(scenario, _print_line) as control:
        control.foreign_rows = foreign_rows(scenario, loaded=False)
        await control.create_table(load_table(scenario))
        return await _check_replication(control.cluster, scenario, control.primary)


async def _ask_own(scenario: Scenario, refused: Sequence[str], *, only: bool) -> int | None:
    """Print what servers of the user's own are, and what could be rehearsed there. Return the exit code if that was all."""
    _print_line(f"asking {counted(len(scenario.cluster.servers), 'server')}; nothing is written")
    found = await ask_own_servers(scenario)
    found = replace(found, missing=[*refused, *found.missing])
    print_rehearsal(console(), found)
    sys.stdout.flush()
    await trio.lowlevel.checkpoint()
    if scenario.table.existing or scenario.driver.name == "sql":
        only = True  # there is no table for a marker row, or no interest in it
    return exit_code(found) if only else None


async def _check_replication(cluster: Cluster, scenario: Scenario, primary: str) -> int:
    (writer,) = (server for server in cluster.servers if server.name == primary)
    table = load_table(scenario)
    _print_line(f"writing a marker row to {table.database}.{table.name} on {primary}, and deleting it again")
    result = await check_replication(cluster, table, writer, marker=marker_row(scenario))
    for line in result.lines():
        print(line)
    if not result.replicas:
        return NOT_TESTED
    return 0 if result.replicates else NOT_REPLICATED


async def _image(options: argparse.Namespace) -> int:
    async with open_container_engine() as engine:
        print(await provide_image(engine, options.server_version, _print_line))
    return 0
