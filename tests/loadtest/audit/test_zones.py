"""The check of linearizability against trying every order."""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hs_drill.audit import _linearizable, _zones
from hs_drill.audit._register import ENDLESS, Read, Register, Write
from hs_drill.store import MixOperation, Operation, Outcome
from hs_drill.workload import ABSENT, INITIAL
from tests.loadtest.support.orders import some_order_explains
from tests.support.amount import amount

History = tuple[int, list[Write], list[Read]]
"""What a row was before, its writes and its reads."""
UPDATE = MixOperation(Operation.UPDATE, "update", Operation.UPDATE)
DELETE = MixOperation(Operation.DELETE, "delete", Operation.DELETE)


def small_history(rng: random.Random, most_deletes: int) -> History:
    """Reads show what some write left that had begun. Times are few, so that many are equal. Of some it is known what the row
    held at the end. If there may be several deletes, several writes may also leave the same version."""

    def times() -> tuple[int, int]:
        start = rng.randint(0, 9)
        return start, start + rng.randint(0, 5)

    before = rng.choice([INITIAL, ABSENT])
    writes: list[Write] = []
    for place in range(rng.randint(0, 4)):
        deletes = rng.randint(0, 2) == 0 and sum(write.state == ABSENT for write in writes) < most_deletes
        outcome, (start, end) = rng.choice([Outcome.OK, Outcome.OK, Outcome.OK, Outcome.INFO, Outcome.FAIL]), times()
        until = ENDLESS if outcome is Outcome.INFO else end
        version = 10 + (rng.randint(0, place) if most_deletes > 1 else place)
        writes.append(Write(start, until, ABSENT if deletes else version, DELETE if deletes else UPDATE, outcome))
    begun = {write.state: write.start for write in sorted(writes, reverse=True) if write.outcome is not Outcome.FAIL}
    begun[before] = -ENDLESS
    reads = []
    for _ in range(rng.randint(0, 5)):
        (start, end), state = times(), rng.choice(sorted(begun))
        reads.append(Read(start, max(end, begun[state]), state, 0))
    if rng.randint(0, 1):
        reads.append(Read(ENDLESS, ENDLESS, rng.choice(sorted(begun)), 0))
    return before, writes, reads


def examine(history: History, check: Callable[..., _zones.Examined] = _zones.examine) -> _zones.Examined:
    before, writes, reads = history
    return check(Register(before, writes), writes, reads)


def histories(most_deletes: int) -> st.SearchStrategy[History]:
    return st.builds(small_history, st.randoms(use_true_random=False), st.just(most_deletes))


@given(histories(most_deletes=1))
@settings(max_examples=amount(1000, 100_000))
def test_what_is_found_is_what_trying_every_order_finds(history: History) -> None:
    found = examine(history)
    assert not found.undecided
    assert (found.contradiction is None) == some_order_explains(*history)


@given(histories(most_deletes=3))
@settings(max_examples=amount(500, 20_000))
def test_what_is_decided_where_several_writes_leave_the_same_is_right(history: History) -> None:
    found = examine(history)
    if not found.undecided:
        assert (found.contradiction is None) == some_order_explains(*history)


@given(histories(most_deletes=3), st.data())
def test_without_another_read_the_end_shows_lost_writes_and_nothing_else(history: History, data: st.DataObject) -> None:
    before, writes, _ = history
    register = Register(before, writes)
    end = Read(ENDLESS, ENDLESS, data.draw(st.sampled_from(sorted(register.sources))), 0)
    found = examine((before, writes, [end]))
    if not found.undecided:
        assert (found.contradiction is not None) == bool(register.successors(end.state))


@given(histories(most_deletes=3), st.data())
@settings(max_examples=amount(500, 20_000))
def test_an_end_that_nothing_follows_contradicts_nothing(history: History, data: st.DataObject) -> None:
    before, writes, reads = history
    register, reads = Register(before, writes), [read for read in reads if read.start < ENDLESS]
    end = Read(ENDLESS, ENDLESS, data.draw(st.sampled_from(sorted(register.sources))), 0)
    found = examine((before, writes, reads))
    if found.contradiction is None and not found.undecided and _linearizable._nothing_follows(register, reads, end.state):
        assert examine((before, writes, [*reads, end])).contradiction is None


@given(histories(most_deletes=3))
def test_operations_that_contradict_each_other_need_no_others_for_that(history: History) -> None:
    """But the writes of what they show: for a read of no row these are all deletes, and what came before them."""
    before, writes, reads = history
    told = examine(history).contradiction
    if told is None:
        return
    older, newer, newest, again = told
    assert older is None or older.end < newer.start
    assert newest.end < again.start
    shown = {one.state for one in told if one is not None}
    some = [write for write in writes if write.state in shown]
    assert not some_order_explains(before, some, [read for read in reads if any(read is one for one in told)])


BUGS = {
    "zones that touch": ("last_start > zone.first_end]", "last_start >= zone.first_end]"),
    "a zone that runs backward and touches": ("(first_ends, zone.last_start)", "(first_ends, zone.last_start + 1)"),
    "only zones that run forward": ("if place and", "if False and"),
    "a read write of unknown outcome ends when it is read last": ("zone[0] = end", "zone[0] = zone[0]"),
    "the last start is that of the first read": ("zone[1] = start", "zone[1] = zone[1]"),
    "the write's own times are left out": ("_Zone(min(end, zone[0]), max(start, zone[1]), state)", "_Zone(*zone, state)"),
    "what failed counts": ("if outcome is failed:", "if False:"),
    "the state from before the run is like any other": ("_Zone(-ENDLESS, seen[before][1]", "_Zone(*seen[before]"),
    "a read of no row is of the delete": ("read.start <= until", "False"),
    "a read of no row comes first": ("read.start <= until", "True"),
    "a read of no row in the moment of an end": ("read.start <= until", "read.start < until"),
    "only writes end before a read of no row": ("else one.state != ABSENT", "else False"),
    "a read of no row before the delete": ("early.end < delete.start", "False"),
    "any delete may have been the one": ("if shared:", "if False:"),
    "what nobody read contradicts nothing": ("if register.has_write_within", "if False and register.has_write_within"),
    "what was read contradicts nothing": ("not forward or", "True or"),
    "every state has one source": ("register.shared.isdisjoint(seen)", "True"),
    "the only write ends when it was read": ("min(end, source.latest)", "end"),
}


@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_found_by_trying_every_order(bug: str) -> None:
    right, wrong = BUGS[bug]
    source = inspect.getsource(_zones)
    assert source.count(right) == 1
    planted: dict[str, object] = {"__name__": _zones.__name__, "__package__": _zones.__package__}
    exec(source.replace(right, wrong), planted)

    def differs(history: History) -> bool:
        try:
            found = examine(history, planted["examine"])  # type: ignore[arg-type]
        except ValueError:
            return True
        return not found.undecided and (found.contradiction is None) != some_order_explains(*history)

    assert any(differs(small_history(random.Random(seed), 2)) for seed in range(20_000))
