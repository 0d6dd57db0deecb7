"""``RetryPolicy``: attempts, pauses, deadlines, and writes that it lets the client repeat. Fake servers, virtual time."""

from __future__ import annotations

import math
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import trio_hs
from tests.trio_hs.support.clients import IDS, managed
from tests.trio_hs.support.fake import REFUSED, die_on_the_first_request, echo, kill, read_only
from trio_hs import ConnectionError, RetryPolicy
from trio_hs._dispatch._many import READ_KEYS


async def test_an_operation_gives_up_when_its_policy_says_so(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    for policy, least, most in [
        (RetryPolicy(attempts=1), 0, 0.1),
        (RetryPolicy(attempts=3, backoff=1.0, max_backoff=1.0), 1.0, 2.5),
        (RetryPolicy(attempts=1000, deadline=5.0), 3.5, 5.5),
    ]:
        async with managed(nursery, retry=policy) as (hs, fakes):
            kill(fakes[1])
            kill(fakes[2])
            started = trio.current_time()
            with pytest.raises(ConnectionError, match=r"^get d\.t: no server is usable \(fake:1: .*; fake:2: "):
                await hs.get("d", "t", ["id"], 1)
            assert least <= trio.current_time() - started <= most


@pytest.mark.parametrize(
    "wrong", [{"attempts": 0}, {"backoff": -1}, {"backoff": 2.0, "max_backoff": 1.0}, {"deadline": math.nan}]
)
def test_policies_with_impossible_values_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        RetryPolicy(**wrong)


@pytest.mark.parametrize(
    "name, wrong",
    [("attempts", "3"), ("attempts", 2.5), ("backoff", None), ("max_backoff", "1"), ("deadline", "x"), ("hedge_after", "x")],
)
def test_policies_with_values_of_wrong_types_are_refused(name: str, wrong: Any) -> None:
    with pytest.raises(TypeError, match=f"^{name} must be .*, not {wrong!r}$"):
        RetryPolicy(**{name: wrong})


@pytest.mark.parametrize("wrong", [3, 0, {"attempts": 3}, RetryPolicy])
async def test_retry_must_be_a_policy_or_none(wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"retry must be a trio_hs\.RetryPolicy or None, not"):
        async with trio_hs.open_manager(retry=wrong):
            pass


async def test_pauses_of_many_attempts_stay_short_and_a_deadline_allows_no_second_try(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    assert RetryPolicy(attempts=10**9).pause(10**6) <= 1.0
    async with managed(nursery, retry=RetryPolicy(deadline=1.0)) as (hs, fakes):
        await hs.get("d", "t", ["id"], 1)
        for port in (1, 2):
            fakes[port].gate = trio.Event()
        started = trio.current_time()
        with pytest.raises(ConnectionError, match="no answer for 3 s"):
            await hs.get("d", "t", ["id"], 1)
        assert trio.current_time() - started < 3.5  # no second try after the deadline


async def test_no_pause_ends_after_the_deadline(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """When no server answers, and when every server refuses the read."""
    async with managed(nursery, retry=RetryPolicy(backoff=20, max_backoff=20, deadline=5)) as (hs, fakes):
        await hs.get("d", "t", ["id"], 1)
        fakes[1].answer = fakes[2].answer = read_only
        started = trio.current_time()
        with pytest.raises(trio_hs.ReadOnlyError):
            await hs.get("d", "t", ["id"], 1)
        assert trio.current_time() - started < 5
        kill(fakes[1])
        kill(fakes[2])
        started = trio.current_time()
        with pytest.raises(ConnectionError):
            await hs.get("d", "t", ["id"], 1)
        assert trio.current_time() - started < 5


async def test_the_deadline_is_one_for_all_keys_of_a_call(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Also when they are requested part by part, as hedged reads are."""
    async with managed(nursery, retry=RetryPolicy(hedge_after=100, deadline=2)) as (hs, fakes):
        await hs.get("d", "t", ["id"], 1)
        await wait_all_tasks_blocked()

        def answer(line: bytes) -> bytes:
            if line.endswith(b"\t%d" % READ_KEYS):  # the first of the second part
                for fake in fakes.values():
                    fake.gate = trio.Event()
                nursery.start_soon(die)
            return echo(line)

        async def die() -> None:
            await trio.sleep(1.5)
            for fake in fakes.values():
                fake.answer = echo
                for connection in fake.open:
                    connection.reset()
                fake.gate.set()

        fakes[1].answer = fakes[2].answer = answer
        fakes[1].gate = fakes[2].gate = trio.Event()
        async with trio.open_nursery() as users:

            async def open_gates() -> None:
                await trio.sleep(1)
                fakes[1].gate.set()

            users.start_soon(open_gates)
            with pytest.raises(ConnectionError):
                await hs.get_many("d", "t", ["id"], range(2 * READ_KEYS))


def test_pauses_double_and_are_shortened_at_random() -> None:
    policy = RetryPolicy(backoff=1, max_backoff=3)
    for attempt, longest in ((1, 1), (2, 2), (3, 3), (9, 3)):
        pauses = [policy.pause(attempt) for _ in range(50)]
        assert longest / 2 <= min(pauses) < max(pauses) <= longest


async def test_a_write_in_doubt_is_repeated_where_the_policy_says_so(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with managed(nursery, retry=RetryPolicy(repeat_writes=["update", "delete", "insert"])) as (hs, fakes):
        declared = hs.table("d", "t", columns=IDS)
        calls: list[Any] = [
            lambda: hs.update("d", "t", "=", ["id"], [1], [2]),
            lambda: hs.delete("d", "t", "=", ["id"], [1]),
            lambda: hs.insert("d", "t", [("id", 1)]),
            lambda: declared.update("=", [1], [2]),
            lambda: declared.delete("=", [1]),
            lambda: declared.insert([1]),
        ]
        for call in calls:
            seen = die_on_the_first_request(fakes[3], fakes[4])
            assert await call() == 1
            assert len(seen) == 2
        never: list[Any] = [
            lambda: hs.incr("d", "t", "=", ["id"], [1]),
            lambda: hs.update("d", "t", "=", ["id"], [1], [2], return_original=True),
            lambda: declared.incr("=", [1]),
        ]
        for call in never:
            seen = die_on_the_first_request(fakes[3], fakes[4])
            with pytest.raises(ConnectionError) as caught:
                await call()
            assert caught.value.maybe_applied
            assert len(seen) == 1


async def test_a_refusal_of_the_repetition_leaves_a_write_in_doubt(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """The row that makes a repeated insert a duplicate may be its own."""
    async with managed(nursery, retry=RetryPolicy(repeat_writes=["insert"])) as (hs, fakes):
        die_on_the_first_request(fakes[3], fakes[4], then=b"1\t1\t121\n")
        with pytest.raises(ConnectionError) as caught:
            await hs.insert("d", "t", [("id", 1)])
        assert caught.value.maybe_applied
        assert isinstance(caught.value.__cause__, trio_hs.DuplicateKeyError)


async def test_a_write_stays_in_doubt_when_no_server_is_usable_afterwards(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async with managed(nursery, retry=RetryPolicy(repeat_writes=["update"])) as (hs, fakes):
        fakes[4].refuses = REFUSED
        await hs.update("d", "t", "=", ["id"], [1], [2])

        def die(line: bytes) -> bytes | None:
            kill(fakes[3])
            return None

        fakes[3].answer = die
        with pytest.raises(ConnectionError) as caught:
            await hs.update("d", "t", "=", ["id"], [1], [2])
        assert caught.value.maybe_applied


@pytest.mark.parametrize("wrong", [{"repeat_writes": ["incr"]}, {"repeat_writes": "update"}, {"hedge_after": 0}])
def test_policies_with_wrong_writes_or_hedging_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError)):
        RetryPolicy(**wrong)


def test_a_policy_copies_its_list_of_writes() -> None:
    names = ["update"]
    policy = RetryPolicy(repeat_writes=names)
    names.append("incr")
    assert policy.repeat_writes == ("update",)
    assert RetryPolicy(repeat_writes=iter(["delete"])).repeat_writes == ("delete",)  # type: ignore[arg-type]
