"""`hs-drill`: what the commands print about scenarios and kept runs, and their exit codes."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from rich.console import Console

from hs_drill._cluster import Cluster, Server
from hs_drill.audit import _progress
from hs_drill.cli import COMMANDS
from hs_drill.report._terminal import print_verdict
from hs_drill.report._words import EXIT_CODES, expectations, quantity
from hs_drill.scenario import parse_scenario
from hs_drill.store import environment
from hs_drill.verdict._judge import judge
from hs_drill.verdict._judge_run import judge_run
from tests.loadtest.support.command_line import Run, run_with
from tests.loadtest.support.kept_runs import EVERY_EXPECTATION, SCENARIO, HandMade

ROOT = Path(__file__).resolve().parents[3]

LOST = HandMade(lost=[70, 71])
MISSED = HandMade(scenario=SCENARIO.replace("availability: 90%", "availability: 100%"))
CUT = HandMade(cut=True)
EVERY_CODE = pytest.mark.parametrize(
    "made, code, verdict",
    [
        (HandMade(), 0, "verdict: pass: all 6 expectations hold"),
        (MISSED, 1, "verdict: fail: 1 of 6 expectations missed"),
        (LOST, 3, "verdict: fail: the audit found writes that are not as acknowledged"),
        (CUT, 4, "verdict: inconclusive: "),
    ],
    ids=["pass", "missed", "lost", "cut"],
)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    return run_with(capsys)


# ---- analyze


@EVERY_CODE
def test_a_kept_run_is_judged_as_it_was(run: Run, tmp_path: Path, made: HandMade, code: int, verdict: str) -> None:
    directory = made.keep(tmp_path)
    kept = directory.result()
    assert kept is not None
    assert kept["exit_code"] == code
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in directory.path.iterdir()}
    got, out, err = run("analyze", directory.path)
    assert (got, err) == (code, "")
    assert verdict in out
    assert "get" in out
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in directory.path.iterdir()} == before


@pytest.mark.parametrize("audit", [True, False])
def test_a_run_without_any_operation_is_inconclusive(run: Run, tmp_path: Path, audit: bool) -> None:
    nothing_expected = SCENARIO[: SCENARIO.index("expect:")] + f"audit: {str(audit).lower()}\n"
    code, out, _ = run("analyze", HandMade(scenario=nothing_expected, idle=True).keep(tmp_path).path)
    assert code == 4
    assert "operations none was counted, so the run shows nothing" in " ".join(out.split())
    assert "verdict: inconclusive" in out


def test_only_missed_expectations_are_explained_unless_asked(run: Run, tmp_path: Path) -> None:
    path = MISSED.keep(tmp_path).path
    short, long = run("analyze", path)[1], run("analyze", path, "--explain")[1]
    assert "MISS" in short
    assert "recovery.steady" not in short
    for name, _ in expectations(parse_scenario(SCENARIO, "s.yaml")):
        assert name in long


def test_a_lost_write_is_named_with_the_fault_that_was_on(run: Run, tmp_path: Path) -> None:
    code, out, _ = run("analyze", LOST.keep(tmp_path).path)
    assert code == 3
    assert "at 7.001 s during kill reader-1" in " ".join(out.split())
    assert "lost: key 4504699138998343 at 7.101 s, during kill reader-1: the insert of version v" in " ".join(out.split())
    assert " ".join(out.split()).count("the insert of version v") == 2, "each finding is told once"


def test_a_violated_check_without_an_expectation_is_a_line_beside_a_pass(tmp_path: Path) -> None:
    directory = HandMade().keep(tmp_path)
    result = directory.result()
    assert result is not None
    found = {"key": 7, "line": "was older", "time": 1.0, "faults": []}
    result["audit"]["stale_reads"] |= {"verdict": "false", "explanation": "1 read was stale: key 7", "findings": [found]}
    out = io.StringIO()
    print_verdict(result, str(directory.path), explain=False, console=Console(file=out, width=200))
    assert out.getvalue().splitlines()[:2] == [
        "  stale_reads, of which nothing was expected: 1 read was stale: key 7",
        "verdict: pass: all 6 expectations hold",
    ]


def test_the_engines_load_is_printed_and_whether_it_was_the_limit(run: Run, tmp_path: Path) -> None:
    busy = "load engine: 60% of a core; event loop late by 0.080 ms (p50), 9.000 ms (p99), 9.000 ms at most; "
    _, out, _ = run("analyze", HandMade(busy=0.6).keep(tmp_path).path)
    busy += "from sending a request to its answer "
    assert re.search(re.escape(busy) + r"[\d.]+ ms \(p50\), [\d.]+ ms \(p99\); no time left in 0\.0 of 20\.0 s\n", out)
    assert "was the limit" not in out
    _, out, _ = run("analyze", HandMade(busy=0.98).keep(tmp_path).path)
    assert "The load engine was the limit: the throughput is what the engine can do, and the servers may carry more." in out
    _, out, _ = run("analyze", HandMade().keep(tmp_path).path)
    assert "load engine" not in out, "an older run lacks it"


def test_a_latency_that_the_engine_may_explain_is_inconclusive(run: Run, tmp_path: Path) -> None:
    scenario = SCENARIO.replace("users: 4", "rate: 400").replace("200ms", "120ms")
    code, out, _ = run("analyze", HandMade(scenario=scenario, busy=0.6).keep(tmp_path).path)
    assert code == 1, out
    code, out, _ = run("analyze", HandMade(scenario=scenario, busy=0.98).keep(tmp_path).path)
    assert code == 4, out
    assert "the load engine may be the cause" in " ".join(out.split())
    assert "The load engine was the limit: operations that were due while it had no time left waited for it" in out


def test_a_run_that_was_shorter_than_its_scenario_says_so(run: Run, tmp_path: Path) -> None:
    code, out, _ = run("analyze", HandMade(seconds=15).keep(tmp_path).path)
    assert code == 0
    assert "verdict: pass: all 6 expectations hold (15.0 of 20 s were counted)\n" in out


@pytest.mark.parametrize(
    "seconds, late, ran, told",
    [
        (20, 0, 20.1, ""),
        (15, 0, 15.2, " (ended after 15.2 of 20 s)"),
        (18, 2, 20.1, " (18.0 of 20 s were counted: the load began 2.0 s late)"),
        (18, 0, 20.1, " (18.0 of 20 s were counted)"),
        (18, 2, 19.9, " (18.0 of 20 s were counted: the load began 2.0 s late and the run ended 0.1 s early)"),
        (17.25, 2, 19.25, " (17.2 of 20 s were counted: the load began 2.0 s late and the run ended 0.8 s early)"),
    ],
)
def test_a_verdict_says_whether_the_run_was_stopped(seconds: float, late: float, ran: float, told: str, tmp_path: Path) -> None:
    directory = HandMade(seconds=seconds, late=late, fault=None, scenario=SCENARIO.partition("faults:")[0]).keep(tmp_path)
    result = judge_run(directory, workers={0}, troubles=[], ran=ran)
    assert result["verdict"].partition(" hold")[2] == told
    directory.write_result(result)
    assert judge_run(directory)["verdict"] == result["verdict"], "and when it is judged again"


@EVERY_CODE
def test_json_says_the_same(run: Run, tmp_path: Path, made: HandMade, code: int, verdict: str) -> None:
    got, out, _ = run("analyze", made.keep(tmp_path).path, "--json")
    result = json.loads(out)
    assert (got, result["exit_code"]) == (code, code)
    assert f"verdict: {result['verdict']}".startswith(verdict)


def test_a_run_that_was_killed_can_be_judged(run: Run, tmp_path: Path) -> None:
    directory = replace(CUT, judged=False).keep(tmp_path)
    with (directory.path / "batches.bin").open("ab") as file:
        file.write(b"\x83\xa5star")  # half a batch
    directory.final("writer").unlink()
    code, out, _ = run("analyze", directory.path, "--html", tmp_path / "r.html")
    assert code == 4
    assert "inconclusive" in out
    assert "kill reader-1" in (tmp_path / "r.html").read_text()


def test_a_run_without_an_audit_that_was_killed_is_no_pass(run: Run, tmp_path: Path) -> None:
    made = HandMade(scenario=SCENARIO.replace("expect:", "audit: false\nexpect:"), seconds=15)
    assert run("analyze", made.keep(tmp_path).path)[0] == 0
    code, out, _ = run("analyze", replace(made, judged=False).keep(tmp_path).path)
    assert code == 4
    assert "it did not come to its end" in out


def test_the_verdict_says_that_writes_could_not_be_audited(run: Run, tmp_path: Path) -> None:
    """A table of one's own without a version column."""
    columns = "{id: {type: bigint, values: sequence}, a: {type: int, values: 1}}"
    own = SCENARIO.replace("table: {rows: 200}", f"table: {{rows: 200, primary: [id], columns: {columns}}}")
    code, out, _ = run("analyze", HandMade(scenario=own).keep(tmp_path).path)
    assert code == 0
    assert "verdict: pass: all 4 expectations hold; writes were not audited\n" in out
    assert "Writes were measured, and not audited: no column of drill.t says which write left a row;" in out


def test_a_missing_history_of_a_worker_is_noticed(run: Run, tmp_path: Path) -> None:
    directory = HandMade().keep(tmp_path)
    result = directory.result()
    assert result is not None
    directory.write_result({**result, "workers": [0, 1]})
    code, out, _ = run("analyze", directory.path)
    assert code == 4
    assert "the history of worker 1 is missing" in " ".join(out.split())


def test_without_expectations_failures_fail_the_run_as_in_locust(run: Run, tmp_path: Path) -> None:
    nothing = SCENARIO.partition("expect:")[0] + "audit: false\n"
    directory = HandMade(scenario=nothing).keep(tmp_path)
    code, out, _ = run("analyze", directory.path, "--junit", tmp_path / "j.xml")
    assert code == 1
    assert "verdict: fail: 30 operations failed, and nothing was expected" in out
    assert len(ElementTree.parse(tmp_path / "j.xml").findall(".//failure")) == 1
    assert run("analyze", HandMade(scenario=nothing, errors=0).keep(tmp_path).path)[0] == 0


def test_junit_has_a_case_for_each_expectation(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "j.xml"
    terrible = 'a "quote" & <tag> \x00\x1b[31m'
    made = HandMade(scenario=MISSED.scenario, cut=True, error=f"ConnectionError: {terrible}", environment={"cpu": terrible})
    code, _, _ = run("analyze", made.keep(tmp_path).path, "--junit", file)
    assert code == 1
    root = ElementTree.parse(file).getroot()
    (suite,) = root.iter("testsuite")
    cases = {case.get("name"): case for case in root.iter("testcase")}
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("8", "1", "0"), (
        "what a cut history leaves open is not skipped"
    )
    assert suite.get("errors") == "4"
    failure, unknown = cases["availability"].find("failure"), cases["lost"].find("error")
    assert failure is not None
    assert "succeeded over the run" in failure.get("message", "")
    assert unknown is not None
    assert "the history of worker 0 is cut" in unknown.get("message", "")
    assert cases["errors.all"].find("failure") is None


def test_not_applicable_checks_are_shown_as_such(run: Run, tmp_path: Path) -> None:
    """The scenario does not expect it, and the mix has no increments."""
    file, path = tmp_path / "j.xml", HandMade().keep(tmp_path).path
    code, out, _ = run("analyze", path, "--junit", file, "--explain")
    assert code == 0
    why = "no increment or decrement was acknowledged, and none is in doubt"
    assert re.search(rf"not applicable +applied_twice +{why}", out)
    assert "not applicable" not in run("analyze", path)[1]
    (suite,) = ElementTree.parse(file).getroot().iter("testsuite")
    assert (suite.get("tests"), suite.get("errors"), suite.get("skipped")) == ("8", "0", "2")
    skipped = {case.get("name"): case.find("skipped") for case in suite.iter("testcase")}["counters"]
    assert skipped is not None
    assert skipped.get("message") == why


def test_a_directory_without_a_run_is_one_line_and_exit_code_2(run: Run, tmp_path: Path) -> None:
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged/scenario.yaml").write_text("name: x\nmix: {gte: 1}\n")
    for path, line in [
        (tmp_path, "is not a kept run (it has no scenario.yaml)"),
        (tmp_path / "nowhere", "is not a kept run"),
        (tmp_path / "damaged", "mix.gte: no such operation"),
    ]:
        code, out, err = run("analyze", path)
        assert (code, out) == (2, "")
        assert err.count("\n") == 1
        assert line in err
    directory = HandMade().keep(tmp_path)
    code, _, err = run("analyze", directory.path, "--html", tmp_path / "no/such/folder.html")
    assert code == 2
    assert err.endswith("folder.html: No such file or directory\n")
    (directory.path / "batches.bin").write_bytes(b"\x93\x01\x02\x03" * 9)
    code, out, err = run("analyze", directory.path)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "batches.bin: is damaged: " in err
    (directory.path / "result.json").write_text("{")
    assert run("analyze", directory.path)[0] == 2
    assert run("analyze")[0] == 2


# ---- compare


def test_two_runs_side_by_side(run: Run, tmp_path: Path) -> None:
    good = HandMade(errors=0).keep(tmp_path / "a").path
    bad = replace(LOST, environment={"trio": "0.2", "server": "10.11 (by hand)"}).keep(tmp_path / "b").path
    code, out, err = run("compare", good, bad)
    assert (code, err) == (0, "")
    assert "pass: all 6 expectations hold" in out
    assert "ConnectionError: reader-1: connection lost" in out
    lines = {tuple(line.split()[:1]): line for line in out.splitlines()}
    assert "✓ holds (0)" in lines[("lost",)]
    assert "✗ violated (2)" in lines[("lost",)]
    assert lines[("trio",)].split() == ["trio", "0.1", "0.2"]
    assert "10.11" not in out, "equal values are left out"
    assert [word for word in ("before", "during", "after") if word not in out] == []


# ---- check


def test_check_shows_what_happens_when(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(
        SCENARIO.replace("kill, target: reader-1, at: 6s, for: 5s", "latency, target: writer, at: 6s, for: 5s, delay: 40ms")
    )
    code, out, err = run("check", path)
    assert (code, err) == (0, "")
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert f"{path}: is valid" in lines
    timeline = lines[lines.index("timeline") + 1 : lines.index("expected") - 1]
    assert timeline == [
        "0.00 s the load begins",
        "0.06 s all 4 users have started",
        "6.00 s latency writer (listener both, delay 0.04 s, jitter 0 s) for 5 s",
        "11.00 s healed: latency writer",
        "20.00 s the load ends; all faults heal, the servers are read back, the run is judged",
    ]
    assert "keys uniform" in lines
    assert "lost no acknowledged writes are lost" in lines
    assert "availability at least 90 % of the operations succeed over the run" in lines
    assert "latency.get.p99.during 99 % of the gets take at most 200 ms while a fault is on" in lines


def test_check_names_the_switches_that_are_on(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    fault = "kill, target: reader-1, at: 6s, for: 5s"
    for text, told in (
        (f"stop{fault[4:]}", "stop reader-1 for 5 s"),
        (f"stop{fault[4:]}, drain: true", "stop reader-1 (drain) for 5 s"),
    ):
        path.write_text(SCENARIO.replace(fault, text))
        lines = [" ".join(line.split()) for line in run("check", path)[1].splitlines()]
        assert f"6.00 s {told}" in lines


def test_check_shortens_a_timeline_of_many_faults(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    every = "reset, target: reader-1, at: 0, every: 100ms"
    text = SCENARIO.replace("  recovery: {steady: 3s}\n", "")  # it cannot be judged for such faults
    path.write_text(text.replace("kill, target: reader-1, at: 6s, for: 5s", every))
    code, out, _ = run("check", path)
    assert code == 0
    assert len(out.splitlines()) < 90
    assert "and 140 more starts and healings of faults" in out


def test_check_names_mistakes_as_a_run_does(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(SCENARIO.replace("kill", "kil"))
    assert run("check", path) == (2, "", f"{path}:7: faults.0.fault: no such fault: the text 'kil'; did you mean kill?\n")
    assert run("check")[0] == 2


@pytest.mark.parametrize("path", sorted((ROOT / "scenarios").glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_scenarios_pass_the_check(run: Run, path: Path) -> None:
    assert run("check", path)[0] == 0


def test_every_judged_expectation_has_words() -> None:
    for text in (EVERY_EXPECTATION, "name: x\nmix: {get: 1}\nexpect: {errors: 0}\n", "name: x\nmix: {get: 1, incr: 1}\n"):
        scenario = parse_scenario(text, "s.yaml")
        judged = judge(scenario.expect, [], [], None, audited=scenario.audited).judged
        assert {name for name, _ in expectations(scenario)} == {one.name for one in judged}


@pytest.mark.parametrize(
    "name, value, words",
    [
        ("availability", 0.999, "99.9 %"),
        ("availability", 0.99999999, "99.99999 %"),
        ("availability.during", 1.0, "100 %"),
        ("throughput", 12345.6, "12,346/s"),
        ("latency.get.p99", 0.0123456, "12.346 ms"),
        ("latency.get.p99", 0.2, "200 ms"),
        ("recovery.steady", 2.0, "2 s"),
        ("lost", 1234, "1,234"),
        ("lost", None, "-"),
    ],
)
def test_quantities_have_their_units(name: str, value: float | None, words: str) -> None:
    assert quantity(name, value) == words


# ---- the command itself


def test_an_unknown_command_is_one_line_and_exit_code_2(run: Run) -> None:
    assert run("nope") == (2, "", f"no such command: 'nope'; the commands are {', '.join(COMMANDS)}\n")
    assert run()[0] == 2
    code, out, _ = run("--help")
    assert code == 0
    assert all(name in out for name in COMMANDS)
    for name in COMMANDS:
        assert run(name, "--help")[0] == 0


@pytest.mark.process
def test_a_closed_pipe_is_no_error(tmp_path: Path) -> None:
    command = f"{sys.executable} -m hs_drill schema | head -n 1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, cwd=ROOT, check=False)
    assert (done.stdout, done.stderr) == ("{\n", "")


def test_every_exit_code_has_words() -> None:
    assert sorted(EXIT_CODES) == [0, 1, 2, 3, 4, 5]


def test_the_environment_names_versions_but_no_secrets_and_no_places() -> None:
    server = Server("writer", "db7.example.org", 9998, 9999, "s3cret", "s3cret2", admin_user="root", admin_password="pa55")
    cluster = Cluster("mariadb", "asked for: /home/jo/mariadbd", "10.11.6-MariaDB", (server,), "root", "pa55")
    found = environment(cluster, "none")
    assert found["server"] == "10.11.6-MariaDB (mariadb)"
    assert {"python", "trio", "trio-hs", "cpu", "cores", "kernel", "load average"} <= set(found)
    text = json.dumps(found)
    for word in ("s3cret", "pa55", "db7", "/home", "root"):
        assert word not in text


def test_a_long_audit_says_on_standard_error_how_far_it_is(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = HandMade().keep(tmp_path).path
    _, quiet, nothing = run("analyze", directory)
    monkeypatch.setattr(_progress, "QUIET_SECONDS", 0)
    _, out, error = run("analyze", directory)
    assert (out, nothing) == (quiet, "")
    assert re.search(r"^audit: [\d,]+ of about [\d,]+ operations examined$", error, re.MULTILINE)
