"""What a scenario gets from elsewhere: its cluster from the command line, and its table from the servers that have it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from ._base import no_such
from ._external import parse_servers
from ._model import Scenario
from ._reader import ScenarioError, mistakes_in

__all__ = ["SERVERS_HELP", "with_cluster", "with_table"]

SERVERS_HELP = (
    "Your own servers, for kind external: NAME=HOST:READ_PORT:WRITE_PORT[:SQL_PORT], separated by commas; the names are "
    "writer, standby, reader-1 and so on. An IPv6 address is in brackets; a reader may lack WRITE_PORT. Secrets come from the "
    "environment: TRIO_HS_READ_SECRET, TRIO_HS_WRITE_SECRET, "
    "TRIO_HS_SQL_USER, TRIO_HS_SQL_PASSWORD, and for `driver: sql` TRIO_HS_LOAD_USER, TRIO_HS_LOAD_PASSWORD."
)


def with_cluster(scenario: Scenario, servers: str | None, given: Mapping[str, Any]) -> Scenario:
    """The scenario with `given` keys of `cluster`, and other `servers` if not None. Raises `ScenarioError`."""
    data = scenario.model_dump(mode="json", by_alias=True, exclude_unset=True)
    cluster = data.get("cluster", {})
    if servers is not None:
        for counted in ("readers", "standby"):
            cluster.pop(counted, None)
        try:
            cluster |= {"kind": "external", "servers": parse_servers(servers)}
        except ValueError as error:
            raise ScenarioError(f"--servers: {error}") from error
    cluster |= given
    if cluster.get("kind") != "external":
        cluster.pop("servers", None)
    try:
        return Scenario.model_validate({**data, "cluster": cluster})
    except ValidationError as error:
        raise ScenarioError("\n".join(f"with the options given, {line}" for line in mistakes_in(error))) from error


def with_table(
    scenario: Scenario,
    columns: Mapping[str, Mapping[str, Any]],
    primary: Sequence[str],
    indexes: Mapping[str, Sequence[str]],
) -> Scenario:
    """The scenario of a table that exists, with the columns and indexes that a server says it has. Raises `ScenarioError`.

    `columns` are entries of `table.columns`, in the table's order; what the scenario says of them stays.
    """
    data = scenario.model_dump(mode="json", by_alias=True, exclude_unset=True)
    table = data["table"]
    given = table.get("columns", {})
    if unknown := [name for name in given if name not in columns]:
        raise ScenarioError(f"table.columns.{unknown[0]}: {no_such('column', unknown[0], columns)}")
    table["columns"] = {name: {**column, **_said(given.get(name, {}))} for name, column in columns.items()}
    table |= {"primary": list(primary), "indexes": {name: list(parts) for name, parts in indexes.items()}}
    try:
        return Scenario.model_validate(data)
    except ValidationError as error:
        where = f"on {scenario.table.database}.{scenario.table.name} as the server has it"
        raise ScenarioError("\n".join(f"{where}, {line}" for line in mistakes_in(error))) from error


def _said(column: Mapping[str, Any]) -> dict[str, Any]:
    """What a scenario says of a column; one that came over the wire has every key."""
    return {key: value for key, value in column.items() if value not in ("", None)}
