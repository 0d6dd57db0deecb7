"""Which of the user's own servers get writes after a failover, and that they refuse them until then."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest
import trio

from hs_drill._cluster import Cluster, ClusterError, Server
from hs_drill.servers import _existing_table, _followers
from hs_drill.servers._existing_table import require_existing
from hs_drill.servers._external import ExternalControl
from hs_drill.servers._followers import require_followers, require_twins, written_through
from trio_hs.testing import Table

TABLE = Table("drill", "t", {"id": "BIGINT NOT NULL"}, primary_key=["id"])


def server(name: str, *, host: str = "", write_port: int = 9999, sql_port: int | None = 3306) -> Server:
    return Server(name, host or name, 9998, write_port, "", "", sql_port=sql_port)


WRITER, STANDBY = server("writer"), server("standby")
PLAIN = [WRITER, server("reader-1"), server("reader-2", write_port=0), STANDBY]


class Found:
    """The followers of a cluster, and what the user is told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, taking_writes: Sequence[str] = ()) -> None:
        self.told: list[str] = []
        self.asked: list[str] = []

        async def takes_writes(server: Server) -> bool:
            await trio.lowlevel.checkpoint()
            self.asked.append(server.name)
            return server.name in taking_writes

        async def same_server(one: Server, other: Server) -> bool | None:
            await trio.lowlevel.checkpoint()
            return one.host == other.host or (None if one.sql_port is None else False)

        monkeypatch.setattr(_followers, "takes_writes", takes_writes)
        monkeypatch.setattr(_followers, "same_server", same_server)

    def __call__(self, servers: Sequence[Server], *, by_sql: bool = False, galera: bool = False, **more: Any) -> Cluster:
        cluster = Cluster(**{"kind": "external", "why": "", "version": "", "servers": tuple(servers)} | more)
        control = ExternalControl(cluster, may_create=False, progress=print)
        control.on_galera = galera

        async def find() -> None:
            await require_followers(control, by_sql=by_sql, progress=self.told.append)

        trio.run(find)
        return control.cluster


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> Found:
    return Found(monkeypatch)


def test_writes_follow_to_the_standby_and_to_readers_with_a_port_for_writes(found: Found) -> None:
    assert found(PLAIN).followers == ("standby", "reader-1")
    assert found.asked == ["reader-1"], "the standby was asked when the servers were opened"
    assert found.told == ["writes go to standby or reader-1, if it takes them, when writer refuses them, is down or is silent"]


def test_by_sql_the_port_for_sql_counts(found: Found) -> None:
    assert found([*PLAIN, server("reader-3", sql_port=None)], by_sql=True).followers == ("standby", "reader-1", "reader-2")
    assert found.asked == [], "`require_load_account` asks them, by the account that will write"


@pytest.mark.parametrize(
    "more",
    [{"replication": "none"}, {"kind": "mariadb"}, {"aliases": ("standby", "reader-1")}],
    ids=lambda more: next(iter(more)),
)
@pytest.mark.parametrize("by_sql", [False, True])
def test_nothing_follows_where_no_server_can_take_over(found: Found, more: dict[str, Any], by_sql: bool) -> None:
    assert found([WRITER, server("reader-1"), STANDBY], by_sql=by_sql, **more).followers == ()
    assert found.told == []


def test_no_other_node_of_a_galera_cluster_follows(found: Found) -> None:
    """They all take writes, and clients must write to one of them only."""
    assert found(PLAIN, by_sql=True, galera=True).followers == ("standby",)


def test_a_server_under_several_names_follows_once(found: Found) -> None:
    names = [
        server("reader-1", host="a"),
        server("reader-2", host="b"),
        server("reader-3", host="a"),
        server("standby", host="b"),
    ]
    assert found([WRITER, *names]).followers == ("standby", "reader-1")
    unknown = [server("reader-4", host="a", sql_port=None), server("reader-5", host="c", sql_port=None)]
    assert found([WRITER, *names, *unknown]).followers == ("standby", "reader-1", "reader-5")


def test_a_reader_that_takes_writes_is_refused_and_one_that_cannot_be_asked_is_reported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = Found(monkeypatch, taking_writes=["reader-1", "reader-2"])
    with pytest.raises(ClusterError) as refused:
        found(PLAIN)
    assert str(refused.value) == (
        "reader-1 takes writes although it is not the primary in this scenario, and the load would write there when it loses "
        "the writer. If it is the primary now, name it `writer`; else SET GLOBAL read_only=1 on reader-1 until it is promoted, "
        "or leave its write_port out. Nothing was written"
    )
    cluster = found([WRITER, server("reader-1", sql_port=None), server("reader-2", write_port=0), STANDBY])
    assert cluster.followers == ("standby", "reader-1")
    assert not cluster.followers_proven
    assert found.told == [
        "not checked without the sql_port of reader-1: whether it is read-only, as it must be",
        "writes go to standby or reader-1, if it takes them, when writer refuses them or is down, but not when it is silent: "
        "without the sql_port of reader-1 it is not certain that it takes none before it is promoted",
    ]


def test_every_server_that_may_be_written_to_needs_the_twin(monkeypatch: pytest.MonkeyPatch) -> None:
    """A promoted server without it would refuse the writes, and opening a missing table spoils a thread for writes."""
    asked: list[str] = []

    async def has_table(server: Server, table: Table, database: str) -> bool:
        await trio.lowlevel.checkpoint()
        asked.append(server.name)
        return server.name != "reader-1"

    monkeypatch.setattr(_followers, "has_table", has_table)
    servers = (*PLAIN, server("reader-3"))
    cluster = Cluster("external", "", "", servers, followers=("standby", "reader-2"))  # reader-2 by SQL
    trio.run(require_twins, cluster, TABLE, "drill_wt")
    assert asked == [one.name for one in written_through(cluster)] == ["writer", "standby"]
    cluster = Cluster("external", "", "", servers, followers=("standby", "reader-1"))
    with pytest.raises(ClusterError, match=r"^there is no drill_wt\.t on reader-1 to write drill\.t through: see docs/repl"):
        trio.run(require_twins, cluster, TABLE, "drill_wt")


def test_the_twin_of_a_table_that_exists_is_examined_wherever_it_may_be_written_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run keeps the rows of the table beside it, so a promoted server's twin must not lead elsewhere."""
    asked: list[str] = []

    async def has_table(server: Server, table: Table, database: str) -> bool:
        await trio.lowlevel.checkpoint()
        return True

    async def require_twin(server: Server, *names: str) -> None:
        await trio.lowlevel.checkpoint()
        asked.append(server.name)

    for module in (_followers, _existing_table):
        monkeypatch.setattr(module, "has_table", has_table)
    monkeypatch.setattr(_existing_table, "require_twin", require_twin)
    servers = (*PLAIN, server("reader-3"), server("reader-4", sql_port=None))
    followers = ("standby", "reader-1", "reader-4")
    cluster = Cluster("external", "", "", servers, write_databases={"drill": "drill_wt"}, followers=followers)
    control = ExternalControl(cluster, may_create=False, progress=print)
    trio.run(partial(require_existing, control, TABLE, writes=True))
    assert asked == ["writer", "reader-1", "standby"], "reader-4 cannot be asked"
    asked.clear()
    trio.run(partial(require_existing, control, TABLE, writes=False))
    assert asked == []
