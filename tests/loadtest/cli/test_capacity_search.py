"""The search for capacity, with planted limits: what it finds, how many steps it takes, and who it blames. No servers, no time
but trio's virtual one."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from random import Random

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from hs_drill.cli._capacity_search import AGREE, End, Finding, Outcome, Range, Search, Step
from tests.support.amount import amount

HOLDS, MISSED, ENGINE = Outcome.HOLDS, Outcome.MISSED, Outcome.ENGINE
STEP_SECONDS = 10.0
Says = Callable[[float, int], Outcome]


def search(says: Says, lowest: float = 100, highest: float = 1e6, precision: float = 0.05, engines: int = 1) -> Search:
    """A search in which a step at a rate, with so many engines, has the outcome that `says` says."""

    async def measure(rate: float, count: int) -> Step:
        await trio.sleep(STEP_SECONDS)
        return Step(rate, says(rate, count), engines=count, more_engines_help=True)

    return Search(Range(lowest, highest, precision, engines), measure)


def found(says: Says, lowest: float = 100, highest: float = 1e6, precision: float = 0.05, engines: int = 1) -> Finding:
    one = search(says, lowest, highest, precision, engines)
    return trio.run(one.run, clock=trio.testing.MockClock(autojump_threshold=0))


def limit(at: float, beyond: Outcome = MISSED) -> Says:
    return lambda rate, engines: HOLDS if rate <= at else beyond


def rates(finding: Finding) -> list[float]:
    return [step.rate for step in finding.steps]


# ---- a sharp limit


@given(at=st.floats(100, 900_000), precision=st.sampled_from([0.01, 0.02, 0.05, 0.1, 0.5]))
@settings(deadline=None, max_examples=amount(60, 2000))
def test_a_limit_is_found_within_the_precision(at: float, precision: float) -> None:
    finding = found(limit(at), precision=precision)
    assert finding.end is End.FOUND
    assert finding.holds is not None
    assert finding.fails is not None
    assert finding.holds <= at < finding.fails <= finding.holds * (1 + precision)
    assert (finding.below, finding.above) == (finding.holds, finding.fails)
    for rate in (finding.holds, finding.fails):
        assert len(finding.at(rate)) == AGREE
    # Doublings, then bisections of a ratio of 2, each of which leaves at most six tenths, then a repetition of each end.
    bisections = math.ceil(math.log(math.log(2) / math.log(1 + precision)) / math.log(1 / 0.6))
    assert len(finding.steps) <= math.ceil(math.log2(at / 100)) + 2 + max(bisections, 0) + 2


def test_the_rates_are_doubled_then_bisected_then_the_two_that_decide_are_repeated() -> None:
    finding = found(limit(1000))
    assert rates(finding) == [100, 200, 400, 800, 1600, 1100, 940, 1020, 980, 980, 1020]
    assert (finding.holds, finding.fails) == (980, 1020)


async def test_a_step_takes_the_time_that_it_takes(autojump_clock: trio.testing.MockClock) -> None:
    began = trio.current_time()
    finding = await search(limit(1000)).run()
    assert trio.current_time() - began == STEP_SECONDS * len(finding.steps)


# ---- nothing found


def test_even_the_highest_rate_may_hold() -> None:
    finding = found(limit(1e9), 100, 1000)
    assert (finding.end, finding.holds, finding.fails) == (End.HIGHEST_HOLDS, 1000, None)
    assert rates(finding) == [100, 200, 400, 800, 1000, 1000]
    assert finding.decisive is None


def test_even_the_lowest_rate_may_not_hold() -> None:
    finding = found(limit(50))
    assert (finding.end, finding.holds, finding.fails) == (End.LOWEST_MISSES, None, 100)
    assert rates(finding) == [100, 100]


@pytest.mark.parametrize("outcome, end", [(HOLDS, End.HIGHEST_HOLDS), (MISSED, End.LOWEST_MISSES), (ENGINE, End.ENGINE)])
def test_a_range_may_be_a_single_rate(outcome: Outcome, end: End) -> None:
    finding = found(lambda rate, engines: outcome, 500, 500)
    assert (finding.end, rates(finding)) == (end, [500, 500])


# ---- the engine


def test_an_engine_that_is_the_limit_is_named_and_not_the_servers() -> None:
    finding = found(limit(3000, ENGINE))
    assert finding.end is End.ENGINE
    assert (finding.holds, finding.fails) == (2970, 3050)
    assert finding.decisive is not None
    assert finding.decisive.outcome is ENGINE


def test_engines_are_added_and_what_fewer_could_not_do_does_not_count() -> None:
    def says(rate: float, engines: int) -> Outcome:
        if rate > 5000:
            return MISSED if rate <= 1000 * engines else ENGINE
        return HOLDS if rate <= 1000 * engines else ENGINE

    one = search(says, engines=8)
    finding = trio.run(one.run, clock=trio.testing.MockClock(autojump_threshold=0))
    assert finding.end is End.FOUND
    assert finding.holds is not None
    assert finding.holds <= 5000 < (finding.fails or 0)
    assert [(step.rate, step.engines) for step in one.steps[:9]] == [
        (100, 1), (200, 1), (400, 1), (800, 1), (1600, 1), (1600, 2), (3200, 2), (3200, 4), (6400, 4)
    ]  # fmt: skip
    assert one.engines == 8
    assert not any(step.outcome is ENGINE for step in finding.steps)


def test_no_more_engines_are_added_than_allowed() -> None:
    one = search(lambda rate, engines: HOLDS if rate <= 1000 * engines else ENGINE, engines=3)
    finding = trio.run(one.run, clock=trio.testing.MockClock(autojump_threshold=0))
    assert {step.engines for step in one.steps} == {1, 2, 3}
    assert (finding.end, finding.holds) == (End.ENGINE, 2970)


def test_engines_that_only_wait_for_a_core_are_not_added_to() -> None:
    async def measure(rate: float, count: int) -> Step:
        return Step(rate, HOLDS if rate <= 1000 else ENGINE, engines=count)

    one = Search(Range(100, 1e6, 0.05, 8), measure)
    assert trio.run(one.run).end is End.ENGINE
    assert one.engines == 1


# ---- steps that do not agree


def planted(lower: Sequence[Outcome], upper: Sequence[Outcome]) -> Says:
    """A limit at 1000, but for the two rates that decide: what each of their steps says in turn."""
    says = {980.0: iter(lower), 1020.0: iter(upper)}
    return lambda rate, engines: next(says[rate]) if rate in says else limit(1000)(rate, engines)


@pytest.mark.parametrize(
    "lower, upper, holds, fails",
    [
        ((HOLDS, HOLDS), (MISSED, MISSED), 980, 1020),
        ((HOLDS, MISSED, HOLDS), (MISSED, MISSED), 980, 1020),
        ((HOLDS, HOLDS), (MISSED, HOLDS, MISSED), 980, 1020),
        # The upper one turns out to hold, or the lower one not to: the search goes on from there.
        ((HOLDS, HOLDS), (MISSED, HOLDS, HOLDS), 1020, 1060),
        ((HOLDS, MISSED, MISSED), (MISSED, MISSED), 940, 980),
    ],
)
def test_what_two_steps_of_three_say_counts(
    lower: Sequence[Outcome], upper: Sequence[Outcome], holds: float, fails: float
) -> None:
    finding = found(planted(lower, upper))
    assert (finding.holds, finding.fails) == (holds, fails)


def test_the_band_in_which_steps_do_not_agree_is_told() -> None:
    finding = found(planted((HOLDS, MISSED, HOLDS), (MISSED, HOLDS, MISSED)))
    assert (finding.holds, finding.fails) == (980, 1020)
    assert (finding.below, finding.above) == (940, 1100)


def test_servers_are_blamed_only_where_most_steps_do() -> None:
    finding = found(planted((HOLDS, HOLDS), (MISSED, ENGINE)))
    assert (finding.end, finding.holds, finding.fails) == (End.ENGINE, 980, 1020)


@given(st.data())
@settings(deadline=None, max_examples=amount(60, 3000))
def test_it_ends_whatever_the_steps_say(data: st.DataObject) -> None:
    finding = found(lambda rate, engines: data.draw(st.sampled_from(list(Outcome))), 100, 3200, 0.2, 4)
    assert finding.end is not End.UNFINISHED
    if finding.holds is not None and finding.fails is not None:
        assert finding.holds < finding.fails <= finding.holds * 1.2
    # Rates are apart by four tenths of the smallest ratio that is divided, and each has at most three steps for its engines.
    assert max(map(rates(finding).count, rates(finding))) <= 3


# ---- noise


def noisy(at: float, seed: int, width: float) -> Says:
    """A step holds with a probability that falls from 1 to 0 around the limit, within about `width` of it to each side."""
    rng = Random(seed)
    return lambda rate, engines: HOLDS if rng.random() < 1 / (1 + math.exp(5 * math.log(rate / at) / width)) else MISSED


def test_ten_of_ten_searches_find_a_noisy_limit_within_the_precision() -> None:
    for seed in range(amount(10, 300)):
        rng = Random(seed)
        at = 10 ** rng.uniform(2.5, 5.5)
        finding = found(noisy(at, seed, 0.02))
        assert finding.end is End.FOUND
        assert finding.holds is not None
        assert abs(finding.holds / at - 1) <= 0.05 + 0.02, (seed, at, finding)


# ---- a queue, instead of a probability


def served(rate: float, seconds: float, service: float, rng: Random) -> list[float]:
    """Latencies of an open loop at a server that takes so many seconds for each operation, one after the other."""
    due = free = 0.0
    latencies = []
    while (due := due + rng.expovariate(rate)) < seconds:
        free = max(free, due) + service
        latencies.append(free - due)
    return latencies


@pytest.mark.parametrize("at", [130.0, 999.0, 2048.0, 7001.0])
def test_a_server_that_serves_at_most_so_many_a_second(at: float) -> None:
    """Its p99 stays below 100 services until shortly before that rate."""
    rng = Random(int(at))

    def says(rate: float, engines: int) -> Outcome:
        latencies = sorted(served(rate, 10_000 / rate, 1 / at, rng))
        return HOLDS if latencies[math.ceil(len(latencies) * 0.99) - 1] <= 100 / at else MISSED

    finding = found(says)
    assert finding.holds is not None
    assert 0.95 <= finding.holds / at <= 1.05


# ---- a search that is cut off


async def test_what_was_found_until_it_was_cut_off_is_there(autojump_clock: trio.testing.MockClock) -> None:
    one = search(limit(1000))
    with trio.move_on_after(STEP_SECONDS * 6.5):
        await one.run()
    finding = one.finding()
    assert (finding.end, finding.holds, finding.fails) == (End.UNFINISHED, 800, 1100)
    assert rates(finding) == [100, 200, 400, 800, 1600, 1100]


def test_nothing_is_found_before_the_first_step() -> None:
    finding = search(limit(1000)).finding()
    assert (finding.end, finding.holds, finding.fails, finding.below, finding.above) == (End.UNFINISHED, *[None] * 4)
    assert finding.decisive is None
