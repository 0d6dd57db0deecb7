"""What `locust -f loadtest/` loads: a scenario's servers and load, behind Locust's command line and web UI."""

from __future__ import annotations

import os
import sys
from typing import Any

import locust
from gevent.event import AsyncResult
from locust import User, constant, task
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment

from hs_drill._exit_codes import ExitCode, report_missing_package, report_other_system

if code := report_other_system("the locustfile of hs-drill"):
    sys.exit(code)

try:
    from hs_drill._process_end import end_with_parent
    from hs_drill.in_locust._engine_link import EngineLink
    from hs_drill.in_locust._options import add_options
    from hs_drill.in_locust._session import MasterSession, WorkerSession, open_session
    from hs_drill.in_locust._web import add_tab, listen_error
except ModuleNotFoundError as error:
    sys.exit(report_missing_package(__file__, error))

FOREVER = 10 * 365 * 24 * 3600


def _add_options(parser: LocustArgumentParser, **_: Any) -> None:
    add_options(parser)


def _open_session(environment: Environment, **_: Any) -> None:
    # Locust itself would notice only after the servers have been started.
    if environment.web_ui is not None and (error := listen_error(environment.web_ui)):
        sys.stderr.write(f"{error}\n")
        sys.exit(ExitCode.START_FAILED)
    session = open_session(environment)
    if not isinstance(session, MasterSession):
        HandlerSocketUser.engine.set(session.engine)
    if environment.web_ui is not None and not isinstance(session, WorkerSession):
        add_tab(environment.web_ui, session)


class HandlerSocketUser(User):
    """Stands for one user of the load engine, which carries the load in a process of its own. This greenlet only waits."""

    engine: AsyncResult[EngineLink] = AsyncResult()
    """Set when Locust fires `init`. A worker that joins a run may start users earlier, so they wait for it."""
    counted = False
    # Without a host the web UI asks for one. Ours come from the scenario.
    host = "the scenario's servers"
    # Locust stops a waiting user at once, even with --stop-timeout; a working one it would let finish.
    wait_time = constant(FOREVER)

    def on_start(self) -> None:
        self.engine.get().change_users(+1)
        self.counted = True

    def on_stop(self) -> None:
        if self.counted:
            self.engine.get().change_users(-1)

    @task
    def in_the_engine(self) -> None:
        """Does nothing: see `hs_drill.engine`."""


# With `--processes`: a worker whose master ends before it has sent anything would try to reach it forever.
os.register_at_fork(after_in_child=end_with_parent)
events: Any = locust.events  # not typed
events.init_command_line_parser.add_listener(_add_options)
events.init.add_listener(_open_session)
