"""What a scenario gets from elsewhere: its cluster from the command line, its load from a command that runs it many times, and
its table from the servers that have it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from ._base import PlacedError, no_such
from ._external import parse_servers
from ._model import Scenario
from ._reader import LiveTableError, ScenarioError, mistakes_in, placed_mistakes
from ._sql_types import column_of

__all__ = ["SERVERS_HELP", "with_cluster", "with_keys", "with_table"]

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
        for of_own in ("servers", "router", "primary", "commands"):
            cluster.pop(of_own, None)
    try:
        return Scenario.model_validate({**data, "cluster": cluster})
    except ValidationError as error:
        raise ScenarioError("\n".join(f"with the options given, {line}" for line in mistakes_in(error))) from error


def with_keys(scenario: Scenario, given: Mapping[str, Any]) -> Scenario:
    """The scenario with these of its keys instead of its own, such as `load`. Raises `ScenarioError`."""
    data = scenario.model_dump(mode="json", by_alias=True, exclude_unset=True)
    try:
        return Scenario.model_validate({**data, **given})
    except ValidationError as error:
        raise ScenarioError("\n".join(f"with the keys given, {line}" for line in mistakes_in(error))) from error


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
    given = {name: _said(column) for name, column in table.get("columns", {}).items()}
    shown = f"{scenario.table.database}.{scenario.table.name}"
    if mistakes := list(_contradictions(given, columns)):
        raise LiveTableError(shown, mistakes)
    table["columns"] = {name: {**given.get(name, {}), **column} for name, column in columns.items()}
    table |= {"primary": list(primary), "indexes": {name: list(parts) for name, parts in indexes.items()}}
    try:
        return Scenario.model_validate(data)
    except ValidationError as error:
        raise LiveTableError(shown, placed_mistakes(error)) from error


def _contradictions(given: Mapping[str, Mapping[str, Any]], columns: Mapping[str, Mapping[str, Any]]) -> Iterator[PlacedError]:
    """What a scenario says of columns, and the server otherwise."""
    for name, said in given.items():
        place = ("table", "columns", name)
        if name not in columns:
            yield PlacedError(place, no_such("column", name, columns))
            continue
        has = columns[name]
        if "type" in said and not _same_type(said["type"], has["type"]):
            yield PlacedError((*place, "type"), f"is {has['type']} there, not {said['type']}: leave it out")
        if "nullable" in said and said["nullable"] != has.get("nullable", said["nullable"]):
            can = "may" if has["nullable"] else "cannot"
            yield PlacedError((*place, "nullable"), f"the column {can} be NULL there: leave it out")


def _same_type(said: str, has: str) -> bool:
    """Whether two types mean the same, as far as the first one says. A width of an integer means nothing."""
    one, other = column_of("own", said, False), column_of("own", has, False)
    return replace(one, charset=other.charset) == other if one.charset is None else one == other


def _said(column: Mapping[str, Any]) -> dict[str, Any]:
    """What a scenario says of a column; one that came over the wire has every key."""
    return {key: value for key, value in column.items() if value not in ("", None)}
