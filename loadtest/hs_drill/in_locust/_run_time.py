"""The run time of a run that was started in Locust's web UI: it begins with the load."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gevent
from locust.env import Environment

__all__ = ["run_time_after"]


@contextmanager
def run_time_after(environment: Environment) -> Iterator[None]:
    """Have the run time begin when the block ends, in which the run is prepared.

    Locust counts it from the Start. If preparing took longer, it would end the run before its load.
    """
    web_ui: Any = environment.web_ui
    timer = getattr(web_ui, "_run_time_greenlet", None)
    if timer is None:
        yield
        return
    timer.kill(block=False)
    yield
    assert environment.parsed_options is not None
    assert environment.runner is not None
    # In its place, so that a Stop or another Start ends it.
    web_ui._run_time_greenlet = gevent.spawn_later(environment.parsed_options.run_time, environment.runner.stop)
