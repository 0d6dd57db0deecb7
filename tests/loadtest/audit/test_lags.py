"""How far reads were behind, over time."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hs_drill.audit import _lags
from hs_drill.audit._lags import MAX_SLOTS, Lags
from tests.loadtest.support.audited import NEW, ONE, THEIRS, get, update
from tests.loadtest.support.histories import audit_of

SECOND = 1_000_000_000
reads = st.lists(st.tuples(st.integers(0, 4000 * SECOND), st.one_of(st.none(), st.integers(0, 100 * SECOND))), min_size=1)


def filled(taken: list[tuple[int, int | None]]) -> Lags:
    lags = Lags()
    for time, behind in taken:
        lags.examined(time)
        if behind is not None:
            lags.stale(time, behind)
    return lags


@given(reads, reads)
def test_two_that_are_merged_say_what_one_says(some: list[tuple[int, int | None]], more: list[tuple[int, int | None]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_lags, "MAX_SLOTS", 3)
        merged = filled(some)
        merged.merge(filled(more))
        assert merged.to_dict() == filled([*some, *more]).to_dict()


@given(reads)
def test_every_read_is_in_the_slot_of_its_start_with_its_lag(taken: list[tuple[int, int | None]]) -> None:
    made = filled(taken).to_dict()
    left = list(taken)
    for slot in made["slots"]:
        start = round(slot["start"] * SECOND)
        mine = [read for read in left if start <= read[0] < start + made["slot"] * SECOND]
        left = [read for read in left if read not in mine]
        seen = sorted(lag // 1000 for _, lag in mine if lag is not None)
        assert (slot["examined"], slot["stale"]) == (len(mine), len(seen))
        if seen:
            assert slot["max"] == seen[-1] / 1e6
            true = seen[(len(seen) + 1) // 2 - 1] / 1e6
            assert true <= slot["p50"] <= min(true * 1.04 + 1e-6, slot["max"])
        else:
            assert slot["max"] is slot["p50"] is None
    assert not left


def test_a_long_run_has_longer_slots_and_keeps_every_read() -> None:
    lags = Lags()
    for number in range(5000):
        lags.examined(number * SECOND)
        lags.stale(number * SECOND, number * SECOND)
    made = lags.to_dict()
    assert made["slot"] == 16.0
    assert MAX_SLOTS / 2 < len(made["slots"]) <= MAX_SLOTS
    assert sum(slot["examined"] for slot in made["slots"]) == sum(slot["stale"] for slot in made["slots"]) == 5000
    assert made["slots"][10]["max"] == 175.0


def test_what_is_held_does_not_grow_with_the_reads() -> None:
    lags = Lags()
    for number in range(200_000):
        lags.stale(0, number * 7919)
    assert len(lags._stale[0]) < 800


def test_the_audit_examines_reads_of_rows_that_had_been_changed(tmp_path: Path) -> None:
    reads = [get(1, 0, 5, 6), get(1, 0, 400_000, 400_001), get(1, NEW + 1, 700_000, 700_001), get(2, 0, 800_000, 800_001)]
    lags = audit_of(tmp_path, [update(1, NEW + 1, 10, 20), *reads], {1: (NEW + 1, 0), 2: (0, 0)}, loaded=2).lags
    assert lags is not None
    slots = lags.to_dict()["slots"]
    assert [(slot["start"], slot["examined"], slot["stale"]) for slot in slots] == [(0.25, 1, 1), (0.5, 1, 0)]
    assert slots[0]["max"] == pytest.approx(0.39998)


def test_without_stale_reads_there_are_none(tmp_path: Path) -> None:
    ops = [update(1, NEW + 1, 10, 20), update(1, THEIRS + 1, 30, 40, worker=1), get(1, THEIRS + 1, 50, 51)]
    lags = audit_of(tmp_path, ops, {1: (THEIRS + 1, 0)}, **ONE).lags
    assert lags is not None
    assert lags.to_dict()["slots"] == [{"start": 0.0, "examined": 1, "stale": 0, "p50": None, "max": None}]
