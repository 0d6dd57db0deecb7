"""Scenarios: what they mean, and that every mistake is reported in a line with its place and the remedy."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hs_drill.scenario._model import Scenario
from hs_drill.scenario._reader import load_scenario, parse_scenario
from tests.loadtest.support.locust_process import ROOT
from tests.loadtest.support.scenarios import mistakes


@pytest.mark.parametrize("path", sorted((ROOT / "scenarios").glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_scenarios_are_valid_and_commented(path: Path) -> None:
    scenario = load_scenario(path)
    assert scenario.name == path.stem
    assert path.read_text().startswith("# ")


def test_the_mixed_scenario_matches_the_readme() -> None:
    scenario = load_scenario(ROOT / "scenarios/mixed.yaml")
    assert scenario.weights == {"get": 70, "find": 15, "insert": 10, "incr": 5}
    assert (scenario.table.rows, scenario.load.users, scenario.load.lasts) == (10_000, 64, 20)


def test_a_minimal_scenario_has_defaults_for_the_rest() -> None:
    scenario = parse_scenario("name: x\nmix: {get: 1}\n", "s.yaml")
    assert scenario.cluster.kind == "auto"
    assert scenario.weights == {"get": 1}


def test_a_scenario_without_a_mix_is_for_users_in_python() -> None:
    """Nobody knows yet what their code does: they may write, name operations as they like, and are audited if asked."""
    text = "name: x\nexpect: {latency: {browse: {p99: 1s}}}\n"
    scenario = parse_scenario(text, "s.yaml")
    assert (scenario.operations, scenario.weights, scenario.drawn_by) == ((), {}, {})
    assert (scenario.writes, scenario.audited) == (True, False)
    assert Scenario.model_validate(scenario.model_dump(mode="json")) == scenario
    assert parse_scenario(f"{text}audit: true\n", "s.yaml").audited
    assert mistakes("name: x\nexpect: {lost: 0}\n") == [
        "s.yaml:2: expect.lost: needs the audit, which a run without a mix has only if you say `audit: true`"
    ]
    assert parse_scenario("name: x\naudit: true\nexpect: {read_your_writes: true}\n", "s.yaml").audited
    assert not parse_scenario("name: x\ntable: {existing: true, name: t}\n", "s.yaml").writes


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
        ("name: x", "name: on", "1: name: must be text, not true (on means true in YAML); put it in quotes: 'on'"),
        ("users: 64", "users: 0", "8: load.users: must be 1 or more, not 0"),
        ("duration: 20s", "duration: 0", "9: load.duration: must be more than 0, not 0"),
        ("duration: 20s", "durtion: 20s", "9: load.durtion: unknown key; did you mean duration?"),
        (
            "duration: 20s",
            "duration: 20 parsecs",
            "9: load.duration: must be a duration such as 20s, 1m30s or a number of seconds, not '20 parsecs'",
        ),
        ("name: x", "nmae: x", "1: name: is missing; add it, such as `name: mixed`"),
        ("name: x", "name: 5", "1: name: must be text, not 5; put it in quotes: '5'"),
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
        ("name: x\nmix: 7\n", "s.yaml:2: mix: must be a mapping of keys, not 7"),
        ("name: x\nmix: {get: 1}\ntable: {name: 'a b'}\n", "s.yaml:3: table.name: must be a plain name"),
        ("name: x\nmix: {get: 1}\ntable: {rows: 5, groups: 9}\n", "s.yaml:3: table.groups: cannot be more"),
        (
            "name: x\nmix: {get: 1}\ncluster:\n  kind: mariabd\n",
            "s.yaml:4: cluster.kind: must be 'auto', 'docker', 'mariadb', 'embedded' or 'external', not the text "
            "'mariabd'; did you mean mariadb?",
        ),
        (
            "name: x\nmix: {get: 1}\ncluster:\n  version: 11.8\n",
            "s.yaml:4: cluster.version: must be text, not 11.8; put it in quotes: '11.8'",
        ),
        (
            "name: x\nmix: {get: 1}\ncluster: {kind: docker, version: 10.10}\n",
            "s.yaml:3: cluster.version: must be text, not 10.10; put it in quotes: '10.10'",
        ),
        ("name: " + "7" * 70 + "\nmix: {get: 1}\n", f"s.yaml:1: name: must be text, not {'7' * 60}; put it in quotes"),
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
        ("mix: {insert: 1, get: 1}\nkeys: latest", "mix.get: `latest` needs cluster.topology: write-through"),
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
    assert scenario.drawn_by["get"].hot_keys == 0.01
    assert scenario.drawn_by["get_many"].distribution == "zipfian"
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
