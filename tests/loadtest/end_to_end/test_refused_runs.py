"""Runs from the web UI that cannot keep what they would change: they carry no load, and a later run may."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio

from hs_drill._cluster import Cluster
from hs_drill.servers import TableLock
from hs_drill.servers._sql import execute_sql
from tests.loadtest.support.locust_process import Locust, free_port
from tests.loadtest.support.users_table import checksum, environment, make_table, servers_option
from tests.loadtest.support.web_ui import WebUi

pytestmark = [pytest.mark.mariadb, pytest.mark.process]

COUNTS = """\
name: mine
table: {existing: true, writes: allowed, database: mine, name: t}
load: {users: 4, duration: 10m, think_time: 20ms}
mix: {count: {do: incr, column: count, weight: 1}}
"""


@pytest.fixture
async def mine(cluster: Cluster) -> AsyncIterator[Cluster]:
    await make_table(cluster, 1000)
    yield cluster
    await execute_sql(cluster.writer, "DROP DATABASE mine")


async def test_a_run_whose_rows_cannot_be_kept_writes_nothing(mine: Cluster) -> None:
    """With workers, which must be told too."""
    lock = TableLock(mine.writer, "mine", "t")

    def run() -> None:
        port = free_port()
        options = [
            "--web-host",
            "127.0.0.1",
            "--web-port",
            str(port),
            "--cluster",
            "external",
            "--servers",
            servers_option(mine),
            "--processes",
            "2",
        ]
        with Locust(*options, scenario=COUNTS, env=environment(mine)) as locust:
            web = WebUi(locust, port)
            locust.wait_until(web.answers, "the web UI does not answer")

            def start() -> None:
                web.fetch("/swarm", user_count=4, spawn_rate=100)

            def runs() -> int:
                return len(list(locust.directory.glob("runs/*/writing")))

            locust.wait_until(lambda: len(web.statistics()["workers"]) == 2, "no workers")
            before = trio.from_thread.run(checksum, mine)
            trio.from_thread.run(lock.take)
            start()  # the first run, of a Locust that has not run anything
            locust.wait_for("another run writes to mine.t, or hs-drill restore puts its rows back")
            assert trio.from_thread.run(checksum, mine) == before
            trio.from_thread.run_sync(lock.release)
            start()
            locust.wait_until(lambda: web.has_users(4) and web.count("count") > 0, "no load")
            web.fetch("/stop")
            locust.wait_until(lambda: web.has_users(0) and web.statistics()["state"] == "stopped", "it does not stop")
            trio.from_thread.run(execute_sql, mine.writer, "DELETE FROM mine.t LIMIT 1")
            before = trio.from_thread.run(checksum, mine)
            start()
            locust.wait_for("1 sampled row of mine.t have gone meanwhile")
            assert trio.from_thread.run(checksum, mine) == before
            assert (web.statistics()["user_count"], runs()) == (0, 1), locust.describe()
            assert "Traceback" not in locust.stderr, locust.describe()
            locust.interrupt()
            assert locust.exit_code() == 1, locust.describe()

    await trio.to_thread.run_sync(run)
