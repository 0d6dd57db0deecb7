"""`read_history`: what the writer kept comes back as typed records, of all workers by time; what is missing is said."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from hs_drill.scenario import parse_scenario
from hs_drill.store import (
    CONTROLLER,
    Event,
    HistoryError,
    HistoryWriter,
    MixOperation,
    Operation,
    Outcome,
    RecordedOperation,
    RunDirectory,
    RunDirectoryError,
    read_history,
)
from hs_drill.workload import ABSENT, DAMAGED, FOREIGN, UNSEEN
from tests.loadtest.support.histories import US, Op, write_history
from tests.loadtest.support.kept_runs import HandMade

SHOP = """\
name: shop
table:
  name: products
  rows: 10
  columns:
    id: {type: bigint, values: sequence}
    stock: {type: int, values: 5}
    sold: {type: int, values: 0}
    note: {type: varchar(18), values: version}
  primary: [id]
mix:
  look: {do: get, columns: [id, sold, note], weight: 1}
  sell: {do: incr, column: sold, weight: 1}
  rename: {do: update, set: [note], weight: 1}
  take: {do: decr, column: stock, weight: 1}
"""


def test_every_field_of_an_operation_comes_back(tmp_path: Path) -> None:
    with HistoryWriter(tmp_path / "history-3.bin", worker=3, clock=lambda: 7) as writer:
        lost, reader = writer.error("ConnectionError"), writer.server("reader-1")
        writer.append(Operation.GET, Outcome.OK, 5, 77, 10_000, 12_000, 4, n=9, delay=3000)
        writer.append(Operation.FIND, Outcome.FAIL, 6, UNSEEN, 10_000, 13_000, 5, error=lost, server=reader)
        writer.append(Operation.DELETE, Outcome.INFO, 6, 123, 10_000, 14_000, 5)
        writer.append(Operation.DECR, Outcome.OK, 6, 2, 10_000, 15_000, 5)
        writer.event("promotion", "standby")
    history = read_history(tmp_path / "history-3.bin")
    get, find, delete, decr = history
    assert get == RecordedOperation(3, 4, "get", "get", "ok", 5, "version", 77, 9, "", (), 7000, 10_000, 12_000, "", "")
    assert (find.outcome, find.state, find.counter, find.error, find.server) == (
        "fail",
        "unseen",
        None,
        "ConnectionError",
        "reader-1",
    )
    assert (delete.outcome, delete.state, delete.value) == ("info", "absent", ABSENT), "a delete leaves no row"
    assert (decr.state, decr.value) == ("step", 2)
    assert (history.workers, history.origin, history.problems) == ((3,), 7, [])
    assert history.events == [Event(7, "promotion", "standby")]
    assert list(history) == [get, find, delete, decr], "it can be read again"


@pytest.mark.parametrize("value, state", [(0, "version"), (ABSENT, "absent"), (FOREIGN, "foreign"), (DAMAGED - 5, "damaged")])
def test_what_a_read_saw_is_said_in_a_word(tmp_path: Path, value: int, state: str) -> None:
    history = write_history(tmp_path, 0, [Op("get", 1, value, 1, 2)])
    (read,) = read_history(history.path)
    assert (read.state, read.value) == (state, value)


def test_workers_are_merged_by_the_ends_of_their_operations(tmp_path: Path) -> None:
    directory = RunDirectory.create(parse_scenario(HandMade.scenario, "s.yaml"), tmp_path)
    ends = {0: (3, 9, 10), 1: (4, 8), 2: (1, 11)}
    for worker, some in ends.items():
        write_history(directory.path, worker, [Op("get", 1, 0, end - 1, end, worker=worker) for end in some])
    write_history(directory.path, CONTROLLER, (), events=[Event(5, "fault-started", "kill")])
    history = read_history(directory.path)
    assert [(one.end // US, one.worker) for one in history] == [(1, 2), (3, 0), (4, 1), (8, 1), (9, 0), (10, 0), (11, 2)]
    assert [event.name for event in history.events] == ["kill"]
    one, other = iter(history), iter(history)
    assert [next(one), next(other), next(one).end // US] == [next(iter(history))] * 2 + [3], (
        "iterations do not disturb each other"
    )


def test_an_operation_has_its_name_columns_and_counter_of_the_scenario(tmp_path: Path) -> None:
    directory = RunDirectory.create(parse_scenario(SHOP, "shop.yaml"), tmp_path)
    mix = [
        MixOperation(9, "look", Operation.GET, 1),
        MixOperation(10, "sell", Operation.INCR, 1),
        MixOperation(11, "rename", Operation.UPDATE, None, ("note",)),
        MixOperation(12, "take", Operation.DECR, 0),
    ]
    ops = [Op("look", 2, 0, 0, 1, n=7), Op("sell", 2, 1, 1, 2), Op("rename", 3, 64, 2, 3), Op("take", 3, 1, 3, 4)]
    write_history(directory.path, 0, ops, mix=mix)
    history = read_history(directory.path)
    assert [(one.name, one.kind, one.counter_column, one.columns) for one in history] == [
        ("look", "get", "sold", ()),
        ("sell", "incr", "sold", ()),
        ("rename", "update", "", ("note",)),
        ("take", "decr", "stock", ()),
    ]
    assert history.key_of(3) == (3,)
    with pytest.raises(ValueError, match="row -1 is none that a run makes"):
        history.key_of(-1)


def test_what_may_be_missing_is_said(tmp_path: Path) -> None:
    assert read_history(HandMade().keep(tmp_path).path).problems == []
    directory = HandMade(cut=True).keep(tmp_path)
    history = read_history(directory.path)
    assert history.problems == [f"{directory.history(0)}: is cut: what came after its end is not known"]
    assert sum(1 for _ in history) == 200
    directory.history(0).unlink()
    assert read_history(directory.path).problems == [f"{directory.history(0)}: is missing"]
    unfinished = HandMade(judged=False).keep(tmp_path)
    assert read_history(unfinished.path).problems == [
        f"{unfinished.path}: the run did not come to its end, so its last operations are not known"
    ]


def test_what_is_no_history_is_refused_in_a_line(tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError, match=r"is not a kept run \(it has no scenario.yaml\)"):
        read_history(tmp_path)
    (tmp_path / "notes").write_text("nothing of ours")
    with pytest.raises(HistoryError, match="notes: is not a history of a run"):
        read_history(tmp_path / "notes")
    empty = RunDirectory.create(parse_scenario(HandMade.scenario, "s.yaml"), tmp_path)
    with pytest.raises(HistoryError, match="has no history: the run was not audited"):
        read_history(empty.path)


def test_a_damaged_history_is_told_before_what_is_damaged_is_given(tmp_path: Path) -> None:
    directory = HandMade().keep(tmp_path)
    path = directory.history(0)
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)
    history = read_history(directory.path)
    with pytest.raises(HistoryError, match=r"history-0.bin: is damaged"):
        list(history)
    with pytest.raises(HistoryError, match=r"history-0.bin: is damaged"):
        history.problems  # noqa: B018


@pytest.mark.process
def test_it_needs_neither_trio_nor_locust(tmp_path: Path) -> None:
    directory = HandMade(seconds=1).keep(tmp_path)
    code = f"""\
import sys
sys.modules.update(dict.fromkeys(("trio", "locust", "gevent")))
from hs_drill.store import read_history
print(sum(1 for _ in read_history({str(directory.path)!r})))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("10\n", "")
