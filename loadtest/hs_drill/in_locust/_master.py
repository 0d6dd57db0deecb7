"""The session of Locust's master: owns the servers, and keeps its workers' engines in step, also those that join late."""

from __future__ import annotations

import time
from typing import Any

from gevent.event import Event
from locust.env import Environment
from locust.runners import MasterRunner

from hs_drill.metrics import Batch

from ._engine_link import STOP_TIMEOUT
from ._interrupts import Interrupts
from ._messages import DIED, DRAIN, DRAINED, HELLO, MARK, REPORT, RUN, SETUP, SUSPEND, SUSPENDED
from ._owner import Owner

__all__ = ["MasterSession"]


class MasterSession(Owner):
    """Owns the servers. The engines are the workers'."""

    def __init__(self, environment: Environment, runner: MasterRunner, interrupts: Interrupts) -> None:
        super().__init__(environment, runner, interrupts)
        self._master: Any = runner
        self._setup: dict[str, Any] | None = None
        self._draining: set[str] = set()
        self._taking_part: set[str] = set()
        """The workers that may have written in this run and have not reported its end."""
        self._drained = Event()
        self._began: float | None = None
        """When the current run began (monotonic clock); None while there is none to join."""
        self._suspension: int | None = None
        self._unsuspended: set[str] = set()
        """The workers that have not closed their connections yet."""
        runner.register_message(HELLO, self._on_hello)
        runner.register_message(SUSPENDED, self._on_suspended)
        runner.register_message(DRAINED, self._on_drained)
        runner.register_message(DIED, self._on_died, concurrent=True)
        events: Any = environment.events
        events.worker_report.add_listener(self._on_worker_report)
        self._start()

    def _use(self, cluster: dict[str, Any]) -> None:
        super()._use(cluster)
        scenario, sample = self._controller.scenario, self._controller.sample
        self._setup = {"cluster": cluster, "scenario": scenario, "sample": sample, "each": self._each}
        for worker in self._master.clients.all:
            self._send_setup(worker.id)

    def _on_hello(self, msg: Any, **_: Any) -> None:
        if self._setup is not None:
            self._send_setup(msg.node_id)

    def _send_setup(self, worker: str) -> None:
        index = self._master.get_worker_index(worker)
        run = None
        if self._began is not None:  # the worker carries load at once
            self._take_part(worker)
            run = {**self._run, "elapsed": time.monotonic() - self._began}
        self._master.send_message(SETUP, {**(self._setup or {}), "worker": index, "run": run}, worker)
        if self._suspension is not None:
            self._master.send_message(SUSPEND, {"number": self._suspension}, worker)

    @property
    def _run(self) -> dict[str, Any]:
        return {"number": self._runs, "directory": self._directory}

    def _on_test_start(self, **kwargs: Any) -> None:
        self._began = None
        super()._on_test_start(**kwargs)
        self._taking_part.clear()
        clients = self._master.clients
        for worker in clients.ready + clients.spawning + clients.running:
            self._take_part(worker.id)
        self._began = time.monotonic()
        # Sent before Locust's own message that starts users; a worker receives messages in order.
        self._master.send_message(RUN, self._run)

    def _take_part(self, worker: str) -> None:
        if self._controller.running:
            self._taking_part.add(worker)
            self._controller.take_part(self._master.get_worker_index(worker))

    def _lost(self) -> list[int]:
        return sorted(self._master.get_worker_index(worker) for worker in self._taking_part)

    def _on_worker_report(self, client_id: str, data: dict[str, Any], **_: Any) -> None:
        for batch in data.get(REPORT) or ():
            self._count(self._master.get_worker_index(client_id), Batch.from_wire(batch))

    def _drain(self) -> None:
        self._began = None
        carrying = {worker.id for worker in self._master.clients.running + self._master.clients.spawning}
        # A Ctrl-C that reaches a worker ends it. Don't wait for a worker that has ended: it may never answer.
        self._draining = carrying & self._taking_part
        if self._draining:
            self._drained.clear()
            self._master.send_message(DRAIN)
            self._drained.wait(STOP_TIMEOUT + 1)

    def _on_drained(self, msg: Any, **_: Any) -> None:
        self._draining.discard(msg.node_id)
        self._taking_part.discard(msg.node_id)
        if not self._draining:
            self._drained.set()

    def on_suspend(self, number: int | None) -> None:
        self._suspension = number
        self._unsuspended = set(self._taking_part)
        self._master.send_message(SUSPEND, {"number": number})
        if number is not None and not self._unsuspended:
            self._controller.suspended(number)

    def on_mark(self) -> None:
        self._master.send_message(MARK)

    def _on_suspended(self, msg: Any, **_: Any) -> None:
        number = msg.data["number"]
        if number == self._suspension and msg.node_id in self._unsuspended:
            self._unsuspended.discard(msg.node_id)
            if not self._unsuspended:
                self._controller.suspended(number)

    def _on_died(self, msg: Any, **_: Any) -> None:
        self._draining.discard(msg.node_id)
        self._fail(f"worker {self._master.get_worker_index(msg.node_id)}: {msg.data['line']}")
