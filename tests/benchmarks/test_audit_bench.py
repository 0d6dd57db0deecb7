"""`./dev bench audit`: a generated run that is right, and what it claims."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks._generated_run import generate
from benchmarks.audit import LIMIT, Measured, Peaks, report, require_right
from hs_drill.audit import audit


@pytest.mark.process
def test_a_generated_run_has_everything_that_is_checked_and_is_right(tmp_path: Path) -> None:
    histories, final, loaded = generate(tmp_path, 20_000, 2)
    found = audit(histories, final, loaded=loaded)
    require_right(found)
    examined = found["linearizable"].measured
    assert examined["reads"] > 7000
    assert examined["unknown_writes"] > 3
    with pytest.raises(AssertionError, match=r"lost is unknown: .*was not read back"):
        require_right(audit(histories, None, loaded=loaded))


@pytest.mark.parametrize("each, word", [(LIMIT, "holds (5.00 µs)"), (LIMIT + 0.01, "does not hold (5.01 µs)")])
def test_the_claim_is_about_the_longest_run(each: float, word: str) -> None:
    short = Measured(1_000_000, 52_000_000, 9.0, 9.5, Peaks(100 << 20, 52_000_000))
    long = Measured(10_000_000, 520_000_000, each * 10, 95.0, Peaks(300 << 20, 520_000_000, 3))
    text = report([short, long])
    assert "| 1,000,000 | 1 | 9.0 | 9.00 | 9.50 | 100 | 52 | 52 |" in text
    assert text.endswith(f"With 10,000,000 operations it {word}.\n")
