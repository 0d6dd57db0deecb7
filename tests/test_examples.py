"""The folders of `examples/`: that their scenarios are valid, and that their READMEs name what is there."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from hs_drill.scenario import load_scenario
from hs_drill.scenario._stated_verdict import stated_exit_code

EXAMPLES = Path(__file__).parents[1] / "examples"
SCENARIOS = sorted(EXAMPLES.glob("**/*.yaml"))


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_scenario_is_valid_and_states_its_verdict(path: Path) -> None:
    scenario = load_scenario(path)
    for command in scenario.cluster.commands.values():
        for argv in (command.run, command.heal):
            assert argv is None or "/" not in argv[0] or os.access(argv[0], os.X_OK), argv
    assert stated_exit_code(path) is not None


@pytest.mark.parametrize("folder", sorted(path.parent for path in EXAMPLES.glob("**/README.md")), ids=lambda path: path.name)
def test_a_readme_names_every_scenario_and_script_of_its_folder(folder: Path) -> None:
    text = (folder / "README.md").read_text()
    named = set(re.findall(r"[\w-]+\.(?:sh|yaml)", text))
    there = {path.name for path in folder.iterdir() if path.suffix in (".sh", ".yaml")}
    elsewhere = {path.name for path in (EXAMPLES / "own-failover").glob("*.sh")}
    assert there == {name for name in named if name in there or name not in elsewhere}
    for name in there:
        assert os.access(folder / name, os.X_OK) == (name.endswith(".sh") and name != "common.sh"), name
    for link in re.findall(r"\]\(([^)]+)\)", text):
        assert "://" in link or (folder / link.partition("#")[0]).exists(), link


@pytest.mark.process
def test_the_scripts_for_kubernetes_say_what_they_should_to_kubectl(tmp_path: Path) -> None:
    (kubectl := tmp_path / "kubectl").write_text('#!/bin/sh\nprintf "%s\\n" "$*" >>"$0.said"\n')
    kubectl.chmod(0o755)
    for script in ("delete-pod", "wait-for-pod", "switch-over"):
        subprocess.run(
            [EXAMPLES / "kubernetes" / f"{script}.sh", "my-db-2.my-db-internal.there.svc.cluster.local"],
            env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
            check=True,
        )
    *said, patched = (tmp_path / "kubectl.said").read_text().splitlines()
    assert said == [
        "delete pod my-db-2 --grace-period=0 --force",
        "get pod my-db-2",
        "wait --for=condition=Ready pod/my-db-2 --timeout=240s",
    ]
    command, _, patch = patched.partition(" --patch=")
    assert command == "patch mariadb my-db --type=merge"
    assert json.loads(patch) == {"spec": {"replication": {"primary": {"podIndex": 2}}}}


def test_there_are_examples() -> None:
    assert len(SCENARIOS) >= 3
