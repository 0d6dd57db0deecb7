"""docs/history.md: its Python and its commands run on a kept run, and its tables have the fields that there are."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from hs_drill import __main__ as commands
from hs_drill.cli._export_jepsen import WORKLOADS
from hs_drill.cli._export_tables import FIELDS, TABLES
from hs_drill.store import RecordedOperation
from tests.loadtest.support.jepsen_reader import read_edn
from tests.loadtest.support.kept_runs import HandMade

PAGE = (Path(__file__).parents[3] / "docs" / "history.md").read_text()
RUN = "runs/20260131-120000-mixed"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def documented(heading: str) -> list[str]:
    """The fields in the first table below a heading."""
    below = PAGE.partition(f"\n{heading}\n")[2]
    table = re.search(r"^\| (?:field|key) .*\n\| ---.*\n((?:\|.*\n)+)", below, re.MULTILINE)
    assert table
    return [name for line in table[1].splitlines() for name in re.findall(r"`(:?\w+)`", line.split("|")[1])]


@pytest.fixture
def in_folder_of_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = HandMade().keep(tmp_path / "runs").path
    kept.rename(tmp_path / RUN)
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("in_folder_of_run")
def test_the_python_prints_what_the_page_says() -> None:
    (text,) = blocks("python")
    printed: list[str] = []
    names: Mapping[str, Any] = {"print": lambda *values: printed.append(" ".join(map(str, values)))}
    exec(text, dict(names))
    said = re.findall(r"print\(.*\)  # (.*)", text)
    assert len(said) == 2
    assert printed == [
        *said,
        "fault-started 6.0 kill reader-1",
        "fault-struck 6.05 kill reader-1",
        "fault-ended 11.0 kill reader-1",
    ]


@pytest.mark.usefixtures("in_folder_of_run")
def test_the_commands_write_what_they_name() -> None:
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    assert len(lines) == 3
    for line in lines:
        program, *arguments = shlex.split(line)
        assert program == "hs-drill"
        assert commands.main(arguments) == 0
        assert Path(arguments[-1]).stat().st_size


def test_the_tables_have_the_documented_fields() -> None:
    assert documented("### operations") == list(FIELDS["operations"])
    assert documented("### events") == list(FIELDS["events"])
    assert re.findall(r"^### (operations|events|rows|run)$", PAGE, re.MULTILINE) == list(TABLES)
    assert re.findall(r"^\| `([\w-]+)` \| `:(?:write|txn|add) ", PAGE, re.MULTILINE) == list(WORKLOADS)
    on_the_clock = {name.removesuffix("_ns") for name in FIELDS["operations"]} - {"number"}
    assert on_the_clock == set(RecordedOperation._fields)


@pytest.mark.usefixtures("in_folder_of_run")
def test_the_table_of_keys_names_every_key_of_the_edn(capsys: pytest.CaptureFixture[str]) -> None:
    commands.main(["export", RUN, "--format", "edn"])
    there = {key for one in read_edn(capsys.readouterr().out.splitlines()) for key in one}
    assert there | {":error", ":server"} == set(documented("## Jepsen's checkers"))
    (example,) = blocks("clojure")
    assert {key for one in read_edn(example.splitlines()) for key in one} <= there
