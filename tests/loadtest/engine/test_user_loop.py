"""Users in Python as the engine runs them: what counts as what, how exceptions are told, and how users start and stop."""

from __future__ import annotations

import logging
from collections import Counter
from typing import Any

import pytest
import trio
import trio.lowlevel
import trio.testing
from locust.user.wait_time import constant_pacing as locusts_constant_pacing

import trio_hs
from hs_drill.engine._meter import Meter
from hs_drill.engine._tallies import Tallies
from hs_drill.engine._trio_user import TrioUser
from hs_drill.engine._user_loop import RUNS_WITHOUT_AWAITING
from hs_drill.engine._user_results import MOST_NAMES, OTHER_NAMES, UserFiles, UserResults
from hs_drill.metrics import UNANSWERED
from hs_drill.user_classes import constant, task
from tests.loadtest.support.user_runs import SCENARIO, Run, running


async def test_only_what_is_measured_is_an_operation(autojump_clock: trio.testing.MockClock) -> None:
    events: list[str] = []

    class Shopper(TrioUser):
        wait_time = constant(1)

        async def on_start(self) -> None:
            events.append(f"start {self.user}")
            assert self.scenario.name == "x"

        async def on_stop(self) -> None:
            events.append(f"stop {self.user}")

        @task
        async def browse(self) -> None:
            await trio.lowlevel.checkpoint()
            async with self.measure("get"):
                await trio.sleep(0.1)
            async with self.measure("find"), self.measure("inside"):
                await trio.sleep(0.1)

    async with running(Shopper, users=2) as run:
        await trio.sleep(2.5)
    assert run.counts() == ({"get": 6, "find": 6, "inside": 6}, Counter())
    assert sorted(events) == ["start 10", "start 11", "stop 10", "stop 11"]


def here(marker: str) -> str:
    """The place of the line of this file that ends with a comment."""
    with open(__file__) as file:
        return next(f"{__name__.rpartition('.')[2]}.py:{n}" for n, line in enumerate(file, 1) if line.endswith(f"# {marker}\n"))


async def test_an_exception_counts_once_with_its_place(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(TrioUser):
        wait_time = constant(1)
        tasks_done = 0

        @task
        async def each(self) -> None:
            self.tasks_done += 1
            await getattr(self, f"case_{self.tasks_done}", trio.sleep_forever)()

        async def case_1(self) -> None:
            await trio.lowlevel.checkpoint()
            dict[str, int]()["outside"]  # case 1

        async def case_2(self) -> None:
            async with self.measure("inside"):
                raise trio_hs.ConnectionError("down", server="127.0.0.1:1")  # case 2

        async def case_3(self) -> None:
            try:
                async with self.measure("inside"):
                    int("z")  # case 3
            except ValueError as error:
                raise RuntimeError("because of it") from error

        async def case_4(self) -> None:
            with trio.fail_after(1):
                async with self.measure("slow"):
                    await trio.sleep_forever()  # case 4

        async def case_5(self) -> None:
            try:
                async with self.measure("inside"):
                    raise OSError("handled")  # case 5
            except OSError:
                pass
            raise LookupError("another one")  # case 5b

        async def case_6(self) -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.part, "fails")
                nursery.start_soon(self.part, "waits")

        async def part(self, name: str) -> None:
            async with self.measure(name):
                if name == "waits":
                    await trio.sleep_forever()  # waits
                await trio.sleep(0.1)
                raise ArithmeticError(name)  # fails

        async def case_7(self) -> None:
            async with self.measure("Aggregated"):  # case 7
                pass

        async def case_8(self) -> None:
            await trio.lowlevel.checkpoint()
            raise SystemExit(3)  # case 8

        async def case_9(self) -> None:
            await trio.lowlevel.checkpoint()
            raise KeyboardInterrupt  # case 9

        async def case_10(self) -> None:
            self.random = None  # type: ignore[assignment]  # no harm to the loop
            with self.measure("sync"):  # case 10
                pass

    with caplog.at_level(logging.ERROR, "hs_drill.users"):
        async with running(Broken) as run:
            await trio.sleep(14)
            run.loop._nursery.cancel_scope.cancel()
    ok, errors = run.counts()
    assert ok == {}
    assert set(errors.values()) == {1}
    assert sorted(errors) == sorted(
        [
            ("Broken.each", f"KeyError: 'outside' ({here('case 1')})"),
            ("inside", f"ConnectionError: down ({here('case 2')})"),
            ("inside", f"ValueError: invalid literal for int() with base 10: 'z' ({here('case 3')})"),
            ("slow", f"Cancelled: by the task itself ({here('case 4')})"),
            ("inside", f"OSError: handled ({here('case 5')})"),
            ("Broken.each", f"LookupError: another one ({here('case 5b')})"),
            ("fails", f"ArithmeticError: fails ({here('fails')})"),
            ("waits", f"Cancelled: by the task itself ({here('waits')})"),
            (
                "Broken.each",
                "ValueError: measure: 'Aggregated' cannot be the name of an operation: 1 to 60 characters that can be printed, "
                f"without a space at its ends, and not all or Aggregated ({here('case 7')})",
            ),
            ("Broken.each", f"SystemExit: 3 ({here('case 8')})"),
            ("Broken.each", f"KeyboardInterrupt ({here('case 9')})"),
            ("Broken.each", f"TypeError: write `async with self.measure('sync')` ({here('case 10')})"),
        ]
    )
    told = [record.getMessage() for record in caplog.records]
    assert f"Broken.each: KeyError: 'outside' ({here('case 1')})" in told
    assert not any("ConnectionError" in line or "Cancelled" in line for line in told), "servers fail on purpose"


async def test_what_is_under_way_when_a_run_ends_is_unanswered(autojump_clock: trio.testing.MockClock) -> None:
    class Slow(TrioUser):
        @task
        async def wait(self) -> None:
            async with self.measure("wait"):
                await trio.sleep_forever()

    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            run = Run(Slow, nursery, scope)
            run.loop.set_users(3)
            await trio.sleep(1)
            scope.cancel()
    assert run.counts() == ({}, Counter({("wait", UNANSWERED): 3}))


async def test_a_task_that_never_awaits_is_told_and_lets_others_run(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    class Busy(TrioUser):
        @task
        async def spin(self) -> None:
            self.spun = getattr(self, "spun", 0) + 1
            if self.spun > 2 * RUNS_WITHOUT_AWAITING:
                await trio.sleep(1)

    with caplog.at_level(logging.ERROR, "hs_drill.users"):
        async with running(Busy):
            await trio.sleep(0.5)
    (line,) = [record.getMessage() for record in caplog.records]
    assert "Busy.spin never awaits anything, so it lets no other user run" in line

    class Seldom(TrioUser):
        @task
        async def spin(self) -> None:
            self.spun = getattr(self, "spun", 0) + 1
            if self.spun % 10 == 1:
                await trio.sleep(0.1)

    caplog.clear()
    with caplog.at_level(logging.ERROR, "hs_drill.users"):
        async with running(Seldom):
            await trio.sleep(5)
    assert not caplog.records


async def test_a_user_whose_on_start_raises_tries_again(autojump_clock: trio.testing.MockClock) -> None:
    class Late(TrioUser):
        attempts = 0

        async def on_start(self) -> None:
            self.attempts += 1
            if self.attempts < 3:
                raise OSError("not yet")

        @task
        async def work(self) -> None:
            async with self.measure(f"after {self.attempts}"):
                await trio.sleep(1)

    async with running(Late) as run:
        await trio.sleep(3)
    ok, errors = run.counts()
    assert set(ok) == {"after 3"}
    assert [(name, message.partition(" (")[0], count) for (name, message), count in errors.items()] == [
        ("Late.on_start", "OSError: not yet", 2)
    ]


async def test_tasks_come_by_their_weights_and_by_the_seed(autojump_clock: trio.testing.MockClock) -> None:
    drawn: list[str] = []

    class Shopper(TrioUser):
        wait_time = constant(0.001)

        @task(3)
        async def often(self) -> None:
            drawn.append("often")
            await trio.lowlevel.checkpoint()

        @task
        async def seldom(self) -> None:
            drawn.append("seldom")
            await trio.lowlevel.checkpoint()

    async with running(Shopper):
        await trio.sleep(1)
    first, share = list(drawn), drawn.count("often") / len(drawn)
    assert 0.65 < share < 0.85
    drawn.clear()
    async with running(Shopper):
        await trio.sleep(1)
    assert drawn[:500] == first[:500]


async def test_a_broken_wait_time_is_an_error_and_no_busy_loop(autojump_clock: trio.testing.MockClock) -> None:
    class Waits(TrioUser):
        def wait_time(self) -> float:
            raise KeyError("wait")

        @task
        async def work(self) -> None:
            async with self.measure("work"):
                await trio.lowlevel.checkpoint()

    async with running(Waits) as run:
        await trio.sleep(2.5)
    ok, errors = run.counts()
    assert ok == {"work": 3}
    assert {name for name, _ in errors} == {"Waits.wait_time"}


async def test_the_longest_names_of_classes_and_tasks_are_cut(autojump_clock: trio.testing.MockClock) -> None:
    class AClassWithANameThatIsAlmostAsLongAsTheLongestNameOfAnOperation(TrioUser):
        wait_time = constant(1)

        @task
        async def and_a_task(self) -> None:
            raise ValueError("told")

    async with running(AClassWithANameThatIsAlmostAsLongAsTheLongestNameOfAnOperation) as run:
        await trio.sleep(0.5)
    _, errors = run.counts()
    assert [name for name, _ in errors] == ["AClassWithANameThatIsAlmostAsLongAsTheLongestNameOfAnOper..."]


async def test_an_exception_when_the_run_ends_is_counted(autojump_clock: trio.testing.MockClock) -> None:
    class Late(TrioUser):
        @task
        async def two(self) -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)
                try:
                    await trio.sleep_forever()
                finally:
                    raise ValueError("in the end")

    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            run = Run(Late, nursery, scope)
            run.loop.set_users(1)
            await trio.sleep(1)
            scope.cancel()
    _, errors = run.counts()
    assert [message.partition(" (")[0] for _, message in errors] == ["ValueError: in the end"]


async def test_locusts_own_waits_work(autojump_clock: trio.testing.MockClock) -> None:
    class Paced(TrioUser):
        wait_time = locusts_constant_pacing(3600)

        @task
        async def work(self) -> None:
            async with self.measure("work"):
                await trio.lowlevel.checkpoint()

    async with running(Paced) as run:
        await trio.sleep(3599)
    assert run.counts() == ({"work": 1}, Counter())


async def test_a_wait_time_that_is_no_number_says_so(autojump_clock: trio.testing.MockClock) -> None:
    class Waits(TrioUser):
        def wait_time(self) -> Any:
            return None

        @task
        async def work(self) -> None:
            await trio.lowlevel.checkpoint()

    async with running(Waits) as run:
        await trio.sleep(0.5)
    assert list(run.counts()[1]) == [("Waits.wait_time", "TypeError: it returned None, which is no number of seconds")]


async def test_too_many_names_are_counted_together() -> None:
    tallies = Tallies()
    results = UserResults(tallies, UserFiles([]), Meter({}), lambda: False)
    for number in range(MOST_NAMES + 5):
        results.recorder(f"get {number}").ok.append(1)
    results.recorder("get 0").ok.append(1)
    ((_, _, taken),) = tallies.take()
    assert (len(taken), len(taken[OTHER_NAMES][0]), len(taken["get 0"][0])) == (MOST_NAMES + 1, 5, 2)


async def test_an_operation_counts_in_the_generation_in_which_it_began() -> None:
    tallies = Tallies()
    results = UserResults(tallies, UserFiles([]), Meter({}), lambda: False)
    before = results.recorder("get")
    tallies.cut()
    results.cut()
    results.recorder("get").ok.append(2)
    before.ok.append(1)
    assert [taken["get"][0] for _, _, taken in tallies.take()] == [[1], [2]]


async def test_rows_are_refused_without_an_audit() -> None:
    user = TrioUser()
    user.scenario = SCENARIO
    with pytest.raises(RuntimeError, match="say `audit: true` in the scenario"):
        user.rows.draw()
