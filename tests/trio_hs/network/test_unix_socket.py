"""The client over unix sockets, with a real server whose HandlerSocket listens on unix sockets only."""

from __future__ import annotations

import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio

import trio_hs
from hs_drill._cluster import Cluster
from hs_drill.servers import _mariadbd, execute_sql, open_cluster

pytestmark = pytest.mark.mariadb


@pytest.fixture
async def unix_server(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Cluster, str, str]]:
    """A server whose listeners are ``r`` and ``w`` in its directory: with the address ``/``, ports are paths."""
    paths: list[Path] = []
    configuration = _mariadbd.configuration

    def with_unix_sockets(data: str, server: Any, *rest: Any, **options: Any) -> str:
        paths[:] = [Path(data, "r"), Path(data, "w")]
        lines = configuration(data, server, *rest, **options)
        for line, replacement in {
            f"handlersocket_address={server.host}": "handlersocket_address=/",
            f"handlersocket_port={server.read_port}": f"handlersocket_port={paths[0]}",
            f"handlersocket_port_wr={server.write_port}": f"handlersocket_port_wr={paths[1]}",
        }.items():
            assert f"\n{line}\n" in lines
            lines = lines.replace(f"\n{line}\n", f"\n{replacement}\n")
        return lines

    async def listens(server: Any) -> bool:
        return all(path.exists() for path in paths)

    if request.config.getoption("server_version") is not None:
        pytest.skip("containers share no directory with the tests")
    monkeypatch.setattr(_mariadbd, "configuration", with_unix_sockets)
    monkeypatch.setattr(_mariadbd, "handlersocket_answers", listens)
    async with open_cluster("mariadb", readers=0) as cluster:
        yield cluster, str(paths[0]), str(paths[1])


async def test_everything_works_over_unix_sockets(unix_server: tuple[Cluster, str, str]) -> None:
    cluster, reader, writer = unix_server
    server = cluster.writer
    for path in (reader, writer):
        assert stat.S_ISSOCK((await trio.Path(path).stat()).st_mode)
    await execute_sql(server, "CREATE DATABASE d", "CREATE TABLE d.t (id INT PRIMARY KEY, v LONGBLOB NOT NULL)")
    secrets: dict[str, Any] = {"read_secret": server.read_secret, "write_secret": server.write_secret}
    big = bytes(range(256)) * 8000  # more than a socket's buffers hold, both ways
    async with trio_hs.open_manager([("unix", reader)], [("unix", writer)], encoding=None, **secrets) as hs:
        assert await hs.insert("d", "t", [("id", 1), ("v", big)]) is None
        assert await hs.get("d", "t", ["v"], 1) == [("v", big)]
        assert await hs.insert_many("d", "t", ["id", "v"], [[number, b"x"] for number in range(2, 500)]) == [None] * 498
        assert await hs.incr("d", "t", "=", ["id"], [2], ["1000"], return_original=True) == [b"2"]

        async def user(number: int) -> None:
            assert await hs.get("d", "t", ["id"], number) == [("id", b"%d" % number)]

        async with trio.open_nursery() as users:
            for number in range(3, 500):
                users.start_soon(user, number)
        assert reader in repr(hs)
        with pytest.raises(trio_hs.TableNotFoundError, match=f"^{reader}: get d.nope: "):
            await hs.get("d", "nope", ["id"], 1)
    wrong = [trio_hs.Server("unix", reader, secret="wrong")]
    async with trio_hs.open_read_socket(wrong) as socket:
        index = await socket.get_index_id("d", "t", ["id"])
        with pytest.raises(trio_hs.AuthenticationError):
            await socket.find(index, "=", [1])
    # A listener that is gone, and one that is there, with a timeout.
    both: Any = [("unix", reader + "x"), ("unix", reader, None, 2.0)]
    async with trio_hs.open_manager(both, **secrets) as hs:
        assert await hs.get("d", "t", ["id"], 3) == [("id", "3")]
        assert [each.connections for each in hs.statistics().readers] == [0, 1]
        assert "No such file" in str(hs.statistics().readers[0].last_error)
