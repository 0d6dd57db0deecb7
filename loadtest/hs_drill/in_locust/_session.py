"""Handlers of Locust's events, for a local, master or worker process.

- Local: a controller and an engine.
- Master: a controller. It sends workers their set-up when they ask for it.
- Worker: an engine, as soon as the master has sent the cluster.

The engines end their runs before Locust stops its users, so that the last batch is counted. A master waits for its workers'
last reports.
"""

from __future__ import annotations

import os
import signal
import sys
from functools import partial
from typing import Any

import gevent
from locust.env import Environment
from locust.runners import LocalRunner, MasterRunner, WorkerRunner

from hs_drill._exit_codes import ExitCode

from ._interrupts import Interrupts
from ._local import LocalSession
from ._master import MasterSession
from ._worker import WorkerSession

__all__ = ["LocalSession", "MasterSession", "WorkerSession", "open_session"]


def open_session(environment: Environment) -> LocalSession | MasterSession | WorkerSession:
    """Start what this process needs, at Locust's `init` event. Returns when load can start. Ends the process with code 2 when
    the servers are unavailable, and with 130 on Ctrl-C or SIGTERM."""
    interrupts = _take_interrupts(gevent.getcurrent())
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:  # nohup ignores it
        gevent.signal_handler(signal.SIGHUP, _hang_up, interrupts)
    # Locust takes SIGTERM only when all is started. It would end this process at once, and leave our table on a user's server.
    sigterm = gevent.signal_handler(signal.SIGTERM, interrupts.take)
    try:
        session = _open(environment, interrupts)
    except KeyboardInterrupt:
        sys.exit(ExitCode.INTERRUPTED)
    finally:
        sigterm.cancel()
    sys.excepthook = partial(_end_in_order, session, sys.excepthook)
    return session


def _hang_up(interrupts: Interrupts) -> None:
    """The terminal is gone. Locust does not know this signal, which would end it at once: give it one that it knows."""
    interrupts.hung_up = True
    os.kill(os.getpid(), signal.SIGTERM)


def _open(environment: Environment, interrupts: Interrupts) -> LocalSession | MasterSession | WorkerSession:
    match environment.runner:
        case WorkerRunner() as runner:
            return WorkerSession(environment, runner, interrupts)
        case MasterRunner() as runner:
            return MasterSession(environment, runner, interrupts)
        case LocalRunner() as runner:
            return LocalSession(environment, runner, interrupts)
        case other:
            raise AssertionError(f"unknown runner: {other!r}")


def _end_in_order(session: Any, otherwise: Any, kind: type[BaseException], error: BaseException, trace: Any) -> None:
    """The exception hook. Locust does not expect a KeyboardInterrupt while it waits for its workers: it would end with a
    traceback, and leave alone the workers that have come."""
    if not issubclass(kind, KeyboardInterrupt):
        otherwise(kind, error, trace)
        return
    session.abort()


def _take_interrupts(main: Any) -> Interrupts:
    """Have the first Ctrl-C raise KeyboardInterrupt in Locust's main greenlet, which expects it.

    Python by itself raises it in whichever greenlet runs. One that was receiving a worker's message would lose that message
    and all later ones of the worker. Locust expects one KeyboardInterrupt; a second one would cut its shutdown short.
    """
    interrupts = Interrupts(partial(main.throw, KeyboardInterrupt))
    gevent.signal_handler(signal.SIGINT, interrupts.take)
    return interrupts
