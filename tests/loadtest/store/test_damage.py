"""Damage to a kept run is reported as damage: it never turns a miss into a pass, and never shows as a lost write."""

from __future__ import annotations

import io
import json
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hs_drill import __main__ as commands
from hs_drill.metrics import Batch, OperationBatch
from hs_drill.scenario import parse_scenario
from hs_drill.store import _final_state
from hs_drill.store._blocks import BlockError, Blocks, block_of
from hs_drill.store._final_state import write_final_state
from hs_drill.store._history import History, HistoryWriter
from hs_drill.store._records import RECORD_1, Operation, Outcome
from hs_drill.store._run_directory import CONTROLLER, RunDirectory, RunDirectoryError
from hs_drill.verdict._judge_run import judge_run
from hs_drill.workload import first_insert_key
from tests.loadtest.support.histories import folder
from tests.loadtest.support.kept_runs import SCENARIO, HandMade
from tests.support.amount import amount

MAGIC = b"magic\n"
OLD = Path(__file__).parents[1] / "support" / "run_of_format_1"
"""A run on embedded servers, kept by the last version without checksums. Its verdict was a pass."""


# ---- blocks


def write_blocks(path: Path, payloads: list[bytes]) -> None:
    content = MAGIC
    for payload in [*payloads, b""]:
        content += block_of(payload, len(content))
    path.write_bytes(content)


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=8), st.data())
def test_blocks_come_back_and_the_first_ones_also_from_a_cut_file(payloads: list[bytes], data: st.DataObject) -> None:
    with folder() as path:
        write_blocks(path / "f", payloads)
        blocks = Blocks(path / "f", len(MAGIC))
        assert (list(blocks), blocks.closed) == (payloads, True)
        content = (path / "f").read_bytes()
        (path / "f").write_bytes(content[: data.draw(st.integers(len(MAGIC), len(content) - 1))])
        some = list(blocks)
        assert some == payloads[: len(some)]
        assert not blocks.closed


@given(st.lists(st.binary(min_size=1, max_size=50), min_size=1, max_size=8), st.data())
def test_no_block_comes_back_changed(payloads: list[bytes], data: st.DataObject) -> None:
    with folder() as path:
        write_blocks(path / "f", payloads)
        content = bytearray((path / "f").read_bytes())
        at = data.draw(st.integers(len(MAGIC), len(content) - 1))
        flipped = data.draw(st.binary(min_size=1, max_size=4).filter(any))
        for place, bits in zip(range(at, len(content)), flipped, strict=False):
            content[place] ^= bits
        (path / "f").write_bytes(content)
        some: list[bytes] = []
        with pytest.raises(BlockError, match="is damaged") if any(flipped[: len(content) - at]) else redirect_stdout(None):
            some.extend(Blocks(path / "f", len(MAGIC)))
        assert some == payloads[: len(some)]


@pytest.mark.parametrize("order", ["a lost block", "a block twice", "in another order"])
def test_whole_blocks_in_the_wrong_place_are_damage(tmp_path: Path, order: str) -> None:
    one, other, third = (block_of(text, len(MAGIC) + 15 * at) for at, text in enumerate((b"one", b"two", b"six")))
    content = {"a lost block": one + third, "a block twice": one + one, "in another order": other + one}[order]
    (tmp_path / "f").write_bytes(MAGIC + content)
    with pytest.raises(BlockError):
        list(Blocks(tmp_path / "f", len(MAGIC)))


@given(st.integers(0, 20), st.data())
def test_the_rows_before_the_damage_of_a_final_state_come_back(count: int, data: st.DataObject) -> None:
    rows = [(key, key, 0) for key in range(count)]
    with folder() as path, pytest.MonkeyPatch.context() as patch:
        patch.setattr(_final_state, "CHUNK_ROWS", 4)
        write_final_state(path / "f", rows)
        content = bytearray((path / "f").read_bytes())
        content[data.draw(st.integers(len(_final_state.MAGIC), len(content) - 1))] ^= data.draw(st.integers(1, 255))
        (path / "f").write_bytes(content)
        state = _final_state.FinalState(path / "f", "writer")
        assert (state.complete, state.damage.startswith(f"{path / 'f'}: is damaged")) == (False, True)
        assert list(state) == rows[: state.rows]


# ---- kept runs


class Kept(NamedTuple):
    path: Path
    code: int
    verdict: str


def keep(base: Path, made: HandMade) -> Kept:
    directory = made.keep(base)
    rows = [(key, 0, 0) for key in range(1, 201)]
    write_final_state(directory.before, rows)
    write_final_state(directory.final("reader-1"), rows)
    directory.write_primary("writer")
    result = judge_run(directory, workers={0}, troubles=[])
    directory.write_result(result)
    return Kept(directory.path, result["exit_code"], result["verdict"])


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Kept]:
    base = tmp_path_factory.mktemp("runs")
    phases = SCENARIO.replace("availability: 90%", "availability: {before: 100%, during: 50%, after: 100%}")
    missed = phases.replace("during: 50%", "during: 100%")
    fault = "kill reader-1", 3.0, 6.0
    made = [HandMade(phases, 9, fault), HandMade(missed, 9, fault), HandMade(phases, 9, fault, lost=[3])]
    kept = [keep(base, one) for one in made]
    assert [one.code for one in kept] == [0, 1, 3]
    return kept


def analyze(path: Path) -> tuple[int, str, str]:
    """Exit code, verdict and standard error."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = commands.main(["analyze", str(path), "--json"])
    return code, json.loads(out.getvalue())["verdict"] if out.getvalue() else "", err.getvalue()


def files(path: Path) -> Iterator[Path]:
    yield from sorted(one for one in path.iterdir() if one.suffix in (".bin", ".json", ".yaml", ""))


@given(st.data())
@settings(max_examples=amount(60, 150), suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_four_damaged_bytes_never_change_a_verdict(runs: list[Kept], data: st.DataObject) -> None:
    kept = data.draw(st.sampled_from(runs), label="run")
    file = data.draw(st.sampled_from(list(files(kept.path))), label="file")
    content = bytearray(file.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1), label="at")
    flipped = data.draw(st.binary(min_size=1, max_size=4).filter(any), label="flipped")
    whole = bytes(content)
    for place, bits in zip(range(at, len(content)), flipped, strict=False):
        content[place] ^= bits
    file.write_bytes(content)
    try:
        code, verdict, err = analyze(kept.path)
    finally:
        file.write_bytes(whole)
    assert code in (kept.code, 4, 2)
    if code == 2:
        assert file.name in err
        assert err.count("\n") == 1
    elif code == kept.code == 0:
        assert verdict == kept.verdict


@pytest.mark.parametrize(
    "name", ["history-0.bin", "history-controller.bin", "final-writer.bin", "final-reader-1.bin", "before.bin"]
)
def test_damage_is_reported_with_the_name_of_the_file(runs: list[Kept], tmp_path: Path, name: str) -> None:
    path = Path(shutil.copytree(runs[0].path, tmp_path / "run"))
    content = bytearray((path / name).read_bytes())
    middle = len(content) // 2
    content[middle : middle + 4] = bytes(byte ^ 0xFF for byte in content[middle : middle + 4])
    (path / name).write_bytes(content)
    result = judge_run(RunDirectory(path))
    assert result["exit_code"] == 4
    (line,) = [one["line"] for one in result["expectations"] if one["name"] == "kept files"]
    assert line.startswith(f"{path / name}: is damaged")


def test_without_the_faults_phases_and_recovery_are_unknown(runs: list[Kept], tmp_path: Path) -> None:
    """Otherwise the whole run would count as before the first fault, and its errors as a miss there."""
    path = Path(shutil.copytree(runs[0].path, tmp_path / "run"))
    content = (path / "history-controller.bin").read_bytes()
    (path / "history-controller.bin").write_bytes(content[:200])
    results = {one["name"]: one["result"] for one in judge_run(RunDirectory(path))["expectations"]}
    assert results["availability.before"] == results["availability.after"] == results["recovery.steady"] == "unknown"
    assert results["lost"] == results["errors.all"] == "pass"


def test_cut_statistics_make_a_run_inconclusive(runs: list[Kept], tmp_path: Path) -> None:
    path = Path(shutil.copytree(runs[0].path, tmp_path / "run"))
    content = (path / "batches.bin").read_bytes()
    (path / "batches.bin").write_bytes(content[: len(content) * 3 // 4])
    assert analyze(path)[0] == 4


def test_a_file_changed_on_purpose_is_judged_once_its_checksum_is_deleted(runs: list[Kept], tmp_path: Path) -> None:
    path = Path(shutil.copytree(runs[0].path, tmp_path / "run"))
    scenario, checksums = path / "scenario.yaml", path / "checksums"
    scenario.write_text(scenario.read_text().replace("all: 1000", "all: 0"))
    code, _, err = analyze(path)
    assert code == 2
    assert (
        "scenario.yaml: is damaged, or was changed after the run (to judge it as it is now, delete its line in checksums)"
        in err
    )
    lines = [line for line in checksums.read_text().splitlines(keepends=True) if "scenario.yaml" not in line]
    checksums.write_text("".join(lines))
    code, verdict, _ = analyze(path)
    assert (code, verdict.partition(" (")[0]) == (1, "fail: 1 of 8 expectations missed")


def test_a_run_without_its_checksums_is_inconclusive(runs: list[Kept], tmp_path: Path) -> None:
    path = Path(shutil.copytree(runs[0].path, tmp_path / "run"))
    (path / "checksums").unlink()
    result = judge_run(RunDirectory(path))
    assert result["exit_code"] == 4
    (line,) = [one["line"] for one in result["expectations"] if one["name"] == "kept files"]
    assert line == f"{path / 'checksums'}: is missing, so whether the small files were changed is not known"


@pytest.mark.parametrize("share", [0, 0.5, 0.99])
def test_a_run_that_ended_needs_the_whole_history_of_its_faults(tmp_path: Path, share: float) -> None:
    """Findings of the audit name faults, so a run whose expectations do not need them is damaged, too."""
    text = SCENARIO[: SCENARIO.index("expect:")] + "expect: {errors: 1000}\n"
    directory = HandMade(text, judged=False).keep(tmp_path)
    assert judge_run(directory, workers={0}, troubles=[])["exit_code"] == 0
    path = directory.history(CONTROLLER)
    content = path.read_bytes()
    path.unlink()
    if share:
        path.write_bytes(content[: round(len(content) * share)])
    result = judge_run(directory, workers={0}, troubles=[])
    assert result["exit_code"] == 4
    assert any(str(path) in one["line"] for one in result["expectations"] if one["name"] == "kept files")


def test_missing_rows_of_a_replica_make_a_run_inconclusive(tmp_path: Path) -> None:
    directory = HandMade(SCENARIO.replace("expect:", "expect:\n  replicas_agree: true"), judged=False).keep(tmp_path)
    for reader in ("reader-1", "reader-2"):
        shutil.copy(directory.final("writer"), directory.final(reader))
    assert judge_run(directory, workers={0}, troubles=[])["exit_code"] == 0
    directory.final("reader-1").unlink()
    result = judge_run(directory, workers={0}, troubles=[])
    assert result["exit_code"] == 4
    assert [one["line"] for one in result["expectations"] if one["name"] == "kept files"] == [
        f"{directory.final('reader-1')}: is missing"
    ]
    result = judge_run(directory, workers={0}, troubles=["reader-1 was not read back: it is down"])
    assert [one["name"] for one in result["expectations"] if one["result"] == "unknown"] == ["faults"]


@pytest.mark.parametrize("damage", ["", "cut", "flipped", "no magic", "missing"])
def test_a_later_run_without_the_rows_before_it_finds_no_lost_writes(tmp_path: Path, damage: str) -> None:
    """The loaded rows are no substitute: each row has the version and counter of an earlier run."""
    text = "name: second\ntable: {rows: 50, groups: 5}\nload: {duration: 20s}\nmix: {get: 50, incr: 30, update: 20}\n"
    directory = RunDirectory.create(parse_scenario(text, "s.yaml"), tmp_path)
    HistoryWriter(directory.history(CONTROLLER), worker=CONTROLLER, run=2).close()
    with HistoryWriter(directory.history(0), worker=0, run=2) as history:
        start = 10**9 + time.monotonic_ns()
        for key in range(1, 41):
            history.append(Operation.INCR, Outcome.OK, key, 1, start, start + 1000, 0)
            history.append(Operation.GET, Outcome.OK, key, first_insert_key(1, 0) + key, start, start + 2000, 0, n=6)
            start += 10_000
    rows = [(key, first_insert_key(1, 0) + key, 5) for key in range(1, 51)]
    write_final_state(directory.before, rows)
    write_final_state(directory.final("writer"), [(key, version, n + (key <= 40)) for key, version, n in rows])
    directory.add_batch(Batch(1e9, 1e9 + 0.25, {"incr": OperationBatch(Counter({400: 40}))}).to_wire())
    directory.close_batches()
    content = bytearray(directory.before.read_bytes())
    match damage:
        case "cut":
            del content[len(content) // 2 :]
        case "flipped":
            content[len(content) // 2] ^= 1
        case "no magic":
            content[0] ^= 1
    directory.before.write_bytes(content)
    if damage == "missing":
        directory.before.unlink()
    result = judge_run(directory, workers={0}, troubles=[])
    assert result["exit_code"] == (4 if damage else 0), [one["line"] for one in result["expectations"]]
    assert not damage or "before.bin" in " ".join(one["line"] for one in result["expectations"])


def test_a_changed_name_of_the_primary_is_damage(runs: list[Kept], tmp_path: Path) -> None:
    path = Path(shutil.copytree(runs[0].path, tmp_path / "run"))
    (path / "primary").write_text("reader-1")
    with pytest.raises(RunDirectoryError, match="primary: is damaged"):
        judge_run(RunDirectory(path))


def test_a_missing_name_of_the_primary_is_damage(runs: list[Kept], tmp_path: Path) -> None:
    path = Path(shutil.copytree(runs[0].path, tmp_path / "run"))
    (path / "primary").unlink()
    with pytest.raises(RunDirectoryError, match="primary: is missing"):
        judge_run(RunDirectory(path))


# ---- runs of older versions


def test_a_run_without_checksums_gets_the_same_verdict() -> None:
    directory = RunDirectory.open(OLD)
    before = directory.result()
    assert before is not None
    result = judge_run(directory)
    results = [[(one["name"], one["result"]) for one in kept["expectations"]] for kept in (before, result)]
    assert results[0] == results[1]
    assert (result["exit_code"], result["verdict"]) == (before["exit_code"], before["verdict"])
    for name in ("stale_reads", "monotonic_reads"):
        assert result["audit"][name]["measured"]["reads"] == before["audit"][name]["measured"]["reads"] > 0


def test_half_a_record_of_a_history_without_blocks_is_ignored(tmp_path: Path) -> None:
    whole = list(History(OLD / "history-0.bin").records())
    (tmp_path / "h").write_bytes((OLD / "history-0.bin").read_bytes()[: -RECORD_1.size - 5])
    cut = History(tmp_path / "h")
    assert list(cut.records()) == whole[:-1]
    assert not cut.complete
