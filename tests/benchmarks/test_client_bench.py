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
from benchmarks._contenders import BATCH, CONTENDERS, Contender, ManagerCalls, Target, WrongAnswer, check


def is_installed(contender: type[Contender]) -> bool:
    try:
        return contender.distribution is None or bool(importlib.metadata.version(contender.distribution))
    except importlib.metadata.PackageNotFoundError:
        return False


@pytest.mark.mariadb
def test_every_installed_contender_answers_rightly_and_the_report_is_written(tmp_path: Path) -> None:
    # No time at all: on a slow machine starting the tasks takes longer than any short time, and each does one operation then.
    assert client.main(["--quick", "--seconds", "1e-9", "--output", str(tmp_path)]) == 0
    report = json.loads((tmp_path / "client.json").read_text())
    done = {(result["contender"], result["operation"]) for result in report["results"]}
    assert done == {(name, op) for name, each in CONTENDERS.items() if is_installed(each) for op in each.operations}
    assert all(result["rate"] > 0 and result["client_us"] > 0 for result in report["results"])
    assert report["environment"]["server_variables"]["innodb_flush_log_at_trx_commit"] == "1"
    assert report["environment"]["server_variables"]["sync_binlog"] == "0"
    table = (tmp_path / "client.md").read_text()
    assert all(name in table for name, _ in done)
    assert ElementTree.parse(tmp_path / "client.svg").getroot().tag.endswith("svg")


@pytest.mark.mariadb
def test_a_lost_write_fails_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    honest = client.Child.measure

    def boasting(child: client.Child, case: client.Case, seconds: float) -> dict[str, float]:
        answer = honest(child, case, seconds)
        return {**answer, "changed": answer["changed"] + (case.operation == "insert")}

    monkeypatch.setattr(client.Child, "measure", boasting)
    with pytest.raises(SystemExit) as exit_:
        client.main(["--quick", "--only", "trio_hs, Table", "--output", str(tmp_path)])
    assert exit_.value.code == 2
    assert "inserts were acknowledged" in capfd.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_wrong_row_is_noticed() -> None:
    contender = ManagerCalls(Target("", 0, 0, 0, "", "", "", "", 0))
    keys, rows = contender.next_sample()
    assert len(keys) == len(rows) == BATCH
    rows_in_another_order = [rows[1], rows[0], *rows[2:]]
    with pytest.raises(WrongAnswer, match="instead of"):
        check(rows_in_another_order, rows)


def results_with(rate_of_asyncmy: float) -> list[dict[str, object]]:
    """Figures in which we do a million of everything, and the others as many at pool size 4 and fewer at 16."""
    whichs = {which for claim in CLAIMS for which in (claim.ours, claim.theirs) if which is not None}
    return [
        {
            "contender": name,
            "operation": operation,
            "tasks": tasks,
            "pool": pool,
            "rate": 1e6 if name.startswith("trio_hs") else rate_of_asyncmy / (pool / 4),
        }
        for (name, operation, tasks), pool in itertools.product(sorted(whichs), (4, 16))
    ]


def test_claims_are_about_the_best_pool_size() -> None:
    assert all(verdict.holds for verdict in judge(results_with(1e5)))
    verdicts = judge(results_with(5e5))
    assert {verdict.measured for verdict in verdicts if verdict.claim.theirs and verdict.claim.theirs[0] == "asyncmy"} == {2.0}
    assert not all(verdict.holds for verdict in verdicts)


def test_a_claim_of_which_nothing_was_measured_neither_holds_nor_fails() -> None:
    verdicts = judge([])
    assert [verdict.holds for verdict in verdicts] == [None] * len(CLAIMS)
    assert all(str(verdict).endswith("not measured") for verdict in verdicts)
    assert str(Verdict(CLAIMS[0], 1.5)).endswith("1.50, wanted 2: does not hold")


def test_a_report_of_few_figures_can_be_written(tmp_path: Path) -> None:
    about = {
        "time": "", "cpu": "", "cores": 2, "kernel": "", "python": "", "server": "", "server_variables": {}, "sql_log_bin": "0",
        "libraries": {}, "load_average_before": [], "rows": 1,
    }  # fmt: skip
    figures = [{**result, "client_us": 1.0, "server_us": 1.0} for result in results_with(1e5) if result["operation"] == "get"]
    write_report({"environment": about, "settings": {"rounds": 1, "seconds": 1}, "results": figures}, tmp_path)
    assert "1,000,000" in (tmp_path / "client.svg").read_text()


@pytest.mark.parametrize("arguments", [["--rounds", "0"], ["--seconds", "0"], ["--only", "oracle"]])
def test_wrong_arguments_are_refused_before_anything_starts(arguments: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        client.main(arguments)
    assert exit_.value.code == 2
    assert capfd.readouterr().err
