"""Commands of the user's own: how each way to fail is told, what is kept of their output, and what is left of them."""

from __future__ import annotations

import os
import signal
from functools import partial
from pathlib import Path

import pytest
import trio

from hs_drill._cluster import ClusterError, Server
from hs_drill.servers import _commands
from hs_drill.servers._commands import Output, fill, run, secrets_of
from tests.loadtest.support.processes import gone
from tests.support.patience import patience, until

pytestmark = pytest.mark.process

LONG = 60.0
"""Seconds that no test waits for."""


@pytest.fixture
def output(tmp_path: Path) -> Output:
    output = Output(["s3cret-password", "s3cret"])
    output.path = tmp_path / "commands.txt"
    return output


def shell(script: str) -> list[str]:
    return ["sh", "-c", script]


async def refused(output: Output, argv: list[str], timeout: float = LONG) -> str:
    with trio.fail_after(patience(20)), pytest.raises(ClusterError) as error:
        await run(argv, timeout, output, "kill writer")
    return str(error.value)


def kept(output: Output) -> str:
    assert output.path is not None
    return output.path.read_text()


def test_placeholders_are_filled_once_and_doubled_braces_are_braces() -> None:
    values = {"server": "{primary}", "primary": "db1"}
    assert fill(["a", "{server}-{primary}", "{{server}} }}{{"], values) == ["a", "{primary}-db1", "{server} }{"]
    with pytest.raises(ClusterError, match=r"^a: there is no \{sql_port\} here \(only primary, server\)$"):
        fill(["a", "{sql_port}"], values)


@pytest.mark.parametrize(
    "script, message",
    [
        ("echo one; echo '  two   words '; echo; exit 3", "sh: exit status 3: two words"),
        ("exit 1", "sh: exit status 1 (it printed nothing)"),
        ("echo on stderr >&2; exit 1", "sh: exit status 1: on stderr"),
        ("kill -KILL $$", "sh: killed by SIGKILL (it printed nothing)"),
        ("printf '\\377'; exit 1", "sh: exit status 1: \N{REPLACEMENT CHARACTER}"),
    ],
)
async def test_a_command_that_fails_is_told_in_one_line(output: Output, script: str, message: str) -> None:
    assert await refused(output, shell(script)) == message


async def test_a_program_that_cannot_be_started_is_told(output: Output, tmp_path: Path) -> None:
    assert await refused(output, [f"{tmp_path}/no"]) == f"{tmp_path}/no: cannot be started: No such file or directory" + (
        " (it printed nothing)"
    )
    script = tmp_path / "script"
    script.write_text("echo no first line\n")
    script.chmod(0o755)
    assert "cannot be started: Exec format error" in await refused(output, [str(script)])


async def test_a_command_that_hangs_is_killed_with_what_it_has_started(output: Output, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    message = await refused(output, shell(f"sleep {LONG} & echo $$ $! > {pids}; echo waiting; wait"), 0.5)
    assert message == "sh: did not end within 0.5 s, and was killed: waiting"
    for pid in map(int, pids.read_text().split()):
        await until(partial(gone, pid), "it lives on")
    assert "did not end within 0.5 s" in kept(output)


async def test_a_cancelled_command_is_killed_with_what_it_has_started(output: Output, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, shell(f"trap '' TERM; sleep {LONG} & echo $$ $! > {pids}; wait"), LONG, output, "kill writer")
        await until(lambda: pids.exists() and len(pids.read_text().split()) == 2)
        nursery.cancel_scope.cancel()
    for pid in map(int, pids.read_text().split()):
        await until(partial(gone, pid), "it lives on")
    assert "== cancelled, after" in kept(output)


async def test_what_a_command_leaves_in_the_background_lives_on_and_is_not_waited_for(output: Output, tmp_path: Path) -> None:
    """As a server that a command starts. It may print more, which goes nowhere and does not end it."""
    go, pid, printed = (tmp_path / name for name in ("go", "pid", "printed"))
    later = f"(while ! test -e {go}; do sleep 0.02; done; echo more && touch {printed}; sleep {LONG}) & echo $! > {pid}"
    with trio.fail_after(patience(20)):
        await run(shell(later), LONG, output, "heal kill writer")
    go.touch()
    await until(printed.exists)
    server = int(pid.read_text())
    assert not gone(server)
    os.kill(server, signal.SIGKILL)
    assert "\nmore\n" not in kept(output)


async def test_a_command_hears_signals_has_no_input_and_none_of_our_files(output: Output) -> None:
    """The controller ignores SIGINT and SIGTERM; a server that inherited that could not be stopped."""
    ours, theirs = os.pipe()
    os.set_inheritable(theirs, True)
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        await run(
            shell("grep SigIgn /proc/self/status; ls -l /proc/self/fd; cat; ps -o sid= $$; echo $$"),
            LONG,
            output,
            "kill writer",
        )
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(theirs)
        os.close(ours)
    text = kept(output)
    ignored = int(text.partition("SigIgn:\t")[2].split()[0], 16)
    assert not [number for number in _commands.DEFAULTS if ignored & 1 << (number - 1)]
    assert "pipe:" not in text.replace("0 -> pipe", "")
    lines = text.splitlines()
    assert lines[-3].strip() == lines[-4].strip(), "it has no session of its own"


async def test_secrets_are_hidden_in_the_message_and_in_the_file(output: Output) -> None:
    message = await refused(output, shell("echo s3cret s3cret-password; echo end s3cret-password; exit 1"))
    assert message == "sh: exit status 1: end (hidden)"
    text = kept(output)
    assert "s3cret" not in text
    assert "(hidden) (hidden)" in text


def test_short_secrets_are_not_hidden_and_longer_ones_come_first() -> None:
    server = Server("writer", "db1", 1, 2, "abc", "abcd", admin_password="abcdef", load_password="")
    assert secrets_of([server]) == ["abcdef", "abcd"]


async def test_output_is_kept_in_one_file_up_to_a_bound(output: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_commands, "KEPT_BYTES", 2_000)
    await run(shell("echo hello"), LONG, output, "kill writer")
    assert kept(output).startswith("== kill writer: sh -c echo hello\nhello\n== exit status 0, after ")
    for _ in range(10):
        await run(shell("echo first; yes | head -c 5000; echo last"), LONG, output, "kill reader-1")
    text = kept(output)
    assert 1_900 < len(text) <= 2_000
    assert "first" in text
    assert "(...)" in text
    assert text.endswith("(more output was not kept)\n")


async def test_a_command_that_prints_without_end_is_killed(output: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_commands, "MOST_BYTES", 1_000_000)
    assert await refused(output, ["yes"]) == "yes: printed more than 1 MB, and was killed: y"


async def test_without_a_run_that_keeps_it_output_is_not_kept() -> None:
    await run(shell("echo hello"), LONG, Output(), "kill writer")
