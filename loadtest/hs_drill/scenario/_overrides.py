"""Lets the command line override a scenario's cluster."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from ._external import parse_servers
from ._model import Scenario
from ._reader import ScenarioError, mistakes_in

__all__ = ["SERVERS_HELP", "with_cluster"]

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
