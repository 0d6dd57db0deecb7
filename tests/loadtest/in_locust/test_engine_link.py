"""Locust's side of a load engine: when it is taken for dead."""

from __future__ import annotations

import os
from typing import Any

import gevent
import pytest

from hs_drill.in_locust import _engine_link
from hs_drill.in_locust._child import cpu_seconds
from hs_drill.in_locust._engine_link import EngineLink, RunStart


@pytest.mark.parametrize("at_work", [True, False])
def test_an_engine_that_reports_nothing_is_dead_only_if_it_does_nothing(at_work: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside 15 other processes an engine with a queue of 800,000 operations reported nothing for 6 s: it was ended."""
    ended: list[str] = []

    class Pretended:
        pid = 1

        def __init__(self, module: str, on_message: Any, on_end: Any) -> None:
            self.used = 0.0

        def send(self, message: object) -> None:
            pass

        def cpu_seconds(self) -> float:
            self.used += 1.0 if at_work else 0.0
            return self.used

        def close(self, timeout: float) -> bool:
            ended.append("ended")
            link._stopped.set()
            return True

    monkeypatch.setattr(_engine_link, "Child", Pretended)
    monkeypatch.setattr(_engine_link, "STOP_TIMEOUT", 0.01)
    link = EngineLink(print, print, print, print)
    link.configure({}, {}, 0)
    link.start(RunStart(1))
    ender = gevent.spawn(link.stop)
    gevent.sleep(0.1)
    assert ended == ([] if at_work else ["ended"])
    link._stopped.set()
    ender.join()


def test_the_cpu_time_of_a_process_is_seen() -> None:
    before = cpu_seconds(os.getpid())
    while cpu_seconds(os.getpid()) == before:
        pass
    assert cpu_seconds(os.getpid()) > before
    assert cpu_seconds(2**22 + 1) == 0.0, "there is no process with such a number"
