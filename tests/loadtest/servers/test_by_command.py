"""Faults by commands of the user's own: when one has struck and healed, what is told, and what is left to heal."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from hs_drill._cluster import ClusterError
from hs_drill.sandbox import MARK_VARIABLE
from hs_drill.servers import _by_command
from hs_drill.servers._by_command import ByCommand, open_commands
from hs_drill.servers._commands import Command
from hs_drill.servers._control import Promotion
from tests.loadtest.support.commands import effects_as_files, shell
from tests.loadtest.support.nemesis import FakeControl
from tests.support.patience import patience, until

pytestmark = pytest.mark.process


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    effects_as_files(tmp_path, monkeypatch)
    return tmp_path


@asynccontextmanager
async def commands(given: Mapping[str, Command], place: Path) -> AsyncIterator[tuple[FakeControl, ByCommand]]:
    control = FakeControl()
    with trio.fail_after(patience(30)):
        async with open_commands(control, given):
            assert control.by_command is not None
            control.by_command.output.path = place / "commands.txt"
            yield control, control.by_command


async def test_a_fault_strikes_and_heals_when_that_is_seen(place: Path) -> None:
    """The commands end before their effect is there, and heal although they return at once."""
    kill = shell(f"(sleep 0.1; touch {place}/$1) &", f"(sleep 0.1; rm {place}/$1) &")
    async with commands({"kill": kill}, place) as (_, by_command):
        injection = by_command.injection("kill", "kill writer", "writer")
        await injection.strike()
        assert (place / "writer").exists()
        await injection.heal()
        assert not (place / "writer").exists()
    assert not (place / "healed.txt").exists(), "it had healed"
    headings = [line for line in (place / "commands.txt").read_text().splitlines() if line.startswith("== ") and "sh" in line]
    assert [heading.partition(":")[0] for heading in headings] == ["== kill writer", "== heal kill writer"]


async def test_a_command_that_changes_nothing_has_not_struck(place: Path) -> None:
    async with commands({"kill": shell("true", "true", 0.3)}, place) as (_, by_command):
        injection = by_command.injection("kill", "kill writer", "writer")
        with pytest.raises(ClusterError, match=r"^sh changed nothing: writer answers$"):
            await injection.strike()


async def test_a_healing_that_heals_nothing_is_told_and_tried_again(place: Path) -> None:
    kill = shell(f"touch {place}/$1", f"test -e {place}/repaired && rm {place}/$1; true", 0.3)
    async with commands({"kill": kill}, place) as (_, by_command):
        injection = by_command.injection("kill", "kill writer", "writer")
        await injection.strike()
        with pytest.raises(ClusterError, match=r"^sh changed nothing: writer refuses$"):
            await injection.heal()
        (place / "repaired").touch()
        await injection.heal()
        await injection.heal()  # nothing is left to heal
    assert (place / "commands.txt").read_text().count("== heal kill writer") == 2
    assert not (place / "healed.txt").exists()


async def test_what_something_else_has_healed_is_not_healed_again(place: Path) -> None:
    async with commands({"kill": shell(f"touch {place}/$1", "false")}, place) as (_, by_command):
        injection = by_command.injection("kill", "kill writer", "writer")
        await injection.strike()
        (place / "moot").touch()
        await injection.heal()
    assert not (place / "healed.txt").exists()


async def test_a_command_that_fails_is_told_and_may_be_healed_all_the_same(place: Path) -> None:
    kill = shell(f"touch {place}/$1; echo half done; exit 7", f"rm {place}/$1")
    async with commands({"kill": kill}, place) as (_, by_command):
        injection = by_command.injection("kill", "kill writer", "writer")
        with pytest.raises(ClusterError, match=r"^sh: exit status 7: half done$"):
            await injection.strike()
        await injection.heal()
        assert not (place / "writer").exists()


async def test_what_was_never_begun_is_not_healed(place: Path) -> None:
    (place / "writer").touch()
    async with commands({"kill": shell(f"touch {place}/begun", f"touch {place}/healed")}, place) as (_, by_command):
        injection = by_command.injection("kill", "kill writer", "writer")
        with pytest.raises(ClusterError, match=r"^writer is down already$"):
            await injection.strike()
        await injection.heal()
    assert not (place / "begun").exists()
    assert not (place / "healed").exists()


async def test_what_is_left_when_the_run_ends_is_healed(place: Path) -> None:
    """Cancelled while the command runs: it is killed, and what it has done is healed."""
    kill = shell(f"touch {place}/$1; touch {place}/begun; sleep 60", f"rm {place}/$1; echo healed $1")
    with trio.CancelScope() as scope:
        async with commands({"kill": kill}, place) as (_, by_command), trio.open_nursery() as nursery:
            nursery.start_soon(by_command.injection("kill", "kill reader-1", "reader-1").strike)
            await until((place / "begun").exists)
            scope.cancel()
    assert not (place / "reader-1").exists()
    assert "== heal kill reader-1" in (place / "healed.txt").read_text()


async def test_what_nothing_heals_goes_on_until_its_end(place: Path) -> None:
    """A promotion that is cut off in the middle would leave the servers without a primary."""
    promote = shell(f"touch {place}/begun; sleep 0.3; touch {place}/$1")
    with trio.CancelScope() as scope:
        async with commands({"promote": promote}, place) as (_, by_command), trio.open_nursery() as nursery:
            nursery.start_soon(by_command.injection("promote", "promote standby", "standby").strike)
            await until((place / "begun").exists)
            scope.cancel()
    assert (place / "standby").exists()
    assert "== exit status 0, after" in (place / "commands.txt").read_text()


async def test_a_healing_under_way_goes_on_until_its_effect_is_seen(place: Path) -> None:
    """One that restores data must not be killed half way, and then run again."""
    kill = shell(f"touch {place}/$1", f"echo begun >> {place}/healing; sleep 0.3; (sleep 0.3; rm {place}/$1) &")
    with trio.CancelScope() as scope:
        async with commands({"kill": kill}, place) as (_, by_command), trio.open_nursery() as nursery:
            injection = by_command.injection("kill", "kill writer", "writer")
            await injection.strike()
            nursery.start_soon(injection.heal)
            await until((place / "healing").exists)
            scope.cancel()
    assert not (place / "writer").exists()
    assert (place / "healing").read_text().split() == ["begun"]
    assert not (place / "healed.txt").exists(), "it had healed"
    assert "== exit status 0, after" in (place / "commands.txt").read_text().rpartition("== heal kill writer")[2]


async def test_a_healing_under_way_has_no_more_than_its_time(place: Path) -> None:
    kill = shell(f"touch {place}/$1", f"touch {place}/healing; exec sleep 60", 0.5)
    with trio.CancelScope() as scope:
        async with commands({"kill": kill}, place) as (_, by_command):
            injection = by_command.injection("kill", "kill writer", "writer")
            await injection.strike()
            scope.cancel()
            with pytest.raises(ClusterError, match=r"^sh: did not end within 0\.5 s, and was killed"):
                await injection.heal()
    assert (place / "healing").exists()


async def test_what_is_left_is_healed_for_the_primary_of_then(place: Path) -> None:
    heal = ("sh", "-c", f"echo $1 $2 >> {place}/follow", "sh", "{server}", "{primary}")
    kill = Command(("sh", "-c", f"touch {place}/$1", "sh", "{server}"), heal)
    async with commands({"kill": kill}, place) as (control, by_command):
        for name in ("reader-1", "reader-2"):
            await by_command.injection("kill", f"kill {name}", name).strike()
        control.note_promotion(Promotion("standby", 2.0, 1.0))
    assert (place / "follow").read_text().splitlines() == ["reader-2 standby", "reader-1 standby"]


async def test_no_other_run_has_the_marks_of_this_one(place: Path) -> None:
    """Its process id may be reused, and a server that a command of an earlier run has started still has that run's mark."""
    show = Command(("sh", "-c", f"echo ${MARK_VARIABLE} >> {place}/marks"))
    for _ in range(2):
        async with commands({"faults.0": show}, place) as (_, by_command):
            for _ in range(2):
                await by_command.injection("faults.0", "command show", None).strike()
    marks = (place / "marks").read_text().split()
    assert len(set(marks)) == len(marks) == 4


async def test_a_command_gets_the_values_of_its_server_and_of_the_primary(place: Path) -> None:
    argv = (
        "sh",
        "-c",
        'echo "$@"; touch ' + f"{place}/$1",
        "sh",
        "{server}",
        "{host}:{read_port}:{write_port}",
        "{primary}",
        "{{}}",
    )
    async with commands({"kill": Command(argv)}, place) as (control, by_command):
        control.primary = "standby"
        await by_command.injection("kill", "kill writer", "writer").strike()
        with pytest.raises(ClusterError, match=r"^there is no command for it: name one as cluster\.commands\.pause$"):
            by_command.injection("pause", "pause writer", "writer")
    assert "\nwriter 127.0.0.1:1:2 standby {}\n" in (place / "commands.txt").read_text()


async def test_a_command_without_a_server_has_struck_when_its_exit_status_is_0(place: Path) -> None:
    lease = Command(("sh", "-c", "echo $1 holds the lease", "sh", "{primary}"), ("sh", "-c", "echo again"))
    async with commands({"faults.0": lease, "faults.1": Command(("false",))}, place) as (_, by_command):
        injection = by_command.injection("faults.0", "command drop the lease", None)
        await injection.strike()
        await injection.heal()
        with pytest.raises(ClusterError, match=r"^false: exit status 1 \(it printed nothing\)$"):
            await by_command.injection("faults.1", "command fail", None).strike()
    text = (place / "commands.txt").read_text()
    assert "== command drop the lease: sh -c" in text
    assert "writer holds the lease" in text
    assert "== heal command drop the lease" in text


async def test_a_promotion_that_a_command_has_made_is_told_from_others(place: Path) -> None:
    async with commands({"promote": shell(f"touch {place}/$1")}, place) as (control, by_command):
        ordered, other = Promotion("standby", 2.0, 1.0), Promotion("reader-1", 1.5, 1.0)
        injection = by_command.injection("promote", "promote standby", "standby")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(injection.strike)
            await until((place / "standby").exists)
            control.note_promotion(other)
            control.note_promotion(ordered)
        assert injection.note == ""
        assert by_command.ordered(ordered)
        assert not by_command.ordered(other)
        assert not by_command.ordered(Promotion("standby", 9.0, 8.0)), "a later one of the same server"


async def test_a_promotion_that_the_watch_does_not_notice_is_told(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_by_command, "NOTED_SECONDS", 0.1)
    async with commands({"promote": shell(f"touch {place}/$1")}, place) as (_, by_command):
        injection = by_command.injection("promote", "promote standby", "standby")
        await injection.strike()
        assert injection.note == "the watch on the primary has not noticed it within 0.1 s"


async def test_without_anything_to_heal_there_is_no_healer(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(secrets: object) -> None:
        raise AssertionError("a healer")

    monkeypatch.setattr(_by_command, "open_healer", refuse)
    async with commands({"promote": shell("true")}, place):
        pass
    control = FakeControl()
    async with open_commands(control, {}):
        assert control.by_command is None
