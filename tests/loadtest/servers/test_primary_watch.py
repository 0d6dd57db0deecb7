"""The watch on who is the primary, on real servers of another cluster. What it decides: test_primacy.py, test_two_primaries."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from hs_drill._cluster import Cluster, ClusterError, Server
from hs_drill.servers import Control, _primary_command, _primary_watch, watch_as_told
from hs_drill.servers._control import Promotion
from hs_drill.servers._opening import open_servers
from hs_drill.servers._sql import execute_sql
from tests.loadtest.support.external import all_applied, external, source_sql
from tests.support.patience import patience, until

pytestmark = pytest.mark.mariadb

OPEN = ("STOP SLAVE", "RESET SLAVE ALL", "SET GLOBAL read_only=0")


@asynccontextmanager
async def watched(control: Control) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(control.watch)
        yield
        nursery.cancel_scope.cancel()


async def follow(replica: Server, source: Server, owner: Cluster) -> None:
    await execute_sql(replica, "SET GLOBAL read_only=1", "STOP SLAVE", source_sql(source, owner), "START SLAVE")


async def next_promotion(control: Control, *, within: float = 60.0) -> Promotion:
    with trio.fail_after(patience(within)):
        return await control.wait_promotion(len(control.promotions))


async def test_a_switch_over_and_back_and_two_primaries(temporary: Path) -> None:
    async with open_servers("mariadb", readers=2) as owner:
        writer, a, b = owner.cluster.servers
        async with external(owner.cluster) as control:
            twos: list[tuple[str, str, float, float | None]] = []
            lines: list[str] = []
            control.on_two_primaries = lambda *two: twos.append(two)
            control.on_notice = lines.append
            async with watched(control):
                # By hand, as an owner would do it.
                await execute_sql(writer, "SET GLOBAL read_only=1")
                await all_applied(owner.cluster)
                promotion: list[Promotion] = []
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(lambda: _append(promotion, next_promotion(control)))
                    before = time.monotonic()
                    await execute_sql(a, *OPEN)
                    after = time.monotonic()
                assert promotion[0].server == control.primary == "reader-1"
                assert before < promotion[0].seen < after + patience(1)
                assert promotion[0].otherwise < after
                await follow(writer, a, owner.cluster)
                await follow(b, a, owner.cluster)
                await all_threads_run(writer, b)
                assert await control.why_primary_unknown() == ""
                # Back, and the former primary stays open for a while.
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(next_promotion, control)
                    await execute_sql(writer, *OPEN)
                assert control.primary == "writer"
                with trio.fail_after(patience(60)):
                    while not lines:  # noqa: ASYNC110  (the watch asks)
                        await trio.sleep(0.02)
                await follow(a, writer, owner.cluster)
                await follow(b, writer, owner.cluster)
                with trio.fail_after(patience(60)):
                    while not twos:  # noqa: ASYNC110
                        await trio.sleep(0.02)
            assert await control.why_primary_unknown() == ""
            assert [one.server for one in control.promotions] == ["reader-1", "writer"]
            ((old, new, since, until),) = twos
            assert (old, new) == ("reader-1", "writer")
            assert until is not None
            assert control.promotions[-1].seen <= since <= until
            await control.end_watch()
            assert len(twos) == 1
            assert lines == [
                line for line in lines if line.startswith("two primaries: reader-1 and writer are both open for writes")
            ]


async def _append(found: list[Any], coming: Any) -> None:
    found.append(await coming)


async def all_threads_run(*replicas: Server) -> None:
    with trio.fail_after(patience(60)):
        for replica in replicas:
            while {"Yes"} != {  # noqa: ASYNC110  (the server is asked)
                row[thread]
                for row in await execute_sql(replica, "SHOW ALL SLAVES STATUS")
                for thread in ("Slave_IO_Running", "Slave_SQL_Running")
            }:
                await trio.sleep(0.02)


async def test_a_promotion_is_seen_while_another_server_hangs_and_what_hangs_is_unknown(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_primary_watch, "ANSWER_SECONDS", patience(1))
    async with open_servers("mariadb", readers=1) as owner:
        reader = owner.cluster.readers[0]
        async with external(owner.cluster) as control:
            async with watched(control):
                await owner.pause("writer")
                await trio.sleep(1.5)  # the watch waits for it by then
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(next_promotion, control)
                    await execute_sql(reader, "SET GLOBAL read_only=0", "STOP SLAVE", "RESET SLAVE ALL")
                (promotion,) = control.promotions
                assert promotion.server == "reader-1"
                assert promotion.seen - promotion.otherwise < patience(1)
            unknown = await control.why_primary_unknown()
            assert unknown.startswith("whether writer has been promoted is not known: asking writer whether it replicates took")
            await owner.resume("writer")
            assert await control.why_primary_unknown() == ""
            twos: list[tuple[str, str, float, float | None]] = []
            control.on_two_primaries = lambda *two: twos.append(two)
            await control.end_watch()
            ((old, new, _, until),) = twos
            assert (old, new, until) == ("writer", "reader-1", None)


@pytest.mark.parametrize(
    "script, why",
    [
        ("echo writer", ""),
        ("echo Warning: known hosts >&2; echo; echo writer", ""),
        ("", ""),
        ("echo nobody", "cluster.primary.command printed 'nobody', which is no server of the scenario (writer, reader-1)"),
        ("echo no lease; exit 3", "cluster.primary.command: {script}: exit status 3: no lease"),
        ("exec sleep 60", "cluster.primary.command: {script}: did not end within 0.5 s, and was killed (it printed nothing)"),
    ],
)
async def test_the_owner_s_command(
    cluster: Cluster, tmp_path: Path, script: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "sleep" in script:
        monkeypatch.setattr(_primary_command, "OWNER_SECONDS", 0.5)
    program = tmp_path / "who"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    async with external(cluster) as control:
        lines: list[str] = []
        control.on_notice = lines.append
        watch_as_told(control, [str(program), "{primary}"], 0.05)
        why = why.format(script=program)
        assert await control.why_primary_unknown() == why
        assert lines == [why] * bool(why)
        assert control.promotions == []


@pytest.mark.parametrize("allowed, why", [(60.0, ""), (0.0, "cluster.primary.command: {script}: exit status 3: no leader")])
async def test_the_owner_s_command_may_fail_for_a_while(
    cluster: Cluster, tmp_path: Path, allowed: float, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_primary_watch, "OWNER_FAILS_SECONDS", allowed)
    program, electing, asked = tmp_path / "who", tmp_path / "electing", tmp_path / "asked"
    program.write_text(f"#!/bin/sh\necho >>{asked}\n[ -e {electing} ] && {{ echo no leader; exit 3; }}\necho writer\n")
    program.chmod(0o755)
    electing.touch()
    async with external(cluster) as control:
        lines: list[str] = []
        control.on_notice = lines.append
        watch_as_told(control, [str(program)], 0.05)
        async with watched(control):
            await until(lambda: bool(lines) if why else asked.exists() and asked.stat().st_size >= 3)
            electing.unlink()
        why = why.format(script=program)
        assert await control.why_primary_unknown() == why
        assert lines == [why] * bool(why)


async def test_the_owner_s_command_names_another_primary_than_sql_shows(cluster: Cluster, tmp_path: Path) -> None:
    program = tmp_path / "who"
    program.write_text("#!/bin/sh\necho reader-1\n")
    program.chmod(0o755)
    async with external(cluster) as control:
        watch_as_told(control, [str(program)], 0.05)
        source = f"127.0.0.1:{cluster.writer.sql_port}"
        assert await control.why_primary_unknown() == f"reader-1 is not the primary any more: it replicates from {source}"
        assert control.primary == "reader-1"


async def test_where_servers_do_not_replicate_no_command_says_who_is_the_primary(cluster: Cluster) -> None:
    async with open_servers("external", external=[cluster.writer], replication="none", handlersocket_writes=False) as control:
        with pytest.raises(ClusterError, match=r"^cluster\.primary is for servers of which one is the primary"):
            watch_as_told(control, ["who"], 0.5)
