"""The form of the workflows for a code host, by a schema of our own: nothing here can run them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

FOLDER = Path(__file__).parents[1] / ".github" / "workflows"
_NAME = {"type": "string", "minLength": 1}
_PERMISSIONS = {"type": "object", "additionalProperties": {"enum": ["read", "write", "none"]}}
_STEP = {
    "type": "object",
    "properties": {
        "name": _NAME,
        "if": _NAME,
        "uses": {"type": "string", "pattern": r"^[\w.-]+/[\w./-]+@[\w./-]+$"},
        "run": _NAME,
        "with": {"type": "object", "additionalProperties": {"type": "string"}},
        "env": {"type": "object", "additionalProperties": {"type": "string"}},
    },
    "oneOf": [{"required": ["uses"]}, {"required": ["run"]}],
    "additionalProperties": False,
}
_JOB = {
    "type": "object",
    "properties": {
        "runs-on": _NAME,
        "needs": {"type": "array", "items": _NAME},
        "if": _NAME,
        "environment": _NAME,
        "timeout-minutes": {"type": "string", "pattern": r"^\d+$"},
        "permissions": _PERMISSIONS,
        "strategy": {
            "type": "object",
            "properties": {"fail-fast": {"enum": ["true", "false"]}, "matrix": {"type": "object", "minProperties": 1}},
            "required": ["matrix"],
            "additionalProperties": False,
        },
        "steps": {"type": "array", "items": _STEP, "minItems": 1},
    },
    "required": ["runs-on", "timeout-minutes", "steps"],
    "additionalProperties": False,
}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": _NAME,
        "on": {"type": "object", "minProperties": 1},
        "permissions": _PERMISSIONS,
        "jobs": {"type": "object", "additionalProperties": _JOB, "minProperties": 1},
    },
    "required": ["name", "on", "permissions", "jobs"],
    "additionalProperties": False,
}
"""The part of the language that we use. Every scalar is text: YAML would take `on` for true, and 3.10 for 3.1."""


def read(path: Path) -> Any:
    return yaml.load(path.read_text(), yaml.BaseLoader)


def check(workflow: Any) -> None:
    jsonschema.Draft202012Validator(SCHEMA).validate(workflow)
    for name, job in workflow["jobs"].items():
        assert set(job.get("needs", ())) <= workflow["jobs"].keys() - {name}, name


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*")), ids=lambda path: path.name)
def test_a_workflow_has_the_form_that_a_code_host_expects(path: Path) -> None:
    check(read(path))
    assert path.read_text().startswith("# NOT RUN YET")


def test_only_the_job_that_publishes_may_write_and_only_for_a_tag() -> None:
    jobs = read(FOLDER / "release.yml")["jobs"]
    writing = {name for name, job in jobs.items() if "write" in job.get("permissions", {}).values()}
    assert writing == {"publish"}
    assert jobs["publish"]["if"].startswith("startsWith(github.ref, 'refs/tags/")


def test_every_test_and_drill_runs_at_night_and_stands_before_what_is_published() -> None:
    workflow = read(FOLDER / "release.yml")
    everything = workflow["jobs"]["everything"]
    assert "schedule" in workflow["on"]
    assert everything["if"] == "github.event_name == 'schedule' || startsWith(github.ref, 'refs/tags/v')"
    run = " ".join(step.get("run", "") for step in everything["steps"])
    assert "./dev test --all" in run
    assert "./dev drills" in run
    assert set(workflow["jobs"]["publish"]["needs"]) == {"build", "everything"}


def test_only_a_tag_is_built_as_a_release() -> None:
    (build,) = (
        step["run"] for step in read(FOLDER / "release.yml")["jobs"]["build"]["steps"] if "./dev release" in step.get("run", "")
    )
    assert build.endswith("${{ !startsWith(github.ref, 'refs/tags/v') && '--draft' || '' }}")


def test_the_notes_are_not_uploaded_as_a_distribution_but_shown_with_the_release() -> None:
    steps = read(FOLDER / "release.yml")["jobs"]["publish"]["steps"]
    moved, published, shown = (
        next(number for number, step in enumerate(steps) if part in step.get("run", step.get("uses")))
        for part in ("mv dist/RELEASE-NOTES.md .", "gh-action-pypi-publish@", "--notes-file RELEASE-NOTES.md")
    )
    assert moved < published < shown


def test_the_schema_refuses_what_is_wrong() -> None:
    good = read(FOLDER / "release.yml")
    spoils: list[Callable[[Any], Any]] = [
        lambda jobs: jobs["build"].update(needs=["tset"]),
        lambda jobs: jobs["build"]["steps"][0].update(run="both"),
        lambda jobs: jobs["build"].pop("runs-on"),
        lambda jobs: jobs["build"].update({"time-out": "3"}),
    ]
    for spoil in spoils:
        wrong = copy.deepcopy(good)
        spoil(wrong["jobs"])
        with pytest.raises((jsonschema.ValidationError, AssertionError)):
            check(wrong)
