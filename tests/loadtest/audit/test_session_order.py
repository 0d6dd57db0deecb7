"""The session guarantees against their definitions, each pair of operations by itself."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from hs_drill.audit._register import ENDLESS, Read, Register, Write
from hs_drill.audit._session_order import SessionOrder, session_order
from hs_drill.store import MixOperation, Operation, Outcome
from hs_drill.workload import ABSENT, INITIAL
from tests.support.amount import amount

UPDATE = MixOperation(Operation.UPDATE, "update", Operation.UPDATE)


def sessions(rng: random.Random) -> tuple[list[Write], list[Read]]:
    """Three users, each with one operation after the other. Reads show anything that was being written by then."""
    writes, reads, number = list[Write](), list[Read](), 10
    for user in range(3):
        now = rng.randint(0, 3)
        for _ in range(rng.randint(0, 5)):
            start = now + rng.randint(0, 2)
            now = start + rng.randint(1, 4)
            outcome = rng.choice([Outcome.OK, Outcome.OK, Outcome.OK, Outcome.INFO, Outcome.FAIL])
            if rng.random() < 0.4:
                number += 1
                state = number if rng.random() < 0.9 else ABSENT
                writes.append(Write(start, ENDLESS if outcome is Outcome.INFO else now, state, UPDATE, outcome, user))
            else:
                reads.append(Read(start, now, -9, user))
            now += 1
    begun = [[INITIAL, *(write.state for write in writes if write.start <= read.end)] for read in reads]
    return writes, sorted(read._replace(state=rng.choice(states)) for read, states in zip(reads, begun, strict=True))


Found = tuple[set[Read], set[Read], set[Read]]


def by_definition(writes: list[Write], reads: list[Read]) -> Found:
    """The reads that lack an own write, that show a user's writes in another order, and that show what a user read before
    writing."""
    sources = Register(INITIAL, writes).sources
    wrote = {write.state: write for write in writes if write.outcome is not Outcome.FAIL and write.state != ABSENT}
    own, earlier, source = set[Read](), set[Read](), set[Read]()
    for read in reads:
        for write in writes:
            before = write.outcome is Outcome.OK and write.user_id == read.user_id and write.end < read.start
            if before and read.state in sources and sources[read.state].latest < write.start:
                own.add(read)
        for last in reads:
            seen = wrote.get(last.state) if last.user_id == read.user_id and last.start < read.start else None
            if seen is None:
                continue
            now = wrote.get(read.state)
            if now is not None and now.user_id == seen.user_id and now.end < seen.start:
                earlier.add(read)
            if read.state != ABSENT and any(
                one.user_id == seen.user_id and one.state == read.state and one.end < seen.start for one in reads
            ):
                source.add(read)
    return own, earlier, source


@given(st.builds(sessions, st.randoms(use_true_random=False)))
@settings(max_examples=amount(500, 20_000))
def test_what_is_found_is_what_the_definitions_say(history: tuple[list[Write], list[Read]]) -> None:
    writes, reads = history
    found = session_order(Register(INITIAL, writes), reads) or SessionOrder()
    told = tuple({read for read, _ in some} for some in (found.own, found.earlier, found.source))
    assert told == by_definition(writes, reads)
    assert len(found.own) <= found.after_own
    assert len(found.earlier) <= found.after_second
    assert len(found.source) <= found.after_informed
