"""`./dev bench open_loop`: what it claims of two runs."""

from __future__ import annotations

import pytest

from benchmarks.open_loop import Measured, report


def measured(count: int, p999_us: int, typical: float = 0.0) -> Measured:
    ok = {"count": count, **{f"{name}_us": p999_us for name in ("p50", "p99", "p99.9", "max")}}
    return Measured(30.0, ok, 0, typical)


@pytest.mark.parametrize(
    "closed_us, opened_us, count, fails",
    [
        (9_000, 980_000, 300_000, []),
        (9_000, 980_000, 302_990, []),
        (9_000, 980_000, 296_900, ["half of the closed loop's rate is held within 1%"]),
        (9_000, 40_000, 300_000, ["the open loop's p99.9 shows the second"]),
        (990_000, 980_000, 300_000, ["the closed loop's p99.9 does not"]),
    ],
)
def test_each_claim_is_judged(
    closed_us: int, opened_us: int, count: int, fails: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    holds = report(measured(600_000, closed_us), measured(count, opened_us), 10_000)
    lines = [line for line in capsys.readouterr().out.splitlines() if "hold" in line and ":" in line]
    assert [line.partition(":")[0] for line in lines if "does not hold" in line] == fails
    assert holds is not bool(fails)
    assert len(lines) == 3
