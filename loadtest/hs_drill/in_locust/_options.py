"""Our command-line options; the scenario provides the defaults of Locust's own."""

from __future__ import annotations

import argparse
import json
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from locust.argument_parser import LocustArgumentParser, get_empty_argument_parser

from hs_drill._cluster import CLUSTER_KINDS, VERSION_HELP
from hs_drill._exit_codes import ExitCode
from hs_drill._shipped import scenario_path
from hs_drill.scenario import (
    SERVERS_HELP,
    Load,
    Scenario,
    ScenarioError,
    load_scenario,
    require_programs,
    with_cluster,
    with_keys,
)

from ._locust_options import add_locusts_options, mistake_in
from ._metrics_server import mistake_in_metrics
from ._user_stand_ins import check_users, code_modules, mistake_in_weights, require_fitting

__all__ = ["add_options", "chosen_scenario", "locust_settings", "scenario_files", "scenario_of"]

DEFAULT_SCENARIO = "scenarios/mixed.yaml"

_scenarios: dict[str, Scenario] = {}
_have_programs: set[tuple[str, str]] = set()
"""Scenarios whose programs were found, and for which kind of servers. A page of the web UI must not fail when one vanishes."""
_checked: list[bool] = []
"""Whether the users' code was checked."""


def add_options(parser: LocustArgumentParser) -> None:
    """Add our options to Locust's parser, and make the scenario's users, spawn rate and duration the defaults of Locust's.

    Ends the process with code 2 and a line per mistake if the scenario, or one of Locust's options, is invalid. Locust builds
    its parser again for each page of the web UI; the scenario is read once.
    """
    _add_group(parser)
    arguments = _peek()
    if arguments.wants_help or arguments.worker:
        return  # help needs no scenario, and a worker gets the master's
    if mistake := mistake_in(arguments) or mistake_in_metrics(arguments.metrics):
        sys.stderr.write(f"{mistake}\n")
        sys.exit(ExitCode.BAD_ARGUMENTS)
    try:
        scenario = chosen_scenario(arguments)
    except ScenarioError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(ExitCode.BAD_ARGUMENTS)
    if not _checked:
        _checked.append(True)
        _require_good_users()
    parser.set_defaults(**locust_settings(scenario.load))


def _require_good_users() -> None:
    try:
        mistakes = check_users(code_modules()) or mistake_in_weights()
    except KeyboardInterrupt:
        sys.exit(ExitCode.INTERRUPTED)
    if mistakes:
        sys.stderr.write(f"{mistakes}\n")
        sys.exit(ExitCode.BAD_ARGUMENTS)


def locust_settings(load: Load) -> dict[str, float]:
    """A scenario's values of Locust's own options, by their names."""
    return {
        "num_users": load.locust_users,
        "spawn_rate": load.locust_spawn_rate,
        "run_time": int(load.lasts) if load.lasts.is_integer() else load.lasts,
    }


def chosen_scenario(options: argparse.Namespace) -> Scenario:
    """The scenario, as the command line overrides it. Raises `ScenarioError`; cannot fail after `add_options`."""
    scenario = _overridden(options.scenario, options.cluster, options.server_version, options.servers)
    return scenario if options.hs_keys is None else with_keys(scenario, json.loads(options.hs_keys))


def scenario_of(name: str, kind: str, version: str | None) -> Scenario:
    """A scenario as its file is now, on a kind of servers ("": the scenario's own) and their version (None: the same). Raises
    `ScenarioError`."""
    _scenarios[name] = _read(name)  # if it has mistakes now, the old one stays: each page of the web UI needs it
    return _overridden(name, kind or None, version, None)


def scenario_files(*names: str) -> list[str]:
    """The named scenarios, those beside them, and those in `scenarios/`."""
    folders = {Path("scenarios"), *(Path(name).parent for name in names)}
    return sorted({*names, *(str(path) for folder in folders for path in folder.glob("*.yaml"))})


def _overridden(name: str, kind: str | None, version: str | None, servers: str | None) -> Scenario:
    scenario = _load(name)
    given = {key: value for key, value in (("kind", kind), ("version", version)) if value is not None}
    if given or servers is not None:
        scenario = with_cluster(scenario, servers, given)
    if (programs := (name, scenario.cluster.kind)) not in _have_programs:
        require_programs(scenario, scenario_path(name))
        _have_programs.add(programs)
    require_fitting(scenario, name)
    if scenario.driver.name == "sql" and find_spec("MySQLdb") is None:
        raise ScenarioError(f"{name}: driver: sql needs mysqlclient: pip install 'trio-hs-drill[sql]'")
    return scenario


def _add_group(parser: LocustArgumentParser) -> None:
    group: Any = parser.add_argument_group(
        "HandlerSocket options", "What to run, and on which servers. Users, spawn rate and run time default to the scenario's."
    )
    group.add_argument(
        "--scenario",
        metavar="<filename>",
        default=DEFAULT_SCENARIO,
        help=f"The scenario: a YAML file, or the name of a shipped scenario. Defaults to {DEFAULT_SCENARIO}.",
        env_var="LOCUST_SCENARIO",
    )
    group.add_argument(
        "--cluster",
        metavar="<kind>",
        choices=CLUSTER_KINDS,
        help=f"The kind of servers, instead of the scenario's cluster.kind: {', '.join(CLUSTER_KINDS)}.",
        env_var="LOCUST_CLUSTER",
    )
    group.add_argument(
        "--server-version",
        metavar="<version>",
        help=f"{VERSION_HELP[0].upper()}{VERSION_HELP[1:]}. Instead of the scenario's cluster.version.",
        env_var="LOCUST_SERVER_VERSION",
    )
    group.add_argument("--servers", metavar="<servers>", help=SERVERS_HELP, env_var="LOCUST_SERVERS")
    group.add_argument(
        "--hs-events",
        metavar="<how>",
        choices=["batch", "each"],
        default="batch",
        help="What Locust's listeners get: statistics a few times a second (batch, the default), or a `request` event for each "
        "operation (each), which costs more time than the operation itself.",
        env_var="LOCUST_HS_EVENTS",
    )
    group.add_argument(
        "--metrics",
        metavar="<[host:]port>",
        help="Serve the run's live figures to Prometheus, at this port of 127.0.0.1 or at this address; not on workers.",
        env_var="LOCUST_METRICS",
    )
    group.add_argument(
        "--explain",
        action="store_true",
        help="Explain how every expectation was judged, not only the missed ones.",
        env_var="LOCUST_EXPLAIN",
    )
    # For `hs-drill capacity`: keys of the scenario as JSON, instead of the file's.
    group.add_argument("--hs-keys", help=argparse.SUPPRESS)


def _peek() -> argparse.Namespace:
    """Our arguments and some of Locust's, before Locust parses them. From the same sources: config files, environment too."""
    parser = get_empty_argument_parser(add_help=False)
    _add_group(parser)
    for flags in (("-h", "--help"), ("-V", "--version"), ("-l", "--list")):
        parser.add_argument(*flags, action="store_true", dest="wants_help")
    parser.add_argument("--worker", action="store_true", env_var="LOCUST_MODE_WORKER")
    add_locusts_options(parser)
    arguments: argparse.Namespace = parser.parse_known_args()[0]
    return arguments


def _load(name: str) -> Scenario:
    if name not in _scenarios:
        _scenarios[name] = _read(name)
    return _scenarios[name]


def _read(name: str) -> Scenario:
    return load_scenario(scenario_path(name))
