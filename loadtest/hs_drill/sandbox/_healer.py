"""The healer, which heals faults of a run's own commands if the run's process is killed. A small program.

It is run by path, with the standard library alone:

    python -I -S _healer.py   (standard input: a pipe that the owner of the run holds open)

The owner writes a JSON object in each line:

    {"secrets": [TEXT, ...]}: what its file must not show
    {"add": ID, "argv": [...], "what": TEXT, "timeout": SECONDS, "output": FILE or null}: before a fault's command is started,
        and again if what heals has changed, because another server is the primary
    {"done": ID}: its fault has healed
    {"started": MARK}: a command with this mark in its environment is about to be started
    {"pid": [MARK, PID]}: it is this process, which leads a process group
    {"ended": MARK}: it has ended

When its standard input ends, because the owner closed it or was killed, it kills the commands that still run, runs the commands
that are left, the last one first, and ends. What they print is appended to FILE. How each ended goes to standard output, as a
JSON object in each line, `{"id": ID, "ending": TEXT}`. Whether that healed the fault is unknown: nobody looks for it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

MARK_VARIABLE = "TRIO_HS_COMMAND"
"""Environment variable of every command: its mark."""
KEPT = 100_000
"""The most characters of a command's output that are kept."""
END_SECONDS = 5.0
"""How long to try to end commands that still run."""
IGNORED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def main() -> bool:
    """Wait until the owner ends, then run what is left. False if one of the commands failed."""
    for number in IGNORED:  # systemd sends SIGTERM to every process of a service at once
        signal.signal(number, signal.SIG_IGN)
    left: dict[str, dict[str, Any]] = {}
    running: dict[str, int | None] = {}
    secrets: list[str] = []
    for line in sys.stdin.buffer:
        try:
            message = json.loads(line)
        except ValueError:  # the owner was killed while it wrote: what it had not added yet has not begun
            continue
        if "add" in message:
            left[message["add"]] = message
        left.pop(message.get("done", ""), None)
        if "started" in message:
            running[message["started"]] = None
        if "pid" in message:
            mark, running[mark] = message["pid"]
        running.pop(message.get("ended", ""), None)
        secrets = message.get("secrets", secrets)
    if running:
        end_commands(running)
    succeeded = [heal(one, secrets) for one in reversed(left.values())]  # all of them, also after one that failed
    return all(succeeded)


def end_commands(running: dict[str, int | None]) -> None:
    """Kill the commands that still run, so that none does its work after it was healed. By mark, with the process, if known.

    Of a command whose process is known, only its process group is killed, as when it takes too long: a server that it has
    started in a session of its own stays. If that process is gone, the command has ended, and what it has left stays too.
    """
    commands = [(mark, pid) for mark, pid in running.items() if pid is None or pid in _processes(mark)]
    deadline = time.monotonic() + END_SECONDS
    while (left := {target for mark, pid in commands for target in _targets(mark, pid)}) and time.monotonic() < deadline:
        for target in left:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(target, signal.SIGKILL)
        time.sleep(0.02)  # one that is being killed may still have started another


def _targets(mark: str, group: int | None) -> Iterator[int]:
    """What to kill of a command: its process group, as a negative number, while a marked process is in it; or without a
    group, each marked process."""
    for pid in _processes(mark):
        if group is None:
            yield pid
        else:
            with suppress(ProcessLookupError):
                if os.getpgid(pid) == group:
                    yield -group


def _processes(mark: str) -> Iterator[int]:
    marked = f"{MARK_VARIABLE}={mark}".encode()
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != os.getpid():
            try:
                with open(f"/proc/{entry}/environ", "rb") as file:
                    if marked in file.read().split(b"\0"):
                        yield int(entry)
            except OSError:  # it is gone, or belongs to another user
                pass


def heal(one: dict[str, Any], secrets: list[str]) -> bool:
    """Run a command that heals, append what became of it to its file, and report it. False if it failed."""
    begin = time.monotonic()
    with tempfile.TemporaryFile() as file:  # not a pipe: it may leave a server in the background
        ending = _run(one, file)
        file.seek(0)
        printed = file.read(2 * KEPT).decode(errors="replace").strip()
    command, became = " ".join(one["argv"]), ending or "exit status 0"
    for secret in secrets:  # before it is cut, or a part of one would stay
        printed, command, became = (text.replace(secret, "(hidden)") for text in (printed, command, became))
    seconds = time.monotonic() - begin
    text = f"== {one['what']}: {command}\n{printed[:KEPT]}\n== {became}, after {seconds:.1f} s\n\n"
    if one["output"] is not None:
        with suppress(OSError), open(one["output"], "a", encoding="utf-8") as kept:
            kept.write(text)
    with suppress(OSError):  # the owner is gone
        os.write(1, json.dumps({"id": one["add"], "ending": became}).encode() + b"\n")
    return not ending


def _run(one: dict[str, Any], output: Any) -> str:
    """How it ended, in words; "" if its exit status was 0."""
    try:
        process = subprocess.Popen(
            one["argv"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=_hear_signals,  # there are no other threads
        )
    except (OSError, subprocess.SubprocessError) as error:
        return f"cannot be started: {error}"
    try:
        code = process.wait(one["timeout"])
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        return f"did not end within {one['timeout']:g} s, and was killed"
    return "" if code == 0 else f"exit status {code}" if code > 0 else f"killed by signal {-code}"


def _hear_signals() -> None:
    """A program inherits which signals are ignored, and then a server that it starts could not be stopped."""
    for number in IGNORED:
        signal.signal(number, signal.SIG_DFL)


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
