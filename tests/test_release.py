"""What the release script makes of the changelog and of the README, what it refuses, and what it leaves behind.

Its builds and installations run in `./dev release`.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path

import pytest

import trio_hs
from scripts import release
from scripts.release import PLACEHOLDER, notes, with_links
from tests.support.patience import patience, wait_until

ROOT = Path(__file__).parents[1]


def test_the_notes_are_the_version_s_section_of_the_changelog() -> None:
    changelog = "# Changelog\n\n## Unreleased\n\n- new\n\n## 0.1.0\n\n- old\n\n### Added\n\n- more\n\n## 0.0.1\n\n- oldest\n"
    assert notes(changelog, "0.1.0") == "- old\n\n### Added\n\n- more\n"
    assert notes(changelog, "0.0.1") == "- oldest\n"
    with pytest.raises(ValueError, match=r"no section for 0\.1: cut it from Unreleased"):
        notes(changelog, "0.1")
    assert notes((ROOT / "CHANGELOG.md").read_text(), trio_hs.__version__)


def test_links_into_the_repository_become_absolute_or_plain() -> None:
    text = "[a](docs/a.md#part), [b](https://b.example/), [c](#here), ![d](d.svg), [`e` [f]](../README.md)"
    assert with_links(text, "", "1.0") == "a, [b](https://b.example/), [c](#here), d, `e` [f]"
    assert with_links(text, "https://u.example/r", "1.0", "loadtest") == (
        "[a](https://u.example/r/blob/v1.0/loadtest/docs/a.md#part), [b](https://b.example/), [c](#here), "
        "![d](https://u.example/r/raw/v1.0/loadtest/d.svg), [`e` [f]](https://u.example/r/blob/v1.0/README.md)"
    )


@pytest.mark.parametrize("folder", ["", "loadtest"])
def test_both_distributions_have_what_a_release_replaces(folder: str) -> None:
    assert PLACEHOLDER in (ROOT / folder / "pyproject.toml").read_text()
    assert not re.search(r"\]\((?!https?://|#)", with_links((ROOT / folder / "README.md").read_text(), "", "1.0"))


@pytest.mark.parametrize(
    "url",
    [
        "", "not a url", "foo", "file:///etc", "https://", "https:///path", "code.example/trio-hs", "http://[", "https://h:port/r",
        "https://user:token@code.example/r", "https://@h/r", "https://code.example/r?tab=1", "https://code.example/r#readme", "https://h/(a)",
        'https://h/a"b', "https://h/a\\b", "https://h/a`b", "https://h/[a]", "https://h/r?", "https://h/r#", "https://h/a|b", "https://h/{a}",
    ],
)  # fmt: skip
def test_a_url_that_is_none_is_refused_before_anything_runs(
    url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(release, "run", None)
    with pytest.raises(SystemExit) as ended:
        release.main(["--url", url])
    assert ended.value.code == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == f"release: --url must be like https://code.example/trio-hs, not {url!r}\n"


@pytest.mark.parametrize("url", ["http://h:8080/~a/b_c.d%20e", "https://code.example/@group/sub/trio-hs", "https://h"])
def test_a_url_that_links_can_have_is_taken(url: str) -> None:
    assert release.checked_url(url) == release.checked_url(f"{url}/") == url


def test_headings_alone_are_no_unreleased_entries() -> None:
    assert not release.unreleased("# Changelog\n\n## 0.1.0\n\n- old\n")
    assert not release.unreleased("# Changelog\n\n## Unreleased\n\n### Fixed\n\n## 0.1.0\n\n- old\n")
    assert release.unreleased("# Changelog\n\n## Unreleased\n\n### Fixed\n\n- new\n\n## 0.1.0\n\n- old\n")


@pytest.mark.parametrize(
    "changelog, needed, tagged, refused",
    [
        ("## Unreleased\n\n## 1.2\n\n- x\n", "1.2", "", None),
        ("## 1.2\n\n- x\n", "1.2", "this", None),
        ("## Unreleased\n\n- new\n\n## 1.2\n\n- x\n", "1.2", "", "CHANGELOG.md has entries under Unreleased: cut them"),
        ("## 1.2\n\n- x\n", "1.1", "", 'loadtest/pyproject.toml must depend on "trio-hs[testing]==1.2"'),
        ("## 1.2\n\n- x\n", "1.2", "other", "the tag v1.2 is another commit: raise __version__"),
    ],
)  # fmt: skip
def test_only_what_is_the_version_is_built(
    changelog: str, needed: str, tagged: str, refused: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "loadtest").mkdir()
    (tmp_path / "loadtest" / "pyproject.toml").write_text(f'dependencies = ["trio-hs[testing]=={needed}"]\n')
    git = {("git", "tag", "--list", "v1.2"): tagged and "v1.2\n", ("git", "rev-list", "-1", "v1.2"): tagged}
    monkeypatch.setattr(release, "ROOT", tmp_path)
    monkeypatch.setattr(release, "run", lambda *command: git.get(command, "this"))
    with nullcontext() if refused is None else pytest.raises(SystemExit, match=re.escape(refused)):
        release.check_version("1.2", changelog, draft=False)
    with nullcontext() if needed == "1.2" else pytest.raises(SystemExit):
        release.check_version("1.2", changelog, draft=True)


@pytest.mark.parametrize("good", [True, False])
def test_dist_is_replaced_by_a_release_that_is_good_and_stays_otherwise(
    good: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, temporary = sources(tmp_path), tmp_path / "temporary"
    (root / "dist").mkdir()
    (root / "dist" / "old.whl").touch()

    def run(*command: str | Path, cwd: Path = root) -> str:
        if "--outdir" in command:
            Path(command[command.index("--outdir") + 1]).mkdir(exist_ok=True)
            Path(command[command.index("--outdir") + 1], "new.whl").touch()
        return ""

    def check(*_: object) -> None:
        if not good:
            release.fail("it is not good")

    for name, instead in {"ROOT": root, "run": run, "check_harness": check}.items():
        monkeypatch.setattr(release, name, instead)
    for name in ("copy_of_what_is_committed", "check_contents", "check_client"):
        monkeypatch.setattr(release, name, lambda *_: None)
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.setenv("TMPDIR", str(temporary))  # which the script sets
    if good:
        release.main(["--url", "https://code.example/trio-hs/"])
    else:
        with pytest.raises(SystemExit, match="it is not good"):
            release.main([])
    assert {path.name for path in (root / "dist").iterdir()} == ({"new.whl", "RELEASE-NOTES.md"} if good else {"old.whl"})
    assert {path.name for path in root.iterdir()} == {"dist", "scripts", "trio_hs", "loadtest", "CHANGELOG.md", "README.md"}
    assert list(temporary.iterdir()) == []


@pytest.mark.process
def test_a_signal_while_a_folder_is_made_leaves_nothing(tmp_path: Path) -> None:
    program = """
import os, pathlib, signal, sys, tempfile
from scripts import release

make, here = tempfile.mkdtemp, pathlib.Path(sys.argv[1])

def interrupted(*arguments):
    (probe := here / "probe").touch()  # as Python does, to try where it can write
    os.kill(os.getpid(), signal.SIGTERM)
    probe.unlink()
    return make(*arguments)

tempfile.mkdtemp = interrupted
release.exit_on_signals()
with release.temporary_folder("made-", here):
    print("the signal came too late")
"""
    # In a process of its own: pytest's has more threads, and any of them may get the signal.
    command = [sys.executable, "-c", program, str(tmp_path)]
    ended = subprocess.run(command, cwd=release.ROOT, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (128 + signal.SIGTERM, "", "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.process
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.usefixtures("hangup")
def test_a_signal_ends_it_and_its_programs_without_a_trace(signum: signal.Signals, tmp_path: Path) -> None:
    root, temporary = sources(tmp_path), tmp_path / "temporary"
    git = tmp_path / "bin" / "git"
    git.parent.mkdir()
    git.write_text('#!/bin/sh\n[ "$1" = status ] || [ "$1" = tag ] || (while true; do date >"$TMPDIR/$$"; sleep 0.01; done)\n')
    git.chmod(0o755)
    process = subprocess.Popen(
        [sys.executable, root / "scripts" / "release.py"],
        env={**os.environ, "PATH": f"{git.parent}:{os.environ['PATH']}", "TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_until(lambda: any(path.is_file() for path in temporary.rglob("*")), "nothing runs")
        process.send_signal(signum)
        assert process.communicate(timeout=patience(30)) == ("", "")
        assert process.returncode == 128 + signum
        assert list(temporary.iterdir()) == []
        assert not (root / "dist").exists()
    finally:
        process.kill()
        process.wait()


def sources(folder: Path) -> Path:
    """As much of the repository as the script reads itself, and a folder for temporary files beside it."""
    root = folder / "root"
    (folder / "temporary").mkdir()
    for name in ("scripts/release.py", "trio_hs/__init__.py", "loadtest/pyproject.toml", "README.md"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(release.ROOT / name, root / name)
    (root / "CHANGELOG.md").write_text(f"## Unreleased\n\n## {trio_hs.__version__}\n\n- new\n")
    return root
