"""A short run of the fuzzer, and bad answers that hypothesis makes.

The long run is ``python -m tests.trio_hs.support.fuzz_parser``.
"""

from __future__ import annotations

import random

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from tests.support.amount import amount
from tests.trio_hs.support.fuzz_parser import PIECES, REAL, check, exchange, fuzz


@pytest.mark.slow
def test_damaged_answers() -> None:
    seed = random.SystemRandom().getrandbits(32)
    for chunk in range(4):
        assert fuzz(seed, chunk, amount(5_000, 50_000)) is None, f"--seed {seed}"


parts = st.one_of(st.sampled_from([*REAL, *PIECES]), st.binary(max_size=20), st.just(b"\t"), st.just(b"\n"))


@given(st.lists(parts, max_size=12).map(b"".join), st.integers(0, 2**32))
def test_answers_of_any_parts(data: bytes, seed: int) -> None:
    rng = random.Random(seed)
    check(data, rng)
    trio.run(exchange, [data], rng, clock=MockClock(autojump_threshold=0))
