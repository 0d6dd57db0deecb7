"""Bounds stretch with the machine's slowness, by a clock that the test moves."""

from __future__ import annotations

import math
import time

import pytest

from tests.support import patience as module
from tests.support.patience import KEPT_FOR, MOST, REFERENCE, Patience, patience, slowness, wait_until


class Machine:
    """Takes the place of the clocks and of the work. `slow` is how many times longer than the reference the work takes."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slow = 1.0
        self.measured = 0

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def work(self) -> int:
        self.measured += 1
        self.now += self.slow * REFERENCE
        return 0


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine()
    monkeypatch.setattr(time, "monotonic", made.clock)
    monkeypatch.setattr(time, "perf_counter", made.clock)
    monkeypatch.setattr(time, "sleep", made.sleep)
    monkeypatch.setattr(module, "work", made.work)
    monkeypatch.setattr(module, "_measured_at", -math.inf)
    monkeypatch.setattr(module, "_slowness", 1.0)
    return made


@pytest.mark.parametrize("slow, seconds", [(0.5, 10), (1, 10), (3, 30), (1000, 10 * MOST)])
def test_a_bound_stretches_with_slowness_and_never_shrinks(slow: float, seconds: float, machine: Machine) -> None:
    machine.slow = slow
    assert patience(10) == pytest.approx(seconds)


def test_a_measurement_holds_for_a_few_seconds(machine: Machine) -> None:
    slowness()
    machine.slow = 4
    machine.now += KEPT_FOR / 2
    assert slowness() == pytest.approx(1)
    machine.now += KEPT_FOR
    assert slowness() == pytest.approx(4)
    assert machine.measured == 2


def test_load_that_comes_while_one_waits_lengthens_the_wait_and_its_end_does_not_shorten_it(machine: Machine) -> None:
    bound = Patience(10)
    machine.now += 9
    machine.slow = 5
    assert not bound.ended()
    machine.now += 20
    assert not bound.ended()
    machine.slow = 1
    machine.now += 15
    assert not bound.ended()
    machine.now += 10
    assert bound.ended()


def test_waiting_ends_with_the_event_or_with_the_bound(machine: Machine) -> None:
    wait_until(lambda: machine.now > 1003, "too late", 5)
    with pytest.raises(AssertionError, match="it never comes"):
        wait_until(lambda: False, "it never comes", 5)
    assert machine.now < 1003 + 5 + 1


def test_the_real_work_takes_measurable_time() -> None:
    assert 1 <= slowness() <= MOST
