"""`hs-drill export`: every history comes out whole and well-formed, and other programs find in it what was planted."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hs_drill import __main__ as commands
from hs_drill.cli import _export, _export_jepsen
from hs_drill.scenario import parse_scenario
from hs_drill.store import CONTROLLER, Event, RunDirectory, read_history
from hs_drill.workload import ABSENT, DAMAGED, FOREIGN, UNSEEN
from tests.loadtest.support import jepsen_reader, json_lines_reader
from tests.loadtest.support.audited import NEW, delete, get, incr, insert, update
from tests.loadtest.support.histories import Op, Rows, Store, folder, write_history, write_state
from tests.loadtest.support.kept_runs import HandMade

SCENARIO = "name: by-hand\ntable: {rows: 3, groups: 1}\nmix: {get: 1, insert: 1}\naudit: {reads: 1}\n"
EDN_WORKLOADS = ("register", "rw-register", "counter")


def kept(base: Path, ops: Sequence[Op], final: Rows | None = None, events: Sequence[Event] = (), **more: Any) -> Path:
    """A run with these operations. Of what its scenario loads, the rows 1 to 3."""
    directory = RunDirectory.create(parse_scenario(SCENARIO, "by-hand.yaml"), base)
    workers = sorted({op.worker for op in ops} | {0})
    for worker in workers:
        write_history(directory.path, worker, [op for op in ops if op.worker == worker], **more)
    write_history(directory.path, CONTROLLER, (), events=events)
    if final is not None:
        write_state(directory.path, "writer", final)
    directory.write_result({"workers": workers})
    return directory.path


def export(capsys: pytest.CaptureFixture[str] | None, *arguments: object) -> tuple[int, str, str]:
    code = commands.main(["export", *map(str, arguments)])
    out, err = capsys.readouterr() if capsys is not None else ("", "")
    return code, out, err


def operations(text: str) -> list[dict[str, Any]]:
    return [one for one in jepsen_reader.read_edn(text.splitlines()) if one[":process"] != ":nemesis" and ":when" not in one]


LOADED: Rows = {1: (0, 0), 2: (0, 0), 3: (0, 0)}


def test_a_register_history_is_as_the_page_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ops = [
        update(1, NEW + 1, 10, 20),
        update(1, NEW + 2, 30, 40, "info"),
        get(1, NEW + 1, 50, 60),
        get(1, UNSEEN, 70, 80, "fail"),
        get(NEW, ABSENT, 90, 100, "fail"),
        insert(NEW, NEW + 3, 110, 120),
        incr(1, 1, 130),
        get(2, UNSEEN, 140, 150),
        get(-4, FOREIGN, 160, 170),
        delete(NEW, 180, 190),
    ]
    path = kept(tmp_path, ops, {**LOADED, 1: (NEW + 2, 1)}, [Event(5, "fault-started", 'kill "x"', {"number": 0})])
    code, out, err = export(capsys, path, "--format", "edn")
    assert (code, err) == (
        0,
        "exported 7 operations; left out 1 of a row that no run makes; left out 1 reads that show no version; "
        "left out 1 steps of counters\n",
    )
    history = jepsen_reader.read_edn(out.splitlines())
    shown = [(one[":process"], one[":type"][1:], one[":f"][1:], one[":value"]) for one in history]
    n, origin = NEW, read_history(path).origin
    assert shown == [
        (0, "invoke", "write", [1, 0]),
        (0, "ok", "write", [1, 0]),
        (0, "invoke", "write", [n, ":absent"]),
        (0, "ok", "write", [n, ":absent"]),
        (":nemesis", "info", "fault-started", 'kill "x"'),
        (2, "invoke", "write", [1, n + 1]),
        (2, "ok", "write", [1, n + 1]),
        (2, "invoke", "write", [1, n + 2]),
        (2, "info", "write", [1, n + 2]),
        *((3, "invoke", "read", [1, None]), (3, "ok", "read", [1, n + 1])),
        *((3, "invoke", "read", [1, None]), (3, "fail", "read", [1, None])),
        *((3, "invoke", "read", [n, None]), (3, "ok", "read", [n, ":absent"])),
        *((3, "invoke", "write", [n, n + 3]), (3, "ok", "write", [n, n + 3])),
        *((3, "invoke", "write", [n, ":absent"]), (3, "ok", "write", [n, ":absent"])),
        *((1, "invoke", "read", [1, None]), (1, "ok", "read", [1, n + 2])),
        *((1, "invoke", "read", [n, None]), (1, "ok", "read", [n, ":absent"])),
    ]
    assert (history[5][":time"], history[6][":time"]) == (10_000 - origin, 20_000 - origin)
    assert (history[4][":details"], history[5][":name"], history[5][":user"]) == ({"number": 0}, "update", 0)


def test_elle_reads_transactions_of_one_operation(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ops = [get(NEW, ABSENT, 1, 2), insert(NEW, NEW, 10, 20), delete(NEW, 30, 40), get(NEW, ABSENT, 50, 60), get(2, 0, 70, 80)]
    _, out, _ = export(capsys, kept(tmp_path, ops, LOADED), "--format", "edn", "--workload", "rw-register")
    ended = [one[":value"] for one in jepsen_reader.read_edn(out.splitlines()) if one[":type"] == ":ok"]
    assert ended == [
        [[":w", 2, 0]],
        [[":r", NEW, None]],
        [[":w", NEW, NEW]],
        [[":w", NEW, ":deleted"]],
        [[":r", NEW, ":deleted"]],
        [[":r", 2, 0]],
        [[":r", 2, 0]],
        [[":r", NEW, ":deleted"]],
    ]


def test_a_counter_history_is_as_the_page_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ops = [incr(1, 5, 10), incr(1, 2, 20, "info"), Op("decr", 1, 3, 21, 30), get(1, 0, 40, 50, n=4), update(1, 7, 60, 70)]
    path = kept(tmp_path, ops, {**LOADED, 1: (7, 4)})
    write_state(tmp_path, "before", {**LOADED, 1: (0, 2)}).path.rename(path / "before.bin")
    _, out, err = export(capsys, path, "--format", "edn", "--workload", "counter")
    history = jepsen_reader.read_edn(out.splitlines())
    assert [(one[":type"][1:], one[":f"][1:], one[":value"]) for one in history if one[":type"] != ":invoke"] == [
        ("ok", "add", [[1, "n"], 2]),
        ("ok", "add", [[1, "n"], 5]),
        ("info", "add", [[1, "n"], 2]),
        ("ok", "add", [[1, "n"], -3]),
        ("ok", "read", [[1, "n"], 4]),
        ("ok", "read", [[1, "n"], 4]),
    ]
    assert "1 decrement as negative adds, which Jepsen's counter checker refuses" in err


@pytest.mark.parametrize("seen, found", [(NEW + 1, False), (0, True)], ids=["fresh", "stale"])
def test_a_planted_stale_read_is_found_by_other_programs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], seen: int, found: bool
) -> None:
    store = Store(random.Random(7), loaded=3, info=0.3)
    store.run(300, spare=3)
    start = store.now
    ops = [
        *store.ops,
        update(3, NEW + 1, start + 10, start + 20, user=8),
        get(3, seen, start + 30, start + 40, user=9),
        get(3, NEW + 1, start + 30, start + 41, user=7),
    ]
    path = kept(tmp_path, ops, {**store.rows, 3: (NEW + 1, 0)})
    _, edn, _ = export(capsys, path, "--format", "edn")
    history = jepsen_reader.read_edn(edn.splitlines())
    stale = [history[index] for index in jepsen_reader.stale_reads(history)]
    assert [(one[":user"], one[":value"]) for one in stale] == ([(9, [3, 0])] if found else [])
    _, lines, _ = export(capsys, path, "--format", "jsonl")
    numbers = json_lines_reader.stale_reads(lines.splitlines())
    assert [json.loads(lines.splitlines()[number])["user"] for number in numbers] == ([9] if found else [])


values = st.sampled_from([NEW, NEW + 1, NEW + 2, 0, ABSENT, FOREIGN, UNSEEN, DAMAGED, DAMAGED - 3])


@st.composite
def any_op(draw: st.DrawFn) -> Op:
    """Any operation, of users that may do several at once."""
    start = draw(st.integers(0, 12))
    name = draw(st.sampled_from(["get", "find", "insert", "update", "delete", "incr", "decr"]))
    reads = name in ("get", "find")
    return Op(
        name,
        draw(st.sampled_from([1, 2, NEW, -5, 0])),
        draw(values if reads else st.integers(0, 9)),
        start,
        start + draw(st.integers(0, 5)),
        draw(st.sampled_from(["ok", "fail"] if reads else ["ok", "fail", "info"])),
        user=draw(st.integers(0, 2)),
        worker=draw(st.integers(0, 1)),
        **({"n": draw(st.integers(0, 5))} if reads and draw(st.booleans()) else {}),
    )


@given(st.lists(any_op(), max_size=25), st.sampled_from(EDN_WORKLOADS))
def test_any_history_comes_out_well_formed(ops: list[Op], workload: str) -> None:
    with folder() as base, pytest.MonkeyPatch.context() as patch:
        patch.setattr(_export_jepsen, "SORTED_AT_ONCE", 7)  # so that the disk takes part
        path = kept(base, ops, LOADED)
        out = base / "out"
        assert export(None, path, "--format", "edn", "--workload", workload, "--output", out)[0] == 0
        text = out.read_text()
        history = jepsen_reader.read_edn(text.splitlines())
        pairs = jepsen_reader.pairs(history)
        times = [one[":time"] for one in history if ":when" not in one]
        assert times == sorted(times)
        ours = [(start, end) for start, end in pairs if ":when" not in end]
        expected = Counter((op.operation, op.start, op.end, op.user, op.worker) for op in ops if included(op, workload))
        origin = read_history(path).origin
        assert expected == Counter(
            (end[":name"], *((one[":time"] + origin) // 1000 for one in (start, end)), end[":user"], end[":worker"])
            for start, end in ours
        )
        for start, _ in ours:
            if start[":f"] == ":read":
                assert start[":value"][1] is None
        assert export(None, path, "--format", "jsonl", "--output", base / "lines")[0] == 0
        assert len((base / "lines").read_text().splitlines()) == len(ops)


def test_what_waits_on_the_disk_comes_back_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_export_jepsen, "SORTED_AT_ONCE", 3000)
    rng = random.Random(5)
    moments = [_export_jepsen._Moment(rng.randrange(-(10**6), 10**6), *[rng.randrange(2)] * 13) for _ in range(10_000)]
    with (tmp_path / "parts").open("w+b") as file:
        sorter = _export_jepsen._Sorter(file)
        for moment in moments:
            sorter.add(moment)
        assert list(sorter) == sorted(moments)


def included(op: Op, workload: str) -> bool:
    reads, steps = op.operation in ("get", "find"), op.operation in ("incr", "decr")
    if op.key <= 0:
        return False
    if workload == "counter":
        return op.n >= 0 if reads else steps
    return not steps and not (reads and op.value == UNSEEN and op.outcome == "ok")


def test_operations_that_touch_count_as_overlapping(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ops = [update(1, NEW, 1, 5), update(1, NEW + 1, 5, 9), update(1, NEW + 2, 11, 12)]
    _, out, _ = export(capsys, kept(tmp_path, ops, LOADED), "--format", "edn")
    assert [(one[":process"], one[":type"]) for one in operations(out)] == [
        *((2, ":invoke"), (3, ":invoke"), (2, ":ok"), (3, ":ok")),
        *((2, ":invoke"), (2, ":ok")),
    ]


def test_one_row_has_plain_values(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = kept(tmp_path, [update(1, NEW, 1, 5), update(2, NEW + 1, 5, 9)], {**LOADED, 2: (NEW + 1, 0)})
    _, out, _ = export(capsys, path, "--format", "edn", "--row", 2)
    assert [one[":value"] for one in jepsen_reader.read_edn(out.splitlines())] == [0, 0, NEW + 1, NEW + 1, None, NEW + 1]
    _, out, _ = export(capsys, path, "--format", "jsonl", "--row", 2)
    assert [json.loads(line)["row"] for line in out.splitlines()] == [2]


# ---- tables


def test_csv_and_json_lines_agree(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = HandMade(seconds=3, fault=("kill reader-1", 1.0, 2.0)).keep(tmp_path).path
    for table in ("operations", "events", "rows", "run"):
        _, lines, _ = export(capsys, path, "--format", "jsonl", "--table", table)
        _, text, _ = export(capsys, path, "--format", "csv", "--table", table)
        from_lines = [json.loads(line) for line in lines.splitlines()]
        from_csv = list(csv.DictReader(io.StringIO(text)))
        assert from_lines
        as_text = [
            {name: "" if one is None else one if isinstance(one, str) else json.dumps(one) for name, one in row.items()}
            for row in from_lines
        ]
        assert from_csv == as_text


def test_tables_without_a_row_still_have_their_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = HandMade(idle=True, fault=None).keep(tmp_path).path
    for table in ("operations", "events"):
        assert export(capsys, path, "--format", "csv", "--table", table)[1].count("\n") == 1


def test_rows_at_the_end_are_those_of_every_server(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = kept(tmp_path, [], {1: (NEW, 4), 2: (DAMAGED, 0)})
    write_state(path, "reader-1", {1: (0, 3)})
    _, out, _ = export(capsys, path, "--format", "jsonl", "--table", "rows")
    assert [json.loads(line) for line in out.splitlines()] == [
        {
            "moment": "after",
            "server": name,
            "primary": name == "writer",
            "row": row,
            "state": state,
            "value": value,
            "counter_n": n,
        }
        for name, row, state, value, n in [
            ("reader-1", 1, "version", 0, 3),
            ("writer", 1, "version", NEW, 4),
            ("writer", 2, "damaged", DAMAGED, 0),
        ]
    ]


# ---- what goes wrong


def test_what_is_missing_is_said_in_the_file_and_by_the_exit_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = kept(tmp_path, [update(1, NEW, 1, 5)], None, cut=True)
    code, out, err = export(capsys, path, "--format", "edn")
    lines = [
        f"{path / 'history-0.bin'}: is cut: what came after its end is not known",
        f"{path / 'final-writer.bin'}: is missing: the primary was not read back",
    ]
    assert code == 4
    assert err.splitlines()[:2] == lines
    assert [line for line in out.splitlines() if "incomplete" in line] == [f"; incomplete: {line}" for line in lines]
    assert len(operations(out)) == 2
    assert export(capsys, path, "--format", "jsonl")[0] == 4


@pytest.mark.parametrize("form", ["edn", "jsonl"])
def test_an_error_leaves_no_file(tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str) -> None:
    path = HandMade().keep(tmp_path).path
    content = bytearray((path / "history-0.bin").read_bytes())
    content[-100] ^= 1
    (path / "history-0.bin").write_bytes(content)
    out = tmp_path / "out"
    out.mkdir()
    code, _, err = export(capsys, path, "--format", form, "--output", out / "h")
    assert (code, list(out.iterdir()), err.count("\n")) == (2, [], 1)
    assert "history-0.bin: is damaged" in err


def test_an_interrupted_export_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = HandMade().keep(tmp_path / "runs").path

    def interrupt(*_: object) -> None:
        assert len(list(tmp_path.iterdir())) == 2
        raise KeyboardInterrupt

    monkeypatch.setattr(_export, "write_json_lines", interrupt)
    with pytest.raises(KeyboardInterrupt):
        export(None, path, "--format", "jsonl", "--output", tmp_path / "h")
    assert [one.name for one in tmp_path.iterdir()] == ["runs"]


def test_an_existing_file_is_replaced_only_if_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = HandMade(seconds=1).keep(tmp_path).path, tmp_path / "h"
    out.write_text("precious")
    code, _, err = export(capsys, path, "--format", "csv", "--output", out)
    assert (code, err) == (2, f"{out}: exists already; name another file, or say --overwrite\n")
    assert out.read_text() == "precious"
    assert export(capsys, path, "--format", "csv", "--output", out, "--overwrite")[0] == 0
    assert out.read_text().count("\n") == 11
    assert export(capsys, path, "--format", "csv", "--output", "-")[1] == out.read_text()


def test_a_pipe_gets_the_history_and_stays_one(tmp_path: Path) -> None:
    path, fifo, into = kept(tmp_path, [insert(NEW, NEW, 1, 2)]), tmp_path / "fifo", tmp_path / "into"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    assert export(None, path, "--format", "jsonl", "--output", fifo, "--overwrite")[0] == 0
    assert json.loads(os.read(reader, 10_000))["row"] == NEW
    os.close(reader)
    assert fifo.is_fifo()
    assert export(None, path, "--format", "jsonl", "--output", "/dev/full")[0] == 2
    into.write_text("older")
    (tmp_path / "link").symlink_to(into)
    assert export(None, path, "--format", "jsonl", "--output", tmp_path / "link", "--overwrite")[0] == 0
    assert (tmp_path / "link").is_symlink()
    assert json.loads(into.read_text())["row"] == NEW


@pytest.mark.parametrize("form", ["edn", "csv"])
def test_a_row_of_which_nothing_is_known_is_no_empty_history(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    path, file = kept(tmp_path, [insert(NEW, NEW, 1, 2)]), tmp_path / "file"
    assert export(capsys, path, "--format", form, "--row", 999, "--output", file) == (
        2, "", "the history has no operation of row 999\n"
    )  # fmt: skip
    assert not file.exists()


def test_what_is_missing_is_said_when_nothing_is_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = kept(tmp_path, [insert(NEW, NEW, 1, 2)])
    (path / "history-0.bin").unlink()
    code, _, err = export(capsys, path, "--format", "jsonl")
    assert (code, err) == (2, f"{path / 'history-0.bin'}: is missing\n")


def test_reads_of_the_final_state_come_after_the_last_event(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    events = [Event(90, "fault-ended", "kill writer", {"number": 0})]
    path = kept(tmp_path, [update(1, NEW, 10, 20)], {**LOADED, 1: (NEW, 0)}, events)
    times = [one[":time"] for one in jepsen_reader.read_edn(export(capsys, path, "--format", "edn")[1].splitlines())]
    assert times == sorted(times)


@pytest.mark.parametrize(
    "arguments, told",
    [
        (["--format", "edn", "--table", "rows"], "--table is of --format jsonl and csv; of edn say --workload"),
        (["--format", "csv", "--workload", "counter"], "--workload is of --format edn; of jsonl and csv say --table"),
        (["--format", "csv", "--table", "rows", "--row", "1"], "--row chooses operations, and --table rows has none"),
    ],
)
def test_options_that_do_not_fit_are_refused(arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        export(capsys, "runs/any", *arguments)
    assert ended.value.code == 2
    assert told in capsys.readouterr().err


def test_a_run_without_an_audit_has_no_operation_to_export(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    directory = RunDirectory.create(parse_scenario(SCENARIO, "s.yaml"), tmp_path)
    write_history(directory.path, CONTROLLER, (), events=[Event(5, "fault-started", "kill")])
    code, _, err = export(capsys, directory.path, "--format", "edn")
    assert (code, err) == (
        2,
        f"{directory.path}: no worker has a history: the run was not audited, so no operation was kept\n",
    )


def test_a_closed_pipe_is_left_to_the_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which ends quietly then: see `hs_drill.__main__`."""

    class Closed(io.StringIO):
        def write(self, _: str) -> int:
            raise BrokenPipeError(errno.EPIPE, "closed")

    path = HandMade(seconds=1).keep(tmp_path).path
    monkeypatch.setattr("sys.stdout", Closed())
    with pytest.raises(BrokenPipeError):
        export(None, path, "--format", "csv")


def test_progress_is_told_after_two_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    seconds = iter([0.0, 1.9, 2.0, 2.1, 3.9, 4.2, 4.3])
    clock = iter([next(seconds) for _ in range(7)])
    count = _export._Counted(range(4096 * 4), 10_000, clock=lambda: next(clock))
    assert list(count) == list(range(4096 * 4))
    assert capsys.readouterr().err.splitlines() == [
        "8,192 of about 10,000 operations read",
        "16,384 of about 16,384 operations read",
    ]
