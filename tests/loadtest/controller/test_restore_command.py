"""`hs-drill restore` where servers, or the table, are not as they were any more."""

from __future__ import annotations

import dataclasses
import os
import re
import time
from typing import Any

import pytest
import trio

from hs_drill._cluster import Cluster, ClusterError
from hs_drill.cli._restore import main
from hs_drill.controller import _restore, later_run
from hs_drill.servers._sql import execute_sql
from hs_drill.store import BeforeImage, ImageHeader, RunDirectory
from tests.loadtest.support.restoring import ROWS, begun, create_filled, put_back, rows, scenario_on, scenario_on_every_server
from tests.loadtest.support.users_table import servers_option

pytestmark = pytest.mark.mariadb
CLOSED = 1


def header(run: RunDirectory) -> ImageHeader:
    found = BeforeImage(run.before_image).header
    assert found is not None
    return found


async def test_what_was_put_back_is_put_back_again_only_on_request(mine: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    await create_filled(mine)
    before = await rows(mine)
    directory, _ = await begun(scenario_on(mine), [])

    async def command(*more: str) -> int:
        line = [str(directory.path), "--servers", servers_option(mine), *more]
        return await trio.to_thread.run_sync(main, line)

    await execute_sql(mine.writer, "UPDATE mine.t SET n = -1")
    directory.begin_writing()
    data = directory.before_image.read_bytes()
    directory.before_image.write_bytes(data[: len(data) // 2])
    assert await command("--incomplete") == 1, "the rest may be found"
    directory.before_image.write_bytes(data)
    assert await command() == 0
    assert await rows(mine) == before
    await execute_sql(mine.writer, "UPDATE mine.t SET n = 5")  # the application, a week later
    capsys.readouterr()
    assert await command() == 2
    assert re.search(r"was put back on \d{4}-.*would be lost: .* say --again\. Nothing was put back\n", capsys.readouterr().err)
    assert {row[2] for row in await rows(mine)} == {5}
    assert await command("--again") == 0
    assert await rows(mine) == before


async def test_the_last_of_several_runs_is_put_back_first(mine: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    """In the other order both said that they had put everything back, and the first run's values stayed."""
    await create_filled(mine)
    before = await rows(mine)
    first, _ = await begun(scenario_on(mine), [])
    first.begin_writing()
    await execute_sql(mine.writer, "UPDATE mine.t SET n = -1")
    second, _ = await begun(scenario_on(mine), [])
    os.utime(second.before_image, (time.time() + 10, time.time() + 10))  # the clocks of some file systems are coarse

    async def command(run: RunDirectory, *more: str) -> int:
        return await trio.to_thread.run_sync(main, [str(run.path), "--servers", servers_option(mine), *more])

    assert later_run(first, header(first)) is None, "it has not written"
    second.begin_writing()
    await execute_sql(mine.writer, "UPDATE mine.t SET n = -2")
    capsys.readouterr()
    assert await command(first) == 2
    assert f"was not put back: {second.path}. Put that back first" in capsys.readouterr().err
    assert {row[2] for row in await rows(mine)} == {-2}
    other = dataclasses.replace(header(first), table="other")
    assert later_run(first, other) is None
    assert await command(first, "--out-of-order") == 0
    assert await rows(mine) == before
    await execute_sql(mine.writer, "UPDATE mine.t SET n = -2")
    assert (await command(second), {row[2] for row in await rows(mine)}) == (0, {-1})
    assert (await command(first, "--again"), await rows(mine)) == (0, before)


async def test_a_server_that_has_another_name_now_is_named(mine: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    await create_filled(mine)
    scenario = scenario_on(mine)
    directory, _ = await begun(scenario, [])
    header = BeforeImage(directory.before_image).header
    assert header is not None
    await execute_sql(mine.writer, "UPDATE mine.t SET n = -1")

    async def renamed(*_: Any) -> str:
        return "server_id 1 at 5f3c:3306"

    monkeypatch.setattr(_restore, "identity_of", renamed)
    advice = re.escape(
        f"If it is one of them under another name, say which: --server-is '{header.source}'. Nothing was written"
    )
    with pytest.raises(ClusterError, match=advice):
        await put_back(directory, scenario)
    with pytest.raises(ClusterError, match="writer is someone, which was no server of that run"):
        await put_back(directory, scenario, server_is="someone")
    assert (await put_back(directory, scenario, server_is=header.source)).changed == ROWS


async def test_restoring_needs_neither_handlersocket_nor_every_replica(mine: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    await create_filled(mine)
    scenario = scenario_on_every_server(mine)
    directory, _ = await begun(scenario, [])
    await execute_sql(mine.writer, "UPDATE mine.t SET n = -1")
    for secret in ("TRIO_HS_READ_SECRET", "TRIO_HS_WRITE_SECRET"):
        monkeypatch.delenv(secret)
    writer, reader = scenario.cluster.servers
    without = {"read_port": CLOSED, "write_port": CLOSED}
    servers = [writer.model_copy(update=without), reader.model_copy(update={**without, "sql_port": CLOSED})]
    cluster = scenario.cluster.model_copy(update={"servers": servers})
    restored = await put_back(directory, scenario.model_copy(update={"cluster": cluster}))
    assert (restored.changed, restored.again) == (ROWS, 0)
    (line,) = restored.replicas.unknown
    assert line.startswith("whether reader-1 holds values of the run is unknown: reader-1: SQL error 2003: Can't connect")
