"""Users in Python: what a locustfile imports from the harness.

The same file is loaded twice. Locust's process, which gevent has patched, gets classes that only stand for users. The load
engine, in which trio runs, gets those that do the work.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from hs_drill.user_classes import between, constant, constant_pacing, constant_throughput, poisson, tag, task

_monkey = sys.modules.get("gevent.monkey")
if TYPE_CHECKING or _monkey is None or not _monkey.is_module_patched("socket"):
    from hs_drill.engine._task_sets import SequentialTaskSet, TaskSet
    from hs_drill.engine._trio_user import HandlerSocketUser, TrioUser
else:
    from hs_drill._exit_codes import report_missing_package, report_other_system

    if _code := report_other_system("hs_drill.users"):
        sys.exit(_code)
    try:
        from hs_drill.in_locust._hooks import install
        from hs_drill.in_locust._user_stand_ins import HandlerSocketUser, SequentialTaskSet, TaskSet, TrioUser
    except ModuleNotFoundError as error:
        sys.exit(report_missing_package("hs_drill.users", error))
    install()

__all__ = [
    "HandlerSocketUser",
    "SequentialTaskSet",
    "TaskSet",
    "TrioUser",
    "between",
    "constant",
    "constant_pacing",
    "constant_throughput",
    "poisson",
    "tag",
    "task",
]
