"""Mistakes in Locust's own options are reported in one line, before servers start."""

from __future__ import annotations

import sys

import pytest
from locust.argument_parser import get_empty_argument_parser

from hs_drill.in_locust import _metrics_server
from hs_drill.in_locust._options import add_options
from tests.loadtest.support.locust_process import HEADLESS, Locust


def parse(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["locust", "--scenario", "mixed", *arguments])
    add_options(get_empty_argument_parser())


@pytest.mark.parametrize(
    "arguments, told",
    [
        (["-u", "-5"], "-u/--users must be a whole number from 1 on, not '-5'"),
        (["--users=0"], "-u/--users must be a whole number from 1 on, not '0'"),
        (["-u", "many"], "-u/--users must be a whole number from 1 on, not 'many'"),
        (["-r", "0"], "-r/--spawn-rate must be a number of users a second above 0, not '0'"),
        (["-r", "nan"], "-r/--spawn-rate must be a number of users a second above 0, not 'nan'"),
        (["--spawn-rate", "fast"], "-r/--spawn-rate must be a number of users a second above 0, not 'fast'"),
        (["--metrics", "0"], "--metrics must be a port from 1 to 65535, or HOST:PORT such as 0.0.0.0:9646"),
        (["--metrics", "::1:9646"], "--metrics must be a port"),
        (["--metrics", "db:metrics"], "--metrics must be a port"),
        (["--server-version", "eleven"], "with the options given, cluster.version: must be the first two numbers of a version"),
    ],
)
def test_a_mistake_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(monkeypatch, *arguments)
    (line,) = capsys.readouterr().err.splitlines()
    assert (ended.value.code, line[: len(told)]) == (2, told)


@pytest.mark.parametrize(
    "arguments",
    [
        ["-u", "1", "-r", "0.5"],
        ["-u", "-5", "--worker"],
        ["-u", "-5", "-h"],
    ],
)
def test_what_is_right_passes(monkeypatch: pytest.MonkeyPatch, arguments: list[str]) -> None:
    parse(monkeypatch, *arguments)


@pytest.mark.parametrize("address", ["9646", "0.0.0.0:9646", "[::1]:9646", "db1.example:9646"])
def test_metrics_need_their_package(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], address: str) -> None:
    monkeypatch.setenv("LOCUST_METRICS", address)
    monkeypatch.setattr(_metrics_server, "find_spec", lambda name: name == "prometheus_client")
    parse(monkeypatch)
    monkeypatch.setattr(_metrics_server, "find_spec", lambda name: None)
    with pytest.raises(SystemExit) as ended:
        parse(monkeypatch)
    assert ended.value.code == 2
    assert capsys.readouterr().err == "--metrics needs prometheus-client: pip install 'trio-hs-drill[metrics]'\n"
    parse(monkeypatch, "--worker")


def test_a_mistake_in_the_environment_too(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("LOCUST_USERS", "0")
    with pytest.raises(SystemExit):
        parse(monkeypatch)
    assert "-u/--users must be a whole number" in capsys.readouterr().err


@pytest.mark.process
@pytest.mark.parametrize("wrong", [["-u", "-5", "--processes", "2"], ["-t", "nonsense"], ["--tags", "a"]])
def test_nothing_has_started_by_then(wrong: list[str]) -> None:
    with Locust(*HEADLESS, "--cluster", "embedded", *wrong) as locust:
        assert locust.exit_code() == 2, locust.describe()
        assert "Traceback" not in locust.stderr
        assert "servers" not in locust.stderr
        assert not locust.processes()
