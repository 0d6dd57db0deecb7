"""A run that writes through a twin must change the table whose rows it keeps."""

from __future__ import annotations

import re

import pytest

from hs_drill._cluster import Cluster, ClusterError
from hs_drill.servers._twin import Link, link_of
from tests.loadtest.support.restoring import TABLE, WRITES, begun, create_filled, scenario_on, unlogged

THROUGH = f"{WRITES}cluster: {{topology: write-through}}\n"


@pytest.mark.parametrize(
    "connection, link",
    [
        ("self/u", Link("10.0.0.1", 3307, "shop", "u")),
        ("self", Link("10.0.0.1", 3307, "shop", "t")),
        ("by_socket", Link("", 3306, "shop", "t")),
        ("mysql://me:p@ss:w/rd@db9:3308/shop/t", Link("db9", 3308, "shop", "t")),
        ("mysql://me@db9/shop/t", Link("db9", 3306, "shop", "t")),
        ("gone/t", Link("the unknown server 'gone'", 0, "?", "?")),
        ("mysql://me:secret@db9", Link("the unknown server 'mysql:'", 0, "?", "?")),
    ],
)
def test_where_a_twin_leads(connection: str, link: Link) -> None:
    servers = [
        {"Server_name": "self", "Host": "10.0.0.1", "Port": 3307, "Db": "shop", "Socket": ""},
        {"Server_name": "by_socket", "Host": "x", "Port": 0, "Db": "shop", "Socket": "/run/mysqld.sock"},
    ]
    assert link_of(connection, servers, "t") == link


@pytest.mark.mariadb
async def test_a_twin_of_another_table_is_refused(mine: Cluster) -> None:
    await create_filled(mine)
    writer, twin = mine.writer, "mine_wt.t"
    link = f"mysql://{writer.admin_user}:{writer.admin_password}@127.0.0.1:{writer.sql_port}"

    async def refused(message: str, *statements: str) -> None:
        await unlogged(mine, f"DROP TABLE IF EXISTS {twin}", *statements)
        with pytest.raises(ClusterError, match=re.escape(message)) as caught:
            await begun(scenario_on(mine, THROUGH), [])
        assert writer.admin_password not in str(caught.value)

    await unlogged(mine, "INSTALL SONAME 'ha_federatedx'", "CREATE DATABASE mine_wt")
    try:
        await refused("mine_wt.t on writer is no twin of mine.t, for its engine is InnoDB", f"CREATE TABLE {twin} ({TABLE})")
        federated = f"CREATE TABLE {twin} ({TABLE}) ENGINE=FEDERATED CONNECTION="
        await refused(
            f"mine_wt.t on writer leads to mine.u at 127.0.0.1:{writer.sql_port}, and what a run changes must be mine.t",
            "CREATE TABLE mine.u LIKE mine.t",
            f"{federated}'{link}/mine/u'",
        )
        await unlogged(mine, f"DROP TABLE {twin}", f"{federated}'{link}/mine/t'")
        await begun(scenario_on(mine, THROUGH), [])
    finally:
        await unlogged(mine, "DROP TABLE IF EXISTS mine.u", "DROP DATABASE mine_wt", "UNINSTALL SONAME 'ha_federatedx'")
