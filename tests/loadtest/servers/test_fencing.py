"""What looks saw of former primaries, by handmade looks."""

from __future__ import annotations

from hs_drill.servers._control import Promotion
from hs_drill.servers._fencing import Fencing, FormerPrimary
from hs_drill.servers._primacy import Look
from tests.loadtest.support.looks import of

BY_STANDBY = Promotion("a", 101.0, 100.8)


def fencing(name: str, *looks: tuple[float, str]) -> Fencing:
    """Looks of a tenth of a second each: when it was asked, and what `looks.of` takes, or `down` or `silent`."""
    found = Fencing()
    for asked, what in looks:
        now = None if what in ("down", "silent") else of(name, what)
        found.see(name, Look(asked, asked + 0.1, now, what, what == "down"))
    return found


def after(*looks: tuple[float, str], promotions: tuple[Promotion, ...] = (BY_STANDBY,)) -> FormerPrimary:
    return next(iter(fencing("writer", *looks).former("writer", promotions)))


def test_a_primary_that_was_closed_before_another_was_promoted() -> None:
    found = after((100.0, "writes"), (100.5, "reads"), (101.0, "reads"), (102.0, "a"))
    assert found == FormerPrimary("writer", "a", (), ((101.0, 102.1),), known=True)


def test_a_killed_one_that_comes_back_open() -> None:
    found = after((100.0, "writes"), (100.5, "down"), (102.0, "down"), (103.0, "writes"), (104.0, "writes"), (105.0, "reads"))
    assert found.closed == ((101.0, 102.1), (105.1, 105.1))
    assert found.open == ((103.1, 104.1),)
    assert found.known


def test_a_look_that_was_asked_before_the_promotion_shows_nothing_of_it() -> None:
    assert after((100.95, "writes"), (101.2, "reads")).open == ()


def test_a_former_primary_that_replicates_and_takes_writes_is_open() -> None:
    assert after((101.2, "a+")).open == ((101.3, 101.3),)


def test_one_that_never_answers_is_not_known() -> None:
    assert not after((100.0, "writes"), (101.5, "silent")).known
    assert not after((101.5, "reads"), (102.0, "silent")).known
    assert not next(iter(Fencing().former("writer", [BY_STANDBY]))).known


def test_once_it_is_promoted_again_it_may_take_writes() -> None:
    back = Promotion("writer", 104.0, 103.5)
    found = fencing("writer", (101.2, "reads"), (103.0, "reads"), (104.0, "writes"))
    first, second = found.former("writer", [BY_STANDBY, back])
    assert first == FormerPrimary("writer", "a", (), ((101.3, 103.1),), known=True)
    assert (second.server, second.promoted, second.known) == ("a", "writer", False)


def test_a_slow_answer_does_not_undo_a_later_one() -> None:
    found = fencing("writer", (101.5, "reads"), (101.2, "writes"))
    (former,) = found.former("writer", [BY_STANDBY])
    assert former.open == ()


def test_a_server_that_is_promoted_twice_in_a_row_has_no_predecessor() -> None:
    assert [one.server for one in Fencing().former("writer", [BY_STANDBY, BY_STANDBY])] == ["writer"]
