"""`hs-drill schema`: the JSON Schema of scenario files, published in docs/, agrees with the code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from hs_drill import __main__ as commands
from hs_drill.scenario import parse_scenario
from tests.loadtest.support.kept_runs import EVERY_EXPECTATION, SCENARIO
from tests.loadtest.support.own_failover import OWN, own
from tests.loadtest.support.scenarios import mistakes
from tests.loadtest.support.shop import changed

ROOT = Path(__file__).resolve().parents[3]

SCHEMA = ROOT / "docs/scenario.schema.json"


def errors_of(text: str) -> list[Any]:
    validator = jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text()))
    return list(validator.iter_errors(_with_text_as_keys(yaml.safe_load(text))))


def _with_text_as_keys(value: Any) -> Any:
    """As editors see it, and we: the key `null` of a column is text."""
    if isinstance(value, list):
        return [_with_text_as_keys(one) for one in value]
    if isinstance(value, dict):
        return {"null" if key is None else key: _with_text_as_keys(one) for key, one in value.items()}
    return value


def test_the_published_schema_is_that_of_the_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert commands.main(["schema"]) == 0
    out = capsys.readouterr().out
    assert SCHEMA.read_text() == out, "run: hs-drill schema > docs/scenario.schema.json"
    jsonschema.Draft202012Validator.check_schema(json.loads(out))
    assert not {"ge", "gt", "le", "lt", "x-bare"} & set(_keys(json.loads(out))), "keywords that no editor knows"


def _keys(schema: Any) -> list[str]:
    if isinstance(schema, list):
        return [key for one in schema for key in _keys(one)]
    return [*schema, *(key for one in schema.values() for key in _keys(one))] if isinstance(schema, dict) else []


LOADS = """\
name: loads
table: {value_size: {sizes: [{size: 20, weight: 9}, {size: 500}]}}
load: {think_time: {min: 10ms, max: 0.1}, warm_up: 1s}
keys: {distribution: hot-set, hot_keys: 1%, hot_operations: 0.9}
mix: {get: {weight: 1, keys: zipfian}, get_many: {weight: 1, count: 3, keys: {distribution: zipfian, theta: 0.8}}}
"""
SHORT_LOADS = """\
name: loads
table: {value_size: {min: 20, max: 30}}
load: {think_time: 1s}
keys: sequential
mix: {get: 1}
"""
OPEN = """\
name: open
load: {rate: 10, arrivals: even, max_in_flight: 5, max_wait: 1s, stages: [{for: 0s, rate: 20.5}, {for: 1m, rate: 0}]}
mix: {get: 1}
"""
SHIPPED = [path.read_text() for path in sorted((ROOT / "scenarios").glob("*.yaml"))]


@pytest.mark.parametrize("text", [SCENARIO, EVERY_EXPECTATION, LOADS, SHORT_LOADS, OPEN, OWN, *SHIPPED])
def test_the_schema_accepts_what_the_code_accepts(text: str) -> None:
    parse_scenario(text, "s.yaml")
    assert errors_of(text) == []


@pytest.mark.parametrize(
    "before, after",
    [
        ("name: by-hand", "nmae: by-hand"),
        ("get: 90", "get: -1"),
        ("get: 90", "get: {wieght: 5}"),
        ("duration: 20s", "duration: 20 parsecs"),
        ("duration: 20s", "duration: 0"),
        ("fault: kill", "fault: kil"),
        ("target: reader-1, ", ""),
        ("at: 6s", "at: -6"),
        ("availability: 90%", "availability: 90"),
        ("steady: 3s", "steady: true"),
        ("all: 1000", "all: -1"),
        ("mix:", "keys: {theta: 0}\nmix:"),
        ("mix:", "keys: zipfan\nmix:"),
        ("table: {rows: 200}", "table: {value_size: }"),
    ],
)
def test_the_schema_refuses_what_the_code_refuses(before: str, after: str) -> None:
    assert before in SCENARIO
    assert errors_of(SCENARIO.replace(before, after)) != []


@pytest.mark.parametrize(
    "before, after",
    [
        ("kill: {run:", "kil: {run:"),
        ("kill: {run:", "kill: {runs:"),
        ('[ssh, "{host}", kill]', "ssh"),
        ('[ssh, "{host}", kill]', "[]"),
        ("timeout: 5s", "timeout: 4000"),
        ("every: 500ms", "every: 0.001"),
        ("name: flush, ", ""),
        (", at: 70s, for: 60s}", ", at: 70s}"),
        ("{fault: external, ", "{fault: external, target: primary, "),
    ],
)
def test_the_schema_knows_commands(before: str, after: str) -> None:
    mistakes(own((before, after)))
    assert errors_of(own((before, after))) != []


def test_the_schema_describes_keys() -> None:
    definitions = json.loads(SCHEMA.read_text())["$defs"]
    assert definitions["Load"]["properties"]["spawn_rate"]["description"].startswith("Users started per second; 64 if not")
    assert definitions["Kill"]["properties"]["for"]["description"].startswith("Seconds until it heals")


OTHER_VALUES = """\
    a: {type: uuid, values: uuid}
    b: {type: int, values: {zipfian: {between: [1, 5], theta: 0.5}}, nullable: true}
    c: {type: int, values: {zipfian: [1, 5]}, null: 0.25}
    d: {type: char(3), values: {text: 3}}
    e: {type: date, values: null}
    f: {type: int, values: {constant: 5}}
"""


def test_the_schema_knows_tables_of_ones_own() -> None:
    text = changed(("    views:", f"{OTHER_VALUES}    views:"), ("  new product:", "  insert: 2\n  new product:"))
    parse_scenario(text, "s.yaml")
    assert errors_of(text) == []


@pytest.mark.parametrize(
    "before, after",
    [
        ("{choice: {books: 5", "{chioce: {books: 5"),
        ("books: 5", "books: 0"),
        ("[1, 999]", "[1]"),
        ("values: 0", "values: [0]"),
        ("values: 0", "valus: 0"),
        ("null: 5%", "null: 5"),
        ("primary: [id]", "primary: id"),
        ("do: get, ", ""),
        ("do: get", "do: fetch"),
        ("limit: 20", "limit: 0"),
        ('operation: ">="', 'operation: "=>"'),
        ("set: [name, note]", "set: []"),
    ],
)
def test_the_schema_refuses_wrong_tables(before: str, after: str) -> None:
    assert mistakes(changed((before, after)))
    assert errors_of(changed((before, after))) != []
