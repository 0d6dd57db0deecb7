"""The version of the servers, as a user asks for it: containers run it, other kinds must have it."""

from __future__ import annotations

from typing import Any

import pytest

import trio_hs
from hs_drill._cluster import SUITES, Cluster, ClusterError, Server, series
from hs_drill.servers import _external, _sql, open_servers
from hs_drill.servers._external import ask_versions
from hs_drill.servers._opening import open_cluster
from hs_drill.servers._processes import Installation
from tests.loadtest.support.external import external, without_sql
from trio_hs import open_manager
from trio_hs.testing import Table
from trio_hs.testing._versions import VERSIONS


@pytest.mark.docker
@pytest.mark.parametrize("version", ["10.11", "11.8"])
async def test_containers_run_the_version_that_is_asked_for(version: str) -> None:
    async with open_cluster("docker", version=version, readers=0) as cluster:
        assert series(cluster.version) == version


@pytest.mark.mariadb
async def test_the_installed_mariadb_must_have_the_version(mariadb_installation: Installation) -> None:
    installed = series(mariadb_installation.version)
    async with open_cluster("mariadb", version=installed, readers=0) as cluster:
        assert series(cluster.version) == installed
    lines: list[str] = []
    with pytest.raises(ClusterError) as error:
        async with open_cluster("mariadb", version="9.9", progress=lines.append):
            pass
    assert str(error.value) == (
        f"version 9.9 is asked for, but the installed MariaDB is {mariadb_installation.version} "
        f"({mariadb_installation.mariadbd}): install 9.9, ask for {installed}, or use cluster kind docker, "
        "which has 10.11, 11.8"
    )
    assert lines == []


@pytest.mark.process
@pytest.mark.parametrize("version, stored", [(None, "0000-00-00 00:00:00"), ("11.8", "2069-01-01 00:00:00")])
async def test_embedded_servers_answer_as_the_version_that_is_asked_for(version: str | None, stored: str) -> None:
    table = Table("drill", "late", {"id": "INT NOT NULL", "at": "TIMESTAMP NULL"}, primary_key=["id"])
    async with open_servers("embedded", version=version, readers=0, database="drill") as control:
        await control.create_table(table)
        server = control.cluster.writer
        async with open_manager(
            [("inet", server.host, server.read_port)],
            [("inet", server.host, server.write_port)],
            read_secret=server.read_secret,
            write_secret=server.write_secret,
        ) as hs:
            await hs.insert("drill", "late", [("id", 1), ("at", "2069-01-01 00:00:00")])
            assert await hs.get("drill", "late", ["at"], 1) == [("at", stored)]
        assert control.cluster.version == f"trio-hs {trio_hs.__version__} as MariaDB {version or 10.11}"


async def test_embedded_servers_refuse_another_version() -> None:
    with pytest.raises(ClusterError, match=r"^embedded servers answer as 10\.11 or 11\.8, not as 9\.9$"):
        async with open_cluster("embedded", version="9.9"):
            pass


def test_embedded_servers_know_the_versions_of_the_containers() -> None:
    assert set(SUITES) == set(VERSIONS)


async def test_auto_says_why_no_kind_has_the_version(monkeypatch: pytest.MonkeyPatch) -> None:
    async def installed() -> Installation:
        raise ClusterError("mariadbd not found")

    monkeypatch.setattr("hs_drill.servers._opening.find_installation", installed)
    with pytest.raises(ClusterError) as error:
        async with open_cluster("auto", version="9.9"):
            pass
    assert "containers have the versions 10.11, 11.8, not 9.9" in str(error.value)
    assert "mariadbd not found" in str(error.value)


@pytest.mark.parametrize(
    "answer, shown",
    [
        ("11.8.9-MariaDB-0+deb13u1 from Debian-log", "11.8.9-MariaDB-0+deb13u1"),
        ("10.11.19-MariaDB-0+deb12u1-log", "10.11.19-MariaDB-0+deb12u1"),
        ("10.11.19-MariaDB", "10.11.19-MariaDB"),
    ],
)
async def test_a_version_is_shown_without_comments_and_settings(
    answer: str, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def execute(server: Server, *statements: str) -> list[dict[str, Any]]:
        return [{"v": answer}]

    monkeypatch.setattr(_sql, "execute_sql", execute)
    assert await _sql.ask_version(Server("writer", "db.example", 1, 2, "", "", sql_port=3)) == shown


# --- Servers of the user's own -----------------------------------------------------------------------------------------
@pytest.mark.mariadb
async def test_external_servers_must_have_the_version_as_far_as_sql_shows_it(cluster: Cluster) -> None:
    version = series(cluster.version)
    async with external(cluster, version=version) as control:
        assert series(control.cluster.version) == version
    with pytest.raises(
        ClusterError, match=r"^version 9\.9 is asked for, but writer is [^,]+, reader-1 is [^,]+: ask for the version"
    ):
        async with external(cluster, version="9.9"):
            pass


async def test_the_versions_of_external_servers_that_differ_are_all_named(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"writer": "10.11.19-MariaDB-log", "reader-1": "11.8.9-MariaDB-log"}

    async def ask(server: Server) -> str:
        return found[server.name]

    monkeypatch.setattr(_external, "ask_version", ask)
    servers = [Server(name, "db.example", 9998, 9999, "", "", sql_port=3306) for name in found]
    servers.append(without_sql(Server("reader-2", "db.example", 9998, 0, "", "")))
    versions = await ask_versions(servers)
    assert _external.shown(versions) == "writer 10.11.19-MariaDB-log, reader-1 11.8.9-MariaDB-log, reader-2 unknown"
    assert _external.shown({"writer": "11.8.9-MariaDB", "reader-1": "11.8.9-MariaDB"}) == "11.8.9-MariaDB"
    told: list[str] = []
    with pytest.raises(ClusterError, match=r"^version 11\.8 is asked for, but writer is 10\.11\.19-MariaDB-log: ask for"):
        _external.require_version("11.8", versions, told.append)
    assert told == []
    _external.require_version("10.11", {**versions, "reader-1": "10.11.19"}, told.append)
    assert told == ["not checked without the sql_port of reader-2: whether its version is 10.11"]
