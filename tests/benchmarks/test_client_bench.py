"""The benchmark of clients, with so little time that only its correctness is tested."""

from __future__ import annotations

import importlib.metadata
import itertools
import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from benchmarks import client
from benchmarks._client_report import CLAIMS, Verdict, judge, write_report
from benchmarks._contenders import BATCH, CONTENDERS, FLOOR, OURS, SQL, VALKEY, ManagerCalls, Target, WrongAnswer, check
from benchmarks._stores import Case


@pytest.mark.mariadb
def test_every_installed_contender_answers_rightly_and_the_report_is_written(tmp_path: Path) -> None:
    # No time at all: on a slow machine starting the tasks takes longer than any short time, and each does one operation then.
    assert client.main(["--quick", "--seconds", "1e-9", "--output", str(tmp_path)]) == 0
    report = json.loads((tmp_path / "client.json").read_text())
    done = {(result["contender"], result["mode"], result["operation"]) for result in report["results"]}
    missing = {label: each.missing() for label, each in CONTENDERS.items()}
    there = [each for label, each in CONTENDERS.items() if not missing[label]]
    assert done == {(each.name, each.mode, operation) for each in there for operation in each.operations}
    assert report["environment"]["left_out"] == {label: why for label, why in missing.items() if why}
    assert all(result["rate"] > 0 and result["client_us"] > 0 for result in report["results"])
    assert report["environment"]["server_variables"]["innodb_flush_log_at_trx_commit"] == "1"
    assert report["environment"]["server_variables"]["sync_binlog"] == "0"
    table = (tmp_path / "client.md").read_text()
    assert all(name in table for name, _, _ in done)
    assert all(f"Left out: {label}, because {why}." in table for label, why in missing.items() if why)
    assert ElementTree.parse(tmp_path / "client.svg").getroot().tag.endswith("svg")


# `./dev test` installs none of the rivals: a clone in which `./dev bench client` has run tests this one too.
THREADS = "valkey (threads)"
WRITERS = ["trio_hs, Table", *([] if CONTENDERS[THREADS].missing() else [THREADS])]


@pytest.mark.mariadb
@pytest.mark.parametrize("label", WRITERS)
def test_a_lost_write_fails_the_run(
    label: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    honest = client.Child.measure

    def boasting(child: client.Child, case: Case, seconds: float) -> dict[str, float]:
        answer = honest(child, case, seconds)
        return {**answer, "changed": answer["changed"] + (case.operation == "insert")}

    monkeypatch.setattr(client.Child, "measure", boasting)
    with pytest.raises(SystemExit) as exit_:
        client.main(["--quick", "--seconds", "1e-9", "--only", label, "--output", str(tmp_path)])
    assert exit_.value.code == 2
    assert "inserts were acknowledged" in capfd.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.mariadb
def test_a_mode_that_was_not_used_fails_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(CONTENDERS["PyMySQL (text)"], "mode", "prepared")
    with pytest.raises(SystemExit) as exit_:
        client.main(["--quick", "--seconds", "1e-9", "--only", "PyMySQL", "--output", str(tmp_path)])
    assert exit_.value.code == 2
    assert "the server executed 0 as prepared ones" in capfd.readouterr().err


def test_a_contender_that_cannot_run_is_named_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def version(name: str) -> str:
        if name == "asyncmy":
            raise importlib.metadata.PackageNotFoundError(name)
        return "1"

    monkeypatch.setattr(importlib.metadata, "version", version)
    monkeypatch.setattr("shutil.which", lambda _: None)
    names, left_out = client.installed([])
    assert {*names, *left_out} == set(CONTENDERS)
    assert {CONTENDERS[label].name for label in left_out} == {"asyncmy", "valkey", "valkey-glide"}
    assert left_out["asyncmy (prepared)"] == "asyncmy is not installed (pip install 'trio-hs-drill[bench]')"
    assert (
        left_out["valkey (threads)"] == "valkey-server or redis-server is not installed (Debian: apt-get install valkey-server)"
    )
    said = capsys.readouterr().err
    assert all(f"{label} is left out: {why}\n" in said for label, why in left_out.items())


def test_a_name_stands_for_all_modes() -> None:
    names, left_out = client.installed(["mariadb", "trio_hs, Table", "asyncmy (prepared)"])
    assert len([label for label in [*names, *left_out] if CONTENDERS[label].name == "mariadb"]) == 5
    assert {*names, *left_out} > {"trio_hs, Table", "asyncmy (prepared)"}
    assert "asyncmy (text)" not in {*names, *left_out}


def test_a_wrong_row_is_noticed() -> None:
    contender = ManagerCalls(Target("", 0, 0, 0, "", "", "", "", 0))
    keys, rows = contender.next_sample()
    assert len(keys) == len(rows) == BATCH
    rows_in_another_order = [rows[1], rows[0], *rows[2:]]
    with pytest.raises(WrongAnswer, match="instead of"):
        check(rows_in_another_order, rows)


def results_with(rate_of_rival: float) -> list[dict[str, object]]:
    """Figures in which we and a bare socket do a million of everything, and the best SQL client as many as given: in its
    prepared mode and at pool size 4. Valkey does more, and is no SQL client."""
    who = [
        ("trio_hs, Manager", OURS, "", 1e6),
        ("trio_hs, Table", OURS, "", 1e6),
        ("raw socket in trio", FLOOR, "", 1e6),
        ("asyncmy", SQL, "text", rate_of_rival / 2),
        ("asyncmy", SQL, "prepared", rate_of_rival),
        ("aiomysql", SQL, "text", rate_of_rival / 3),
        ("valkey", VALKEY, "asyncio", 5e6),
    ]
    whats = {which[1:] for claim in CLAIMS for which in (claim.ours, claim.theirs) if which is not None}
    return [
        {
            "contender": name,
            "kind": kind,
            "mode": mode,
            "operation": operation,
            "tasks": tasks,
            "pool": pool,
            "rate": rate / (1 if kind in (OURS, FLOOR) else pool / 4),
        }
        for (name, kind, mode, rate), (operation, tasks), pool in itertools.product(who, sorted(whats), (4, 16))
    ]


def test_claims_are_about_the_best_rival_in_its_best_mode_and_at_its_best_pool_size() -> None:
    assert all(verdict.holds for verdict in judge(results_with(1e5)))
    verdicts = [verdict for verdict in judge(results_with(5e5)) if verdict.claim.theirs and verdict.claim.theirs[0] == SQL]
    assert {(verdict.measured, verdict.best) for verdict in verdicts} == {(2.0, "asyncmy (4, prepared)")}
    assert len(verdicts) == 6
    assert not all(verdict.holds for verdict in verdicts)
    assert "does not hold (asyncmy (4, prepared); raw socket in trio: 2.00)" in str(verdicts[1])


def test_a_claim_of_which_nothing_was_measured_neither_holds_nor_fails() -> None:
    verdicts = judge([])
    assert [verdict.holds for verdict in verdicts] == [None] * len(CLAIMS)
    assert all(str(verdict).endswith("not measured") for verdict in verdicts)
    assert str(Verdict(CLAIMS[0], 1.5)).endswith("1.50, wanted 1.3: holds")
    assert str(Verdict(CLAIMS[0], 1.2)).endswith("1.20, wanted 1.3: does not hold")


def test_a_report_of_few_figures_can_be_written(tmp_path: Path) -> None:
    about = {
        "time": "", "cpu": "", "cores": 2, "kernel": "", "python": "", "server": "", "server_variables": {}, "sql_log_bin": "0",
        "libraries": {}, "valkey": "", "left_out": {"PyMySQL (text)": "it is not there"}, "load_average_before": [], "rows": 1,
    }  # fmt: skip
    figures = [{**result, "client_us": 1.0, "server_us": 1.0} for result in results_with(1e5) if result["operation"] == "get"]
    write_report({"environment": about, "settings": {"rounds": 1, "seconds": 1}, "results": figures}, tmp_path)
    for name in ("client.svg", "client.md"):
        text = (tmp_path / name).read_text()
        assert "1,000,000" in text
        assert "100,000 (4, prepared)" in text
        assert "50,000 (" not in text  # the other mode
    assert "Left out: PyMySQL (text), because it is not there." in text


@pytest.mark.parametrize("arguments", [["--rounds", "0"], ["--seconds", "0"], ["--only", "oracle"]])
def test_wrong_arguments_are_refused_before_anything_starts(arguments: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        client.main(arguments)
    assert exit_.value.code == 2
    assert capfd.readouterr().err
