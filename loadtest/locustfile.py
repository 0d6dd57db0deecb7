"""What `locust -f loadtest/` loads: a scenario's servers and load, behind Locust's command line and web UI."""

from __future__ import annotations

import sys

from hs_drill._exit_codes import report_missing_package, report_other_system

if code := report_other_system("the locustfile of hs-drill"):
    sys.exit(code)

try:
    from hs_drill.in_locust import _user_stand_ins
    from hs_drill.in_locust._hooks import install
except ModuleNotFoundError as error:
    sys.exit(report_missing_package(__file__, error))


class HandlerSocketUser(_user_stand_ins.HandlerSocketUser):
    """A user that executes the scenario's mix, in the load engine."""


install()
