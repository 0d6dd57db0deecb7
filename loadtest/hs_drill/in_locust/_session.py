"""What our side does at Locust's events, in each of the processes that Locust may be: alone, master or worker.

Alone: controller and engine. Master: the controller; it tells workers their set-up when they ask. Worker: an engine, once
the master has said for which cluster. Before users are stopped the engines end their runs, so that the last batch is
counted; a master waits for its workers' last reports."""

from __future__ import annotations

import signal
from functools import partial
from typing import Any

import gevent
from locust.env import Environment
from locust.runners import LocalRunner, MasterRunner, WorkerRunner

from ._interrupts import Interrupts
from ._local import LocalSession
from ._master import MasterSession
from ._worker import WorkerSession

__all__ = ["LocalSession", "MasterSession", "WorkerSession", "open_session"]


def open_session(environment: Environment) -> LocalSession | MasterSession | WorkerSession:
    """Do the part of this process; for Locust's `init` event. Returns when load can start, or ends the process with code 2
    when the servers cannot be had."""
    interrupts = _take_interrupts(gevent.getcurrent())
    match environment.runner:
        case WorkerRunner() as runner:
            return WorkerSession(environment, runner, interrupts)
        case MasterRunner() as runner:
            return MasterSession(environment, runner, interrupts)
        case LocalRunner() as runner:
            return LocalSession(environment, runner, interrupts)
        case other:
            raise AssertionError(f"no part for {other!r}")


def _take_interrupts(main: Any) -> Interrupts:
    """Have the first Ctrl-C raise KeyboardInterrupt in Locust's main greenlet, which expects it. By itself Python raises it in
    whichever runs: one that was just taking a worker's message in would lose it, and all that the worker said later. Locust
    expects it once: a second one, while it shuts down, would end it there and then."""
    interrupts = Interrupts(partial(main.throw, KeyboardInterrupt))
    gevent.signal_handler(signal.SIGINT, interrupts.take)
    return interrupts
