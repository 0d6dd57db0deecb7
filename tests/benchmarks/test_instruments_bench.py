"""`./dev bench instruments`: it runs, and measures every setting."""

from __future__ import annotations

import pytest

from benchmarks.instruments import SETTINGS, main


@pytest.mark.process
def test_every_setting_is_measured(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    assert main(["--gets", "64", "--rounds", "1"]) == 0
    out = capsys.readouterr().out
    assert all(f" {name} " in out for name in SETTINGS)
