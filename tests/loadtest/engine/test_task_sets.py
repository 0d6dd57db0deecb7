"""Task sets: the order of their tasks, how a user comes to them and leaves them, and what Locust's options leave of them."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import trio
import trio.testing

from hs_drill.engine._task_plan import TaskPlan
from hs_drill.engine._task_sets import SequentialTaskSet, TaskSet
from hs_drill.engine._trio_user import TrioUser
from hs_drill.user_classes import constant, full_name, task
from tests.loadtest.support.user_runs import running

done: list[str] = []


@pytest.fixture(autouse=True)
def nothing_done() -> None:
    done.clear()


class Buy(SequentialTaskSet):
    """Each step takes a second, and the user waits a tenth of one after it."""

    async def on_start(self) -> None:
        done.append("enter")

    async def on_stop(self) -> None:
        done.append("leave")

    async def step(self, name: str) -> None:
        done.append(name)
        async with self.measure(name):
            await trio.sleep(1)

    @task
    async def choose(self) -> None:
        await self.step("choose")

    @task(2)
    async def add(self) -> None:
        await self.step("add")

    @task
    async def pay(self) -> None:
        await self.step("pay")
        self.interrupt()


class Shopper(TrioUser):
    wait_time = constant(0.1)

    async def on_stop(self) -> None:
        done.append("stop")

    buy = task(Buy)


async def test_a_sequence_comes_in_its_order_and_is_left_by_interrupt(autojump_clock: trio.testing.MockClock) -> None:
    async with running(Shopper) as run:
        await trio.sleep(4.5)  # in the second round
    assert done == ["enter", "choose", "add", "add", "pay", "leave", "enter", "choose", "leave", "stop"]
    assert run.counts() == ({"choose": 2, "add": 2, "pay": 1}, Counter())


async def test_without_interrupt_a_sequence_begins_again(autojump_clock: trio.testing.MockClock) -> None:
    class Round(SequentialTaskSet):
        wait_time = constant(1)  # its own

        @task
        async def one(self) -> None:
            assert self.user.user == 10
            assert self.parent is self.user
            assert self.random is self.user.random
            done.append("one")
            await trio.lowlevel.checkpoint()

        @task
        async def two(self) -> None:
            done.append("two")
            await trio.lowlevel.checkpoint()

    class Walker(TrioUser):
        round = task(Round)

    async with running(Walker) as run:
        await trio.sleep(3.5)
    assert done == ["one", "two", "one", "two"]
    assert run.counts() == ({}, Counter())


async def test_what_leaves_a_set_and_what_does_not(autojump_clock: trio.testing.MockClock) -> None:
    class Inner(TaskSet):
        @task
        async def inside(self) -> None:
            done.append("inside")
            assert isinstance(self.parent, Outer)
            async with self.measure("inside"):
                async with trio.open_nursery():
                    self.interrupt(reschedule=False)

    class Outer(SequentialTaskSet):
        inner = task(Inner)

        @task
        async def broken(self) -> None:
            done.append("broken")
            await trio.lowlevel.checkpoint()
            raise LookupError("it goes on")

        @task
        async def last(self) -> None:
            done.append("last")
            self.interrupt()

    class Refuses(TaskSet):
        async def on_start(self) -> None:
            raise OSError("closed")

        @task
        async def never(self) -> None:
            done.append("never")

    class User(TrioUser):
        wait_time = constant(1)
        count = 0

        @task
        class Both(SequentialTaskSet):
            outer = task(Outer)
            refuses = task(Refuses)

            @task
            async def misplaced(self) -> None:
                done.append("misplaced")
                await trio.sleep_forever()

    async with running(User) as run:
        await trio.sleep(3.5)
        # Inner waits before the next task (reschedule=False), Outer does not, and what refuses does.
        assert done == ["inside", "broken", "last", "misplaced"]
        assert trio.current_time() == pytest.approx(3.5)
        run.loop._nursery.cancel_scope.cancel()
    ok, errors = run.counts()
    assert ok == {"inside": 1}
    assert {(name, message.partition(" (")[0]) for name, message in errors} == {
        ("Outer.broken", "LookupError: it goes on"),
        ("Refuses.on_start", "OSError: closed"),
    }


async def test_a_set_that_awaits_nothing_lets_others_run(autojump_clock: trio.testing.MockClock) -> None:
    class Empty(TaskSet):
        @task
        async def out(self) -> None:
            self.interrupt()

    class Busy(TrioUser):
        empty = task(Empty)

    async with running(Busy):
        with trio.fail_after(10):
            for _ in range(100):
                await trio.lowlevel.checkpoint()


async def test_to_interrupt_outside_of_a_set_is_an_error(autojump_clock: trio.testing.MockClock) -> None:
    class Lost(TrioUser):
        wait_time = constant(1)

        @task
        async def leave(self) -> None:
            Buy(self).interrupt()

    async with running(Lost) as run:
        await trio.sleep(0.5)
    _, errors = run.counts()
    assert [(name, message.partition(":")[0]) for name, message in errors] == [("Lost.leave", "InterruptTaskSet")]


def test_the_weights_that_locust_leaves_replace_the_declared_ones() -> None:
    class Tagged(TrioUser):
        buy = Buy

        @task(5)
        async def browse(self) -> None: ...

    def names(cls: Any, weights: dict[str, dict[str, int]]) -> list[str]:
        return [one.name.rpartition(".")[2] for one in TaskPlan(cls, weights).tasks]

    assert names(Tagged, {}) == ["buy", "browse"]
    assert names(Tagged, {full_name(Tagged): {"buy": 0, "browse": 5}}) == ["browse"]
    assert names(Tagged, {full_name(Tagged): {"buy": 1}, full_name(Buy): {"pay": 1, "choose": 1}}) == ["buy"]
    assert names(Buy, {full_name(Buy): {"pay": 1, "choose": 1}}) == ["choose", "pay"]


async def test_users_whose_tasks_are_all_gone_do_nothing(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(Shopper, users=2, weights={full_name(Shopper): {"buy": 0}}):
        await trio.sleep(10)
    assert done == []
    (line,) = [record.getMessage() for record in caplog.records]
    assert line == "Shopper has no tasks left, so its users do nothing"
