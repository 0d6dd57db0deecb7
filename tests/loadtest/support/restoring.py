"""A table `mine.t` of a user's, and runs that are about to write to it, without their load."""

from __future__ import annotations

from typing import Any

import yaml

from hs_drill._cluster import Cluster
from hs_drill.controller import before_image_of, restore
from hs_drill.controller._before_image import keep_before_image
from hs_drill.controller._existing import Existing, use_existing
from hs_drill.controller._restore import Restored
from hs_drill.controller._servers import open_scenario_servers
from hs_drill.scenario import Scenario, parse_scenario, with_cluster
from hs_drill.servers._sql import execute_sql
from hs_drill.store import BeforeImage, RunDirectory
from tests.loadtest.support.external import servers_yaml
from tests.loadtest.support.users_table import servers_option

ROWS = 1200
TABLE = "id BIGINT NOT NULL PRIMARY KEY, name VARCHAR(40) NOT NULL, n INT NOT NULL DEFAULT 0, other INT NOT NULL DEFAULT 7"
COLUMNS = "{id: {values: sequence}, name: {values: {text: 20}}, n: {values: 0}, other: {values: 1}}"
COUNT = "count: {do: incr, column: n, weight: 1}, "
MIX = f"{{get: 1, rename: {{do: update, set: [name], weight: 1}}, {COUNT}insert: 1, delete: 1}}"
WRITES = f"name: mine\ntable: {{existing: true, writes: allowed, database: mine, name: t, columns: {COLUMNS}}}\nmix: {MIX}\n"


async def create(cluster: Cluster, columns: str, *more: str) -> None:
    await execute_sql(cluster.writer, f"CREATE TABLE mine.t ({columns}) ENGINE=InnoDB", *more)


async def create_filled(cluster: Cluster) -> None:
    await create(cluster, TABLE, f"INSERT INTO mine.t SELECT seq * 2, CONCAT('Name ', seq), seq, 7 FROM mine.seq_1_to_{ROWS}")


def scenario_on(cluster: Cluster, text: str = WRITES) -> Scenario:
    return with_cluster(parse_scenario(text, "mine.yaml"), servers_option(cluster), {})


def scenario_on_every_server(cluster: Cluster, text: str = WRITES) -> Scenario:
    """The same with the reader, which replicates. Its secrets are in the environment of the fixture `mine`."""
    servers = yaml.safe_dump({"cluster": {"kind": "external", "servers": servers_yaml(cluster)}})
    return parse_scenario(text + servers, "mine.yaml")


async def rows(cluster: Cluster, server: int = 0) -> list[tuple[Any, ...]]:
    found = await execute_sql(cluster.servers[server], "SELECT * FROM mine.t ORDER BY id")
    return [tuple(row.values()) for row in found]


async def unlogged(cluster: Cluster, *statements: str) -> None:
    """Change rows as HandlerSocket does: in no binary log."""
    await execute_sql(cluster.writer, "SET SESSION sql_log_bin = 0", *statements)


async def begun(scenario: Scenario, said: list[str]) -> tuple[RunDirectory, Existing]:
    """A run that has kept its before-image, and is about to write."""
    async with open_scenario_servers(scenario, said.append, handlersocket_writes=False, load_accounts=False) as control:
        existing = await use_existing(control, scenario, said.append)
        directory = RunDirectory.create(existing.scenario)
        await keep_before_image(control, existing, directory, 1, said.append)
        return directory, existing


async def put_back(directory: RunDirectory, scenario: Scenario, **options: Any) -> Restored:
    image = before_image_of(directory, directory.scenario())
    assert isinstance(image, BeforeImage)
    kept = directory.scenario().model_copy(update={"cluster": scenario.cluster})
    return await restore(kept, image, print, **options)
