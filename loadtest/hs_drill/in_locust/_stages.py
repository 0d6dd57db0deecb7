"""Stages of a closed loop: Locust's users become more and fewer as the scenario says. (A rate's stages are the engine's.)"""

from __future__ import annotations

import time
from itertools import pairwise

import gevent
from locust.runners import STATE_RUNNING, STATE_SPAWNING, Runner

from hs_drill.scenario import Load

__all__ = ["follow_stages"]

JUMP = 1e6
"""Users per second: at once."""


def follow_stages(runner: Runner, load: Load) -> None:
    """Carry out the stages of a run that begins now; for a greenlet of its own. A user count that somebody sets in the web UI
    holds until the next stage."""
    begun = time.monotonic()
    ramp = None
    for (at, before), (until, users) in pairwise(load.course()):
        gevent.sleep(max(begun + at - time.monotonic(), 0))
        while runner.state == STATE_SPAWNING and ramp is None:
            gevent.sleep(0.05)  # Locust still brings up the users that the first stage starts from
        if runner.state not in (STATE_RUNNING, STATE_SPAWNING):
            return
        if ramp is not None:
            ramp.kill()
        if users != before:
            rate = abs(users - before) / (until - at) if until > at else JUMP
            # A master's `start` comes back when all users are there; Locust's web UI, too, changes them in a greenlet.
            ramp = runner.greenlet.spawn(runner.start, int(users), rate)
