"""Locust's side of the controller, which owns the servers."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from gevent.event import AsyncResult

from loadtest._child import Child, StartError, ending
from loadtest._wire import Message

__all__ = ["ControllerLink"]

logger = logging.getLogger("loadtest")

CLOSE_TIMEOUT = 20.0
"""Seconds for the servers to be taken down."""


class ControllerLink:
    """Starts the controller. `on_death` gets one line when it ends though nobody asked it to, after it was ready."""

    def __init__(self, scenario: dict[str, Any], on_death: Callable[[str], None]) -> None:
        self._on_death = on_death
        self._closing = False
        self._ready: AsyncResult = AsyncResult()
        self._child = Child("loadtest._controller", self._receive, self._end)
        self._child.send({"type": "open", "scenario": scenario})

    def wait_ready(self) -> dict[str, Any]:
        """The cluster, as `Cluster.to_dict` gives it. Raises `StartError`."""
        cluster: dict[str, Any] = self._ready.get()
        return cluster

    def close(self) -> None:
        """Take the servers down and wait until they are."""
        self._closing = True
        self._child.close(CLOSE_TIMEOUT)

    def _receive(self, message: Message) -> None:
        match message["type"]:
            case "progress":
                logger.info(message["line"])
            case "ready":
                self._ready.set(message["cluster"])
            case "failed":
                self._ready.set_exception(StartError(message["line"]))

    def _end(self, code: int) -> None:
        if not self._ready.ready():
            self._ready.set_exception(StartError(f"the controller of the servers died: {ending(code)}"))
        elif self._ready.successful() and not self._closing:
            self._on_death(f"the controller of the servers died: {ending(code)}")
