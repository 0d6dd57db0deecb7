"""The empty data directory that is kept for the next run: it is found as long as the same programs would make it."""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest

from hs_drill._cluster import ClusterError
from hs_drill.servers import _processes
from hs_drill.servers._mariadbd import REDO_SIZE
from hs_drill.servers._processes import Installation
from hs_drill.servers._template_cache import STALE_SECONDS, keep_template, kept_template


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("HS_DRILL_CACHE", str(folder))
    return folder


@pytest.fixture
def program(tmp_path: Path) -> str:
    path = tmp_path / "mariadbd"
    path.write_text("one version")
    return str(path)


@pytest.fixture
def template(tmp_path: Path) -> Path:
    (tmp_path / "template" / "mysql").mkdir(parents=True)
    (tmp_path / "template" / "mysql" / "user.frm").write_bytes(b"\0\xff")
    return tmp_path / "template"


def test_what_was_kept_is_found_whole_until_a_program_changes(cache: Path, program: str, template: Path) -> None:
    assert kept_template(program, "32M") is None
    keep_template(template, program, "32M")
    kept = kept_template(program, "32M")
    assert kept is not None
    assert [path.relative_to(kept) for path in kept.rglob("*")] == [Path("mysql"), Path("mysql/user.frm")]
    assert (kept / "mysql" / "user.frm").read_bytes() == b"\0\xff"
    assert kept_template(program, "64M") is None
    Path(program).write_text("another version")
    assert kept_template(program, "32M") is None


def test_only_its_owner_may_read_it(cache: Path, program: str, template: Path) -> None:
    keep_template(template, program)
    assert cache.stat().st_mode & 0o777 == 0o700


def test_the_default_is_the_users_cache(program: str, template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HS_DRILL_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    keep_template(template, program)
    kept = kept_template(program)
    assert kept is not None
    assert kept.parent == tmp_path / "xdg" / "hs-drill"


def test_none_is_kept_if_the_user_wants_none(
    cache: Path, program: str, template: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_template(template, program)
    monkeypatch.setenv("HS_DRILL_CACHE", "")
    assert kept_template(program) is None
    keep_template(template, program)


def test_where_nothing_can_be_written_nothing_happens(cache: Path, program: str, template: Path) -> None:
    cache.write_text("a file in its place")
    keep_template(template, program)
    assert kept_template(program) is None
    keep_template(template, f"{program}-missing")
    assert kept_template(f"{program}-missing") is None


def test_what_cannot_be_looked_at_or_is_another_users_is_not_used(
    cache: Path, program: str, template: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_template(template, program)
    with monkeypatch.context() as patch:
        patch.setattr(os, "geteuid", lambda: cache.stat().st_uid + 1)
        assert kept_template(program) is None

    def refuse(path: Path, **_: object) -> None:
        raise PermissionError(path)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "stat", refuse)
        assert kept_template(program) is None
    assert kept_template(program) is not None


def test_the_first_of_two_runs_wins_and_nothing_is_left_of_the_other(cache: Path, program: str, template: Path) -> None:
    keep_template(template, program)
    keep_template(template, program)
    assert len(list(cache.iterdir())) == 1


def test_what_a_killed_run_left_is_removed_once_it_is_old(cache: Path, program: str, template: Path) -> None:
    old, new = cache / "unfinished-old", cache / "unfinished-new"
    for path in (old, new):
        path.mkdir(parents=True)
    long_ago = time.time() - STALE_SECONDS - 1
    os.utime(old, (long_ago, long_ago))
    keep_template(template, program)
    assert not old.exists()
    assert new.exists(), "another run may be writing it"


async def test_the_second_run_creates_none(cache: Path, program: str, template: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    async def make(*_: object) -> Path:
        made.append(template)
        return template

    monkeypatch.setattr(_processes, "_make_template", make)
    sandbox: Any = None
    installation = Installation(program, program, Path("/"), "10.11")
    assert await _processes._template(sandbox, installation) == template
    assert await _processes._template(sandbox, installation) == kept_template(program, program, "10.11", REDO_SIZE)
    assert len(made) == 1


async def test_its_temporary_tables_are_nobody_elses(tmp_path: Path) -> None:
    """A server that starts removes those of others in the same directory: two runs that began at once failed."""
    commands: list[list[str]] = []

    def spawn(command: list[str], _: Path) -> NoReturn:
        commands.append(command)
        raise ClusterError("enough")

    sandbox: Any = SimpleNamespace(directory=tmp_path, spawn=spawn)
    with pytest.raises(ClusterError, match="enough"):
        await _processes._make_template(sandbox, Installation("mariadbd", "install", Path("/"), "10.11"))
    (place,) = [Path(one.removeprefix("--tmpdir=")) for one in commands[0] if one.startswith("--tmpdir=")]
    assert place.is_relative_to(tmp_path)
