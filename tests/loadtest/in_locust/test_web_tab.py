"""Our tab in the web UI: what a browser shows of it during and after a run, and the choice of a scenario."""

from __future__ import annotations

import html
import itertools
import json
import re
import signal
import time
import urllib.error
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import yaml

from hs_drill.in_locust import _web
from hs_drill.metrics import ALL
from tests.loadtest.support.browser import Browser
from tests.loadtest.support.drills import shortened
from tests.loadtest.support.locust_process import SCENARIO, Locust, free_port
from tests.loadtest.support.prometheus import INSTALLED, Samples, scrape
from tests.loadtest.support.web_ui import WebUi

pytestmark = pytest.mark.process

PATIENCE = "--virtual-time-budget=4000"
"""Virtual time of the page, enough for its first figures."""
DRILLED = """\
name: drilled
description: <b>One</b> reader freezes.
cluster: {readers: 2, kind: embedded}
table: {rows: 500}
load: {users: 8, duration: 600s, think_time: 20ms}
mix: {get: 60, insert: 20, incr: 20}
faults:
  - {fault: pause, target: reader-1, at: 2s, for: 1h}
  - {fault: kill, target: reader-2, at: 500s, for: 1s}
expect: {lost: 0, availability: 100%}
"""


class Tab(WebUi):
    def live(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.fetch("/trio-hs/live"))
        return found

    def swarm(self, **form: object) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.fetch("/swarm", **{"user_count": 8, "spawn_rate": 100, **form}))
        return answer

    def stop(self) -> None:
        self.fetch("/stop")


@contextmanager
def web(scenario: str, *arguments: str, beside: str | None = None) -> Iterator[tuple[Locust, Tab, str]]:
    """Locust, its web UI and its address."""
    port = free_port()
    with Locust("--web-host", "127.0.0.1", "--web-port", str(port), *arguments, scenario=scenario, beside=beside) as locust:
        tab = Tab(locust, port)
        locust.wait_until(tab.answers, "the web UI does not answer")
        yield locust, tab, f"http://127.0.0.1:{port}"


def text_of(page: str) -> str:
    """The page's text, with single spaces."""
    return " ".join(re.sub(r"<[^>]*>", " ", re.sub(r"(?s)<(script|style|head).*?</\1>", "", page)).split())


def test_the_tab_shows_a_run_and_then_its_verdict(browser: Browser) -> None:
    with web(DRILLED) as (locust, tab, address):
        assert '"extended_tabs": [{"key": "trio-hs"' in tab.fetch("/")
        form = browser.dom(f"{address}/", PATIENCE)
        assert re.search(r'aria-expanded="true"[^>]*>(?:<[^>]*>)*Custom parameters', form), "the choice is visible at once"
        assert "short.yaml" in text_of(form)
        assert tab.swarm()["success"]
        locust.wait_for("fault: pause reader-1")
        locust.wait_until(lambda: len(tab.live()["live"]["points"]) > 5, "no points")

        framed = browser.dom(f"{address}/?tab=trio-hs", PATIENCE)
        assert re.search(r'<iframe[^>]* src="\./trio-hs/"', framed), framed
        page = browser.dom(f"{address}/trio-hs/", PATIENCE)
        text = text_of(page)
        assert "&lt;b&gt;One&lt;/b&gt; reader freezes." in text, "as text, not as markup"
        assert re.search(r"running for \d+ s · 8 users · during pause reader-1", text), text
        assert re.search(r"writer ▲ up \d", text), text
        assert re.search(r"reader-1 (■ stalled|▼ down) \d", text), text
        assert re.search(r"reader-2 ▲ up \d", text), text
        assert re.search(r"pause reader-1 ● on \d+\.\d s", text), text
        assert "kill reader-2 … planned 500.0 s" in text
        assert re.search(r"get [\d,]+ [\d,]+ [\d,]+ [\d,]+ [\d,]+ [\d,]+ ", text), "rates and microseconds"
        assert re.search(r"load engine busy \d+ % its event loop late, p99 µs [\d,]+ ", text), text
        assert page.count('class="band"') == 4, "in each chart"
        assert len(re.findall(r'class="line p50" d="M[\d.,]+h0L', page)) == 2, "latency, and how late the engine is"
        assert_readable_in_both_themes(browser, address)
        assert_nothing_is_loaded_from_elsewhere(tab)

        tab.stop()
        locust.wait_until(lambda: tab.live()["verdict"] is not None, "no verdict")
        told = tab.live()
        assert told["verdict"]["exit_code"] == 4, told["verdict"]  # the second fault has not struck
        assert told["live"]["ended"]
        text = text_of(browser.dom(f"{address}/trio-hs/", PATIENCE))
        assert f"{told['verdict']['verdict']} · exit code" in text
        report = tab.fetch("/trio-hs/runs/0/report")
        assert f"<title>drilled: {told['verdict']['verdict']}" in report
        locust.process.send_signal(signal.SIGTERM)
        assert locust.finish() == told["verdict"]["exit_code"], locust.describe()


def assert_readable_in_both_themes(browser: Browser, address: str) -> None:
    for page, scheme, ground, in_a_chart in (("/trio-hs/", 1, 255, 250), ("/?tab=trio-hs", 0, 18, 360)):
        picture = browser.picture(address + page, PATIENCE, f"--blink-settings=preferredColorScheme={scheme}")
        row = picture.row(in_a_chart)
        assert row[2] == (ground, ground, ground), page
        # The band of the fault lies in the charts, more yellow than what is below it.
        assert sum(red - blue > 20 for red, _, blue in row) > 40, page


def assert_nothing_is_loaded_from_elsewhere(tab: Tab) -> None:
    ours = [tab.fetch(f"/trio-hs/{name}") for name in ("", "locust_page.js", "page.js", "page.css")]
    assert not re.findall(r"https?://(?!www\.w3\.org/2000/svg)", "".join(ours))
    assert "innerHTML" not in "".join(ours)


def test_another_scenario_is_chosen_in_the_form() -> None:
    with web(SCENARIO, "--cluster", "embedded") as (locust, tab, _):
        (locust.directory / "drilled.yaml").write_text(DRILLED)
        (locust.directory / "wrong.yaml").write_text(DRILLED.replace("rows: 500", "rows: many"))
        form = tab.template()["extra_options"]
        own, other, wrong = (str(locust.directory / f"{name}.yaml") for name in ("short", "drilled", "wrong"))
        assert form["scenario"]["default_value"] == own
        assert {own, other, wrong} <= set(form["scenario"]["choices"])
        assert (form["cluster"]["default_value"], form["cluster"]["choices"][0]) == ("embedded", _web.ITS_OWN)

        refused = tab.swarm(scenario=wrong)
        assert not refused["success"]
        assert refused["message"].startswith(f"{wrong}:4: table.rows: must be a whole number")
        refused = tab.swarm(scenario="/etc/passwd")
        assert refused["message"] == "/etc/passwd is not one of the scenarios to choose from"
        refused = tab.swarm(scenario=own, cluster="external")
        assert not refused["success"]
        assert "external" in refused["message"]
        assert "external" not in form["cluster"]["choices"]
        refused = tab.swarm(user_count=-5)
        assert refused == {"success": False, "message": "the number of users must be a whole number from 1 on, not '-5'"}
        refused = tab.swarm(spawn_rate="nan")
        assert refused["message"] == "the spawn rate must be a number of users a second above 0, not 'nan'"
        assert tab.live()["scenario"] == "short", "the old scenario and its servers are still there"

        assert tab.swarm(scenario=other, cluster=_web.ITS_OWN)["success"]
        locust.wait_until(lambda: tab.count("incr") > 25, "no load")
        refused = tab.swarm(scenario=own)
        assert refused == {
            "success": False,
            "message": "a run of drilled is in progress: stop it before you choose another scenario",
        }
        assert tab.swarm(scenario=other)["success"], "more users for the same one"
        tab.stop()
        locust.wait_until(lambda: len(tab.live()["runs"]) == 1, "no verdict")
        assert tab.template()["extra_options"]["scenario"]["default_value"] == other

        # And back to the first scenario, on new servers.
        assert tab.swarm(scenario=own, cluster="embedded")["success"]
        locust.wait_until(lambda: tab.count("delete") > 5, "no load")
        assert tab.statistics()["fail_ratio"] == 0
        tab.stop()
        locust.wait_until(lambda: len(tab.live()["runs"]) == 2, "no verdict")
        assert [run["name"].partition("-")[2].partition("-")[2] for run in tab.live()["runs"]] == ["drilled", "short"]
        assert len(locust.processes("trio_hs.testing")) == 2, "the servers of the earlier scenarios are gone"
        locust.process.terminate()
        assert locust.finish() == 4, locust.describe()  # the gravest run's: not every fault of the first one has struck
        assert "Traceback" not in locust.stderr, locust.describe()


IN_THE_FORM = """
import json, locust
from flask import request

SCRIPT = '''<script>
const root = document.getElementById("root");
const seen = [];
const fields = (form) => ["userCount", "spawnRate", "runTime"].map((name) => form.elements[name].value);
const until = async (condition) => {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 50));
};
(async () => {
  await until(() => root.querySelector("select[name=scenario]"));
  const select = root.querySelector("select[name=scenario]");
  const form = select.form;
  seen.push(fields(form));
  for (const file of ["drilled", "wrong", "short", "drilled"]) {
    const before = fields(form).join();
    select.value = [...select.options].find((one) => one.value.endsWith(`/${file}.yaml`)).value;
    select.dispatchEvent(new Event("change", { bubbles: true }));
    if (file === "wrong") await new Promise((resolve) => setTimeout(resolve, 300));
    else await until(() => fields(form).join() !== before);
    seen.push(fields(form));
  }
  document.body.dataset.seen = JSON.stringify(seen);
  if (location.hash === "#start") form.querySelector("button[type=submit]").click();
})();
</script></body>'''

@locust.events.init.add_listener
def on_init(environment, **_):
    @environment.web_ui.app.after_request
    def add(response):
        if request.path == "/" and response.mimetype == "text/html":
            response.set_data(response.get_data(as_text=True).replace("</body>", SCRIPT))
        return response
"""


def test_the_form_shows_the_load_of_the_chosen_scenario(browser: Browser) -> None:
    """In Chromium. A script that the test adds to the page chooses."""
    scenario = SCENARIO.replace("duration: 2s", "duration: 90s")
    with web(scenario, "--cluster", "embedded", "-u", "5", beside=IN_THE_FORM) as (locust, tab, address):
        (locust.directory / "drilled.yaml").write_text(DRILLED)
        (locust.directory / "wrong.yaml").write_text(DRILLED.replace("rows: 500", "rows: many"))
        page = browser.dom(f"{address}/#start", "--virtual-time-budget=60000")
        found = re.search('data-seen="([^"]*)"', page)
        assert found is not None, text_of(page)
        short, drilled = ["5", "100", "90"], ["8", "64", "600"]
        assert json.loads(html.unescape(found[1])) == [short, drilled, drilled, short, drilled]
        locust.wait_until(lambda: tab.has_users(8), "it has not started as the form says")
        assert tab.live()["scenario"] == "drilled"
        tab.stop()
        assert json.loads(tab.fetch(f"/trio-hs/load?scenario={locust.directory}/drilled.yaml"))["run_time"] == 600
        with pytest.raises(urllib.error.HTTPError, match="404"):
            tab.fetch("/trio-hs/load?scenario=/etc/passwd")


def test_workers_switch_to_another_scenario() -> None:
    """And Prometheus sees it, on the master."""
    metrics = free_port()
    options = ["--metrics", str(metrics)] if INSTALLED else []
    with web(SCENARIO, "--cluster", "embedded", "--processes", "2", *options) as (locust, tab, _):
        (locust.directory / "drilled.yaml").write_text(DRILLED)
        tab.swarm()
        locust.wait_until(lambda: tab.count("find") > 25, "no load")
        tab.stop()
        locust.wait_until(lambda: len(tab.live()["runs"]) == 1, "no verdict")
        assert tab.swarm(scenario=str(locust.directory / "drilled.yaml"))["success"]
        locust.wait_for("fault: pause reader-1")
        locust.wait_until(lambda: tab.count("incr") > 50, "no load")
        assert tab.count("find") == 0
        if INSTALLED:
            assert_fault_is_shown(scrape(metrics))
        tab.stop()
        locust.wait_until(lambda: len(tab.live()["runs"]) == 2, "no verdict")
        if INSTALLED:
            assert_counts_are_those_of_the_results(scrape(metrics), locust)
        assert len(locust.processes("hs_drill.engine")) == 2
        lost = next(one for one in tab.live()["verdict"]["expectations"] if one["name"] == "lost")
        assert lost["result"] == "pass", tab.live()["verdict"]


def assert_fault_is_shown(samples: Samples) -> None:
    assert samples("hs_drill_fault_active", fault="pause", target="reader-1") == 1
    assert (samples("hs_drill_fault_start_timestamp_seconds", fault="pause", target="reader-1") or 0) <= time.time()
    assert samples("hs_drill_run_active") == 1
    assert samples("hs_drill_users") == 8
    assert samples("hs_drill_primary", server="writer") == 1
    assert samples("hs_drill_server_state", server="writer", state="up") == 1
    (about,) = map(dict, samples.of("hs_drill_run_info"))
    assert (about["scenario"], about["kind"]) == ("drilled", "embedded")
    assert {dict(labels)["worker"] for labels in samples.of("hs_drill_engine_busy_seconds_total")} == {"0", "1"}


def assert_counts_are_those_of_the_results(samples: Samples, locust: Locust) -> None:
    """Of both runs together: counters never go back."""
    expected: Counter[tuple[str, str]] = Counter()
    for path in locust.directory.glob("runs/*/result.json"):
        operations = json.loads(path.read_text())["operations"]
        for name, outcome in itertools.product(operations, ("ok", "failed")):
            expected[name, outcome] += operations[name][outcome]["count"]
    found = {
        (dict(labels)["operation"], dict(labels)["outcome"]): count
        for labels, count in samples.of("hs_drill_operations_total").items()
    }
    assert found == {key: count for key, count in expected.items() if key[0] != ALL}
    assert found["find", "ok"] > 0
    assert found["incr", "ok"] > 0
    assert samples("hs_drill_fault_active", fault="pause", target="reader-1") == 0, "it has healed"
    assert samples("hs_drill_run_active") == 0


@pytest.mark.parametrize("drill, code", [("reader-failover", 0), ("writer-kill-plain", 3)])
def test_a_drill_gives_its_verdict_and_exit_code_from_the_web_ui_too(drill: str, code: int) -> None:
    scenario = yaml.safe_load(shortened(drill, 0.4))
    scenario["expect"].pop("recovery", None)  # how soon it is steady again depends on the machine
    metrics = free_port()
    options = ["--metrics", str(metrics)] if INSTALLED else []
    with web(yaml.safe_dump(scenario), "--cluster", "embedded", *options) as (locust, tab, _):
        form = tab.template()
        assert json.loads(tab.fetch("/swarm", user_count=form["num_users"], spawn_rate=64, run_time=form["run_time"]))[
            "success"
        ]
        locust.wait_until(lambda: tab.live()["verdict"] is not None, "no verdict")
        verdict = tab.live()["verdict"]
        missed = [one["line"] for one in verdict["expectations"] if one["result"] != "pass"]
        assert verdict["exit_code"] == code, "; ".join(missed)
        assert f"verdict: {verdict['verdict']}" in locust.stdout
        if INSTALLED:
            primary = {"reader-failover": "writer", "writer-kill-plain": "standby"}[drill]
            assert scrape(metrics)("hs_drill_primary", server=primary) == 1
        locust.process.terminate()
        assert locust.finish() == code, locust.describe()
