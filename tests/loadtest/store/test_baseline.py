"""Baselines: what is read is what was written, nothing is overwritten unasked, and a changed file is refused."""

from __future__ import annotations

import errno
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from hs_drill.store import BaselineError, baseline_path, read_baseline, write_baseline

RUNS: list[dict[str, Any]] = [{"run": "a", "figures": {"get.p99": 0.1 + 0.2, "é": 1}}, {"run": "b", "figures": {}}]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = baseline_path(tmp_path / "baselines", "main")
    write_baseline(made, RUNS, replace=False)
    return made


def test_what_is_read_is_what_was_written(path: Path) -> None:
    assert path.name == "main.json"
    assert read_baseline(path) == RUNS


def test_a_baseline_is_never_replaced_unasked(path: Path) -> None:
    before = path.read_bytes()
    with pytest.raises(BaselineError, match=r"main\.json: exists already: say --force to replace it"):
        write_baseline(path, [], replace=False)
    assert path.read_bytes() == before
    write_baseline(path, RUNS[:1], replace=True)
    assert read_baseline(path) == RUNS[:1]


@pytest.mark.parametrize("text", ['{"name": "a package", "format": "module"}', "", "not JSON"])
def test_what_is_no_baseline_is_never_replaced(path: Path, text: str) -> None:
    path.write_text(text)
    with pytest.raises(BaselineError, match=r"main\.json: is no baseline, so it is not replaced: remove it, or choose another"):
        write_baseline(path, RUNS, replace=True)
    assert path.read_text() == text


def test_a_damaged_baseline_can_be_replaced(path: Path) -> None:
    path.write_text(path.read_text().replace(' "checksum"', '<<<<<<< ours\n "checksum"'))
    write_baseline(path, RUNS, replace=True)
    assert read_baseline(path) == RUNS


@pytest.mark.parametrize("replace", [False, True])
def test_a_write_that_fails_leaves_what_was_there(path: Path, replace: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    before = path.read_bytes()
    target = path if replace else path.with_name("new.json")
    opened = Path.open

    class Full:
        """A file on a disk that is full."""

        def __init__(self, path: Path) -> None:
            self._file = opened(path, "x")

        def __enter__(self) -> Full:
            return self

        def __exit__(self, *_: object) -> None:
            self._file.close()

        def write(self, text: str) -> None:
            self._file.write(text[:10])
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "open", lambda path, mode, **more: Full(path) if mode in "xw" else opened(path, mode, **more))
    with pytest.raises(OSError, match="No space left"):
        write_baseline(target, [], replace=replace)
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_link_stays_and_what_it_leads_to_is_replaced(path: Path) -> None:
    link = path.with_name("link.json")
    link.symlink_to("main.json")
    with pytest.raises(BaselineError, match="exists already"):
        write_baseline(link, [], replace=False)
    write_baseline(link, RUNS[:1], replace=True)
    assert link.is_symlink()
    assert read_baseline(path) == RUNS[:1]
    link.unlink()
    link.symlink_to("missing.json")
    with pytest.raises(BaselineError, match="exists already"):
        write_baseline(link, [], replace=False)


def test_a_directory_that_is_a_file_is_told(path: Path) -> None:
    with pytest.raises(BaselineError, match=r"main\.json: is not a directory, so no baseline can be kept there"):
        write_baseline(path / "other.json", RUNS, replace=False)


def test_the_checksum_is_that_of_the_documented_form_and_does_not_depend_on_the_layout(path: Path) -> None:
    data = json.loads(path.read_text())
    checksum = data.pop("checksum")
    form = json.dumps(data, sort_keys=True, separators=(",", ":"))
    assert checksum == hashlib.sha256(form.encode("ascii")).hexdigest()
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert read_baseline(path) == RUNS
    path.write_text(json.dumps({"runs": data["runs"], "checksum": checksum, "format": 1}, indent=8))
    assert read_baseline(path) == RUNS


@pytest.mark.parametrize(
    "old, new, told",
    [
        ('"b"', '"c"', "is damaged, or was changed by hand"),
        ('"checksum"', '"sum"', "is damaged, or was changed by hand"),
        ('"format": 1', '"format": 2', "has format 2, and this version reads 1"),
        ('"runs"', '"walks"', "is no baseline: hs-drill baseline save writes one"),
        ("{", "<<<<<<< HEAD\n{", "is no baseline, or damaged: "),
        ("{", "[" * 100_000, "is no baseline, or damaged: "),
        ("0.30000000000000004", "NaN", "is no baseline, or damaged: NaN is not a number of JSON"),
        ("0.30000000000000004", "-Infinity", "is no baseline, or damaged: -Infinity is not a number of JSON"),
    ],
)
def test_a_file_that_is_not_as_it_was_written_is_refused(path: Path, old: str, new: str, told: str) -> None:
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(BaselineError) as error:
        read_baseline(path)
    assert str(error.value).startswith(f"{path}: {told}")
    assert "\n" not in str(error.value)


def test_a_missing_baseline_names_those_that_there_are(path: Path) -> None:
    with pytest.raises(BaselineError, match=r"man\.json: there is no such baseline; there are main$"):
        read_baseline(path.with_name("man.json"))


@pytest.mark.parametrize("name", ["", "../main", ".main", "a/b", "-x", "a b"])
def test_a_name_is_no_path(name: str) -> None:
    with pytest.raises(BaselineError, match="is no name of a baseline"):
        baseline_path(Path(), name)
