"""What is on the disk of a run that writes to a table that exists, before it writes: all that restore needs."""

from __future__ import annotations

from pathlib import Path

import pytest

from hs_drill.scenario import _reader, load_scenario, parse_scenario
from hs_drill.store import RunDirectory, RunDirectoryError, _run_directory

TEXT = """\
name: x
table: {existing: true, writes: allowed, database: d, name: t, columns: {%s}}
mix: {update: {set: [c0], weight: 1}}
"""
LETTERS = "ёжикъ-" * 1800
"""Of a file of 64 KiB that has only one line, all but some."""


def with_lines(folder: Path, columns: int) -> Path:
    """A scenario whose values come from the lines of a file, in several columns."""
    (folder / "lines.txt").write_text("".join(f"{number}{LETTERS}\n" for number in range(3)))
    path = folder / "x.yaml"
    path.write_text(TEXT % ", ".join(f"c{number}: {{values: {{lines: lines.txt}}}}" for number in range(columns)))
    return path


def test_the_scenario_is_on_the_disk_before_the_run_may_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a power failure the before-image was whole, and scenario.yaml had no byte: nothing could be put back."""
    kept: list[str] = []
    base = tmp_path / "runs"

    def note(path: Path) -> None:
        kept.append(str(path.relative_to(tmp_path)))

    monkeypatch.setattr(_run_directory, "sync", note)
    directory = RunDirectory.create(parse_scenario(TEXT % "c0: {values: 0}", "x.yaml"), base)
    run = f"runs/{directory.path.name}"
    directory.keep_scenario()
    assert kept == [f"{run}/scenario.yaml", f"{run}/checksums", run, "runs", "."]
    kept.clear()
    directory.begin_writing()
    assert kept == [f"{run}/writing", f"{run}/checksums", run]


def test_letters_of_any_language_take_no_more_room_in_the_kept_scenario_than_in_the_file(tmp_path: Path) -> None:
    """As escapes they took three times as much: a run wrote, whose scenario was then too long to be read back."""
    directory = RunDirectory.create(load_scenario(with_lines(tmp_path, 6)), tmp_path / "runs")
    size = (tmp_path / "lines.txt").stat().st_size
    assert (directory.path / "scenario.yaml").stat().st_size < 6 * size * 1.1
    directory.keep_scenario()
    assert directory.scenario().table.columns["c5"] == load_scenario(tmp_path / "x.yaml").table.columns["c5"]


def test_a_run_whose_scenario_cannot_be_read_back_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_reader, "MOST_KEPT_BYTES", 64 << 10)
    directory = RunDirectory.create(load_scenario(with_lines(tmp_path, 2)), tmp_path / "runs")
    with pytest.raises(
        RunDirectoryError, match=r"could not read this run's scenario: .* 64 KiB.*Nothing was written$"
    ) as error:
        directory.keep_scenario()
    assert "\n" not in str(error.value)


def test_a_torn_line_of_checksums_is_damage_only_to_the_file_whose_line_it_may_be(tmp_path: Path) -> None:
    """The disk was full when the verdict was kept: restore refused, although the line of scenario.yaml was there."""
    directory = RunDirectory.create(parse_scenario(TEXT % "c0: {values: 0}", "x.yaml"), tmp_path)
    directory.write_result({})
    checksums = directory.path / "checksums"
    whole = checksums.read_text()
    checksums.write_text(whole[:-5])
    assert directory.scenario().name == "x"
    assert directory.may_have_written(), "the torn line may be that of the mark"
    with pytest.raises(RunDirectoryError, match="line 2 is not a checksum"):
        directory.result()
    checksums.write_text(whole.replace(" scenario.yaml", " senario.yaml"))
    with pytest.raises(RunDirectoryError, match="line 1 is not a checksum"):
        directory.scenario()
