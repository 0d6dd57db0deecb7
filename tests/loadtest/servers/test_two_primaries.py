"""Two servers of a user's own that take writes at once, as looks at them show it: handmade looks."""

from __future__ import annotations

from hs_drill.servers import looks_every
from hs_drill.servers._primacy import Look, TwoPrimaries
from tests.loadtest.support.looks import Looks, of


def test_two_primaries_are_told_from_when_to_when_it_is_certain() -> None:
    looks = Looks()
    looks.look("writer")
    looks.look("a", "writes")  # known since 100.2
    assert looks.twos == [], "the writer was asked before"
    looks.look("writer")  # asked at 100.2
    looks.look("a")
    assert looks.primacy.two_primaries == [TwoPrimaries("writer", "a", 100.2, None)]
    looks.look("writer")  # asked at 100.4
    looks.look("a")  # asked at 100.5
    looks.look("writer", "reads")
    assert looks.primacy.two_primaries == []
    assert looks.primacy.finished == [TwoPrimaries("writer", "a", 100.2, 100.4)]


def test_a_switch_over_shows_no_two_primaries_whenever_the_answers_come() -> None:
    """The writer's answer is from before it was closed, and that of `a` from after it was opened, in one second."""
    looks = Looks()
    looks.primacy.see("a", Look(100.0, 101.0, of("a", "writes")))
    looks.primacy.see("writer", Look(100.0, 101.0, of("writer", "writes")))
    looks.primacy.see("a", Look(101.0, 101.1, of("a", "writes")))
    looks.primacy.see("writer", Look(101.0, 101.1, of("writer", "reads")))
    assert looks.promoted == ["a"]
    assert looks.twos == []


def test_a_slow_answer_does_not_undo_a_later_one() -> None:
    looks = Looks()
    looks.primacy.see("a", Look(100.5, 100.6, of("a", "writes")))
    looks.primacy.see("a", Look(100.1, 100.9, of("a", "writer")))
    assert looks.primacy.why_unknown().startswith("cannot check whether a is still") is False
    assert looks.promoted == ["a"]
    assert looks.primacy.replication("a") == of("a", "writes")


def test_of_two_that_are_promoted_the_later_one_is_the_primary_if_that_is_known() -> None:
    looks = Looks()
    looks.see(writer="down")
    looks.see(a="writes")
    looks.see(b="writes")
    assert looks.promoted == ["a", "b"]
    assert ("a", "b") in looks.twos
    assert looks.primacy.why_unknown() == ""


def test_of_two_that_are_promoted_between_the_same_looks_none_is_known_to_be_later() -> None:
    looks = Looks()
    looks.see(writer="down")
    looks.look("b", "writes")
    looks.look("a", "writes")
    assert looks.primacy.why_unknown() == "b and a were both promoted, and it is not known which of them was later"


def test_a_gap_between_looks_ends_what_is_certain() -> None:
    looks = Looks()
    looks.see(a="writes")
    looks.look("writer", "silent")
    (two,) = looks.primacy.finished
    assert two.until is not None
    looks.look("writer", "writes")
    looks.look("a")
    looks.look("writer")
    (again,) = looks.primacy.two_primaries
    assert again.since > two.until


def test_between_looks_that_are_far_apart_a_server_may_have_been_something_else() -> None:
    looks = Looks()
    looks.look("writer")
    for asked in (100.3, 100.6, 102.9):
        looks.primacy.see("a", Look(asked, asked + 0.1, of("a", "writes")))
    looks.primacy.see("writer", Look(103.0, 103.1, of("writer", "writes")))
    assert looks.twos == []


def test_looks_are_never_so_far_apart_that_they_show_no_two_primaries() -> None:
    looks, asked = Looks(), 101.0
    looks.see(a="writes")
    for _ in range(3):
        for name in ("writer", "a"):
            looks.primacy.see(name, Look(asked, asked + 0.1, of(name, "writes")))
        asked += looks_every(60.0)
    (two,) = looks.primacy.two_primaries
    assert (two.old, two.new) == ("writer", "a")
    assert looks.primacy.finished == []
    assert looks_every(0.05) == 0.05


def test_of_two_former_primaries_none_is_the_primary_when_the_last_one_is_closed() -> None:
    looks = Looks()
    looks.see(writer="down")
    looks.see(a="writes")
    looks.see(writer="writes")
    looks.see(b="writes")
    looks.see(b="reads")
    assert looks.promoted == ["a", "b"]
    assert looks.primacy.why_unknown() == "b is not the primary any more: it is read-only"


def test_a_replica_that_is_opened_before_it_is_detached_is_promoted() -> None:
    """STOP SLAVE may take seconds. Nothing else says that it was promoted beside the writer, before the writer is closed."""
    looks = Looks()
    looks.see(a="writer+")
    looks.see(a="-writer+")
    assert looks.promoted == []
    looks.see(a="writes")
    assert looks.promoted == ["a"]
    assert looks.twos == [("writer", "a")]
    looks.see(writer="reads")
    looks.see(writer="a")
    assert looks.promoted == ["a"]
    assert looks.primacy.why_unknown() == ""


def test_a_former_primary_that_follows_without_being_read_only_is_not_promoted_by_being_detached() -> None:
    looks = Looks()
    looks.see(writer="down")
    looks.see(a="writes", writer="a+")
    looks.see(writer="writes")
    assert looks.promoted == ["a"]
