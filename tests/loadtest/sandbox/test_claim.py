"""The directory of a killed run, with its servers' secrets, is removed by the next run. Other directories stay."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hs_drill.sandbox import _guardian, open_sandbox
from hs_drill.sandbox._claim import claim, remove_abandoned
from tests.support.patience import until, wait_until

pytestmark = pytest.mark.process

HOLDER = """
import sys, trio
from hs_drill.sandbox import open_sandbox

async def main():
    async with open_sandbox(None, print) as sandbox:
        sandbox.write_secret_file(sandbox.directory / "server.cnf", "secret")
        (sandbox.directory / "data").mkdir()
        (sandbox.directory / "data/t.ibd").write_text("rows")
        print(sandbox.directory, sandbox._guardian.pid, flush=True)
        await trio.sleep_forever()

trio.run(main)
"""


class Holder:
    """A run in a process of its own."""

    def __init__(self, temporary: Path) -> None:
        environment = {**os.environ, "TMPDIR": str(temporary)}
        self.process = subprocess.Popen([sys.executable, "-c", HOLDER], stdout=subprocess.PIPE, text=True, env=environment)
        assert self.process.stdout is not None
        directory, guardian = self.process.stdout.readline().split()
        self.directory = Path(directory)
        self.guardian = int(guardian)

    def kill(self) -> None:
        """Kill it together with its guardian, the guardian first."""
        guardian = os.pidfd_open(self.guardian)  # nobody's child here: its end, and that of its hold, is seen through this
        os.kill(self.guardian, signal.SIGKILL)
        self.process.kill()
        self.process.wait()
        wait_until(lambda: bool(select.select([guardian], [], [], 0)[0]), "the guardian does not end")
        os.close(guardian)


@pytest.fixture
def holder(temporary: Path) -> Iterator[Holder]:
    made = Holder(temporary)
    with made.process:
        yield made
        made.process.kill()


async def test_the_next_run_removes_the_directory_of_a_killed_run_and_says_so(holder: Holder, temporary: Path) -> None:
    told: list[str] = []
    async with open_sandbox(None, told.append):
        assert told == []  # the other run lives
        assert (holder.directory / "server.cnf").read_text() == "secret"
    holder.kill()
    assert (holder.directory / "server.cnf").exists()
    async with open_sandbox(None, told.append) as sandbox:
        assert told == [f"removed directories of killed runs: {holder.directory}"]
        assert os.listdir(temporary) == [sandbox.directory.name]
    assert os.listdir(temporary) == []


async def test_a_stopped_run_keeps_its_directory(holder: Holder) -> None:
    os.kill(holder.guardian, signal.SIGKILL)
    os.kill(holder.process.pid, signal.SIGSTOP)
    assert remove_abandoned({os.geteuid()}) == []
    assert holder.directory.exists()
    holder.kill()
    # A process that was sent SIGKILL may hold its files a moment longer.
    await until(lambda: str(holder.directory) in remove_abandoned({os.geteuid()}), "the directory is never removed")
    assert not holder.directory.exists()


def abandoned(directory: Path) -> Path:
    """A directory as a killed run leaves it."""
    directory.mkdir(0o700)
    os.close(claim(directory))
    (directory / "precious").write_text("precious")
    return directory


def test_only_what_is_certainly_ours_is_removed(temporary: Path) -> None:
    names = iter(f"trio-hs-{number:012x}" for number in range(100))
    abandoned(temporary / "trio-hs-locust-5")
    abandoned(temporary / "other")
    abandoned(temporary / next(names)).chmod(0o755)
    (abandoned(temporary / next(names)) / _guardian.CLAIM).unlink()
    (abandoned(temporary / next(names)) / _guardian.CLAIM).write_text("another text")
    linked = abandoned(temporary / next(names))
    os.link(linked / _guardian.CLAIM, temporary / "link")
    behind = abandoned(temporary / next(names))
    (behind / _guardian.CLAIM).rename(temporary / "moved")
    (behind / _guardian.CLAIM).symlink_to(temporary / "moved")
    pipe = abandoned(temporary / next(names))
    (pipe / _guardian.CLAIM).unlink()
    os.mkfifo(pipe / _guardian.CLAIM)
    (temporary / next(names)).symlink_to(abandoned(temporary / "target"))
    abandoned(temporary / "before").rename(temporary / next(names))  # the claim is on another path
    (temporary / next(names)).write_text("a file")
    before = sorted(temporary.rglob("*"))
    assert remove_abandoned({os.geteuid()}) == []
    assert sorted(temporary.rglob("*")) == before
    ours = abandoned(temporary / next(names))
    (ours / "elsewhere").symlink_to(temporary / "other")
    assert remove_abandoned({os.geteuid() + 1}) == []
    assert remove_abandoned({os.geteuid()}) == [str(ours)]
    assert sorted(temporary.rglob("*")) == before


def test_the_claim_is_the_last_to_go(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it no run would remove the rest."""
    ours = abandoned(temporary / "trio-hs-000000000001")
    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", lambda *args, **options: (_ for _ in ()).throw(PermissionError))
        _guardian._remove_directory(str(ours))
    assert {path.name for path in ours.iterdir()} == {_guardian.CLAIM, "precious"}
