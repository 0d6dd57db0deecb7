from __future__ import annotations

from hs_drill._exit_codes import ExitCode, gravest


def test_the_gravest_of_several_is_what_the_process_exits_with() -> None:
    assert gravest([]) == 0
    assert gravest([0, ExitCode.INCONCLUSIVE, 0]) == 4
    assert gravest([ExitCode.INCONCLUSIVE, ExitCode.RUN_FAILED]) == 1
    assert gravest([ExitCode.AUDIT_FAILED, ExitCode.START_FAILED]) == 3
    assert gravest([ExitCode.INCONCLUSIVE, ExitCode.ENDED_EARLY, 0]) == 5
    assert gravest([ExitCode.RUN_FAILED, ExitCode.ENDED_EARLY]) == 1
    assert gravest([7, ExitCode.INCONCLUSIVE]) == 7  # not one of ours
    assert gravest([7, ExitCode.AUDIT_FAILED]) == 3
