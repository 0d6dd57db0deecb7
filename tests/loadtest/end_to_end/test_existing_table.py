"""A load on a table that is there already: it is only read, or every row is put back, even after a run that was killed."""

from __future__ import annotations

import os
import re
import shutil
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest
import trio
import yaml

from hs_drill._cluster import Cluster
from hs_drill.servers._sql import execute_sql
from tests.loadtest.support.locust_process import HEADLESS, Locust, result_of
from tests.loadtest.support.users_table import VALUES, WRITTEN, checksum, environment, hs_drill, make_table, servers_option

pytestmark = [pytest.mark.mariadb, pytest.mark.process]

NEEDS_MYSQLCLIENT = pytest.mark.skipif(find_spec("MySQLdb") is None, reason="no mysqlclient (test_sql_driver.py insists in CI)")
ROWS = 23_000
READS = """\
name: mine
table: {existing: true, database: mine, name: t}
load: {users: 16, duration: 10m, think_time: 40ms}
mix:
  get: 50
  title: {do: get, columns: [title, doc], weight: 20}
  several: {do: get_many, columns: [title], count: 5, weight: 5}
  kinds: {do: find, index: by_kind, by: [kind, price], columns: [region, id, kind], limit: 5, weight: 10}
"""
WRITES = yaml.safe_dump(
    {
        "name": "mine",
        "table": {"existing": True, "writes": "allowed", "database": "mine", "name": "t", "columns": VALUES},
        "load": {"users": 16, "duration": "10m", "think_time": "40ms"},
        "mix": {
            "get": 20,
            "change": {"do": "update", "set": WRITTEN, "weight": 40},
            "count": {"do": "incr", "column": "count", "weight": 20},
            "insert": 20,
            "delete": 5,
        },
    }
)


@pytest.fixture
async def mine(cluster: Cluster) -> AsyncIterator[Cluster]:
    await make_table(cluster, ROWS)
    yield cluster
    await execute_sql(cluster.writer, "DROP DATABASE mine")


@contextmanager
def locust(cluster: Cluster, scenario: str, *more: str) -> Iterator[Locust]:
    options = ("--cluster", "external", "--servers", servers_option(cluster), *more)
    with Locust(*HEADLESS, *options, scenario=scenario, env=environment(cluster)) as run:
        yield run


async def test_a_table_is_measured_and_not_one_row_changes(mine: Cluster) -> None:
    before = await checksum(mine)

    def run() -> None:
        with locust(mine, READS, "-t", "0", "--processes", "2") as reading:
            reading.wait_for_operations("get", "title", "several", "kinds")
            reading.interrupt()
            assert reading.finish() == 0, reading.describe()
            assert f"mine.t has {ROWS:,} rows, of which the load uses {ROWS:,}" in reading.stderr
            assert "this run reads mine.t, and changes nothing" in reading.stderr
            result = result_of(reading)
            assert result["troubles"] == []
            counted = re.findall(r"^  (get|title|several|kinds) +([\d,]+) +([\d,]+)", reading.stdout, re.MULTILINE)
            assert len(counted) == 4
            assert all(count != "0" and failures == "0" for _, count, failures in counted), counted
            shown = hs_drill(mine, "check", reading.directory / "short.yaml", "--servers", servers_option(mine))
            assert shown.returncode == 0, shown
            assert "primary key (region, id), index by_kind (kind, price), index by_title (title)" in " ".join(
                shown.stdout.split()
            )
            assert "enum('plain','it''s','größer') character set utf8mb4" in " ".join(shown.stdout.split())
            again = hs_drill(mine, "analyze", reading.run)
            assert again.returncode == 0, again
            restored = hs_drill(mine, "restore", reading.run, "--servers", servers_option(mine))
            assert restored.returncode == 0
            assert "it only read: there is nothing to put back" in restored.stdout

    await trio.to_thread.run_sync(run)
    assert await checksum(mine) == before


async def inserted(cluster: Cluster) -> int:
    (row,) = await execute_sql(cluster.writer, f"SELECT COUNT(*) AS n FROM mine.t WHERE id > {ROWS}")
    return int(row["n"])


async def test_after_a_run_that_was_killed_restore_gives_the_rows_of_before(mine: Cluster) -> None:
    before = await checksum(mine)
    saved: list[Path] = []

    def run() -> None:
        with locust(mine, WRITES) as writing:
            writing.wait_for(f"OF UP TO {ROWS:,} ROWS AND INSERTS ROWS OF ITS OWN IN mine.t")
            writing.wait_for_load()
            kept, counted = (writing.stderr.index(text) for text in (" ROWS AND INSERTS", "Run time limit set to "))
            assert kept < counted, "the rows are kept before the run time counts"
            writing.wait_until(lambda: trio.from_thread.run(inserted, mine) > 10, "no row was inserted")
            command = ("restore", writing.run, "--servers", servers_option(mine))
            early = hs_drill(mine, *command)
            assert (early.returncode, early.stdout) == (2, ""), early
            assert "the run has not ended, or is being restored by another process" in early.stderr
            # Of another run on that table, or on another machine, only the server knows.
            other = shutil.copytree(writing.run, writing.directory / "copied")
            early = hs_drill(mine, "restore", other, *command[2:])
            assert early.returncode == 2, early
            assert "another run writes to mine.t, or hs-drill restore puts its rows back (connection " in early.stderr
            for pid in writing.processes():
                os.kill(pid, signal.SIGKILL)
            writing.exit_code()
            changed = trio.from_thread.run(checksum, mine)
            assert changed != before, writing.describe()
            assert (writing.run / "writing").exists(), "the mark that is kept before the first write"
            image = writing.run / "before-image.bin"
            whole = image.read_bytes()
            image.write_bytes(whole[:-1])
            cut = hs_drill(mine, *command)
            assert cut.returncode == 2, cut
            assert f"--incomplete: that puts back {ROWS:,} of the {ROWS:,} rows" in cut.stderr
            image.write_bytes(whole)
            assert trio.from_thread.run(checksum, mine) == changed
            first = hs_drill(mine, *command)
            assert first.returncode == 0, first
            (counts,) = re.findall(r"put back ([\d,]+) rows?, deleted ([\d,]+) rows", first.stdout)
            assert all(int(count.replace(",", "")) > 10 for count in counts), first
            refused = hs_drill(mine, *command)
            assert refused.returncode == 2
            assert "was put back on" in refused.stderr
            second = hs_drill(mine, *command, "--again")
            assert second.returncode == 0
            assert f"put back 0 rows, deleted 0 rows that the run had inserted; {ROWS:,} rows held" in second.stdout
            saved.append(writing.run)

    await trio.to_thread.run_sync(run)
    assert await checksum(mine) == before


@pytest.mark.parametrize("driver", ["handlersocket", pytest.param("sql", marks=NEEDS_MYSQLCLIENT)])
async def test_init_describes_a_table_of_every_type_whose_run_has_a_clean_audit(
    cluster: Cluster, driver: str, tmp_path: Path
) -> None:
    await make_table(cluster, 2000)

    def run() -> None:
        path = tmp_path / "like-mine.yaml"
        made = hs_drill(cluster, "init", "--from", "mine.t", "--servers", servers_option(cluster), "--output", path)
        assert made.returncode == 0, made
        again = hs_drill(cluster, "init", "--from", "mine.t", "--servers", servers_option(cluster), "--output", path)
        assert (again.returncode, again.stderr) == (2, f"{path}: File exists\n")
        scenario = path.read_text()
        for line in scenario[scenario.index("  columns:") : scenario.index("\nload:")].splitlines()[1:]:
            assert "    # " in line, "each has a comment"
        checked = hs_drill(cluster, "check", path)
        assert checked.returncode == 0, checked
        short = (
            re.sub(r"^  rows: \d+", "  rows: 1000", scenario, flags=re.MULTILINE) + f"driver: {driver}\naudit: {{reads: 1}}\n"
        )
        with Locust(*HEADLESS, "--cluster", "mariadb", "-t", "0", scenario=short) as locust:
            locust.wait_for_operations(*yaml.safe_load(scenario)["mix"])
            locust.interrupt()
            assert locust.finish() == 0, locust.describe()
            result = result_of(locust)
            assert result["troubles"] == []
            judged = {one["name"]: one["result"] for one in result["expectations"]}
            assert {"lost", "unexpected", "counters"} <= judged.keys()
            assert set(judged.values()) == {"pass"}

    try:
        await trio.to_thread.run_sync(run)
    finally:
        await execute_sql(cluster.writer, "DROP DATABASE mine")
