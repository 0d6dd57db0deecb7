"""Operations with names of their own, wherever a run is shown: as they are, whatever characters they have, and however long."""

from __future__ import annotations

import csv
import html
import io
import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from rich.console import Console

from hs_drill import __main__ as commands
from hs_drill.metrics import RunTotals, write_latencies
from hs_drill.report import KeptRun, _terminal, junit
from hs_drill.report._terminal import print_summary, print_verdict
from hs_drill.store import RunDirectory
from hs_drill.verdict._judge_run import judge_run
from tests.loadtest.support.browser import Browser
from tests.loadtest.support.kept_runs import HandMade
from tests.loadtest.support.report_pages import Page, report_of

STRANGE = """<b>&amp;</b> "it's", [/red] \\ =1,2; grün 😀"""
LONG = "Averylongnamewithoutasinglespace" + "x" * 28
QUOTED = json.dumps(STRANGE, ensure_ascii=False)


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    scenario = f"""\
name: names
table: {{rows: 200}}
load: {{users: 4, duration: 20s}}
mix:
  {QUOTED}: {{do: get, weight: 90}}
  {LONG}: {{do: insert, weight: 10}}
faults: [{{fault: kill, target: reader-1, at: 6s, for: 5s}}]
expect: {{latency: {{{QUOTED}: {{p99: 1ms}}, {LONG}: {{max: 1ms}}}}}}
"""
    return HandMade(scenario, names=(STRANGE, LONG)).keep(tmp_path)


def test_the_report_shows_names_as_they_are(run: RunDirectory) -> None:
    page = Page(report_of(run))
    assert page.row(STRANGE)
    assert page.row(LONG)
    assert page.tags["b"] == 0
    assert re.search(rf"p99 of [\d,]+ {re.escape(STRANGE)} operations over the run was", page.text)


def test_the_terminal_shows_names_as_they_are(
    run: RunDirectory, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = io.StringIO()
    console = Console(file=out)
    monkeypatch.setattr(_terminal, "WIDTH", 400)  # nothing is folded
    kept = KeptRun.read(run, judge_run(run))
    print_summary(kept.run_totals, "[/b] names", [], console)
    print_verdict(kept.result, str(run.path), explain=True, console=console)
    shown = out.getvalue()
    for text in ("[/b] names", f" latency.{STRANGE}.p99 ", f" {STRANGE} ", f" {LONG} "):
        assert text in shown
    print_summary(RunTotals(), "[/b] none", [], console)
    assert commands.main(["compare", str(run.path), str(run.path)]) == 0
    assert "=1,2; grün 😀" in capsys.readouterr().out


def test_files_for_programs_have_names_as_they_are(run: RunDirectory, tmp_path: Path) -> None:
    write_latencies(tmp_path / "latencies.csv", run.batches())
    with (tmp_path / "latencies.csv").open(newline="") as file:
        assert {row["operation"] for row in csv.DictReader(file)} == {STRANGE, LONG, "all"}
    cases = ElementTree.fromstring(junit(KeptRun.read(run, judge_run(run)))).iter("testcase")
    assert f"latency.{STRANGE}.p99" in [case.get("name") for case in cases]


MEASURE = """<script>onload = () => {
  const inside = document.querySelector("iframe").contentDocument;
  const edge = (one) => one.getBoundingClientRect().right;
  const every = [...inside.querySelectorAll("body *")];
  const beyond = every.filter((one) => edge(one) > 361 && !one.closest(".wide, .scroll, svg, pre, .choice"));
  const cells = [...inside.querySelectorAll(".wide tbody th")];
  document.body.dataset.measured = JSON.stringify({
    beyond: beyond.map((one) => one.outerHTML.slice(0, 80)),
    width: inside.documentElement.scrollWidth,
    headings: cells.map((one) => one.getBoundingClientRect().width),
  });
};</script>"""


@pytest.mark.process
def test_long_names_fit_on_a_phone(browser: Browser, run: RunDirectory, tmp_path: Path) -> None:
    report = report_of(run).read_text()
    opened = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", report)
    page = tmp_path / "phone.html"  # Chromium's own windows are never that narrow
    page.write_text(
        f'<body><iframe style="width: 360px; height: 900px; border: 0" srcdoc="{html.escape(opened)}"></iframe>{MEASURE}'
    )
    found = re.search(r'<body data-measured="([^"]*)"', browser.dom(page))
    assert found is not None
    measured = json.loads(html.unescape(found[1]))
    assert (measured["beyond"], measured["width"]) == ([], 360)
    assert 100 < max(measured["headings"]) <= 300
