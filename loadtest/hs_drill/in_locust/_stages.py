"""The stages of a closed loop: changes the number of Locust's users as the scenario says. (The engine does it for a rate.)"""

from __future__ import annotations

import time
from itertools import pairwise

import gevent
from locust.runners import STATE_RUNNING, STATE_SPAWNING, Runner

from hs_drill.scenario import Load

__all__ = ["follow_stages"]

JUMP = 1e6
"""Users per second for a change at once."""


def follow_stages(runner: Runner, load: Load) -> None:
    """Run the stages of a run that begins now, in a greenlet of its own. A user count set in the web UI holds until the
    next stage."""
    begun = time.monotonic()
    ramp = None
    for (at, before), (until, users) in pairwise(load.course()):
        gevent.sleep(max(begun + at - time.monotonic(), 0))
        while runner.state == STATE_SPAWNING and ramp is None:
            gevent.sleep(0.05)  # Locust is still starting the initial users
        if runner.state not in (STATE_RUNNING, STATE_SPAWNING):
            return
        if ramp is not None:
            ramp.kill()
        if users != before:
            rate = abs(users - before) / (until - at) if until > at else JUMP
            # In a greenlet, as Locust's web UI does it: a master's `start` returns only when all users have started.
            ramp = runner.greenlet.spawn(runner.start, int(users), rate)
