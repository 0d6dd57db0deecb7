"""What `locust -f loadtest/` loads: the load of a scenario, driven by trio-hs, behind Locust's face."""

from __future__ import annotations

import os
import sys
from typing import Any

import locust
from gevent.event import AsyncResult
from locust import User, constant, task
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment

from hs_drill._exit_codes import ExitCode
from hs_drill._process_end import end_with_parent
from hs_drill.in_locust._engine_link import EngineLink
from hs_drill.in_locust._options import add_options
from hs_drill.in_locust._session import MasterSession, WorkerSession, open_session
from hs_drill.in_locust._web import add_tab, taken

FOREVER = 10 * 365 * 24 * 3600


def _add_options(parser: LocustArgumentParser, **_: Any) -> None:
    add_options(parser)


def _open_session(environment: Environment, **_: Any) -> None:
    if environment.web_ui is not None and (why := taken(environment.web_ui)):  # Locust would find out with the servers started
        sys.stderr.write(f"{why}\n")
        sys.exit(ExitCode.START_FAILED)
    session = open_session(environment)
    if not isinstance(session, MasterSession):
        HandlerSocketUser.engine.set(session.engine)
    if environment.web_ui is not None and not isinstance(session, WorkerSession):
        add_tab(environment.web_ui, session)


class HandlerSocketUser(User):
    """One task of the load engine, which does the work in a process of its own: this greenlet only says that it is there."""

    engine: AsyncResult[EngineLink] = AsyncResult()
    """There is one once Locust has fired `init`; a worker that joins a run may start users before."""
    counted = False
    # The web UI asks for a host where there is none; ours come from the scenario.
    host = "the scenario's servers"
    # Waiting, not working: so Locust may stop it at any moment, also with --stop-timeout.
    wait_time = constant(FOREVER)

    def on_start(self) -> None:
        self.engine.get().change_users(+1)
        self.counted = True

    def on_stop(self) -> None:
        if self.counted:
            self.engine.get().change_users(-1)

    @task
    def in_the_engine(self) -> None:
        """Nothing here; see `hs_drill.engine`."""


# Of `--processes`: a worker whose Locust ends before it has told it anything would look for it for ever.
os.register_at_fork(after_in_child=end_with_parent)
events: Any = locust.events  # not typed
events.init_command_line_parser.add_listener(_add_options)
events.init.add_listener(_open_session)
