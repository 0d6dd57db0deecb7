"""Scenarios: what they mean, and that every mistake is reported in a line with its place and the remedy."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from hs_drill.metrics import NOT_STARTED, NOT_THERE, UNANSWERED
from hs_drill.scenario._expect import ERROR_ALIASES, ERROR_CLASSES, ERROR_KINDS, is_kind
from hs_drill.scenario._mix import Mix
from hs_drill.scenario._model import Scenario
from hs_drill.scenario._reader import ScenarioError, load_scenario, parse_scenario
from hs_drill.store import RunDirectory
from trio_hs import exceptions

ROOT = Path(__file__).resolve().parents[3]


def mistakes(text: str) -> list[str]:
    with pytest.raises(ScenarioError) as caught:
        parse_scenario(text, "s.yaml")
    return str(caught.value).splitlines()


@pytest.mark.parametrize("path", sorted((ROOT / "scenarios").glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_scenarios_are_valid_and_commented(path: Path) -> None:
    scenario = load_scenario(path)
    assert scenario.name == path.stem
    assert path.read_text().startswith("# ")


def test_the_mixed_scenario_matches_the_readme() -> None:
    scenario = load_scenario(ROOT / "scenarios/mixed.yaml")
    assert scenario.mix.weights() == {"get": 70, "find": 15, "insert": 10, "incr": 5}
    assert (scenario.table.rows, scenario.load.users, scenario.load.lasts) == (10_000, 64, 20)


def test_a_minimal_scenario_has_defaults_for_the_rest() -> None:
    scenario = parse_scenario("name: x\nmix: {get: 1}\n", "s.yaml")
    assert scenario.cluster.kind == "auto"
    assert scenario.mix.get.weight == 1
    assert scenario.mix.weights() == {"get": 1}


def test_a_scenario_survives_json() -> None:
    scenario = load_scenario(ROOT / "scenarios/mixed.yaml")
    assert Scenario.model_validate(scenario.model_dump(mode="json")) == scenario


@pytest.mark.parametrize(
    "text, seconds",
    [
        ("20s", 20),
        ("1m30s", 90),
        ("1m 30s", 90),
        ("1.5h", 5400),
        ("250ms", 0.25),
        ("20", 20),
        ("0.5", 0.5),
        ("1e1", 10),
        ("1:30", None),
    ],
)
def test_durations(text: str, seconds: float | None) -> None:
    whole = f"name: x\nmix: {{get: 1}}\nload: {{duration: {text}}}\n"
    if seconds is None:
        assert mistakes(whole)[0].startswith("s.yaml:3: load.duration: must be a duration such as 20s")
    else:
        assert parse_scenario(whole, "s.yaml").load.lasts == seconds


BASE = """\
name: x            # 1
mix:               # 2
  get: 70          # 3
  find:            # 4
    weight: 15     # 5
    limit: 10      # 6
load:              # 7
  users: 64        # 8
  duration: 20s    # 9
"""


@pytest.mark.parametrize(
    "before, after, expected",
    [
        ("get: 70", "get: -5", "3: mix.get: must be 0 or more, not -5"),
        ("get: 70", "get: .inf", "3: mix.get: must be a number, not inf"),
        ("get: 70", "get: '7'", "3: mix.get: must be a number, not the text '7'"),
        ("get: 70", "get:", "3: mix.get: must be a number, not nothing"),
        ("get: 70", "get: [1]", "3: mix.get: must be a number, not a list"),
        ("get: 70", "gett: 70", "3: mix.gett: no such operation; did you mean get?"),
        (
            "get: 70",
            "scan: 70",
            "3: mix.scan: no such operation; there are get, find, get_many, insert, incr, decr, update, delete",
        ),
        ("weight: 15", "wieght: 15", "5: mix.find.wieght: unknown key; did you mean weight?"),
        ("weight: 15", "weight: -1", "5: mix.find.weight: must be 0 or more, not -1"),
        ("limit: 10", "limit: 0", "6: mix.find.limit: must be 1 or more, not 0"),
        ("limit: 10", "limit: 1.5", "6: mix.find.limit: must be a whole number, not 1.5"),
        ("limit: 10", "weight: 3", "6: mix.find.weight: given twice; the first is in line 5"),
        ("users: 64", "users: true", "8: load.users: must be a whole number, not true"),
        ("users: 64", "users: yes", "8: load.users: must be a whole number, not true (yes means true in YAML)"),
        ("users: 64", "users: 1e3", "8: load.users: must be a whole number, not 1000.0: write 1000"),
        ("users: 64", "users: 1:30", "8: load.users: must be a whole number, not the text '1:30'"),
        ("users: 64", "users: 010", "8: load.users: write 10, without a leading 0 (8 to YAML 1.1); if it is text, put it in"),
        ("users: 64", "users: -09", "8: load.users: write -9, without a leading 0; if it is text, put it in quotes: '-09'"),
        ("users: 64", "users: 0x10", "8: load.users: write 16, in decimal digits; if it is text, put it in quotes: '0x10'"),
        ("users: 64", "users: 0b11", "8: load.users: write 3, in decimal digits"),
        ("users: 64", "users: 0o17", "8: load.users: write 15, in decimal digits"),
        ("users: 64", "users: 1_000", "8: load.users: write 1000, without _"),
        ("weight: 15", "weight: 1_000.5", "5: mix.find.weight: write 1000.5, without _"),
        ("users: 64", "5: 64", "8: load.5: unknown key; there are users"),
        ("users: 64", "on: 64", "8: load.on: unknown key; there are users"),
        ("users: 64", "null: 64", "8: load.null: unknown key; there are users"),
        ("users: 64", "1.5: 64", "8: load.1.5: unknown key; there are users"),
        ("users: 64", "'': 64", "8: load.'': unknown key; there are users"),
        ("users: 64", "1: 64\n  1: 64", "9: load.1: given twice; the first is in line 8"),
        ("users: 64", "on: 64\n  'on': 64", "9: load.on: given twice; the first is in line 8"),
        ("users: 64", "stages:\n  - - users: 5", "9: load.stages.0: must be a mapping of keys, not a list"),
        ("users: 64", "stages: [{for: 1s,\n 7: 5}]", "9: load.stages.0.7: unknown key; "),
        ("users: 64", "<<: {uzers: 64,\n 7: 5}", "9: load.7: unknown key; "),
        ("name: x", "name: on", "1: name: must be text, not true (on means true in YAML); put it in quotes"),
        ("users: 64", "users: 0", "8: load.users: must be 1 or more, not 0"),
        ("duration: 20s", "duration: 0", "9: load.duration: must be more than 0, not 0"),
        ("duration: 20s", "durtion: 20s", "9: load.durtion: unknown key; did you mean duration?"),
        (
            "duration: 20s",
            "duration: 20 parsecs",
            "9: load.duration: must be a duration such as 20s, 1m30s or a number of seconds, not '20 parsecs'",
        ),
        ("name: x", "nmae: x", "1: name: is missing; add it, such as `name: mixed`"),
        ("name: x", "name: 5", "1: name: must be text, not 5; put it in quotes"),
        ("  get: 70          # 3\n", "", None),
        ("load:              # 7\n", "lead:\n", "7: lead: unknown key; did you mean load?"),
        ("get: 70", "get: 70\n\tfind: 3", "4: not valid YAML: "),
        ("name: x", "name: x: y", "1: not valid YAML: mapping values are not allowed here; put text that contains `: `"),
        ("get: 70", "get: {", "5: not valid YAML: "),
        ("get: 70", "get: 2024-13-45", "3: mix.get: must be a number, not the text '2024-13-45'"),
        ("get: 70", "get: !!int ''", "3: not a valid value: "),
        ("get: 70", "get: !!timestamp x", "3: not a valid value: "),
        ("get: 70", "delete: 70", "3: mix.delete: removes rows that the run has inserted"),
        ("get: 70", "? [a, b]\n  : 70", "3: mix: a key must be a plain word"),
        ("get: 70", "get: &a [*a]", "3: mix.get.0: an alias that contains itself"),
        ("get: 70", "get: !!python/name:os.system 70", "3: not valid YAML: could not determine a constructor"),
    ],
)
def test_each_mistake_is_reported_with_its_line(before: str, after: str, expected: str | None) -> None:
    assert before in BASE
    text = BASE.replace(before, after)
    if expected is None:
        parse_scenario(text, "s.yaml")
    else:
        found = mistakes(text)
        assert any(line.startswith(f"s.yaml:{expected}") for line in found), found


@pytest.mark.parametrize(
    "text, expected",
    [
        ("", "s.yaml:1: the file is empty"),
        ("# nothing\n", "s.yaml:1: the file is empty"),
        ("- a\n- b\n", "s.yaml:1: a scenario is a mapping that begins like `name: mixed`"),
        ("just text", "s.yaml:1: a scenario is a mapping that begins like `name: mixed`"),
        ("name: x\n---\nname: y\n", "s.yaml:2: not valid YAML: expected a single document"),
        ("name: x\nmix: {}\n", "s.yaml:2: mix: needs at least one operation with a weight above 0"),
        ("name: x\nmix: {get: 0}\n", "s.yaml:2: mix: needs at least one operation with a weight above 0"),
        ("name: x\n", "s.yaml:1: mix: is missing; add it, such as `mix: {get: 70, insert: 30}`"),
        ("name: x\nmix: 7\n", "s.yaml:2: mix: must be a mapping of keys, not 7"),
        ("name: x\nmix: {get: 1}\ntable: {name: 'a b'}\n", "s.yaml:3: table.name: must be a plain SQL name"),
        ("name: x\nmix: {get: 1}\ntable: {rows: 5, groups: 9}\n", "s.yaml:3: table.groups: cannot be more"),
        (
            "name: x\nmix: {get: 1}\ncluster:\n  kind: mariabd\n",
            "s.yaml:4: cluster.kind: must be 'auto', 'docker', 'mariadb', 'embedded' or 'external', not the text "
            "'mariabd'; did you mean mariadb?",
        ),
        (
            "name: x\nmix: {get: 1}\ncluster:\n  version: 11.8\n",
            "s.yaml:4: cluster.version: must be text, not 11.8; put it in quotes",
        ),
        (
            "name: x\nmix: {get: 1}\ncluster: {version: '11.8.9'}\n",
            "s.yaml:3: cluster.version: must be the first two numbers of a version, such as '11.8', not the text '11.8.9'",
        ),
        (
            "name: x\nmix: {get: 1}\ncluster:\n  kind: docker\n  version: '10.6'\n",
            "s.yaml:5: cluster.version: must be 10.11 or 11.8 for kind docker, not 10.6",
        ),
        ("name: \x07\n", "s.yaml:1: not valid YAML: special characters are not allowed"),
        ("a: " + "[" * 5000, "s.yaml:1: nested too deeply"),
    ],
)
def test_files_that_are_not_a_scenario(text: str, expected: str) -> None:
    found = mistakes(text)
    assert len(found) == 1
    assert found[0].startswith(expected), found


EXPECT = """\
name: x
mix: {get: 1, insert: 1}
expect:
  availability: 99.9%
  throughput: {before: 5000, during: 1000}
  latency:
    get: {p99: 5ms, p99.9: {during: 1s}}
    all: {max: 4s}
  errors: {ConnectionError: 5, the row is not there: 0}
  recovery: 2s
  lost: any
  applied_twice: 0
  staleness: 500ms
  monotonic_reads: true
"""


def test_expectations() -> None:
    expect = parse_scenario(EXPECT, "s.yaml").expect
    assert expect.availability.limits() == {"run": 0.999}
    assert expect.throughput.limits() == {"before": 5000, "during": 1000}
    assert expect.latency.get.limits()["p99"] == {"run": 0.005}
    assert expect.latency.get.limits()["p99.9"] == {"during": 1.0}
    assert expect.errors == {"ConnectionError": 5, "the row is not there": 0}
    assert (expect.recovery.steady, expect.recovery.first_success) == (2.0, None)
    assert (expect.lost, expect.applied_twice, expect.unexpected, expect.staleness) == ("any", 0, None, 0.5)
    scenario = parse_scenario(EXPECT, "s.yaml")
    assert Scenario.model_validate(scenario.model_dump(mode="json")) == scenario


@pytest.mark.parametrize(
    "before, after, expected",
    [
        ("99.9%", "99,9%", "4: expect.availability: must be a share such as 99.9% or 0.999, not '99,9%'"),
        ("99.9%", "101%", "4: expect.availability: must be a share such as 99.9% or 0.999, not '101%'"),
        ("99.9%", "99.9", "4: expect.availability: must be a share such as 99.9% or 0.999, not 99.9"),
        ("before: 5000", "befor: 5000", "5: expect.throughput.befor: unknown key; did you mean before?"),
        ("before: 5000", "before: -1", "5: expect.throughput.before: must be 0 or more, not -1"),
        ("p99: 5ms", "p98: 5ms", "7: expect.latency.get.p98: unknown key; did you mean p99?"),
        ("p99: 5ms", "p99: 5 parsecs", "7: expect.latency.get.p99: must be a duration such as 20s"),
        ("during: 1s", "while: 1s", "7: expect.latency.get.p99.9.while: unknown key; there are run, before, during, after"),
        ("    all:", "    gett:", "8: expect.latency.gett: unknown key; did you mean get?"),
        ("ConnectionError: 5", "ConectionError: 5", "9: expect.errors.ConectionError: no such kind of error; did you mean"),
        ("ConnectionError: 5", "ConnectionError: -1", "9: expect.errors.ConnectionError: must be 0 or more, not -1"),
        ("recovery: 2s", "recovery: {stedy: 2s}", "10: expect.recovery.stedy: unknown key; did you mean steady?"),
        ("lost: any", "lost: none", "11: expect.lost: must be a whole number, 0 or more, or any, not 'none'"),
        (
            "lost: any",
            "lost: no",
            "11: expect.lost: must be a whole number, 0 or more, or any, not false (no means false in YAML",
        ),
        ("ConnectionError: 5", "\n    404: 5", "10: expect.errors.404: no such kind of error; there are all, "),
        ("lost: any", "lost: -1", "11: expect.lost: must be a whole number, 0 or more, or any, not -1"),
        ("staleness: 500ms", "staleness: -1", "13: expect.staleness: must be 0 or more, not -1"),
        ("monotonic_reads: true", "monotonic_reads: 1", "14: expect.monotonic_reads: must be true or false, not 1"),
        ("  lost: any", "  losst: any", "11: expect.losst: unknown key; did you mean lost?"),
        ("name: x", "name: x\naudit: false", "12: expect.lost: needs the audit"),
        ("name: x", "name: x\naudit: {reads: 2}", "2: audit.reads: must be 1 or less, not 2"),
        ("name: x", "name: x\naudit: 7", "2: audit: must be true or false, not 7"),
        ("name: x", "name: x\naudit: {read: 1}", "2: audit.read: unknown key; did you mean reads?"),
        ("name: x", "name: x\ntable: {value_size: 17}", "2: table.value_size: must be 18 or more in an audited run"),
    ],
)
def test_each_mistake_in_expect_is_reported_with_its_line(before: str, after: str, expected: str) -> None:
    assert before in EXPECT
    found = mistakes(EXPECT.replace(before, after))
    assert any(line.startswith(f"s.yaml:{expected}") for line in found), found


UNJUDGED = """\
name: x
mix: {get: 50, incr: 50}
load: {duration: 10s, warm_up: 2s}
faults:
  - {fault: kill, target: reader-1, at: 3s}
  - {fault: latency, target: all readers, delay: 400ms, at: AT}
expect: EXPECT
"""


@pytest.mark.parametrize(
    "at, expect, mistake",
    [
        ("2s", "{recovery: 1s}", "6: faults.1.at: must be 3 s or more: expect.recovery compares with what was counted before"),
        ("2900ms", "{recovery: {steady: 1s}}", "6: faults.1.at: must be 3 s or more"),
        ("3s", "{recovery: 1s}", None),
        ("2s", "{recovery: {first_success: 1s}}", None),
        ("2s", "{errors: 0}", None),
    ],
)
def test_recovery_needs_time_counted_before_the_first_fault(at: str, expect: str, mistake: str | None) -> None:
    assert_mistake(UNJUDGED.replace("AT", at).replace("EXPECT", expect), mistake)


READS_EXPECTED = """\
name: x
cluster: {topology: write-through}
mix: MIX
audit: {reads: SHARE}
expect:
  lost: 0
  EXPECT
"""


@pytest.mark.parametrize("name, value", [("staleness", "10ms"), ("monotonic_reads", "true")])
@pytest.mark.parametrize(
    "mix, share, mistake",
    [
        ("{insert: 1}", 0.1, "is about reads, but the mix has none of get, find, get_many"),
        ("{update: 1, get: 0}", 1, "is about reads, but the mix has none of get, find, get_many"),
        ("{get: 50, update: 50}", 0, "is about reads, but none is kept: audit.reads must be more than 0"),
        ("{find: 50, update: 50}", 0.01, None),
        ("{get_many: 50, update: 50}", 1, None),
    ],
)
def test_expectations_of_reads_need_reads(mix: str, share: float, mistake: str | None, name: str, value: str) -> None:
    text = READS_EXPECTED.replace("MIX", mix).replace("SHARE", str(share))
    assert_mistake(text.replace("EXPECT", f"{name}: {value}"), mistake and f"7: expect.{name}: {mistake}")
    assert_mistake(text.replace("EXPECT", "errors: 0"), None)


@pytest.mark.parametrize(
    "latency, mistake",
    [
        ("{find: {p99: 5ms}}", "3: expect.latency.find: limits an operation that the mix does not have"),
        (
            "{get: {p50: 1ms}, delete: {max: {after: 1s}}}",
            "3: expect.latency.delete: limits an operation that the mix does not",
        ),
        ("{get: {p99: 5ms}, all: {max: 1s}}", None),
        ("{find: {}, all: {max: 1s}}", None),
    ],
)
def test_a_latency_of_an_operation_outside_the_mix_is_refused(latency: str, mistake: str | None) -> None:
    assert_mistake(f"name: x\nmix: {{get: 1, insert: 1, delete: 0}}\nexpect: {{latency: {latency}}}\n", mistake)


def assert_mistake(text: str, mistake: str | None) -> None:
    if mistake is None:
        assert parse_scenario(text, "s.yaml")
    else:
        (found,) = mistakes(text)
        assert found.startswith(f"s.yaml:{mistake}"), found


def test_a_run_with_writes_is_audited_by_default() -> None:
    for mix, audit, audited in [
        ("{get: 1, find: 1}", None, False),
        ("{get: 1, find: 1}", "true", True),
        *((f"{{insert: 1, {name}: 1}}", None, True) for name in ("incr", "decr", "update", "delete")),
        ("{insert: 1}", "false", False),
        ("{insert: 1}", "{reads: 0.5}", True),
        ("{get: 1}", "{reads: 0.5}", False),
    ]:
        text = f"name: x\nmix: {mix}\n" + (f"audit: {audit}\n" if audit else "")
        assert parse_scenario(text, "s.yaml").audited is audited


def test_kinds_of_error_match_the_client() -> None:
    classes = {name: value for name, value in vars(exceptions).items() if isinstance(value, type)}
    errors = {name for name, value in classes.items() if issubclass(value, Exception)}  # not typing.Any, a class on 3.11
    # An alias counts under the name of its class.
    assert set(ERROR_KINDS) - {NOT_THERE, NOT_STARTED, UNANSWERED} == errors - set(ERROR_ALIASES)
    for name in ERROR_CLASSES:
        for other in (*ERROR_CLASSES, *ERROR_ALIASES):
            assert is_kind(name, other) == issubclass(classes[name], classes[other]), (name, other)


def test_every_mistake_is_reported_in_the_order_of_the_file() -> None:
    text = BASE.replace("get: 70", "get: -1").replace("users: 64", "users: none").replace("limit: 10", "limti: 1")
    assert [line.split(":")[1] for line in mistakes(text)] == ["3", "6", "8"]


@pytest.mark.parametrize(
    "text, expected",
    [
        ("keys: {theta: 0.9}", "keys: theta is for `zipfian` and `latest`, not for `uniform`"),
        ("keys: {distribution: zipfian, theta: 0}", "keys.theta: must be more than 0, not 0"),
        (
            "keys: zipfan",
            "keys: must be 'uniform', 'zipfian', 'latest', 'sequential' or 'hot-set', not the text 'zipfan'; did you",
        ),
        ("keys: {distribution: hot-set, hot_keys: 120%}", "keys.hot_keys: must be a share such as 99.9% or 0.999, not '120%'"),
        ("keys: {distribution: zipfian, hot_keys: 10%}", "keys: hot_keys and hot_operations are for a `hot-set`"),
        ("keys: latest", "mix.get: `latest` reads what the run inserts: the mix needs insert"),
        ("mix: {insert: 1, get: {weight: 1, keys: latest}}", "mix.get: `latest` needs cluster.topology: write-through"),
        ("mix: {insert: 1, incr: {weight: 1, keys: latest}}", "mix.incr: `latest` is for get, find, get_many: give incr keys"),
        ("mix: {insert: {weight: 1, keys: uniform}}", "mix.insert.keys: unknown key; there are weight"),
        ("mix: {get: {weight: 1, keys: {thta: 1}}}", "mix.get.keys.thta: unknown key; did you mean theta?"),
        ("mix: {get_many: {weight: 1, count: 0}}", "mix.get_many.count: must be 1 or more, not 0"),
        ("table: {value_size: {min: 9, max: 5}}", "table.value_size: min cannot be more than max: 9 is more than 5"),
        ("table: {value_size: {min: 9}}", "table.value_size: needs `min` and `max`, or `sizes` such as"),
        ("table: {value_size: 100000}", "table.value_size: must be 16000 or less, not 100000"),
        (
            "table: {value_size: {sizes: [{size: 5, wight: 1}]}}",
            "table.value_size.sizes.0.wight: unknown key; did you mean weight?",
        ),
        ("mix: {insert: 1}\ntable: {value_size: {min: 17, max: 20}}", "table.value_size: must be 18 or more in an audited run"),
        ("load: {think_time: {min: 2s, max: 1s}}", "load.think_time: min cannot be more than max: 2 s is more than 1 s"),
        ("load: {think_time: fast}", "load.think_time: must be a duration such as 20s"),
        (
            "load: {think_time: 1s, pacing: 1s}",
            "load.pacing: counts from start to start, think_time after each operation: give only one",
        ),
        ("load: {rate: -1}", "load.rate: must be 0 or more, not -1"),
        ("load: {rate: 0}", "load.rate: must be more than 0, or nothing happens"),
        (
            "load: {rate: 5, arrivals: evn}",
            "load.arrivals: must be 'poisson' or 'even', not the text 'evn'; did you mean even?",
        ),
        ("load: {rate: 5, think_time: 1s}", "load: think_time and pacing are for users that wait for answers"),
        ("load: {max_wait: 1s}", "load: arrivals, max_in_flight and max_wait are for an open loop: they need a rate"),
        ("load: {stages: [{for: 1s}]}", "load.stages.0: needs `users` or `rate`, and not both"),
        ("load: {stages: [{users: 1}]}", "load.stages.0.for: is missing; add it"),
        ("load: {stages: [{for: 1s, usrs: 1}]}", "load.stages.0.usrs: unknown key; did you mean users?"),
        (
            "load: {stages: [{for: 1s, users: 1}, {for: 1s, rate: 1}]}",
            "load: all stages must give users, or all must give a rate",
        ),
        ("load: {rate: 1, stages: [{for: 1s, users: 1}]}", "load: all stages must give users, or all must give a rate"),
        ("load: {duration: 2s, stages: [{for: 2s, users: 1}]}", "load.duration: is the sum of the stages: leave it out"),
        ("load: {stages: [{for: 0s, users: 1}]}", "load: the stages take no time"),
        ("load: {warm_up: 20s}", "load.warm_up: must be less than the run (20 s), or nothing is counted"),
        (
            "load: {warm_up: 5s}\nfaults: [{fault: kill, target: writer, at: 4s}]",
            "faults.0.at: must be load.warm_up (5 s) or more, or its effect is not counted",
        ),
    ],
)
def test_each_mistake_in_load_and_keys_is_reported(text: str, expected: str) -> None:
    whole = "name: x\n" + ("" if "mix:" in text else "mix: {get: 1}\n") + text + "\n"
    found = mistakes(whole)
    assert any(re.sub(r"^s\.yaml:\d+: ", "", line).startswith(expected) for line in found), found


def test_shorthands_are_accepted() -> None:
    text = """name: x
table: {value_size: {sizes: [{size: 20, weight: 9}, {size: 500}]}}
load: {think_time: 10ms, warm_up: 1s}
keys: zipfian
mix: {get: {weight: 1, keys: {distribution: hot-set, hot_keys: 1%}}, get_many: 1, insert: 1}
"""
    scenario = parse_scenario(text, "s.yaml")
    assert scenario.mix.keys(scenario.keys)["get"].hot_keys == 0.01
    assert scenario.mix.keys(scenario.keys)["get_many"].distribution == "zipfian"
    assert (scenario.table.value_size.smallest, scenario.table.value_size.largest) == (20, 500)
    assert scenario.load.think_time is not None
    assert (scenario.load.think_time.min, scenario.load.think_time.max) == (0.01, 0.01)
    assert Scenario.model_validate(scenario.model_dump(mode="json")) == scenario


@pytest.mark.parametrize(
    "load, users, spawn_rate, lasts, course",
    [
        ("{}", 1, 64, 20, [(0, 1)]),
        ("{users: 8, spawn_rate: 2, duration: 5s}", 8, 2, 5, [(0, 8)]),
        ("{rate: 500}", 100, 100, 20, [(0, 500)]),
        ("{rate: 500, users: 10}", 10, 10, 20, [(0, 500)]),
        ("{users: 3, stages: [{for: 1s, users: 9}, {for: 2s, users: 1}]}", 3, 64, 3, [(0, 3), (1, 9), (3, 1)]),
        ("{stages: [{for: 0s, rate: 5}, {for: 2s, rate: 5.5}]}", 100, 100, 2, [(0, 0), (0, 5), (2, 5.5)]),
    ],
)
def test_load_for_locust(load: str, users: int, spawn_rate: float, lasts: float, course: list[tuple[float, float]]) -> None:
    scenario = parse_scenario(f"name: x\nmix: {{get: 1}}\nload: {load}\n", "s.yaml")
    assert (scenario.load.locust_users, scenario.load.locust_spawn_rate, scenario.load.lasts) == (users, spawn_rate, lasts)
    assert scenario.load.course() == course
    assert Scenario.model_validate(scenario.model_dump(mode="json")) == scenario


def test_anchors_and_merge_keys_work() -> None:
    text = "name: x\nmix:\n  find: &f {weight: 1, limit: 7}\n  get: 1\n  insert: {weight: 1}\n"
    assert parse_scenario(text, "s.yaml").mix.find.limit == 7
    merged = "name: x\nmix:\n  find:\n    <<: {limit: 3}\n    weight: 1\n"
    assert parse_scenario(merged, "s.yaml").mix.find.limit == 3
    assert mistakes(merged.replace("limit", "limti"))[0].startswith(
        "s.yaml:4: mix.find.limti: unknown key; did you mean limit?"
    )


def test_numbers_and_dates_in_quotes_are_text() -> None:
    for name in ("010", "0x10", "1_000", "yes", "1e3", "2024-01-01"):
        assert parse_scenario(f"name: '{name}'\nmix: {{get: 1}}\n", "s.yaml").name == name
    assert parse_scenario("name: 2024-01-01\nmix: {get: 1}\n", "s.yaml").name == "2024-01-01"


@pytest.mark.parametrize("name", ["010", "0x10", "0o17", "1e3", "1_000", "1:30", "yes", "2024-01-01", ".5", "5.", "null"])
def test_a_kept_scenario_is_read_as_it_was_written(name: str, tmp_path: Path) -> None:
    scenario = parse_scenario(f"name: '{name}'\nmix: {{get: 1}}\n", "s.yaml")
    assert RunDirectory.create(scenario, tmp_path).scenario() == scenario


def test_yes_and_no_are_booleans() -> None:
    text = "name: x\nmix: {get: 1}\ncluster: {standby: yes}\naudit: off\n"
    scenario = parse_scenario(text, "s.yaml")
    assert scenario.cluster.standby
    assert not scenario.audited


def bomb(first: str, repeat: str) -> str:
    """Nine keys. Each repeats the one before ten times."""
    lines = [f"k0: &k0 {first}"]
    for number in range(9):
        lines.append(f"k{number + 1}: &k{number + 1} {repeat.replace('*', ', '.join([f'*k{number}'] * 10))}")
    return "name: x\nmix: {get: 1}\n" + "\n".join(lines)


@pytest.mark.parametrize(
    "text",
    [
        bomb("[1, 1]", "[*]"),
        bomb("{a: 1}", "{<<: [*]}"),
        bomb("{}", "{<<: [*]}"),
        bomb("[]", "{a: [*]}"),
        "name: x\nfaults: [" + "1," * 20_000 + "]\n",
    ],
)
def test_aliases_cannot_multiply_without_limit(text: str) -> None:
    (found,) = mistakes(text)
    assert found.startswith("s.yaml:1: has more than 10,000 keys and values, counting what aliases (*) repeat")


def test_files_that_never_end_or_are_too_large(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    with open(tmp_path / "large.yaml", "wb") as file:
        file.truncate(1 << 30)
    for path, expected in [
        (tmp_path / "pipe.yaml", "is a pipe, not a YAML file"),
        (tmp_path / "large.yaml", "has more than 64 KiB, so it is not a scenario; those have a few KiB"),
        (Path("/dev/zero"), "is a device, not a YAML file"),
    ]:
        with pytest.raises(ScenarioError) as caught:
            load_scenario(path)
        assert str(caught.value) == f"{path}: {expected}"


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "mixed.yaml").write_text("name: x\nmix: {get: 1}\n")
    (tmp_path / "latin.yaml").write_bytes(b"# a\nname: caf\xe9\nmix: {get: 1}\n")
    for name, expected in [
        ("mixd.yaml", f"{tmp_path}/mixd.yaml: cannot be read: No such file or directory; did you mean {tmp_path}/mixed.yaml?"),
        ("zzz", f"{tmp_path}/zzz: cannot be read: No such file or directory; there are {tmp_path}/latin.yaml, "),
        ("latin.yaml", f"{tmp_path}/latin.yaml:2: is not UTF-8 text"),
        ("", f"{tmp_path}: is a directory, not a YAML file; there are {tmp_path}/latin.yaml, "),
        ("\0", f"{tmp_path}/\0: cannot be read: "),
    ]:
        with pytest.raises(ScenarioError) as caught:
            load_scenario(tmp_path / name)
        assert str(caught.value).startswith(expected)


LINE = re.compile(r"s\.yaml:\d+: \S")


def assert_scenario_or_clear_lines(text: str) -> None:
    try:
        assert isinstance(parse_scenario(text, "s.yaml"), Scenario)
    except ScenarioError as error:
        lines = str(error).split("\n")
        assert all(LINE.match(line) and line.isprintable() for line in lines), lines
        count = text.count("\n") + 1
        assert all(1 <= int(line.split(":")[1]) <= count for line in lines), lines


_words = st.sampled_from(["name", "mix", "load", "get", "users", "duration", "weight", "<<", "oops", "1", "~", "\x85"])
_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10) | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_words, inner, max_size=4),
    max_leaves=12,
)


@given(_values)
def test_any_yaml_is_a_scenario_or_clear_lines(value: Any) -> None:
    assert_scenario_or_clear_lines(yaml.safe_dump(value))


@given(st.text(alphabet=st.sampled_from("ab:-[]{}&*!|>'\"#%@`,?\n\t 01_.e~<\0\x85é"), max_size=60))
def test_any_text_is_a_scenario_or_clear_lines(text: str) -> None:
    assert_scenario_or_clear_lines(text)


@given(st.data())
def test_any_damage_to_a_scenario_is_a_scenario_or_clear_lines(data: st.DataObject) -> None:
    text = (ROOT / "scenarios/mixed.yaml").read_text()
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 20)))
    assert_scenario_or_clear_lines(text[:start] + data.draw(st.text(max_size=5)) + text[end:])


@given(st.sampled_from(sorted(Mix.model_fields)), st.floats(max_value=-1e-9, allow_nan=False, allow_infinity=False))
def test_any_negative_weight_is_refused_by_name(operation: str, weight: float) -> None:
    assert mistakes(yaml.safe_dump({"name": "x", "mix": {operation: weight}}))[0].startswith(f"s.yaml:2: mix.{operation}: ")
