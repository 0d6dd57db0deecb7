"""What is wrong with the commands of a scenario: beside its servers and faults, and with their programs on this machine."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from ._base import MissingKey, PlacedError, unknown_key
from ._commands import OF_SERVER, CommandSpec, filled, placeholders, unknown_here
from ._faults import BY_COMMAND, FAULTS, Fault
from ._targets import to_be_promoted

if TYPE_CHECKING:
    from ._external import ExternalServer
    from ._model import ClusterSpec, Scenario

__all__ = ["missing_programs", "mistakes_in_commands", "mistakes_through_commands"]

SECRETS = ("read_secret", "write_secret", "sql_password", "load_password")
LEAST_SECRET = 4
"""Shorter texts are found in arguments by chance."""
Place = tuple[int | str, ...]
Mistakes = Iterator[PlacedError]


def mistakes_in_commands(cluster: ClusterSpec) -> Mistakes:
    """The mistakes of `cluster.primary` and `cluster.commands`. Their places begin below `cluster`."""
    for key, given in (("primary", cluster.primary), ("commands", cluster.commands)):
        if given and cluster.kind != "external":
            yield PlacedError((key,), f"is only for servers of your own: kind must be external, not {cluster.kind}")
            return
    for name, command in cluster.commands.items():
        yield from _of_a_fault(name, command)
    if cluster.primary is not None:
        what = "asks about all servers, so there is nothing to fill in"
        yield from unknown_here(("primary", "command"), cluster.primary.command, (), what)
    yield from _secrets(cluster)


def _of_a_fault(name: str, command: CommandSpec) -> Mistakes:
    place = ("commands", name)
    if name not in BY_COMMAND:
        other = f"there is no command for {name}: say `fault: command`, which runs any command"
        yield PlacedError(place, other if name in FAULTS else unknown_key(name, BY_COMMAND, "no such command"))
    elif FAULTS[name].lasts and command.heal is None:
        yield MissingKey((*place, "heal"), f"is missing; add the command that undoes it, for {name} lasts")
    elif not FAULTS[name].lasts and command.heal is not None:
        yield PlacedError((*place, "heal"), f"{name} happens at once and has nothing to heal: leave it out")


def _secrets(cluster: ClusterSpec) -> Mistakes:
    """Arguments that are a secret. A run keeps its commands, and processes show them to all users of the machine."""
    secrets = [(key, server.name, value) for server in cluster.servers for key, value in _texts(server)]
    for place, argv in _of_cluster(cluster):
        for number, text in enumerate(argv):
            for key, name, secret in secrets:
                if text in (secret, f"-p{secret}") or text.endswith(f"={secret}"):
                    kept = f"holds the {key} of {name}, and a run keeps its commands"
                    yield PlacedError((*place, number), f"{kept}: give secrets to commands by the environment")
                    return


def _texts(server: ExternalServer) -> Iterator[tuple[str, str]]:
    for key in SECRETS:
        if isinstance(value := getattr(server, key), str) and len(value) >= LEAST_SECRET:
            yield key, value


def mistakes_through_commands(scenario: Scenario) -> Mistakes:
    """The mistakes of commands and faults that show only beside each other."""
    cluster = scenario.cluster
    for number, fault in enumerate(scenario.faults):
        for option in ("drain", "suspend"):
            if cluster.kind == "external" and getattr(fault, option, False):
                own = f"is for servers that the run starts; on external ones your command for {fault.name} decides"
                yield PlacedError(("faults", number, option), f"{own}: leave it out")
    for name, command in cluster.commands.items():
        for key, argv in _argvs(command):
            yield from _ports(scenario, name, ("cluster", "commands", name, key), argv)


def _ports(scenario: Scenario, command: str, place: Place, argv: list[str]) -> Mistakes:
    """Arguments with a port that a server lacks on which the command may be run: the first one of each argument."""
    struck = [
        (fault, server)
        for fault in scenario.faults
        if fault.name == command
        for server in scenario.cluster.servers
        if _may_strike(fault, server, scenario)
    ]
    for number, text in enumerate(argv):
        for fault, server in struck:
            if lacking := [name for name in placeholders(text) if name in OF_SERVER and name not in _values(server)]:
                needs = f"needs the {lacking[0]} of {server.name}, which {fault} may strike"
                yield PlacedError((*place, number), f"{needs}: give it below cluster.servers")
                break


def _may_strike(fault: Fault, server: ExternalServer, scenario: Scenario) -> bool:
    reader = server.name.startswith("reader-")
    match fault.target:
        case "one reader" | "all readers":
            return reader
        case "primary":
            return not reader or bool(to_be_promoted(scenario.faults, [server.name])) or _takes_over(server, scenario)
    return server.name == fault.target


def _takes_over(reader: ExternalServer, scenario: Scenario) -> bool:
    """Whether clients write to a reader if somebody else promotes it."""
    port = reader.sql_port if scenario.driver.name == "sql" else reader.write_port
    return port is not None and scenario.cluster.replication != "none"


def _values(server: ExternalServer) -> dict[str, str]:
    """What a command's placeholders stand for, of one server. Ports that it lacks are left out."""
    resolved = {"server": server.name, "host": server.host, "read_port": server.read_port, "sql_port": server.sql_port}
    resolved["write_port"] = server.writes_at
    return {name: str(value) for name, value in resolved.items() if value is not None}


# ---- programs


def missing_programs(scenario: Scenario) -> list[PlacedError]:
    """A mistake for each command whose program this machine does not have, or may not execute. Runs none."""
    cluster = scenario.cluster
    commands = [(("cluster", *place), argv) for place, argv in _of_cluster(cluster)]
    for number, fault in enumerate(scenario.faults):
        commands += [(("faults", number, key), argv) for key, argv in _argvs(fault)]
    found = []
    for place, (program, *_) in commands:
        missing = (_missing(one) for one in sorted(_programs(program, cluster)))
        if wrong := next(filter(None, missing), None):
            found.append(PlacedError((*place, 0), wrong))
    return found


def _of_cluster(cluster: ClusterSpec) -> Iterator[tuple[Place, list[str]]]:
    """The place and the words of each command below `cluster`."""
    for name, command in cluster.commands.items():
        yield from ((("commands", name, key), argv) for key, argv in _argvs(command))
    if cluster.primary is not None and cluster.primary.command is not None:
        yield ("primary", "command"), cluster.primary.command


def _argvs(command: object) -> Iterator[tuple[str, list[str]]]:
    for key in ("run", "heal"):
        if (argv := getattr(command, key, None)) is not None:
            yield key, argv


def _programs(program: str, cluster: ClusterSpec) -> set[str]:
    """Every program that is meant, if its name depends on the server or on the primary."""
    wanted = placeholders(program)
    servers: list[Mapping[str, str]] = [_values(server) for server in cluster.servers] or [{}]
    each = [{**of_server, "primary": primary.get("server", "")} for of_server in servers for primary in servers]
    return {filled(program, values) for values in each if all(values.get(name) for name in wanted)}


def _missing(program: str) -> str | None:
    """Why a program cannot be executed, or None."""
    if "/" not in program:
        return None if shutil.which(program) else f"there is no program {program} in PATH"
    if not os.path.exists(program):
        return f"there is no {program}; a program with a slash is relative to the folder of the scenario's file"
    if not os.path.isfile(program):
        return f"{program} is not a program"
    return None if os.access(program, os.X_OK) else f"{program} is not executable: chmod +x {program}"
