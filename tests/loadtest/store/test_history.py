"""Histories and final states: what is written comes back in order, also from a file that a crash has cut."""

from __future__ import annotations

import struct
from pathlib import Path

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hs_drill.store._blocks import block_of
from hs_drill.store._events import Event, HistoryFaultWindow, fault_windows
from hs_drill.store._final_state import MOST_WRONG_ROWS, FinalState, FinalStateError, WrongRow, write_final_state
from hs_drill.store._history import MAGIC, History, HistoryError, HistoryWriter, merge
from hs_drill.store._records import RECORD, MixOperation, Operation, Outcome, Record, operation_code
from tests.loadtest.support.histories import Op, folder, write_history


def record(worker: int, end: int, **more: int | str) -> Record:
    values = {"user": 1, "operation": Operation.UPDATE, "outcome": Outcome.OK, "key": 5, "value": 7, "error": "", "server": ""}
    return Record(**{"worker": worker, "intended": 0, "start": 0, "end": end, **values, **more})  # type: ignore[arg-type]


def test_what_is_written_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "history-3.bin"
    moment = 1_000_000
    with HistoryWriter(path, worker=3, run=2, clock=lambda: moment) as writer:
        writer.append(Operation.INSERT, Outcome.OK, 2**62, 2**61, 10_000, 12_500, 64)
        writer.event("fault-started", "kill", target="reader-1", seconds=1.5)
        error, server = writer.error("ConnectionError"), writer.server("inet 127.0.0.1:9998")
        assert error == writer.error("ConnectionError")
        writer.append(Operation.GET, Outcome.FAIL, -5, -3, 20_000, 21_000, 2**32 - 1, delay=3000, error=error, server=server)
    history = History(path)
    assert list(history.records()) == [
        # 2.5 us are rounded up to 3: an interval is never shortened.
        Record(3, 64, Operation.INSERT, Outcome.OK, 2**62, 2**61, 9_500, 9_500, 12_500, "", ""),
        Record(
            3, 2**32 - 1, Operation.GET, Outcome.FAIL, -5, -3, 17_000, 20_000, 21_000, "ConnectionError", "inet 127.0.0.1:9998"
        ),
    ]
    assert history.complete
    assert history.events == [Event(moment, "fault-started", "kill", {"target": "reader-1", "seconds": 1.5})]
    assert (history.header.worker, history.header.run, history.header.monotonic_ns) == (3, 2, moment)
    assert history.header.unix(moment + 10**9) == pytest.approx(history.header.unix_ns / 1e9 + 1)


def test_operations_with_names_of_their_own_come_back(tmp_path: Path) -> None:
    listed = [
        MixOperation(operation_code("get", "get", 0), "get", Operation.GET, 1, primary=True),
        MixOperation(operation_code("rename", "update", 1), "rename", Operation.UPDATE, sets=("name", "note")),
        MixOperation(operation_code("count view", "incr", 50), "count view", Operation.INCR, 0),
    ]
    assert [operation.code for operation in listed] == [1, 10, 59]
    with HistoryWriter(tmp_path / "h", worker=0, operations=listed) as writer:
        for operation in listed:
            writer.append(operation.code, Outcome.OK, 5, 7, 0, 1, 0)
        writer.append(Operation.DELETE, Outcome.OK, 5, 7, 0, 1, 0)
    history = History(tmp_path / "h")
    assert history.header.operations == tuple(listed)
    assert [(one.operation, one.name) for one in history.records()] == [
        (Operation.GET, "get"),
        (Operation.UPDATE, "rename"),
        (Operation.INCR, "count view"),
        (Operation.DELETE, ""),
    ]


def test_a_record_is_small() -> None:
    assert RECORD.size < 50


def test_a_duration_too_long_for_a_record_is_capped(tmp_path: Path) -> None:
    with HistoryWriter(tmp_path / "h", worker=0) as writer:
        writer.append(Operation.GET, Outcome.OK, 1, 0, 0, 10**16, 0, delay=10**16)
    (read,) = History(tmp_path / "h").records()
    assert read.end - read.start == read.start - read.intended == (2**32 - 1) * 1000


texts = st.text(max_size=120)


@given(st.lists(st.tuples(st.integers(0, 10**6), texts, texts | st.none()), max_size=20), st.data())
def test_records_before_any_cut_can_be_read(entries: list[tuple[int, str, str | None]], data: st.DataObject) -> None:
    with folder() as path:
        with HistoryWriter(path / "h", worker=0) as writer:
            for number, (key, error, event) in enumerate(entries):
                if event is not None:
                    writer.event("note", event)
                writer.append(Operation.GET, Outcome.FAIL, key, 0, number, number, 0, error=writer.error(error))
        history = History(path / "h")
        whole = list(history.records())
        assert [(one.key, one.error) for one in whole] == [(key, error) for key, error, _ in entries]
        assert [event.name for event in history.events] == [event for _, _, event in entries if event is not None]
        assert history.complete

        content = (path / "h").read_bytes()
        header = history._start  # the records begin there
        length = data.draw(st.integers(header, len(content) - 1))
        (path / "h").write_bytes(content[:length])
        cut = list(history.records())
        assert not history.complete
        assert cut == whole[: len(cut)]


def test_what_is_flushed_survives_a_crash(tmp_path: Path) -> None:
    writer = HistoryWriter(tmp_path / "h", worker=0)
    writer.append(Operation.INSERT, Outcome.OK, 1, 2, 3, 4, 5)
    history = History(tmp_path / "h")
    assert list(history.records()) == []
    writer.flush()
    assert [one.key for one in history.records()] == [1]
    assert not history.complete
    writer.abandon()
    assert [one.key for one in history.records()] == [1]
    assert not history.complete


def test_many_records_are_written_without_a_flush(tmp_path: Path) -> None:
    writer = HistoryWriter(tmp_path / "h", worker=0)
    for number in range(10_000):
        writer.append(Operation.INSERT, Outcome.OK, number, 2, number, number, 5)
    kept = sum(1 for _ in History(tmp_path / "h").records())
    assert 10_000 - kept < 64 * 1024 / RECORD.size + 1
    writer.abandon()


def test_a_failed_writer_leaves_a_cut_history(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), HistoryWriter(tmp_path / "h", worker=0):
        1 / 0  # noqa: B018
    history = History(tmp_path / "h")
    assert list(history.records()) == []
    assert not history.complete


def test_a_history_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "h").write_bytes(b"precious")
    with pytest.raises(FileExistsError):
        HistoryWriter(tmp_path / "h", worker=0)


def test_more_kinds_of_error_than_fit_share_one(tmp_path: Path) -> None:
    with HistoryWriter(tmp_path / "h", worker=0) as writer:
        for number in range(300):
            writer.append(Operation.GET, Outcome.FAIL, 1, 0, number, number, 0, error=writer.error(f"E{number}"))
    errors = [one.error for one in History(tmp_path / "h").records()]
    assert errors == [f"E{number}" for number in range(255)] + [""] * 45


def test_histories_are_merged_by_time(tmp_path: Path) -> None:
    a = write_history(tmp_path, 0, [Op("update", 5, 7, 0, end, user=1) for end in (1, 4, 5)])
    b = write_history(tmp_path, 1, [Op("update", 5, 7, 0, end, user=1) for end in (2, 3, 9)])
    assert [one.end // 1000 for one in merge([a, b])] == [1, 2, 3, 4, 5, 9]
    assert list(merge([])) == []


def test_histories_of_different_machines_are_not_merged(tmp_path: Path) -> None:
    a, b = write_history(tmp_path, 0, []), write_history(tmp_path, 1, [])
    object.__setattr__(b.header, "clock", "another boot")
    with pytest.raises(HistoryError, match="different machines"):
        merge([a, b])


def header_of(**header: object) -> bytes:
    whole = {"worker": 0, "run": 1, "clock": "", "monotonic_ns": 0, "unix_ns": 0, **header}
    return MAGIC + block_of(msgpack.packb(whole if "operations" in header else header), len(MAGIC))


def test_a_history_of_format_2_can_be_read(tmp_path: Path) -> None:
    header = {"format": 2, "worker": 4, "run": 1, "clock": "a boot", "monotonic_ns": 5, "unix_ns": 6, "reads_primary": True}
    content = MAGIC + block_of(msgpack.packb(header), len(MAGIC))
    content += block_of(RECORD.pack(1, 2, 3, 4000, 2, 0, 0, Operation.INCR << 2, 255, 255), len(content))
    (tmp_path / "h").write_bytes(content)
    history = History(tmp_path / "h")
    assert (history.header.worker, history.header.operations) == (4, ())
    assert list(history.records()) == [Record(4, 0, Operation.INCR, Outcome.OK, 1, 2, 2000, 2000, 4000, "", "", 3)]


@pytest.mark.parametrize(
    "content, expected",
    [
        (b"", "is not a history of a run"),
        (b"trio-hs\x00final 1\n", "is not a history of a run"),
        (b"trio-hs\x00history\n\xff\x00\x00\x00\x81", "its header is damaged or cut"),
        (b"trio-hs\x00history\n\x01\x00\x00\x00\x05", "its header is damaged or cut"),
        (b"trio-hs\x00history\n\x09\x00\x00\x00\x81\xa6format\x02", "has a format that this version cannot read"),
        (b"trio-hs\x00history\n\x09\x00\x00\x00\x81\xa6format\x01", "its header is damaged or cut"),
        (header_of(format=4), "has a format that this version cannot read; it reads formats 1 to 3"),
        (header_of(format=3), "its header is damaged or cut"),
        (header_of(format=3, operations=[{"code": 9, "name": "x", "do": "vanish"}]), "its header is damaged or cut"),
        (header_of(format=3, operations=[{"code": 2, "name": "x", "do": "get"}]), "its header is damaged or cut"),
        (header_of(format=3, operations=[{"code": 60, "name": "x", "do": "get"}]), "its header is damaged or cut"),
        (header_of(format=3, operations=["get"]), "its header is damaged or cut"),
        (None, "cannot be read: No such file"),
    ],
)
def test_a_file_that_is_not_a_history_is_refused_in_one_line(tmp_path: Path, content: bytes | None, expected: str) -> None:
    if content is not None:
        (tmp_path / "h").write_bytes(content)
    with pytest.raises(HistoryError) as caught:
        History(tmp_path / "h")
    assert str(caught.value).startswith(f"{tmp_path / 'h'}: {expected}")
    assert "\n" not in str(caught.value)


def test_a_damaged_record_is_reported(tmp_path: Path) -> None:
    history = write_history(tmp_path, 0, [])
    with history.path.open("ab") as file:
        file.write(block_of(RECORD.pack(0, 0, 0, 0, 0, 0, 0, 40 << 2, 0, 0), file.tell()))
    with pytest.raises(HistoryError, match="of an operation 40"):
        list(history.records())


def test_faults_last_from_their_start_to_their_end() -> None:
    events = [
        Event(30, "fault-ended", "pause"),
        Event(10, "fault-started", "pause"),
        Event(15, "promotion", "standby"),
        Event(20, "fault-started", "kill"),
        Event(40, "fault-started", "pause"),
        Event(50, "fault-ended", "never started"),
    ]
    assert fault_windows(events) == [
        HistoryFaultWindow("pause", 10, 30),
        HistoryFaultWindow("kill", 20, None),
        HistoryFaultWindow("pause", 40, None),
    ]


def event(time: int, kind: str, name: str, **details: int) -> Event:
    return Event(time, kind, name, details)


def test_faults_with_the_same_name_are_told_apart() -> None:
    first, second, again = {"number": 0, "occurrence": 0}, {"number": 1, "occurrence": 0}, {"number": 1, "occurrence": 1}
    name = "latency reader-1"
    events = [
        event(20, "fault-started", name, **first),
        event(21, "fault-struck", name, **first),
        event(40, "fault-started", name, **second),
        event(41, "fault-struck", name, **second),
        event(60, "fault-healing", name, **second),
        event(62, "fault-started", name, **again),  # it strikes again before it has healed
        event(63, "fault-ended", name, **second),
        event(64, "fault-struck", name, **again),
        event(70, "fault-failed", name, **again),  # did not heal
        event(100, "fault-healing", name, **first),
        event(101, "fault-ended", name, **first),
    ]
    assert fault_windows(events) == [
        HistoryFaultWindow(name, 20, 101, 21, 100),
        HistoryFaultWindow(name, 40, 63, 41, 60),
        HistoryFaultWindow(name, 62, None, 64),
    ]


def test_when_a_fault_was_certainly_on() -> None:
    at_once = [event(1, "fault-started", "reset"), event(2, "fault-ended", "reset")]
    old = [event(1, "fault-started", "kill"), event(2, "fault-struck", "kill"), event(9, "fault-ended", "kill")]
    healed = [*old[:2], event(7, "fault-healing", "kill"), old[2]]
    never = [event(1, "fault-started", "kill")]
    failed = [*never, event(3, "fault-failed", "kill"), event(3, "fault-ended", "kill")]
    assert [[window.certain for window in fault_windows(one)] for one in (at_once, old, healed, never, failed)] == [
        [(1, 2)],
        [(2, 9)],
        [(2, 7)],
        [None],
        [],
    ]


numbers = st.integers(-(2**62), 2**62)
tables = st.tuples(st.integers(0, 3), st.integers(0, 3)).flatmap(
    lambda shape: st.tuples(
        st.just(shape), st.dictionaries(numbers, st.lists(numbers, min_size=sum(shape) + 1, max_size=sum(shape) + 1))
    )
)


@given(tables, st.lists(st.tuples(numbers, texts, st.tuples(st.tuples(texts, texts, texts))), max_size=3), st.data())
def test_a_final_state_comes_back_and_a_cut_one_is_incomplete(
    table: tuple[tuple[int, int], dict[int, list[int]]],
    wrong: list[tuple[int, str, tuple[tuple[str, str, str]]]],
    data: st.DataObject,
) -> None:
    (counters, extras), held = table
    expected = [(key, *held[key]) for key in sorted(held)]
    described = {row[0]: WrongRow(*row) for row in wrong}
    named = {"counters": tuple(f"c{at}" for at in range(counters)), "extras": tuple(f"e{at}" for at in range(extras))}
    with folder() as path:
        write_final_state(path / "f", expected, wrong=described.values(), **named)
        state = FinalState(path / "f", "writer")
        assert (list(state), state.rows, state.complete, state.server) == (expected, len(expected), True, "writer")
        assert (state.counters, state.extras, state.wrong) == (named["counters"], named["extras"], described)
        content = (path / "f").read_bytes()
        (path / "f").write_bytes(content[: data.draw(st.integers(16, len(content) - 1))])
        cut = FinalState(path / "f", "writer")
        assert not cut.complete
        assert list(cut) == expected[: cut.rows]


def test_a_final_state_of_format_2_can_be_read(tmp_path: Path) -> None:
    rows = [(1, 0, 0), (2, 7, -3)]
    magic = b"trio-hs\x00\x02final\n"
    packed = b"".join(struct.pack("<qqq", *row) for row in [*rows, (-(2**63), 2, 0)])
    content = magic + block_of(packed, len(magic))
    (tmp_path / "f").write_bytes(content)
    state = FinalState(tmp_path / "f", "writer")
    assert (list(state), state.complete, state.damage) == (rows, True, "")
    assert (state.counters, state.extras, state.wrong) == (("n",), (), {})


def test_a_final_state_describes_no_more_wrong_rows_than_people_read(tmp_path: Path) -> None:
    wrong = (WrongRow(key, "", (("name", "'a'", "'b'"),)) for key in range(MOST_WRONG_ROWS + 1))
    write_final_state(tmp_path / "f", [(key, -4, 0) for key in range(MOST_WRONG_ROWS + 1)], wrong=wrong)
    state = FinalState(tmp_path / "f", "writer")
    assert (state.complete, list(state.wrong)) == (True, list(range(MOST_WRONG_ROWS)))


def test_an_interrupted_read_back_counts_as_cut(tmp_path: Path) -> None:
    def broken() -> object:
        yield 1, 0, 0
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        write_final_state(tmp_path / "f", broken())  # type: ignore[arg-type]
    assert not FinalState(tmp_path / "f", "writer").complete


def test_a_final_state_needs_ascending_numbers(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the numbers must ascend: 3 came after 3"):
        write_final_state(tmp_path / "f", [(3, 0, 0), (3, 0, 0)])


@pytest.mark.parametrize("content", [b"", b"trio-hs\x00history\n", None])
def test_a_file_that_is_not_a_final_state_is_refused(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "f").write_bytes(content)
    with pytest.raises(FinalStateError, match=r"is not a final state|cannot be read"):
        FinalState(tmp_path / "f", "writer")
