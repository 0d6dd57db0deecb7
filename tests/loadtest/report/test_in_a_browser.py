"""The report as a browser draws it, and at the end of a run."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from hs_drill import __main__ as commands
from tests.loadtest.support.browser import Browser
from tests.loadtest.support.kept_runs import FAULT, HandMade
from tests.loadtest.support.locust_process import SCENARIO as SHORT
from tests.loadtest.support.locust_process import Locust
from tests.loadtest.support.report_pages import Page, report_of

MEASURE = """<script>
const panel = document.querySelector("#panel-0"), chart = panel.querySelector("svg");
const box = (one) => one.getBoundingClientRect().toJSON();
const axis = box(chart.querySelector(".axis"));
const ticks = [...chart.querySelectorAll(".tick[text-anchor=middle]")];
chart.dispatchEvent(new PointerEvent("pointermove", {clientX: axis.left + axis.width * 6.3 / 20}));
document.body.dataset.measured = JSON.stringify({
  axis,
  ticks: Object.fromEntries(ticks.map((one) => [one.textContent, box(one).left + box(one).width / 2])),
  bands: [...chart.querySelectorAll(".band")].map((one) => ({fault: one.dataset.fault, ...box(one)})),
  panels: [...document.querySelectorAll(".panel")].map((one) => one.getClientRects().length > 0),
  readout: panel.querySelector(".readout").textContent,
  stepped: ["Home", "ArrowRight"].map((key) => {
    chart.dispatchEvent(new KeyboardEvent("keydown", {key}));
    return panel.querySelector(".readout").textContent;
  }),
});
</script>"""


def measured(browser: Browser, report: Path) -> dict[str, Any]:
    """What the browser says about the first chart, with positions in pixels."""
    page = report.read_text()
    # The report's policy lets no script run but its own.
    opened = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
    assert opened != page
    copy = report.with_name("measured.html")
    copy.write_text(opened.replace("</body>", f"{MEASURE}</body>"))
    found = re.search(r'<body data-measured="([^"]*)"', browser.dom(copy))
    assert found is not None
    result: dict[str, Any] = json.loads(html.unescape(found[1]))
    return result


@pytest.mark.process
def test_the_fault_band_lies_where_the_fault_was(browser: Browser, tmp_path: Path) -> None:
    report = report_of(HandMade().keep(tmp_path))
    found = measured(browser, report)
    axis, ticks = found["axis"], found["ticks"]
    (band,) = found["bands"]
    assert band["fault"] == FAULT[0]

    def x(seconds: float) -> float:
        return float(axis["left"] + (axis["right"] - axis["left"]) * seconds / 20)

    # The labels are where they say, and the band is where they say that the fault was.
    assert ticks == pytest.approx({f"{seconds} s": x(seconds) for seconds in range(0, 21, 2)}, abs=1)
    assert (band["left"], band["right"]) == pytest.approx((ticks["6 s"], (ticks["10 s"] + ticks["12 s"]) / 2), abs=1)
    assert found["panels"] == [True, False, False, False, False], "one operation or server at a time"

    # And it is to be seen there: in a row between the top and the line, its colour is in these columns and no others.
    row = browser.picture(report).row(round(band["top"]) + 4)
    ground = row[5]
    tinted = [column for column, colour in enumerate(row) if _is_amber(colour, ground)]
    assert (tinted[0], tinted[-1]) == pytest.approx((x(6), x(11)), abs=2)
    assert len(tinted) > 0.9 * (x(11) - x(6))


def _is_amber(colour: Sequence[int], ground: Sequence[int]) -> bool:
    """More yellow than the page below it."""
    red, _, blue = (one - below for one, below in zip(colour, ground, strict=True))
    return red - blue > 20


@pytest.mark.process
def test_the_report_shows_the_same_in_the_dark_and_without_scripts(browser: Browser, tmp_path: Path) -> None:
    report = report_of(HandMade().keep(tmp_path))
    band = measured(browser, report)["bands"][0]
    # Chromium takes no picture with its scripts switched off, so they are cut out instead.
    bare = report.with_name("bare.html")
    bare.write_text(re.sub(r"(?s)<script.*?</script>", "", report.read_text()))
    assert "<script" not in bare.read_text()
    for page, scheme, ground in [(report, 0, (13, 17, 23)), (bare, 1, (255, 255, 255))]:
        row = browser.picture(page, f"--blink-settings=preferredColorScheme={scheme}").row(round(band["top"]) + 4)
        assert row[5] == ground
        tinted = [column for column, colour in enumerate(row) if _is_amber(colour, ground)]
        assert (tinted[0], tinted[-1]) == pytest.approx((band["left"], band["right"]), abs=2)


@pytest.mark.process
def test_pointing_at_a_chart_shows_its_numbers(browser: Browser, tmp_path: Path) -> None:
    report = report_of(HandMade().keep(tmp_path))
    assert measured(browser, report)["readout"] == (
        "6.25 to 6.50 s · 420 ops/s · p50 0.8 ms · p99 150 ms · p99.9 150 ms · 20 errors/s"
    )
    assert [one.partition(" · ")[0] for one in measured(browser, report)["stepped"]] == ["0.00 to 0.25 s", "0.25 to 0.50 s"]
    # Its script is the one that its policy names.
    assert 'class="cursor"' in browser.dom(report)


# ---- at the end of a run


@pytest.mark.process
def test_a_run_ends_with_its_report_and_is_judged_alike_afterwards(capsys: pytest.CaptureFixture[str]) -> None:
    scenario = SHORT.replace("duration: 2s", "duration: 4s") + (
        "faults: [{fault: kill, target: reader-1, at: 1s, for: 1s}]\nexpect: {availability: 100%}\n"
    )
    with Locust("--headless", "--only-summary", "--cluster", "embedded", scenario=scenario.replace("1}", "2}", 1)) as locust:
        code = locust.finish()
        printed = locust.stdout
        report, verdict = re.search(r"^report: (.*)$", printed, re.M), re.search(r"^verdict: .*$", printed, re.M)
        assert report is not None, printed
        assert verdict is not None, printed
        page = Page(Path(report[1]))
        assert page.row("✓ struck")[1] == "kill reader-1"
        assert [row[1] for row in page.rows if row[0] == "server"][-1].endswith("(embedded)")
        assert {"writer", "reader-1", "reader-2"} <= {row[0] for row in page.rows}
        assert "connection lost reader-1" in page.text
        assert f"Exit code {code}: " in page.text
        assert commands.main(["analyze", str(Path(report[1]).parent)]) == code
        assert verdict[0] in capsys.readouterr().out
