"""Tables that exist: what is read of them, what is refused, and that a restore puts back what a run may have changed alone."""

from __future__ import annotations

import re
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio

from hs_drill._cluster import Cluster, ClusterError
from hs_drill.controller import before_image_of, check_existing, restore
from hs_drill.controller._before_image import keep_before_image
from hs_drill.controller._existing import Existing, use_existing
from hs_drill.controller._restore import Restored, _Restoring
from hs_drill.controller._servers import open_scenario_servers
from hs_drill.scenario import Scenario, ScenarioError, parse_scenario, with_cluster
from hs_drill.servers._sql import execute_sql
from hs_drill.store import BeforeImage, BeforeImageError, RunDirectory
from hs_drill.workload import insert_keys, rows_of
from tests.loadtest.support.external import all_applied, gtids
from tests.loadtest.support.users_table import environment, servers_option

pytestmark = pytest.mark.mariadb

ROWS = 1200
TABLE = "id BIGINT NOT NULL PRIMARY KEY, name VARCHAR(40) NOT NULL, n INT NOT NULL DEFAULT 0, other INT NOT NULL DEFAULT 7"
COLUMNS = "{id: {values: sequence}, name: {values: {text: 20}}, n: {values: 0}, other: {values: 1}}"
COUNT = "count: {do: incr, column: n, weight: 1}, "
MIX = f"{{get: 1, rename: {{do: update, set: [name], weight: 1}}, {COUNT}insert: 1, delete: 1}}"
WRITES = f"name: mine\ntable: {{existing: true, writes: allowed, database: mine, name: t, columns: {COLUMNS}}}\nmix: {MIX}\n"


@pytest.fixture
async def mine(cluster: Cluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[Cluster]:
    """A database `mine` on the writer, without tables."""
    for name, value in environment(cluster).items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    await execute_sql(cluster.writer, "DROP DATABASE IF EXISTS mine", "CREATE DATABASE mine")
    yield cluster
    await execute_sql(cluster.writer, "DROP DATABASE mine")


async def create(cluster: Cluster, columns: str, *more: str) -> None:
    await execute_sql(cluster.writer, f"CREATE TABLE mine.t ({columns}) ENGINE=InnoDB", *more)


async def create_filled(cluster: Cluster) -> None:
    await create(cluster, TABLE, f"INSERT INTO mine.t SELECT seq * 2, CONCAT('Name ', seq), seq, 7 FROM mine.seq_1_to_{ROWS}")


def scenario_on(cluster: Cluster, text: str = WRITES) -> Scenario:
    return with_cluster(parse_scenario(text, "mine.yaml"), servers_option(cluster), {})


async def rows(cluster: Cluster) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in await execute_sql(cluster.writer, "SELECT * FROM mine.t ORDER BY id")]


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


async def test_what_a_run_may_have_changed_is_put_back_and_nothing_else(mine: Cluster) -> None:
    await create_filled(mine)
    before = await rows(mine)
    scenario, said = scenario_on(mine), list[str]()
    directory, _ = await begun(scenario, said)
    changes = f"THIS RUN CHANGES NAME, N OF UP TO {ROWS:,} ROWS AND INSERTS ROWS OF ITS OWN IN mine.t ON WRITER (127.0.0.1)"
    assert changes in said
    assert directory.before_image.stat().st_mode & 0o777 == 0o600
    own = insert_keys(1)
    await execute_sql(
        mine.writer,
        "UPDATE mine.t SET name = UPPER(name) WHERE id <= 20",  # equal by the collation
        "UPDATE mine.t SET n = n + 5 WHERE id BETWEEN 15 AND 40",
        "UPDATE mine.t SET other = 8 WHERE id = 30",  # what the run cannot write
        f"INSERT INTO mine.t VALUES ({own[0]}, 'a', 1, 1), ({own[-1]}, 'b', 1, 1)",
        f"INSERT INTO mine.t VALUES ({own[0] - 1}, 'not ours', 1, 1), ({own[-1] + 1}, 'not ours', 1, 1), (7, 'new', 1, 1)",
        "DELETE FROM mine.t WHERE id = 100",
    )
    logged = await gtids(mine.writer)
    restored = await put_back(directory, scenario)
    assert restored == Restored(changed=20, same=ROWS - 21, gone=1, deleted=2)
    others = [(7, "new", 1, 1), (own[0] - 1, "not ours", 1, 1), (own[-1] + 1, "not ours", 1, 1)]
    expected = [(*row[:3], 8) if row[0] == 30 else row for row in before if row[0] != 100]
    assert await rows(mine) == sorted([*expected, *others])
    assert await gtids(mine.writer) == logged, "as the run's writes by HandlerSocket are in no binary log"
    assert await put_back(directory, scenario) == Restored(changed=0, same=ROWS - 1, gone=1, deleted=0)


async def test_a_writer_that_is_demoted_meanwhile_is_not_written_to(mine: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """`read_only` does not stop the administrator's account, so it is asked before each transaction that writes."""
    await create_filled(mine)
    scenario = scenario_on(mine)
    directory, _ = await begun(scenario, [])
    await execute_sql(mine.writer, "UPDATE mine.t SET n = -1")
    before = await rows(mine)
    put_back_block = _Restoring._put_back

    def demoted(self: _Restoring, *arguments: Any) -> None:
        trio.from_thread.run(execute_sql, mine.writer, "SET GLOBAL read_only = 1")
        put_back_block(self, *arguments)

    monkeypatch.setattr(_Restoring, "_put_back", demoted)
    try:
        with pytest.raises(
            ClusterError, match=r"writer must not be written to any more: it is read-only .* until then stays so"
        ):
            await put_back(directory, scenario)
    finally:
        await execute_sql(mine.writer, "SET GLOBAL read_only = 0")
    assert await rows(mine) == before


async def test_what_replicated_is_put_back_on_replicas_too(mine: Cluster) -> None:
    """A run by SQL is in the binary log, and so is what undoes it."""
    await create_filled(mine)
    before = await rows(mine)
    scenario = scenario_on(mine, f"{WRITES}driver: sql\n")
    directory, _ = await begun(scenario, [])
    own = insert_keys(1)
    await execute_sql(mine.writer, "UPDATE mine.t SET name = id", f"INSERT INTO mine.t VALUES ({own[3]}, 'a', 1, 1)")
    assert await put_back(directory, scenario) == Restored(changed=ROWS, same=0, gone=0, deleted=1)
    await all_applied(mine)
    for server in (mine.writer, mine.readers[0]):
        assert [tuple(row.values()) for row in await execute_sql(server, "SELECT * FROM mine.t ORDER BY id")] == before


async def test_of_a_sample_only_the_sampled_rows_are_put_back(mine: Cluster) -> None:
    await create_filled(mine)
    scenario = scenario_on(mine, WRITES.replace("existing: true", "existing: true, rows: 300"))
    directory, existing = await begun(scenario, [])
    sampled = [int(value or 0) for value in existing.sample.values["id"]]
    assert len(sampled) == existing.scenario.table.rows == ROWS // 4
    assert sampled[-1] - sampled[0] > ROWS, "spread over the table"
    await execute_sql(mine.writer, "UPDATE mine.t SET name = 'changed'")
    restored = await put_back(directory, scenario)
    assert restored.changed == len(sampled)
    assert [row[0] for row in await rows(mine) if row[1] == "changed"] == [
        n for n in range(2, 2 * ROWS + 1, 2) if n not in sampled
    ]


async def test_rows_with_uuids_are_told_from_others_by_these(mine: Cluster) -> None:
    columns = "part CHAR(2) CHARACTER SET latin1 NOT NULL, id UUID NOT NULL, name VARCHAR(40) NOT NULL, PRIMARY KEY (part, id)"
    await create(mine, columns, "INSERT INTO mine.t SELECT 'eu', UUID(), seq FROM mine.seq_1_to_100")
    text = WRITES.replace(COLUMNS, "{part: {values: {choice: [eu, us]}}, id: {values: uuid}, name: {values: {text: 20}}}")
    scenario = scenario_on(mine, text.replace(COUNT, ""))
    directory, existing = await begun(scenario, [])
    made = rows_of(existing.scenario, existing.sample)
    before = await rows(mine)
    keys = [made.key(number) for number in (insert_keys(1)[0], insert_keys(1)[70], insert_keys(2)[0])]
    for part, one in [*keys, ("eu", uuid.uuid4())]:
        await execute_sql(mine.writer, f"INSERT INTO mine.t VALUES ('{part}', '{one}', 'new')")
    assert (await put_back(directory, scenario)).deleted == 2, "not those of another run, nor a random one"
    assert len(await rows(mine)) == len(before) + 2
    await execute_sql(mine.writer, f"INSERT INTO mine.t VALUES ('{keys[0][0]}', '{keys[0][1]}', 'left')")
    with pytest.raises(ClusterError, match="has rows with the keys that this run would insert") as caught:
        await begun(scenario, [])
    assert "hs-drill restore RUN" in str(caught.value)


async def test_restoring_refuses_another_table_and_another_server(mine: Cluster) -> None:
    await create_filled(mine)
    scenario = scenario_on(mine)
    directory, _ = await begun(scenario, [])
    await execute_sql(mine.writer, "UPDATE mine.t SET n = 0", "ALTER TABLE mine.t ADD COLUMN extra INT")
    before = await rows(mine)
    with pytest.raises(ClusterError, match=r"mine\.t is not as it was: then it was CREATE TABLE .*Nothing was written"):
        await put_back(directory, scenario)
    await execute_sql(mine.writer, "SELECT SLEEP(1)", "ALTER TABLE mine.t DROP COLUMN extra, FORCE")
    with pytest.raises(ClusterError, match=r"built anew since that run .* say --even-if-rebuilt\. Nothing was written"):
        await put_back(directory, scenario)
    image = BeforeImage(directory.before_image)
    assert image.header is not None
    object.__setattr__(image.header, "servers", {"server_id 999 at elsewhere:1": "writer"})
    with pytest.raises(ClusterError, match="which was no server of that run") as caught:
        await restore(directory.scenario().model_copy(update={"cluster": scenario.cluster}), image, print, even_if_rebuilt=True)
    assert "writer was server_id 999 at elsewhere:1" in str(caught.value)
    assert await rows(mine) == [row[:4] for row in before], "nothing was written"
    assert (await put_back(directory, scenario, even_if_rebuilt=True)).changed == ROWS


async def test_a_before_image_that_was_cut_belongs_to_a_run_that_wrote_nothing(mine: Cluster) -> None:
    await create_filled(mine)
    directory, _ = await begun(scenario_on(mine), [])
    data = directory.before_image.read_bytes()
    for length in (0, 5, 40, len(data) // 2, len(data) - 1):
        directory.before_image.write_bytes(data[:length])
        assert before_image_of(directory, directory.scenario()) == (
            "it ended before it could write: there is nothing to put back"
        )
    directory.history(0).touch()  # an engine has begun, and the file was cut since
    with pytest.raises(BeforeImageError, match="is cut, but the run had begun to write: find the whole file"):
        before_image_of(directory, directory.scenario())
    middle = len(data) // 2
    directory.before_image.write_bytes(data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :])
    with pytest.raises(BeforeImageError, match="is damaged"):
        before_image_of(directory, directory.scenario())


READ = "name: r\ntable: {existing: true, database: mine, name: t}\nmix: {get: 1}\n"


@pytest.mark.parametrize(
    "statement, refused",
    [
        ("CREATE VIEW mine.t AS SELECT 1 AS id", "is a view: opening one through HandlerSocket crashes the server"),
        ("CREATE TABLE mine.t (id INT PRIMARY KEY) PARTITION BY HASH (id) PARTITIONS 4", "is partitioned"),
        ("CREATE TABLE mine.t (id INT PRIMARY KEY, b BLOB, UNIQUE KEY u (b))", "has the UNIQUE key u of unlimited length"),
        ("CREATE TABLE mine.t (id INT)", "has no primary key of whole columns"),
        ("CREATE TABLE mine.t (id TEXT, PRIMARY KEY (id(20)))", "it covers a prefix of id"),
        ("CREATE TABLE mine.t (id FLOAT PRIMARY KEY)", "its primary key has id, a float, by which no row is found exactly"),
        ("CREATE TABLE mine.u (id INT PRIMARY KEY)", "there is no table mine.t on writer that the SQL account may see"),
    ],
)
async def test_a_table_that_cannot_be_read_is_refused_in_a_line(mine: Cluster, statement: str, refused: str) -> None:
    await execute_sql(mine.writer, statement)
    with pytest.raises((ClusterError, ScenarioError), match=re.escape(refused)) as caught:
        await check_existing(scenario_on(mine, READ), mine.writer)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "columns, more, refused",
    [
        (TABLE, "CREATE TRIGGER mine.tr BEFORE UPDATE ON mine.t FOR EACH ROW SET NEW.n = 1", "it has triggers (tr)"),
        (f"{TABLE}, twice INT AS (n * 2) STORED", "", "the server computes twice and stores it"),
        (f"{TABLE}, half INT AS (n / 2) VIRTUAL", "", "mix.insert: cannot insert: the server computes half"),
        (TABLE, "ALTER TABLE mine.t ADD SYSTEM VERSIONING", "it has system versioning"),
        (TABLE.replace("id BIGINT", "id TIMESTAMP"), "", "id, in its primary key, depends on the time zone"),
        (f"{TABLE}, UNIQUE KEY one (name)", "", "mix.rename: cannot change name: it is in the unique index one"),
        (
            f"{TABLE}, KEY k (n)",
            "CREATE TABLE mine.child (n INT, FOREIGN KEY (n) REFERENCES mine.t (n)) ENGINE=InnoDB",
            "mix.count: cannot change n: it is what child refers to with a foreign key",
        ),
        (TABLE.replace("NOT NULL PRIMARY", "NOT NULL AUTO_INCREMENT PRIMARY"), "", "id is AUTO_INCREMENT, which would go on"),
        (f"{TABLE}, place POINT NULL", "", "mix.insert: cannot insert: column place (point) is left out"),
    ],
)
async def test_writes_that_could_not_be_taken_back_are_refused(mine: Cluster, columns: str, more: str, refused: str) -> None:
    await create(mine, columns, *filter(None, [more]))
    with pytest.raises((ClusterError, ScenarioError), match=re.escape(refused)):
        await check_existing(scenario_on(mine), mine.writer)


async def test_what_a_scenario_cannot_have_is_left_out_with_a_line_each(mine: Cluster) -> None:
    await create(mine, f"{TABLE}, place POINT NULL, `two words` INT NULL, KEY p (name(5)), KEY w (`two words`), KEY good (n)")
    found, live = await check_existing(scenario_on(mine, READ), mine.writer)
    assert list(found.table.columns) == ["id", "name", "n", "other"]
    assert dict(found.table.indexes) == {"good": ["n"]}
    assert [line.partition(":")[0] for line in live.left_out] == [
        "column place (point) is left out",
        "column two words (int(11)) is left out",
        "index p is left out",
        "index w is left out",
    ]
