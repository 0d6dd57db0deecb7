"""The healer: what it runs when the run's process ends or is killed, and what it does not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hs_drill._cluster import ClusterError
from hs_drill.sandbox import MARK_VARIABLE, _healer, _healing, open_healer
from tests.loadtest.support.processes import gone
from tests.support.patience import patience, wait_until

pytestmark = pytest.mark.process

OWNER = """
import sys, trio
from pathlib import Path
from hs_drill.sandbox import open_healer
from hs_drill.servers import ByCommand
from hs_drill.servers._commands import Output

async def main(place):
    async with open_healer(["s3cret"]) as healer:
        def add(what):
            return healer.add(["sh", "-c", f"echo {what} >> {place}/order; echo healed s3cret"], what, 60, place / "healed.txt")
        add("first")
        healer.done(add("done"))
        add("last")
        server = f"setsid sh -c 'echo $$ > {place}/server; exec sleep 600' &"
        script = f"{server} sleep 600 & echo $$ $! > {place}/command; wait"
        await ByCommand(None, {}, healer, Output()).run(["sh", "-c", script], 600, "kill", heals=True)

trio.run(main, Path(sys.argv[1]))
"""


def test_when_the_owner_is_killed_what_is_left_is_healed_the_last_first(tmp_path: Path) -> None:
    owner = subprocess.Popen([sys.executable, "-c", OWNER, str(tmp_path)], process_group=0)
    pids = [tmp_path / "command", tmp_path / "server"]
    wait_until(lambda: all(file.exists() and file.read_text().endswith("\n") for file in pids), "the command did not start")
    command, (server,) = (list(map(int, file.read_text().split())) for file in pids)
    os.killpg(owner.pid, signal.SIGKILL)
    owner.wait(patience(10))
    healed = tmp_path / "healed.txt"
    wait_until(lambda: healed.exists() and healed.read_text().count("exit status 0") == 2, "not healed")
    assert (tmp_path / "order").read_text().split() == ["last", "first"]
    text = healed.read_text()
    assert text.startswith("== last: sh -c ")
    assert "healed (hidden)" in text
    assert "s3cret" not in text
    assert all(map(gone, command)), "a command that was running when we were killed would strike after its healing"
    assert not gone(server), "a server that it had started in a session of its own stays, as at the command's time limit"
    os.kill(server, signal.SIGKILL)


def ignores(status: str) -> bool:
    """Whether a process with this status ignores all that the healer ignores."""
    found = int(status.partition("SigIgn:\t")[2].split()[0], 16)
    return all(found & 1 << (number - 1) for number in _healer.IGNORED)


class Talk:
    """A healer, spoken to by hand."""

    def __init__(self) -> None:
        self.process = subprocess.Popen([sys.executable, "-I", "-S", _healer.__file__], stdin=subprocess.PIPE)

    def say(self, raw: str = "", **message: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write((raw or json.dumps(message) + "\n").encode())
        self.process.stdin.flush()

    def end(self) -> int:
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(patience(20))


def added(argv: list[str], output: Path | None, one: str = "1", timeout: float = 60.0) -> dict[str, Any]:
    return {"add": one, "argv": argv, "what": "heal kill writer", "timeout": timeout, "output": output and str(output)}


def test_a_command_that_fails_does_not_keep_the_others_from_healing(tmp_path: Path) -> None:
    talk, output = Talk(), tmp_path / "healed.txt"
    talk.say(**added(["sh", "-c", "echo healed; grep SigIgn /proc/self/status"], output, "1"))
    talk.say(**added(["sh", "-c", "sleep 60"], output, "2", timeout=0.2))
    talk.say(**added(["/no/such/program"], output, "3"))
    talk.say(**added(["sh", "-c", "echo bad; exit 3"], output, "4"))
    talk.say(raw='{"done": "1')  # the owner was killed while it wrote
    status = Path(f"/proc/{talk.process.pid}/status")
    wait_until(lambda: ignores(status.read_text()), "it does not ignore signals")
    for number in _healer.IGNORED:
        talk.process.send_signal(number)
    assert talk.end() == 1
    text = output.read_text()
    endings = [line for line in text.splitlines() if line.startswith("== ") and "after" in line]
    assert [line.rpartition(", after")[0] for line in endings] == [
        "== exit status 3",
        "== cannot be started: [Errno 2] No such file or directory: '/no/such/program'",
        "== did not end within 0.2 s, and was killed",
        "== exit status 0",
    ]
    assert "bad\n" in text
    assert not ignores(text)


def test_without_anything_left_the_healer_runs_nothing(tmp_path: Path) -> None:
    talk = Talk()
    talk.say(**added(["touch", str(tmp_path / "touched")], None))
    talk.say(done="1")
    assert talk.end() == 0
    assert not (tmp_path / "touched").exists()


def marked(mark: str, group: int | None = None) -> subprocess.Popen[bytes]:
    return subprocess.Popen(["sleep", "600"], env={**os.environ, MARK_VARIABLE: mark}, process_group=group)


def test_a_command_that_has_ended_keeps_what_it_left_in_the_background() -> None:
    """As a server that a command has started."""
    sleeper, other = marked("x-1"), marked("x-2")
    try:
        talk = Talk()
        talk.say(started="x-1")
        talk.say(started="x-2")
        talk.say(ended="x-1")
        assert talk.end() == 0
        wait_until(lambda: other.poll() == -signal.SIGKILL, "it was not killed")
        assert sleeper.poll() is None
    finally:
        for process in (sleeper, other):
            process.kill()
            process.wait()


def test_of_a_command_that_runs_only_its_process_group_is_killed() -> None:
    command, server, unmarked = marked("x-1", 0), marked("x-1", 0), subprocess.Popen(["sleep", "600"], process_group=0)
    child, ended = marked("x-1", command.pid), marked("x-2", unmarked.pid)
    processes = (command, server, unmarked, child, ended)
    try:
        talk = Talk()
        for mark, pid in (("x-1", command.pid), ("x-2", unmarked.pid)):
            talk.say(started=mark)
            talk.say(pid=[mark, pid])
        assert talk.end() == 0
        assert [process.wait(patience(20)) for process in (command, child)] == [-signal.SIGKILL] * 2
        assert server.poll() is None, "it has a process group of its own"
        assert unmarked.poll() is ended.poll() is None, "the second command has ended, and its process id was used again"
    finally:
        for process in processes:
            process.kill()
            process.wait()


async def test_at_an_orderly_end_what_is_left_is_healed_too(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with open_healer([]) as healer:
        healer.add(["touch", str(tmp_path / "healed")], "heal kill writer", 60, None)
    assert (tmp_path / "healed").exists()
    assert "heal kill writer (exit status 0)" in caplog.text


async def test_for_what_was_left_the_user_is_told_how_each_command_ended_and_not_that_it_healed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with open_healer(["s3cret"]) as healer:
        healer.add(["false"], "heal kill writer", 60, None)
        healer.done(healer.add(["true"], "heal kill reader-1", 60, None))
        healer.add(["true"], "heal pause writer", 60, None)
        healer.add(["/no/s3cret"], "heal stop reader-1", 60, None)
    assert caplog.messages == [
        "ran at the end, and did not look whether that healed: "
        "heal stop reader-1 (cannot be started: [Errno 2] No such file or directory: '/no/(hidden)'), "
        "heal pause writer (exit status 0), heal kill writer (exit status 1); see healed.txt in the run's directory"
    ]


async def test_a_command_that_takes_longer_is_left_to_the_healer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(_healing, "CLOSE_SECONDS", 0.2)
    healed, go = tmp_path / "healed.txt", tmp_path / "go"
    async with open_healer([]) as healer:
        healer.add(["sh", "-c", f"while ! test -e {go}; do sleep 0.05; done"], "heal kill writer", 60, healed)
    assert caplog.messages == [
        f"process {healer._process.pid} still runs what is left, and does not look whether that healed: "
        "heal kill writer; see healed.txt in the run's directory"
    ]
    go.touch()
    assert healer._process.wait(patience(20)) == 0, "that nobody hears it any more is no failure"
    assert "exit status 0" in healed.read_text()


async def test_what_a_healer_that_was_killed_has_run_is_unknown(caplog: pytest.LogCaptureFixture) -> None:
    async with open_healer([]) as healer:
        healer.add(["true"], "heal kill writer", 60, None)
        healer._process.kill()
    assert "heal kill writer (unknown: the process that runs it was killed)" in caplog.text


async def test_nothing_is_begun_when_the_healer_is_gone() -> None:
    async with open_healer([]) as healer:
        healer._process.kill()
        healer._process.wait()
        with pytest.raises(ClusterError, match="has ended, so nothing is begun"):
            healer.add(["true"], "heal kill writer", 60, None)
        healer.done("1")
