"""`hs-drill capacity`: what it says and keeps, and its exit codes, with planted steps instead of runs."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from hs_drill.cli import _capacity
from hs_drill.cli._capacity_result import limit_of
from hs_drill.cli._capacity_search import End, Outcome, Step
from hs_drill.cli._capacity_slo import Objective
from hs_drill.cli._capacity_step import StepFailed, Steps
from tests.loadtest.support.command_line import Run, run_with
from tests.loadtest.support.locust_process import ROOT

PAGE = (ROOT / "docs/capacity.md").read_text()
SCENARIO = """\
name: gets
cluster: {readers: 1, kind: embedded}
load: {users: 4}
mix: {get: 1}
"""
SLO = ("--slo", "get.p99 <= 5ms", "--slo", "errors = 0")
Plan = Callable[[float, int], Outcome]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.chdir(tmp_path)
    Path("s.yaml").write_text(SCENARIO)
    return run_with(capsys)


def planted(rate: float, engines: int, outcome: Outcome, **servers: float) -> Step:
    """A step of servers of which each has a thread that took this share of a core."""
    late = 7.0 if outcome is not Outcome.HOLDS else 2.0
    short = outcome is Outcome.ENGINE
    details = {
        "run": f"/runs/r-at-{rate:g}",
        "figures": {"get.p50": 1.0, "get.p99": late, "all.errors": 0.0, "all.throughput.before": rate * 0.99},
        "engine": {"cpu": 0.96, "waited_for_cpu": 0.02, "no_time_left_seconds": 9.0, "seconds": 10.0, "was_limit": short},
        "servers_cpu": {name: {"cores": thread, "thread": thread, "waited": 0.0} for name, thread in servers.items()},
        "environment": {"cores": 8, "server": "by hand"},
        "seconds": 10.0,
    }
    why = [] if outcome is Outcome.HOLDS else ["get.p99 was 7 ms, not 5 ms"]
    return Step(rate, outcome, why, engines, more_engines_help=True, details=details)


def plant(monkeypatch: pytest.MonkeyPatch, outcome: Plan, **servers: float) -> None:
    async def measure(self: Steps, rate: float, engines: int) -> Step:
        return planted(rate, engines, outcome(rate, engines), **servers)

    monkeypatch.setattr(Steps, "measure", measure)


def limit(at: float, beyond: Outcome = Outcome.MISSED) -> Plan:
    return lambda rate, engines: Outcome.HOLDS if rate <= at else beyond


def kept(name: str = "result.json") -> str:
    (directory,) = Path("capacity").iterdir()
    return (directory / name).read_text()


def test_what_was_found_is_said_in_a_table_and_a_sentence_and_kept(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, limit(1500), writer=0.1, reader_1=0.97)
    code, out, err = run("capacity", "s.yaml", *SLO, "--from", 1000)
    assert code == 0
    steps = err.splitlines()
    assert steps[0].startswith(
        "each step counts 10 s after 2 s of warm-up, and at 1,000/s 15 s, up to 1,440/s as long as 14,400"
    )
    assert steps[1:3] == [
        "step 1: 1,000/s for 15 s",
        "  ✓ holds  at 1,000/s  get.p99 2.000 ms  all.errors 0 %  /runs/r-at-1000",
    ]
    sentence = (
        "capacity: 1,470/s meets get.p99 <= 5ms and errors = 0, and 1,540/s does not: get.p99 was 7 ms, not 5 ms; "
        "a thread of reader_1 took 97% of a core"
    )
    *table, said, where, report = out.splitlines()
    assert said == sentence
    rows = [line.split() for line in table[2:]]
    assert [row[0] for row in rows] == sorted((row[0] for row in rows), key=lambda rate: int(rate[:-2].replace(",", "")))
    assert rows[0] == ["1,000/s", "990/s", "2.000", "ms", "0", "%", "98%", "✓", "holds", "r-at-1000"]
    assert rows[-1][-3:] == ["✗", "missed", "r-at-2000"]

    result = json.loads(kept())
    assert result["result"] == sentence
    assert (result["end"], result["exit_code"], result["holds"], result["fails"]) == ("found", 0, 1470, 1540)
    assert result["certain"] == [1470, 1540]
    assert len(result["steps"]) == len(steps[1:]) / 2
    assert result["environment"] == {"cores": 8, "server": "by hand"}
    assert where == f"kept in {Path('capacity').absolute()}/{next(Path('capacity').iterdir()).name}"
    assert Path(report.removeprefix("report: ")).read_text() == kept("report.html")


def test_json_is_all_that_is_printed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, limit(1500))
    code, out, _ = run("capacity", "s.yaml", *SLO, "--json")
    assert (code, json.loads(out)) == (0, json.loads(kept()))


@pytest.mark.parametrize(
    "outcome, arguments, code, said",
    [
        (
            limit(50),
            [],
            1,
            "not found between 500/s and 1,000,000/s: not even 500/s meets get.p99 <= 5ms and errors",
        ),
        (limit(5000), ["--to", "3000"], 0, "not found between 500/s and 3,000/s: even 3,000/s meets get.p99 <= 5ms"),
        (
            limit(1500, Outcome.ENGINE),
            ["--processes", "2"],
            4,
            "at least 1,470/s, which meets get.p99 <= 5ms and errors = 0; what the servers carry beyond is not known: "
            "at 1,540/s get.p99 was 7 ms, not 5 ms, and the load engine was the limit: 2 engines, the busiest took 96% "
            "of a core, and had no time left in 9.0 of 10.0 s",
        ),
        (limit(50, Outcome.ENGINE), ["--processes", "1"], 4, "not found between 500/s and 1,000,000/s; what the servers carry"),
    ],
)
def test_each_end_has_its_sentence_and_its_exit_code(
    run: Run, monkeypatch: pytest.MonkeyPatch, outcome: Plan, arguments: list[str], code: int, said: str
) -> None:
    plant(monkeypatch, outcome)
    found, out, _ = run("capacity", "s.yaml", *SLO, *arguments)
    (sentence,) = [line for line in out.splitlines() if line.startswith("capacity: ")]
    assert sentence.startswith(f"capacity: {said}")
    assert found == code == json.loads(kept())["exit_code"]


@pytest.mark.parametrize(
    "servers, cores, said",
    [
        ({}, 8, ""),
        ({"writer": 0.2, "reader_1": 0.4}, 8, "CPU time was not the limit: the busiest thread of a server took 40% of a core"),
        ({"writer": 0.8, "reader_1": 0.4}, 2, "servers and load engine together took 1.2 + 1.0 of 2 cores, so the servers may"),
        ({"writer": 0.8, "reader_1": 0.95}, 2, "a thread of reader_1 took 95% of a core"),
    ],
)
def test_who_had_no_time_left(servers: dict[str, float], cores: int, said: str) -> None:
    step = planted(1000, 1, Outcome.MISSED, **servers)
    step.details["environment"]["cores"] = cores
    assert limit_of(step).startswith(said)
    assert bool(said) == bool(limit_of(step))
    if servers:
        step.details["servers_cpu"]["writer"]["waited"] = 0.3
        thread = "a thread" if servers["reader_1"] >= 0.9 else "writer waited for a core 30% of the time, so this machine"
        assert limit_of(step).startswith(thread)


# ---- searches that do not come to their end


def plant_an_end(monkeypatch: pytest.MonkeyPatch, end: Callable[[], Any]) -> None:
    """The third step ends the search."""

    async def measure(self: Steps, rate: float, engines: int) -> Step:
        if rate < 2000:
            return planted(rate, engines, Outcome.HOLDS)
        end()
        await trio.sleep_forever()
        raise AssertionError

    monkeypatch.setattr(Steps, "measure", measure)


@pytest.mark.parametrize("number, name", [(signal.SIGINT, "Ctrl-C"), (signal.SIGTERM, "SIGTERM"), (signal.SIGHUP, "SIGHUP")])
def test_a_signal_ends_it_in_order_and_what_was_found_is_told(
    run: Run, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, name: str
) -> None:
    plant_an_end(monkeypatch, lambda: os.kill(os.getpid(), number))
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup may have started the tests
    try:
        code, out, err = run("capacity", "s.yaml", *SLO)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert code == 5
    assert err.endswith("ending: waiting for the step to end in order (Ctrl-C again ends this at once)\n")
    said = f"not found between 500/s and 1,000,000/s: {name} ended it after 2 steps; until then 1,000/s meets get.p99 <= 5ms"
    assert f"capacity: {said}" in out
    result = json.loads(kept())
    assert (result["end"], result["exit_code"], result["holds"], len(result["steps"])) == ("unfinished", 5, 1000, 2)
    assert said in kept("report.html").replace("&lt;", "<")


@pytest.mark.parametrize("code", [1, 2, 3, 4])
def test_a_step_that_fails_ends_it_with_its_exit_code(run: Run, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def fail() -> None:
        raise StepFailed("at 2,000/s: the audit failed", code)

    plant_an_end(monkeypatch, fail)
    found, out, _ = run("capacity", "s.yaml", *SLO)
    assert found == code
    assert "1,000,000/s: at 2,000/s: the audit failed after 2 steps; until then 1,000/s meets" in out
    assert json.loads(kept())["exit_code"] == code


def test_before_the_first_step_nothing_is_known(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    plant_an_end(monkeypatch, lambda: os.kill(os.getpid(), signal.SIGTERM))
    code, out, _ = run("capacity", "s.yaml", *SLO, "--from", 2000)
    assert code == 5
    assert "capacity: not found between 2,000/s and 1,000,000/s: SIGTERM ended it after 0 steps\n" in out
    assert "No step was taken." in kept("report.html")


# ---- what is refused before anything starts


@pytest.mark.parametrize(
    "arguments, wrong",
    [
        (["s.yaml", "--slo", "get.p99 < 5"], "get.p99 < 5: limit a latency as '<= 5ms' or '<= 1.5s'"),
        (["s.yaml", "--slo", "incr.p99 <= 5ms"], "incr.p99 <= 5ms: the mix has no incr; there are all, get"),
        (["s.yaml", *SLO, "--from", "9", "--to", "5"], "--from must be at most --to: 9/s is more than 5/s"),
        (["reader-failover", *SLO], "has faults, and a search needs servers that work: take a scenario without faults"),
        (["nothing", *SLO], "nothing: cannot be read: No such file or directory; there are s.yaml"),
        (["s.yaml", *SLO, "--server-version", "9.9"], "must be 10.11 or 11.8 for kind embedded, not 9.9"),
        (["users/code.yaml", *SLO], "users/code.yaml:1: mix: is missing; add it"),
    ],
)
def test_a_mistake_is_one_line_and_starts_nothing(
    run: Run, monkeypatch: pytest.MonkeyPatch, arguments: list[str], wrong: str
) -> None:
    Path("users").mkdir()
    Path("users/code.yaml").write_text("name: code\n")
    monkeypatch.setattr(_capacity, "_Search", None)
    code, out, err = run("capacity", *arguments)
    (line,) = err.splitlines()
    assert wrong in line
    assert (code, out) == (2, "")
    assert not Path("capacity").exists()


@pytest.mark.parametrize(
    "arguments, wrong",
    [
        ([], "the following arguments are required: --slo"),
        ([*SLO, "--from", "0"], "argument --from: must be operations per second from 1 to 10000000, not '0'"),
        ([*SLO, "--to", "nan"], "argument --to: must be operations per second"),
        ([*SLO, "--precision", "0%"], "argument --precision: must be a share from 0.1% to 100%, not '0%'"),
        ([*SLO, "--precision", "five"], "argument --precision: must be a share"),
        ([*SLO, "--step", "500ms"], "argument --step: must be a duration from 1s to 1h, such as 10s, not '500ms'"),
        ([*SLO, "--pause", "10"], "argument --pause: must be a duration of at most 1h, such as 10s, not '10'"),
        ([*SLO, "--processes", "0"], "argument --processes: must be a whole number from 1 on, not '0'"),
    ],
)
def test_a_wrong_option_says_what_would_be_right(run: Run, arguments: list[str], wrong: str) -> None:
    code, _, err = run("capacity", "s.yaml", *arguments)
    assert code == 2
    assert wrong in err.splitlines()[-1]


@pytest.mark.parametrize(
    "objective, options, first",
    [("get.p50 <= 1ms", [], 500), ("get.p99.9 <= 1ms", [], 5000), ("get.p50 <= 1ms", ["--to", "300"], 300)],
)
def test_the_lowest_rate_is_one_at_which_a_step_takes_half_a_minute_at_most(
    run: Run, monkeypatch: pytest.MonkeyPatch, objective: str, options: list[str], first: float
) -> None:
    plant(monkeypatch, limit(10))
    run("capacity", "s.yaml", "--slo", objective, *options)
    assert json.loads(kept())["range"]["from"] == first


# ---- docs/capacity.md


def test_the_page_has_every_key_of_the_result(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, limit(1500), writer=0.5)
    run("capacity", "s.yaml", *SLO)
    result = json.loads(kept())
    rows = re.findall(r"^\| (`.*?) \| (.*) \|$", PAGE.partition("## JSON")[2], re.MULTILINE)
    said = {key: content for keys, content in rows for key in re.findall(r"`(\w+)`", keys)}
    assert said.keys() == result.keys()
    for name in ("objectives", "range"):
        example = result[name] if isinstance(result[name], dict) else result[name][0]
        assert {*re.findall(r"`(\w+)`", said[name])} == example.keys()
    within = {"holds", "missed", "engine", "compare", "cores", "thread", "waited"}
    assert {*re.findall(r"`(\w+)`", said["steps"])} == result["steps"][0].keys() | within


def test_the_page_has_every_end_and_its_examples_are_objectives(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    ends = next(line for line in PAGE.splitlines() if line.startswith("| `end` |"))
    assert re.findall(r"`([a-z ]+)`", ends)[1:] == [end.value for end in End]
    objectives = re.findall(r"^\| `([a-z0-9.]+ [<=]+ \S+)` \|", PAGE, re.MULTILINE)
    assert [Objective.parse(text).text for text in objectives] == ["get.p99 <= 5ms", "errors = 0", "errors <= 0.1%"]
    plant(monkeypatch, limit(1500))
    (command,) = re.findall(r"^hs-drill (capacity .*)$", PAGE, re.MULTILINE)
    assert run(*shlex.split(command), "--cluster", "embedded")[0] == 0
