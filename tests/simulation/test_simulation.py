"""Runs of the simulation for CI, and that a seed always gives the same run."""

from __future__ import annotations

import random
import subprocess
import sys

import pytest

from tests.support.amount import amount
from tests.support.patience import patience

from .__main__ import main
from .fleet import simulate
from .model import Counter, Model
from .runner import run


@pytest.mark.process
@pytest.mark.slow
def test_runs_with_known_seeds() -> None:
    assert simulate("ci", 0, amount(30, 300), jobs=2) == []


@pytest.mark.process
@pytest.mark.slow
def test_runs_with_new_seeds() -> None:
    seed = f"ci-{random.SystemRandom().randrange(10**9)}"
    assert simulate(seed, 0, amount(50, 300), jobs=2) == []


@pytest.mark.parametrize("number", range(3))
def test_a_seed_replays_exactly(number: int) -> None:
    first = run(f"replay:{number}")
    # Another number of tasks and another state of the memory must not matter.
    run("something else")
    assert run(f"replay:{number}") == first
    assert len(first.log) > 20


@pytest.mark.process
def test_a_seed_replays_exactly_in_another_process() -> None:
    """Under another seed of Python's hashes, so that the order of no set can matter."""
    command = [sys.executable, "-m", "tests.simulation", "--replay", "replay:7", "-v"]
    logs = [
        subprocess.run(command, capture_output=True, check=True, env={"PYTHONHASHSEED": seed}, timeout=patience(60)).stdout
        for seed in ("1", "2")
    ]
    assert logs[0] == logs[1]
    assert logs[0].decode() == "\n".join([*run("replay:7").log, "no violation", ""])


def test_violations_give_a_failing_exit_code(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("trio_hs._dispatch._dispatcher.parse_number", lambda line: 7)
    assert main(["--replay", "exit:1"]) == 1
    assert "counted 7" in capsys.readouterr().out


def test_failing_seeds_are_printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("trio_hs._dispatch._dispatcher.parse_number", lambda line: 7)
    assert main(["--runs", "2", "--first", "5", "--seed", "exit", "--jobs", "1"]) == 1
    printed = capsys.readouterr().out
    assert "replay: ./dev simulate --replay exit:5 -v\n" in printed
    assert "2 runs in" in printed
    assert printed.endswith("2 failed\n")


def test_wrong_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--runs", "0"])
    assert ended.value.code == 2
    assert "must be at least 1" in capsys.readouterr().err


# ---- the judge


def test_a_row_holds_what_was_acknowledged_or_is_in_doubt() -> None:
    row = Model(0).new_row(5)
    first, second, third = row.next_value(), row.next_value(), row.next_value()
    row.done(first)
    assert row.possible == {first}
    row.doubted(second)
    assert row.possible == {first, second}
    row.done(third)
    assert row.possible == {third, second}  # the one in doubt may come late
    row.lost()
    assert row.possible == {None, first, second, third}


def test_a_value_without_effect_must_not_be_seen() -> None:
    row = Model(0).new_row(5)
    value = row.next_value()
    assert row.see(value)
    assert not row.failed(value)
    assert not row.see(value)


def test_a_counter_is_between_what_was_acknowledged_and_what_is_in_doubt() -> None:
    counter = Counter(1)
    for delta in (5, 3, -2):
        counter.begin(delta)
    counter.done(5)
    assert counter.bounds() == (counter.start + 3, counter.start + 8)
    counter.failed(3)
    assert counter.bounds() == (counter.start + 3, counter.start + 5)
    counter.lost()
    assert counter.bounds() == (counter.start - 2, counter.start + 5)


def test_a_read_of_another_row_is_noticed() -> None:
    model = Model(2)
    model.check_read(model.new_row(5).key, [("id", "6")])
    model.check_read(1, [("n", str(model.counters[2].start))])
    assert len(model.violations) == 2
