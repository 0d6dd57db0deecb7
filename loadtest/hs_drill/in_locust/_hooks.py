"""Makes a Locust process ours: its options, its session, and its end with its parent. Each locustfile of ours asks for it."""

from __future__ import annotations

import os
import sys
from typing import Any

import locust
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.runners import WorkerRunner

from hs_drill._exit_codes import ExitCode
from hs_drill._process_end import end_with_parent

from ._metrics_server import MetricsServer
from ._options import add_options
from ._session import MasterSession, WorkerSession, open_session
from ._user_stand_ins import StandIn
from ._user_tasks import mistakes_in_selection
from ._web import add_tab, listen_error

__all__ = ["install"]

_installed: list[bool] = []


def install() -> None:
    """Add our listeners to Locust's events, once in a process."""
    if _installed:
        return
    _installed.append(True)
    # With `--processes`: a worker whose master ends before it has sent anything would try to reach it forever.
    os.register_at_fork(after_in_child=end_with_parent)
    events: Any = locust.events  # not typed
    events.init_command_line_parser.add_listener(_add_options)
    events.init.add_listener(_open_session)


def _add_options(parser: LocustArgumentParser, **_: Any) -> None:
    add_options(parser)


def _open_session(environment: Environment, **_: Any) -> None:
    options, metrics = environment.parsed_options, None
    if options is not None and options.metrics is not None and not isinstance(environment.runner, WorkerRunner):
        metrics = MetricsServer(options.metrics)
    # Locust itself would notice only after the servers have been started.
    if environment.web_ui is not None and (error := listen_error(environment.web_ui)):
        sys.stderr.write(f"{error}\n")
        sys.exit(ExitCode.START_FAILED)
    if not isinstance(environment.runner, WorkerRunner):
        assert environment.parsed_options is not None
        if mistakes := "".join(
            f"{line}\n" for line in mistakes_in_selection(environment.user_classes, environment.parsed_options)
        ):
            sys.stderr.write(mistakes)
            sys.exit(ExitCode.BAD_ARGUMENTS)
    session = open_session(environment)
    if not isinstance(session, MasterSession):
        StandIn.engine.set(session.engine)
    if metrics is not None and not isinstance(session, WorkerSession):
        metrics.show(session.seen, session.batch_listeners)
    if environment.web_ui is not None and not isinstance(session, WorkerSession):
        add_tab(environment.web_ui, session)
