"""Which scenario the next run uses, and on which kind of servers; and the scenarios that the web UI's start form offers."""

from __future__ import annotations

import argparse
from typing import Any

from hs_drill.scenario import Expect, Scenario, ScenarioError

from ._options import chosen_scenario, locust_settings, scenario_files, scenario_of

__all__ = ["Choice"]

Selection = tuple[str, str]
"""A scenario's file, and the kind of servers: "" for the kind that the scenario names."""


class Choice:
    """The scenario that is selected: at first the command line's, later perhaps another one from the web UI."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._initial = options.scenario
        self.selection: Selection = (options.scenario, options.cluster or "")
        self.scenario = self._with_locusts_rule(chosen_scenario(options))

    @property
    def offered(self) -> list[str]:
        """The files of the scenarios to choose from."""
        return scenario_files(self._initial, self.selection[0])

    def load_of(self, name: str) -> dict[str, Any] | None:
        """Users, spawn rate and run time of an offered scenario, for the start form. None if the file has mistakes; selecting
        it reports them."""
        if name == self.selection[0]:  # as the command line has set them, or the last form
            return {one: getattr(self._options, one) for one in ("num_users", "spawn_rate", "run_time")}
        if name not in self.offered:
            return None
        try:
            return locust_settings(scenario_of(name, "", None).load)
        except ScenarioError:
            return None

    def read(self, selection: Selection) -> Scenario:
        """The scenario as its file is now. Raises `ScenarioError`, also for one that needs external servers."""
        scenario = self._with_locusts_rule(scenario_of(*selection, self._options.server_version))
        if scenario.cluster.kind == "external":
            raise ScenarioError("servers of kind 'external' are for `--servers` or a scenario that Locust is started with")
        return scenario

    def select(self, selection: Selection, scenario: Scenario) -> None:
        """Have the next run use it."""
        self.selection, self.scenario = selection, scenario

    def _with_locusts_rule(self, scenario: Scenario) -> Scenario:
        """Let Locust's `--exit-code-on-error 0` hold for a scenario without expectations: failed operations then do not fail
        the run. The rule becomes an expectation, so that `hs-drill analyze` judges the run alike."""
        if self._options.exit_code_on_error or scenario.expect != Expect():
            return scenario
        return scenario.model_copy(update={"expect": Expect.model_validate({"availability": 0})})
