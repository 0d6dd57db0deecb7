"""`hs-drill compare` and `baseline` on kept runs made by hand, and docs/compare.md: its commands give what it says."""

from __future__ import annotations

import csv
import glob
import json
import os
import re
import shlex
from collections.abc import Sequence
from dataclasses import replace
from io import BytesIO, TextIOWrapper
from pathlib import Path

import pytest

from hs_drill import __main__ as commands
from hs_drill.cli import _shared
from hs_drill.cli._compare_text import write_markdown
from hs_drill.metrics import PERCENTILES
from hs_drill.store import RunDirectory, write_baseline
from hs_drill.verdict import RunFigures, compare, figures_of
from hs_drill.verdict._comparison import MATTERS, TOLD
from tests.loadtest.support.command_line import Run, run_with
from tests.loadtest.support.kept_runs import SCENARIO, HandMade

PAGE = (Path(__file__).parents[3] / "docs" / "compare.md").read_text()
ENVIRONMENT = {**dict.fromkeys((*MATTERS[:-1], *TOLD), "same"), "server": "10.11.6-MariaDB (mariadb)", "cores": 2}
UNAUDITED = SCENARIO.partition("expect:")[0] + "audit: false\nexpect: {availability: 90%}\n"
SPREAD = (1.0, 1.03, 0.98, 1.01, 0.99)
GATE = ("--fail-if", "get.p99 > +10%")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command line in a directory of its own."""
    monkeypatch.chdir(tmp_path)
    Path("runs").mkdir()
    return run_with(capsys)


def keep(name: str, made: HandMade) -> str:
    """Keep a run in the current directory. Gives its path."""
    path = Path("runs", name)
    made.keep(Path("made")).path.rename(path.absolute())
    return str(path)


def made(slower: float = 1.0, minute: int = 0, **environment: object) -> HandMade:
    started = {"started": f"2026-01-31T12:{minute:02}:00+0000"}
    return HandMade(scenario=UNAUDITED, slower=slower, environment={**ENVIRONMENT, **started, **environment})


@pytest.fixture(scope="module")
def ten_runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Five runs, and five of which the reads took a fifth longer."""
    place = tmp_path_factory.mktemp("runs")
    kept = []
    for number, slower in enumerate(SPREAD, 1):
        for name, run in (("main", made(slower, number)), ("new", made(1.2 * slower, 10 + number))):
            kept.append(run.keep(place / "made").path.rename(place / f"{name}-{number}"))
    return sorted(kept)


@pytest.fixture
def sides(run: Run, ten_runs: list[Path]) -> tuple[list[str], list[str]]:
    """The paths of `ten_runs`, in the current directory."""
    paths = [Path("runs", run.name) for run in ten_runs]
    for path, kept in zip(paths, ten_runs, strict=True):
        path.symlink_to(kept)
    return [str(path) for path in paths[:5]], [str(path) for path in paths[5:]]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def words(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines()]


# ---- the page


@pytest.mark.usefixtures("sides")
def test_the_pages_commands_give_what_it_says(run: Run) -> None:
    save, compare, otava = blocks("sh")
    for command, exit_code in ((save, 0), (compare, 1), (otava.partition(" > ")[0], 0)):
        program, *arguments = shlex.split(command)
        assert program == "hs-drill"
        code, out, err = run(*(path for one in arguments for path in (sorted(glob.glob(one)) if "*" in one else [one])))
        assert (code, err) == (exit_code, "")
        if command == compare:
            (said,) = blocks("text")
            assert [line for line in words(said) if line not in words(out)] == []
    (config,) = blocks("yaml")
    header = next(csv.reader([out.splitlines()[0]]))
    for column in ["time", "run", "server", *re.findall(r"column: ([\w.]+)", config)]:
        assert column in header


def documented(heading: str) -> list[str]:
    """The names in the first column of the table below a heading."""
    table = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return [name for line in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for name in re.findall(r"`([\w.]+)`", line)]


def test_the_page_names_every_key_figure_and_what_must_be_equal(run: Run, sides: tuple[list[str], list[str]]) -> None:
    a, b = sides
    code, out, _ = run("compare", *a, "--with", *b, *GATE, "--json")
    data = json.loads(out)
    assert code == data["exit_code"] == 1
    assert set(data) == set(documented("JSON"))
    row = next(line for line in PAGE.splitlines() if line.startswith("| `figures` | by name"))
    assert set(data["figures"]["get.p99"]) <= set(re.findall(r"`(\w+)`", row))
    row = next(line for line in PAGE.splitlines() if line.startswith("| `gates` |"))
    assert set(data["gates"][0]) - set(re.findall(r"`(\w+)`", row)) == set()
    run("baseline", "save", "main", *a)
    baseline = json.loads(Path("baselines/main.json").read_text())
    assert set(baseline["runs"][0]) == set(documented("Baselines")) == set(RunFigures.__dataclass_fields__)
    figures = documented("The figures")
    assert {one.removeprefix("get").removeprefix(".") for one in figures} >= {*PERCENTILES, "throughput", "errors"}
    equal = PAGE.partition("\n## What must be equal\n")[2].partition("\n## ")[0]
    assert [name for name in MATTERS if f"`{name}`" not in equal] == []


# ---- the sides


def test_a_slowdown_fails_its_gate_in_every_form(run: Run, sides: tuple[list[str], list[str]]) -> None:
    a, b = sides
    code, out, err = run("compare", *a, "--with", *b, *GATE)
    assert (code, err) == (1, "")
    assert "compare: fail: 1 of 1 gate missed\n" in out
    assert "get.p99 90.000 ms 108.000 ms +20.0 % +16.4 % to +23.7 % 0.0079 worse" in words(out)
    assert "A main-1 pass: all 1 expectations hold" in words(out)
    code, markdown, _ = run("compare", *a, "--with", *b, *GATE, "--markdown")
    assert code == 1
    assert markdown.startswith("**compare: fail: 1 of 1 gate missed**\n")
    assert "| get.p99 | 90.000 ms | 108.000 ms | +20.0 % | +16.4 % to +23.7 % | 0.0079 | worse |\n" in markdown
    assert run("compare", *a, "--with", *b, *GATE, "--json") == run("compare", *a, "--with", *b, *GATE, "--json")
    code, out, _ = run("compare", *b, "--with", *a, *GATE)
    assert code == 0
    assert "compare: pass: 1 gate holds\n" in out


def test_one_run_on_each_side_shows_nothing(run: Run, sides: tuple[list[str], list[str]]) -> None:
    a, b = sides
    few = "1 run and 1 run cannot show a difference, however large it is: take at least 4 on each side"
    assert run("compare", a[0], "--with", b[0])[:1] == (0,)
    assert f"compare: {few}\n" in run("compare", a[0], "--with", b[0])[1]
    code, out, _ = run("compare", a[0], "--with", b[0], *GATE)
    assert code == 4
    assert "compare: inconclusive: 1 of 1 gate could not be judged\n" in out


def test_runs_after_a_second_with_are_compared_too(run: Run, sides: tuple[list[str], list[str]]) -> None:
    """The second one used to replace the first."""
    a, b = sides
    code, out, _ = run("compare", *a, "--with", *b[:3], "--with", *b[3:], "--json")
    assert code == 0
    assert [one["run"] for one in json.loads(out)["b"]["runs"]] == ["new-1", "new-2", "new-3", "new-4", "new-5"]


def test_a_name_is_text_in_every_output(run: Run, sides: tuple[list[str], list[str]]) -> None:
    path = Path("runs", os.fsdecode(b"a\n| [x](http:~~y) <b>&\x1b[31m\xff"))
    Path(keep("odd", made())).rename(path)
    shown = r"a\n| [x](http:~~y) <b>&\x1b[31m\udcff"
    assert f" A   {shown} " in run("compare", path, "--with", sides[1][0])[1]
    out = run("compare", path, "--with", sides[1][0], "--json")[1]
    assert json.loads(out)["a"]["runs"][0]["run"] == shown
    out = run("compare", path, "--with", sides[1][0], "--markdown")[1]
    cell = r"a\\n\| \[x\](http:\~\~y) &#60;b>&#38;\\x1b\[31m\\udcff"
    assert f"| A | {cell} | pass: all 1 expectations hold |\n" in out
    assert run("baseline", "save", "odd", path)[0] == 0
    assert run("compare", sides[1][0], "--baseline", "odd")[0] == 0


def test_a_sign_that_the_output_cannot_show_ends_no_command(
    sides: tuple[list[str], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ended with 1, which is the code of a missed gate."""
    a, b = sides
    shown = TextIOWrapper(BytesIO(), encoding="ascii")
    monkeypatch.setattr("sys.stdout", shown)
    monkeypatch.setattr("sys.argv", ["hs-drill", "compare", *b, "--with", *a, *GATE])
    with pytest.raises(SystemExit) as end:
        commands.run()
    assert end.value.code == 0
    shown.seek(0)
    assert r"\u2713 pass" in shown.read()


def test_errors_that_differ_are_shown_although_most_runs_had_none(
    ten_runs: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    run = figures_of(RunDirectory(ten_runs[0]))

    def side(name: str, errors: Sequence[float]) -> list[RunFigures]:
        return [
            replace(run, fingerprint=f"{name}{number}", figures={"get.errors": error}) for number, error in enumerate(errors)
        ]

    write_markdown(compare(side("a", [0] * 20), side("b", [0] * 11 + [1] * 9)))
    assert re.search(r"^\| get\.errors \| 0 % \| 0 % \| .* \| worse \|$", capsys.readouterr().out, re.MULTILINE)
    write_markdown(compare(side("a", [0] * 20), side("b", [0] * 20)))
    assert "get.errors" not in capsys.readouterr().out


def test_runs_with_another_number_of_cores_are_not_compared_unless_asked(run: Run, sides: tuple[list[str], list[str]]) -> None:
    a, b = sides
    b = [*b[:4], keep("other", made(1.2, cores=4))]
    code, out, _ = run("compare", *a, "--with", *b, *GATE)
    assert code == 4
    assert "compare: inconclusive: the runs differ in cores\n" in out
    assert "cores 2 2, 4 not comparable" in words(out)
    code, out, _ = run("compare", *a, "--with", *b, *GATE, "--may-differ", "cores")
    assert code == 1
    assert "cores 2 2, 4 allowed" in words(out)


def test_a_baseline_stands_for_its_runs_and_is_replaced_only_by_force(run: Run, sides: tuple[list[str], list[str]]) -> None:
    a, b = sides
    code, out, err = run("baseline", "save", "main", *a, "--baselines", "kept")
    assert (code, out, err) == (0, "kept/main.json: 5 runs of 10.11.6-MariaDB (mariadb)\n", "")
    with_runs = json.loads(run("compare", *a, "--with", *b, *GATE, "--json")[1])
    code, out, _ = run("compare", *b, "--baseline", "main", "--baselines", "kept", *GATE, "--json")
    assert code == 1
    assert json.loads(out)["a"].pop("name") == "baseline main"
    assert json.loads(out)["figures"] == with_runs["figures"]
    code, out, err = run("baseline", "save", "main", *b, "--baselines", "kept")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "say --force to replace it" in err
    assert run("baseline", "save", "main", *b, "--baselines", "kept", "--force")[0] == 0
    assert run("compare", *a, "--baseline", "main", "--baselines", "kept", *GATE)[0] == 0
    code, _, err = run("compare", *b, "--baseline", "main", "--baselines", "kept", *GATE)
    assert (code, err) == (2, "new-1 is named more than once, or is a copy: a run counts once, on one side\n")


def test_runs_that_cannot_stand_for_one_another_are_no_baseline(run: Run, sides: tuple[list[str], list[str]]) -> None:
    other = keep("other", made(cores=4))
    code, out, err = run("baseline", "save", "main", *sides[0], other)
    assert (code, out, err) == (4, "", "baselines/main.json: not saved: the runs differ in cores\n")
    assert not Path("baselines").exists()


@pytest.mark.parametrize(
    "change, told",
    [
        ({"figures": {"get.p99": "fast"}}, "is no baseline: get.p99 of main-1 is 'fast', not a number from 0 on"),
        ({"figures": {"get.p99": -1}}, "is no baseline: get.p99 of main-1 is -1, not a number from 0 on"),
        ({"figures": {"get.p99": 10**400}}, "is no baseline: "),
        ({"figures": []}, "is no baseline: what it says of a run has another form"),
        ({"of a later version": 1}, "is no baseline: "),
        (None, "is a baseline of no run"),
    ],
)
def test_a_baseline_with_other_content_is_refused_in_one_line(
    change: dict[str, object] | None, told: str, run: Run, sides: tuple[list[str], list[str]]
) -> None:
    kept = figures_of(RunDirectory(Path(sides[0][0]))).to_dict()
    write_baseline(Path("baselines/main.json"), [] if change is None else [{**kept, **change}], replace=False)
    code, out, err = run("compare", *sides[1], "--baseline", "main")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"baselines/main.json: {told}")


def test_bad_input_is_one_line_and_exit_code_2(run: Run, sides: tuple[list[str], list[str]]) -> None:
    (a, *_), (b, *_) = sides
    Path("runs/empty").mkdir()
    Path("runs/changed.json").write_text('{"format": 1, "runs": [1]}')
    for arguments, told in [
        ((a, "--with", "runs/empty"), "runs/empty: is not a kept run (it has no scenario.yaml)"),
        ((a, "--with", b, "--fail-if", "get.p99 +10%"), "'get.p99 +10%' is not a gate: write it as 'get.p99 > +10%'"),
        ((a, "--with", b, "--fail-if", "gte.p99 > +10%"), "no run has the figure gte.p99; did you mean get.p99?"),
        ((a, "--with", b, "--may-differ", "weather"), "'weather' is nothing that may differ: name server, "),
        ((a, "--with", a), "main-1 is named more than once"),
        ((a, "--baseline", "main"), "baselines/main.json: there is no such baseline"),
        ((a, "--baseline", "changed", "--baselines", "runs"), "runs/changed.json: is damaged, or was changed by hand"),
    ]:
        code, out, err = run("compare", *arguments)
        assert (code, out, err.count("\n")) == (2, "", 1), err
        assert told in err
    for arguments, told in [
        ((a,), "name two runs to see them side by side, or say --with RUN.. or --baseline NAME"),
        ((a, b, a), "name two runs to see them side by side"),
        ((a, b, *GATE), "need --with or --baseline"),
        ((a, b, "--json"), "need --with or --baseline"),
        ((a, "--with", b, "--otava"), "--otava takes any number of runs"),
        ((a, "--with", b, "--baseline", "main"), "not allowed with argument --with"),
    ]:
        code, out, err = run("compare", *arguments)
        assert (code, out) == (2, "")
        assert told in err


def test_long_reading_says_how_far_it_is(run: Run, sides: tuple[list[str], list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_shared, "QUIET_SECONDS", 0)
    a, b = sides
    assert "read 6 of 10 runs\n" in run("compare", *a, "--with", *b)[2]


# ---- CSV for Otava


def test_the_csv_has_a_line_for_each_run_oldest_first_and_no_gaps(run: Run, sides: tuple[list[str], list[str]]) -> None:
    calm = keep("calm", replace(made(1.0, 0), fault=None))
    code, out, err = run("compare", *sides[1], calm, *sides[0], "--otava")
    rows = list(csv.DictReader(out.splitlines()))
    assert code == 0
    assert [row["run"] for row in rows] == ["calm", *(path.partition("/")[2] for side in sides for path in side)]
    assert rows[1]["time"] == "2026-01-31 12:01:00 +0000"
    assert (rows[1]["get.p99"], rows[1]["server"]) == ("90.0", "10.11.6-MariaDB (mariadb)")
    assert all(row.values() for row in rows)
    assert "get.p99.during" not in rows[0]
    assert re.fullmatch(r"left out \d+ figures that not every run has\n", err)


def test_the_csv_is_of_one_scenario(run: Run, sides: tuple[list[str], list[str]]) -> None:
    other = keep("other", replace(made(), scenario=UNAUDITED.replace("users: 4", "users: 8")))
    code, out, err = run("compare", *sides[0], other, "--otava")
    assert (code, out) == (2, "")
    assert err.startswith(
        "the runs have different scenarios (scenario.load.users): name runs of one, or say --may-differ scenario"
    )
    assert run("compare", *sides[0], other, "--otava", "--may-differ", "scenario")[0] == 0
    older = [keep(f"older-{number}", made(1, 5 + number, options="not recorded")) for number in (1, 2)]
    code, _, err = run("compare", *older, "--otava")
    assert (code, err) == (0, "the runs differ in options: a change point may come from that\n")
    fast = keep("fast", made(1, 1, options="--users 50"))
    code, out, err = run("compare", *sides[0], fast, "--otava")
    assert (code, out) == (2, "")
    assert err.startswith("the runs have different scenarios (options): name runs of one, or say --may-differ options")


def test_the_csv_is_of_complete_runs_and_what_else_differs_is_told(run: Run, sides: tuple[list[str], list[str]]) -> None:
    killed = keep("killed", replace(made(9, 20), judged=False))
    newer = keep("newer", made(1, 21, server="11.8.2-MariaDB (mariadb)", cores=4))
    code, out, err = run("compare", *sides[0], killed, newer, "--otava")
    assert [row["run"] for row in csv.DictReader(out.splitlines())][-2:] == ["main-5", "newer"]
    assert code == 0
    assert err.splitlines() == [
        "left out killed, which is incomplete: it has no verdict, so it did not come to its end",
        "the runs differ in cores: a change point may come from that",
    ]
    code, out, err = run("compare", killed, "--otava")
    assert (code, out) == (2, "")
    assert err.endswith("no run is complete, so there is nothing to write\n")


# ---- what a run gives


def test_the_figures_of_a_run(run: Run) -> None:
    found = figures_of(RunDirectory(Path(keep("one", made()))))
    assert (found.run, found.incomplete, found.exit_code) == ("one", "", 0)
    assert found.environment["engines"] == 1
    figures = found.figures
    assert (figures["get.p50.before"], figures["get.p99.9.before"], figures["get.max.before"]) == (0.4, 4.0, 4.0)
    assert (figures["get.throughput.before"], figures["insert.throughput"]) == (400, 40)
    assert (figures["get.errors.before"], figures["insert.errors"]) == (0, 0)
    assert figures["get.errors"] == pytest.approx(100 * 30 / (80 * 100 - 6 * 5 + 30), abs=1e-5)
    assert 1 < figures["recovery.steady"] < 2
    assert next(iter(figures)) == "get.p50"


def test_addresses_stay_out_of_a_baseline_and_differ_all_the_same(run: Run) -> None:
    servers = "cluster: {kind: external, servers: [{name: writer, host: H, read_port: 1, write_port: 2, sql_port: 3}, "
    servers += "{name: reader-1, host: H, read_port: 4, write_port: 5, sql_port: 6}]}\n"
    texts = [servers.replace("H", host) + re.sub(r"faults:\n.*\n", "", UNAUDITED) for host in ("db7.corp", "db8.corp")]
    paths = [keep(f"own-{number}", replace(made(), scenario=text)) for number, text in enumerate(texts)]
    assert run("baseline", "save", "own", paths[0])[0] == 0
    assert "corp" not in Path("baselines/own.json").read_text()
    code, out, _ = run("compare", paths[1], "--baseline", "own", "--json")
    assert code == 4
    assert [one["name"] for one in json.loads(out)["differences"]] == [
        "scenario.cluster.servers.0.host",
        "scenario.cluster.servers.1.host",
    ]


@pytest.mark.parametrize(
    "change, why",
    [
        ({"ended_by": "SIGTERM"}, "SIGTERM ended it before its time"),
        ({"died": ["the controller died"]}, "a process of the harness died"),
        ({"lost_workers": [1]}, "a worker was lost"),
        (
            {"troubles": ["kill reader-1 never struck: the run ended before 6 s"]},
            "kill reader-1 never struck: the run ended before 6 s",
        ),
        ({"troubles": ["reader-1 was not read back: it is gone"]}, ""),
        ({"ran": 3.0}, ""),
        ({"exit_code": None}, ""),
    ],
)
def test_a_run_that_ended_early_is_incomplete(run: Run, change: dict[str, object], why: str) -> None:
    directory = made().keep(Path("made"))
    directory.write_result({**(directory.result() or {}), **change})
    assert figures_of(directory).incomplete == why
    assert figures_of(directory).seconds == change.get("ran")


@pytest.mark.parametrize(
    "change", [{"engine": [1]}, {"troubles": 1}, {"ran": "20"}, {"workers": 1}, {"exit_code": "0"}], ids=str
)
def test_a_verdict_changed_by_hand_is_refused_in_one_line(run: Run, change: dict[str, object]) -> None:
    directory = made().keep(Path("made"))
    directory.write_result({**(directory.result() or {}), **change})
    code, out, err = run("compare", directory.path, "--with", directory.path)
    ((name, value),) = change.items()
    assert (code, out, err) == (2, "", f"{directory.path}/result.json: is damaged: its {name} must not be {value!r}\n")


def test_a_run_whose_files_are_cut_or_missing_is_incomplete(run: Run) -> None:
    killed = replace(made(), judged=False).keep(Path("made"))
    assert figures_of(killed).incomplete == "it has no verdict, so it did not come to its end"
    idle = replace(made(), idle=True).keep(Path("made"))
    assert figures_of(idle).incomplete == "no operation ended in it"
    cut = made().keep(Path("made"))
    statistics = cut.path / "batches.bin"
    statistics.write_bytes(statistics.read_bytes()[:-40])
    assert figures_of(cut).incomplete == "its statistics are cut"
    without = made().keep(Path("made"))
    (without.path / "history-controller.bin").unlink()
    assert figures_of(without).incomplete.endswith("history-controller.bin: cannot be read: No such file or directory")
    statistics.unlink()
    code, _, err = run("compare", cut.path, "--with", without.path)
    assert (code, err) == (2, f"{statistics}: is missing, so there is nothing to compare\n")
