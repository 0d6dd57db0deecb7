"""The user's own servers: one server under two names is recognized."""

from __future__ import annotations

from dataclasses import replace

import pytest
import trio
import yaml

from hs_drill._cluster import Cluster
from hs_drill.controller._table import fill_table
from hs_drill.servers._one_server import require_one_server, same_server
from hs_drill.store import RunDirectory
from tests.loadtest.support.external import (
    SCENARIO,
    external,
    named,
    secrets_in_environment,
    servers_yaml,
    without_sql,
)
from tests.loadtest.support.locust_process import Locust

pytestmark = pytest.mark.mariadb


@pytest.mark.usefixtures("dropped")
@pytest.mark.parametrize("sql", [True, False])
async def test_a_reader_that_is_the_writer_under_another_address_is_no_replica(cluster: Cluster, sql: bool) -> None:
    writer, reader = cluster.servers
    alias = replace(writer, name="reader-1", host="localhost")
    servers = named(cluster, writer=writer, reader_1=alias if sql else without_sql(alias), reader_2=reader)
    told: list[str] = []
    async with external(servers, may_create=True, tell=told.append) as control:
        assert control.cluster.aliases == ("reader-1",)
        await fill_table(control, SCENARIO, told.append)
    assert "reader-1 and writer are one server: whether writes replicate was not tested there" in told
    assert "reader-2: did not get it" in told
    assert not any(line.startswith("reader-1: ") for line in told)


@pytest.mark.usefixtures("dropped")
@pytest.mark.parametrize("sql", [True, False])
def test_a_reader_that_is_the_writer_does_not_count_as_agreeing(cluster: Cluster, sql: bool) -> None:
    alias = replace(cluster.writer, host="localhost")
    alone = named(cluster, writer=cluster.writer, reader_1=alias if sql else without_sql(alias))
    scenario = {
        "name": "external",
        "cluster": {"kind": "external", "servers": servers_yaml(alone), "create_table": True},
        "table": {"rows": 100},
        "load": {"users": 2, "duration": 2, "think_time": 0.005},
        "mix": {"get": 50, "insert": 50},
        "expect": {"replicas_agree": True},
    }
    environment = secrets_in_environment(alone)
    with Locust("--headless", "--only-summary", scenario=yaml.safe_dump(scenario), env=environment) as locust:
        assert locust.finish() == 4, locust.describe()
        result = RunDirectory(locust.run).result() or {}
        assert result["troubles"] == []
        assert result["audit"]["lost"]["verdict"] == "true"
        assert "reads of the primary" in result["audit"]["linearizable"]["explanation"]
        assert result["audit"]["replicas"]["verdict"] == "not applicable"
        assert result["audit"]["replicas"]["explanation"] == "there is no server but the primary"


async def test_servers_are_recognized_while_clients_come_and_go(cluster: Cluster) -> None:
    """Clients' connections are in the same count, and so are those of other checks at the same time."""
    writer, reader = cluster.servers

    async def come_and_go() -> None:
        while True:
            async with await trio.open_tcp_stream(writer.host, writer.read_port):
                await trio.sleep(0.1)

    async with trio.open_nursery() as clients:
        for _ in range(2):
            clients.start_soon(come_and_go)
        async with trio.open_nursery() as checks:
            for _ in range(3):
                checks.start_soon(require_one_server, writer)
        assert await same_server(writer, without_sql(reader)) is False
        assert await same_server(reader, without_sql(writer)) is False
        clients.cancel_scope.cancel()


async def test_servers_are_told_apart_with_and_without_sql(cluster: Cluster) -> None:
    writer, reader = cluster.servers
    assert await same_server(writer, reader) is False
    assert await same_server(writer, without_sql(reader)) is False
    assert await same_server(without_sql(writer), without_sql(reader)) is None
    assert await same_server(without_sql(writer), replace(without_sql(writer), host="localhost")) is True
