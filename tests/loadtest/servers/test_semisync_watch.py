"""When semi-synchronous replication lapsed, by handmade looks."""

from __future__ import annotations

import pytest

from hs_drill.servers._semisync import Lapse, Semisync, SemisyncLook, semisync_in


class Looks:
    """Looks at one server, a quarter of a second each."""

    def __init__(self) -> None:
        self.semisync, self.now = Semisync(), 100.0

    def see(self, *looks: tuple[bool, int] | None) -> list[Lapse]:
        """Each look: whether commits wait, and how many did not. Returns the lapses that are over."""
        for look in looks:
            asked, self.now = self.now, self.now + 0.25
            self.semisync.see("writer", None if look is None else SemisyncLook(asked, asked + 0.01, *look))
        return self.semisync.finished


def test_a_primary_that_always_waits_has_no_lapse() -> None:
    looks = Looks()
    assert looks.see((True, 3), (True, 3), None, (True, 3)) == []
    assert looks.semisync.lapses == []


def test_a_lapse_is_between_the_looks_that_saw_it_wait_and_counts_what_was_committed_meanwhile() -> None:
    looks = Looks()
    assert looks.see((True, 3), (False, 8), (False, 20)) == []
    assert looks.semisync.lapses == [Lapse("writer", 100.0, None, 17)]
    assert looks.see((True, 21), (True, 21)) == [Lapse("writer", 100.0, 100.76, 18)]
    assert looks.semisync.lapses == []


def test_a_lapse_that_no_look_saw_shows_in_the_number_of_transactions() -> None:
    assert Looks().see((True, 3), (True, 5), (True, 5)) == [Lapse("writer", 100.0, 100.26, 2)]


def test_two_lapses_are_two() -> None:
    found = Looks().see((True, 0), (False, 1), (True, 1), (True, 1), (True, 1), (False, 2), (True, 2), (True, 2))
    assert [(one.since, one.commits) for one in found] == [(100.0, 1), (101.0, 1)]


def test_a_lapse_ends_for_certain_when_the_primary_dies() -> None:
    assert Looks().see((True, 0), (False, 4), None) == [Lapse("writer", 100.0, 100.26, 4)]


def test_a_server_that_is_promoted_and_does_not_wait_has_lapsed_from_its_first_look() -> None:
    looks = Looks()
    assert looks.see(None, (False, 7), (False, 9)) == []
    assert looks.semisync.lapses == [Lapse("writer", 100.25, None, 2)]


@pytest.mark.parametrize("reset", [0, 2])
def test_a_number_that_starts_anew_counts_what_it_shows(reset: int) -> None:
    looks = Looks()
    looks.see((True, 10), (False, 12), (False, reset))
    assert looks.semisync.lapses == [Lapse("writer", 100.0, None, 2 + reset)]


def test_an_answer_is_read() -> None:
    said = {"status": "OFF", "no_tx": "7"}
    rows = [{"Variable_name": f"Rpl_semi_sync_master_{name}", "Value": value} for name, value in said.items()]
    assert semisync_in(rows, 1.0, 2.0) == SemisyncLook(1.0, 2.0, False, 7)
    assert semisync_in([], 1.0, 2.0) is None
