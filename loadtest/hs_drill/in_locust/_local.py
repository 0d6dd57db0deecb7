"""The session of a Locust that runs in one process."""

from __future__ import annotations

from functools import partial
from typing import Any

from locust.env import Environment
from locust.runners import STATE_SPAWNING, LocalRunner

from hs_drill.metrics import Batch

from ._engine_link import EngineLink, RunStart, history_path
from ._interrupts import Interrupts
from ._locust_stats import fire_each, merge
from ._owner import Owner
from ._user_stand_ins import code_modules
from ._user_tasks import task_weights

__all__ = ["LocalSession"]


class LocalSession(Owner):
    """Owns the servers, and has the only engine."""

    def __init__(self, environment: Environment, runner: LocalRunner, interrupts: Interrupts) -> None:
        super().__init__(environment, runner, interrupts)
        self.engine = EngineLink(self._on_batch, self._fail, self._on_suspended, partial(fire_each, environment=environment))
        self._start()

    def _use(self, cluster: dict[str, Any]) -> None:
        super()._use(cluster)
        self.engine.configure(
            cluster, self._controller.scenario, 0, each=self._each, sample=self._controller.sample, code=code_modules()
        )
        self.engine.wait_ready()

    def _close(self) -> None:
        self.engine.close()
        super()._close()

    def _on_batch(self, batch: Batch) -> None:
        if not self._each:
            merge(batch, self._environment.stats)
        self._count(0, batch)

    def _on_test_start(self, **kwargs: Any) -> None:
        before = self._runner.state
        self._runner.update_state(STATE_SPAWNING)  # in its own state of now, Locust would ignore a Stop until the run begins
        try:
            super()._on_test_start(**kwargs)
        except BaseException:
            self._runner.update_state(before)
            raise
        tasks = task_weights(self._environment.user_classes)
        self.engine.start(RunStart(self._runs, history_path(self._directory, 0), tasks=tasks))

    def _drain(self) -> None:
        self.engine.stop()

    def on_suspend(self, number: int | None) -> None:
        self.engine.suspend(number)

    def on_mark(self) -> None:
        self.engine.mark()

    def _on_suspended(self, number: int) -> None:
        self._controller.suspended(number)
