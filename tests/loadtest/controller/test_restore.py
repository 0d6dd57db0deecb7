"""A restore puts back what a run may have changed, and nothing else; also on replicas, which may have got the run's values."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
import trio
import yaml

from hs_drill._cluster import Cluster, ClusterError
from hs_drill.controller import before_image_of, check_existing, no_run_in, restore
from hs_drill.controller._restore import Restored, _Restoring
from hs_drill.scenario import ScenarioError
from hs_drill.servers._sql import execute_sql
from hs_drill.store import BeforeImage, BeforeImageError
from hs_drill.workload import insert_keys, rows_of
from tests.loadtest.support.external import all_applied
from tests.loadtest.support.restoring import (
    COLUMNS,
    COUNT,
    ROWS,
    TABLE,
    WRITES,
    begun,
    create,
    create_filled,
    put_back,
    rows,
    scenario_on,
    scenario_on_every_server,
    unlogged,
)
from tests.loadtest.support.users_table import VALUES, WRITTEN, checksum, make_table

pytestmark = pytest.mark.mariadb


async def test_what_a_run_may_have_changed_is_put_back_and_nothing_else(mine: Cluster) -> None:
    await create_filled(mine)
    before = await rows(mine)
    scenario, said = scenario_on(mine), list[str]()
    directory, _ = await begun(scenario, said)
    changes = f"THIS RUN CHANGES NAME, N OF UP TO {ROWS:,} ROWS AND INSERTS ROWS OF ITS OWN IN mine.t ON WRITER (127.0.0.1)"
    assert changes in said
    header = BeforeImage(directory.before_image).header
    assert header is not None
    assert header.columns == ["id", "name", "n"], "no more of the user's data than is needed"
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
    restored = await put_back(directory, scenario)
    assert restored == Restored(changed=20, same=ROWS - 21, gone=1, deleted=2)
    others = [(7, "new", 1, 1), (own[0] - 1, "not ours", 1, 1), (own[-1] + 1, "not ours", 1, 1)]
    expected = [(*row[:3], 8) if row[0] == 30 else row for row in before if row[0] != 100]
    assert await rows(mine) == sorted([*expected, *others])
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
        with pytest.raises(ClusterError, match="writer must not be written to any more: it is read-only"):
            await put_back(directory, scenario)
    finally:
        await execute_sql(mine.writer, "SET GLOBAL read_only = 0")
    assert await rows(mine) == before


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


@pytest.mark.parametrize("kind", ["UUID", "CHAR(36) CHARACTER SET ucs2"])
async def test_rows_with_uuids_are_told_from_others_by_these(mine: Cluster, kind: str) -> None:
    """Whatever the other columns of the key hold."""
    columns = (
        f"part CHAR(2) CHARACTER SET latin1 NOT NULL, id {kind} NOT NULL, name VARCHAR(40) NOT NULL, PRIMARY KEY (part, id)"
    )
    await create(mine, columns, "INSERT INTO mine.t SELECT 'eü', UUID(), seq FROM mine.seq_1_to_100")
    text = WRITES.replace(COLUMNS, "{part: {values: {choice: [eü, üs]}}, id: {values: uuid}, name: {values: {text: 20}}}")
    scenario = scenario_on(mine, text.replace(COUNT, ""))
    directory, existing = await begun(scenario, [])
    made = rows_of(existing.scenario, existing.sample)
    before = await rows(mine)
    keys = [made.key(number) for number in (insert_keys(1)[0], insert_keys(1)[70], insert_keys(2)[0])]
    for part, one in [*keys, ("eü", uuid.uuid4())]:
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
    await execute_sql(mine.writer, "CREATE TRIGGER mine.tr BEFORE UPDATE ON mine.t FOR EACH ROW SET NEW.n = 1")
    with pytest.raises(
        ClusterError, match=r"it has triggers \(tr\), which would run when rows are put back\. Nothing was written"
    ):
        await put_back(directory, scenario, even_if_rebuilt=True)
    await execute_sql(mine.writer, "DROP TRIGGER mine.tr")
    image = BeforeImage(directory.before_image)
    assert image.header is not None
    object.__setattr__(image.header, "servers", {"server_id 999 at elsewhere:1": "writer"})
    with pytest.raises(ClusterError, match="which was no server of that run") as caught:
        await restore(directory.scenario().model_copy(update={"cluster": scenario.cluster}), image, print, even_if_rebuilt=True)
    assert "writer was server_id 999 at elsewhere:1" in str(caught.value)
    assert await rows(mine) == [row[:4] for row in before], "nothing was written"
    assert (await put_back(directory, scenario, even_if_rebuilt=True)).changed == ROWS


async def test_what_replicated_is_put_back_on_replicas_too(mine: Cluster) -> None:
    """A run by SQL is in the binary log, and so is what undoes it."""
    await create_filled(mine)
    before = await rows(mine)
    scenario = scenario_on_every_server(mine, f"{WRITES}driver: sql\n")
    directory, _ = await begun(scenario, [])
    own = insert_keys(1)
    await execute_sql(mine.writer, "UPDATE mine.t SET name = id", f"INSERT INTO mine.t VALUES ({own[3]}, 'a', 1, 1)")
    assert await put_back(directory, scenario) == Restored(changed=ROWS, same=0, gone=0, deleted=1)
    assert await rows(mine) == before
    assert await rows(mine, 1) == before


async def test_values_that_reached_a_replica_with_others_changes_are_put_back_there(mine: Cluster) -> None:
    """The event of a changed row holds all of its columns, also those that HandlerSocket wrote past the binary log."""
    await create_filled(mine)
    before = await rows(mine)
    scenario, said = scenario_on_every_server(mine), list[str]()
    trigger = "CREATE TRIGGER mine.tr BEFORE UPDATE ON mine.t FOR EACH ROW SET NEW.n = 1"
    await execute_sql(mine.readers[0], "SET SESSION sql_log_bin = 0", trigger)
    with pytest.raises(ClusterError, match=r"mine\.t on reader-1: it has triggers \(tr\).*Nothing was written"):
        await begun(scenario, [])
    await execute_sql(mine.readers[0], "SET SESSION sql_log_bin = 0", "DROP TRIGGER mine.tr")
    directory, _ = await begun(scenario, said)
    assert any("the row's event takes the run's values to the replicas" in line for line in said)
    own = insert_keys(1)
    await unlogged(mine, "UPDATE mine.t SET name = 'run'", f"INSERT INTO mine.t VALUES ({own[0]}, 'run', 1, 1)")
    await execute_sql(mine.writer, "UPDATE mine.t SET other = 8 WHERE id BETWEEN 10 AND 20")
    await unlogged(mine, "UPDATE mine.t SET name = 'Name 6' WHERE id = 12")  # by chance the run writes what was there
    await all_applied(mine)
    assert {row[0] for row in await rows(mine, 1) if row[1] == "run"} == set(range(10, 21, 2))
    expected = [(*row[:3], 8 if 10 <= row[0] <= 20 else 7) for row in before]

    restored = await put_back(directory, scenario)
    assert (restored.changed, restored.same, restored.deleted, restored.again) == (ROWS - 1, 1, 1, 0)
    assert (restored.replicas.rows, restored.replicas.unknown) == ({"reader-1": 1}, []), "it is seen, and said"
    assert await rows(mine) == expected
    assert [row for row in await rows(mine, 1) if row[1] == "run"] == [(12, "run", 6, 8)]

    again = await put_back(directory, scenario, on_replicas_too=True)
    assert (again.changed, again.replicas.rows) == (0, {})
    assert await rows(mine, 1) == expected, "and the row that the replica never had did not stop it"


async def test_values_of_every_type_are_put_back_on_replicas_to_the_last_bit(mine: Cluster) -> None:
    await make_table(mine, 300)
    await all_applied(mine)
    before = [await checksum(mine, server=server) for server in mine.servers]
    mix = {"get": 1, "change": {"do": "update", "set": WRITTEN, "weight": 1}}
    table = {"existing": True, "writes": "allowed", "database": "mine", "name": "t", "columns": VALUES}
    scenario = scenario_on_every_server(mine, yaml.safe_dump({"name": "mine", "table": table, "mix": mix}))
    directory, _ = await begun(scenario, [])
    changes = (
        "small = 1, price = 1.5, ratio = 0.7, moment = NOW(6), kind = 'plain', doc = '{}', raw = 'x', flags = 1, "
        "address = '::1', title = 't', remark = 'ü', body = '𝄞', stamp = stamp"
    )
    await unlogged(mine, f"UPDATE mine.t SET {changes}")
    await execute_sql(mine.writer, "UPDATE mine.t SET season = season + 1, stamp = stamp")
    await all_applied(mine)
    restored = await put_back(directory, scenario)
    assert (restored.changed, restored.again, restored.replicas.rows) == (300, 0, {})
    await execute_sql(mine.writer, "UPDATE mine.t SET season = season - 1, stamp = stamp")
    await all_applied(mine)
    assert [await checksum(mine, server=server) for server in mine.servers] == before


TIMES = f"{TABLE}, at DATETIME(6) ON UPDATE CURRENT_TIMESTAMP(6), `geändert am` DATETIME(6) ON UPDATE CURRENT_TIMESTAMP(6)"


async def test_times_of_changes_are_those_of_the_application(mine: Cluster) -> None:
    """HandlerSocket leaves columns with ON UPDATE alone, and so does what undoes its writes."""
    await create(mine, TIMES, "INSERT INTO mine.t SELECT seq, 'a', seq, 7, '2020-01-01', '2020-01-02' FROM mine.seq_1_to_50")
    await all_applied(mine)
    text = WRITES.replace(", insert: 1, delete: 1", "")
    scenario = scenario_on_every_server(mine, text)
    directory, _ = await begun(scenario, [])
    await execute_sql(mine.writer, "UPDATE mine.t SET other = 8 WHERE id BETWEEN 20 AND 29")
    before = await rows(mine)
    await unlogged(mine, "UPDATE mine.t SET name = 'run', at = at, `geändert am` = `geändert am` WHERE id <= 25")
    restored = await put_back(directory, scenario)
    assert (restored.changed, restored.same, restored.again, restored.replicas.rows) == (25, 25, 0, {})
    assert await rows(mine) == before
    assert await rows(mine, 1) == before

    with pytest.raises(ScenarioError, match="cannot be allowed: SQL sets geändert am at each write"):
        await check_existing(scenario_on(mine, f"{text}driver: sql\n"), mine.writer)
    await execute_sql(mine.writer, "ALTER TABLE mine.t DROP COLUMN `geändert am`")
    before, said = await rows(mine), list[str]()
    scenario = scenario_on_every_server(mine, f"{text}driver: sql\n")
    directory, _ = await begun(scenario, said)
    assert any("THIS RUN CHANGES NAME, N, AT OF UP TO 50 ROWS" in line for line in said)
    await execute_sql(mine.writer, "UPDATE mine.t SET name = 'run'")
    assert (await put_back(directory, scenario)).changed == 50
    assert await rows(mine) == before


async def test_a_replica_that_does_not_apply_is_said(mine: Cluster) -> None:
    await create_filled(mine)
    scenario = scenario_on_every_server(mine)
    directory, _ = await begun(scenario, [])
    await unlogged(mine, "UPDATE mine.t SET n = -1")
    await all_applied(mine)
    await execute_sql(mine.readers[0], "STOP SLAVE SQL_THREAD")
    try:
        (line,) = (await put_back(directory, scenario)).replicas.unknown
    finally:
        await execute_sql(mine.readers[0], "START SLAVE SQL_THREAD")
    assert line.startswith("a replica may yet get values of the run: reader-1 has not applied ")


async def test_rows_that_change_while_they_are_put_back_are_counted(mine: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """As by an engine that is still up."""
    await create_filled(mine)
    scenario = scenario_on(mine)
    directory, _ = await begun(scenario, [])
    run, own = _Restoring.run, insert_keys(1)

    def meanwhile(self: _Restoring, image: BeforeImage) -> None:
        run(self, image)
        changes = ("UPDATE mine.t SET n = -1 WHERE id <= 6", f"INSERT INTO mine.t VALUES ({own[0]}, 'a', 1, 1)")
        trio.from_thread.run(execute_sql, mine.writer, *changes)

    monkeypatch.setattr(_Restoring, "run", meanwhile)
    assert (await put_back(directory, scenario)).again == 4


async def test_a_run_that_may_have_written_is_never_taken_for_one_that_wrote_nothing(mine: Cluster) -> None:
    await create_filled(mine)
    directory, _ = await begun(scenario_on(mine), [])
    scenario = directory.scenario()
    data = directory.before_image.read_bytes()
    for length in (0, 5, 40, len(data) // 2, len(data) - 1):
        directory.before_image.write_bytes(data[:length])
        assert before_image_of(directory, scenario) == "it ended before it could write: there is nothing to put back"
    directory.begin_writing()
    for beginning in (None, 0, 5, 40):
        directory.before_image.unlink(missing_ok=True)
        if beginning is not None:
            directory.before_image.write_bytes(data[:beginning])
        for incomplete in (False, True):
            with pytest.raises(BeforeImageError, match=r"but the run may have written.* nothing can be put back"):
                before_image_of(directory, scenario, incomplete=incomplete)
    middle = len(data) // 2
    flipped = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
    for damaged, flaw, left in ((data[:-1], "is cut", ROWS), (data[:middle], "is cut", 500), (flipped, "is damaged in", 500)):
        directory.before_image.write_bytes(damaged)
        with pytest.raises(BeforeImageError, match=rf"{flaw}.*--incomplete: that puts back {left:,} of the {ROWS:,} rows"):
            before_image_of(directory, scenario)
    directory.before_image.write_bytes(data)
    assert isinstance(before_image_of(directory, scenario), BeforeImage)


@pytest.mark.parametrize("left", ["writing", "history", "no checksums"])
async def test_any_trace_of_writes_counts(mine: Cluster, left: str) -> None:
    await create_filled(mine)
    directory, _ = await begun(scenario_on(mine), [])
    directory.before_image.unlink()
    if left == "writing":
        directory.begin_writing()
        (directory.path / "writing").unlink()
    elif left == "history":
        directory.history(0).touch()
    else:
        (directory.path / "checksums").unlink()
    with pytest.raises(BeforeImageError, match="is missing, but the run may have written"):
        before_image_of(directory, directory.scenario())


async def test_what_is_left_of_a_before_image_is_put_back_on_request(mine: Cluster) -> None:
    await create_filled(mine)
    scenario = scenario_on(mine)
    directory, _ = await begun(scenario, [])
    directory.begin_writing()
    await execute_sql(mine.writer, "UPDATE mine.t SET n = -1", f"INSERT INTO mine.t VALUES ({insert_keys(1)[0]}, 'a', 1, 1)")
    data = directory.before_image.read_bytes()
    directory.before_image.write_bytes(data[: len(data) // 2])
    image = before_image_of(directory, directory.scenario(), incomplete=True)
    assert isinstance(image, BeforeImage)
    restored = await restore(directory.scenario().model_copy(update={"cluster": scenario.cluster}), image, print)
    assert (restored.changed, restored.deleted, restored.missing, restored.again) == (500, 1, ROWS - 500, 0)
    assert [row[0] for row in await rows(mine) if row[2] == -1] == list(range(1002, 2 * ROWS + 1, 2))


async def test_two_processes_never_work_on_one_run(mine: Cluster) -> None:
    await create_filled(mine)
    directory, _ = await begun(scenario_on(mine), [])
    hold = directory.hold()
    with (
        pytest.raises(ClusterError, match="the run has not ended, or is being restored by another process"),
        no_run_in(directory),
    ):
        pass
    hold.release()
    with no_run_in(directory), pytest.raises(ClusterError), no_run_in(directory):
        pass
    with no_run_in(directory):
        pass
