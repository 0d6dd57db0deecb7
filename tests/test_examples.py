"""The folders of `examples/`: that their scenarios are valid, and that their READMEs name what is there."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from hs_drill.scenario import load_scenario
from hs_drill.scenario._stated_verdict import stated_exit_code

EXAMPLES = Path(__file__).parents[1] / "examples"
SCENARIOS = sorted(EXAMPLES.glob("*/*.yaml"))


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_scenario_is_valid_and_states_its_verdict(path: Path) -> None:
    scenario = load_scenario(path)
    for command in scenario.cluster.commands.values():
        for argv in (command.run, command.heal):
            assert argv is None or os.access(argv[0], os.X_OK), argv
    assert stated_exit_code(path) is not None


@pytest.mark.parametrize("folder", sorted(path.parent for path in EXAMPLES.glob("*/README.md")), ids=lambda path: path.name)
def test_a_readme_names_every_scenario_and_script_of_its_folder(folder: Path) -> None:
    text = (folder / "README.md").read_text()
    named = set(re.findall(r"[\w-]+\.(?:sh|yaml)", text))
    there = {path.name for path in folder.iterdir() if path.suffix in (".sh", ".yaml")}
    assert there == named
    for name in there:
        assert os.access(folder / name, os.X_OK) == (name.endswith(".sh") and name != "common.sh"), name
    for link in re.findall(r"\]\(([^)]+)\)", text):
        assert (folder / link).exists(), link


def test_there_are_examples() -> None:
    assert len(SCENARIOS) >= 3
