"""Any text is a scenario, or is refused in clear lines: YAML's oddities, files that never end, random damage."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from hs_drill.scenario._mix import Mix
from hs_drill.scenario._model import Scenario
from hs_drill.scenario._reader import ScenarioError, load_scenario, parse_scenario
from hs_drill.store import RunDirectory
from tests.loadtest.support.locust_process import ROOT
from tests.loadtest.support.scenarios import mistakes
from tests.loadtest.support.shop import SHOP


def test_anchors_and_merge_keys_work() -> None:
    text = "name: x\nmix:\n  find: &f {weight: 1, limit: 7}\n  get: 1\n  insert: {weight: 1}\n"
    assert parse_scenario(text, "s.yaml").operations[1].limit == 7
    merged = "name: x\nmix:\n  find:\n    <<: {limit: 3}\n    weight: 1\n"
    assert parse_scenario(merged, "s.yaml").operations[0].limit == 3
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


def _places(value: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The place of every value in nested mappings and lists."""
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield (*above, key)
        yield from _places(inner, (*above, key))


ODD = [
    *("sequence", "uuid", "now", "version", "varchar(", "decimal(5,9)", "char(999999)", "enum('a'", "varchar(5) collate x_y"),
    *(
        {"choice": [None]},
        {"between": [[1], "x"]},
        {"text": {"min": -1}},
        {"zipfian": 5},
        {"lines": "\0"},
        {"lines": "/dev/null"},
    ),
    *({"constant": {}}, {"version": False}, {"between": [1, 2], "text": 3}, {"do": "find", "weight": 1}, {"do": ["get"]}),
]


@given(_values)
def test_any_yaml_is_a_scenario_or_clear_lines(value: Any) -> None:
    assert_scenario_or_clear_lines(yaml.safe_dump(value))


@given(st.text(alphabet=st.sampled_from("ab:-[]{}&*!|>'\"#%@`,?\n\t 01_.e~<\0\x85é"), max_size=60))
def test_any_text_is_a_scenario_or_clear_lines(text: str) -> None:
    assert_scenario_or_clear_lines(text)


@pytest.mark.parametrize("text", [(ROOT / "scenarios/mixed.yaml").read_text(), SHOP], ids=["mixed", "shop"])
@given(data=st.data())
def test_any_damage_to_a_scenario_is_a_scenario_or_clear_lines(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 20)))
    assert_scenario_or_clear_lines(text[:start] + data.draw(st.text(max_size=5)) + text[end:])


PLACES = [place for place in _places(yaml.safe_load(SHOP)) if place[0] in ("table", "mix")]


@given(st.sampled_from(PLACES), st.sampled_from(ODD) | _values)
def test_any_value_in_a_table_or_its_operations_is_a_scenario_or_clear_lines(place: tuple[Any, ...], value: Any) -> None:
    data = yaml.safe_load(SHOP)
    reduce(getitem, place[:-1], data)[place[-1]] = value
    assert_scenario_or_clear_lines(yaml.safe_dump(data, sort_keys=False))


@given(st.sampled_from(sorted(Mix.model_fields)), st.floats(max_value=-1e-9, allow_nan=False, allow_infinity=False))
def test_any_negative_weight_is_refused_by_name(operation: str, weight: float) -> None:
    assert mistakes(yaml.safe_dump({"name": "x", "mix": {operation: weight}}))[0].startswith(f"s.yaml:2: mix.{operation}: ")
