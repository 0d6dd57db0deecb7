"""The mistakes that a scenario is refused for."""

from __future__ import annotations

import pytest

from hs_drill.scenario._reader import ScenarioError, parse_scenario


def mistakes(text: str) -> list[str]:
    with pytest.raises(ScenarioError) as caught:
        parse_scenario(text, "s.yaml")
    return str(caught.value).splitlines()


def assert_mistake(text: str, mistake: str | None) -> None:
    if mistake is None:
        assert parse_scenario(text, "s.yaml")
    else:
        (found,) = mistakes(text)
        assert found.startswith(f"s.yaml:{mistake}"), found
