"""Who is the primary of a user's own servers, as looks at them show it: handmade looks."""

from __future__ import annotations

import pytest

from hs_drill.servers._primacy import Look, Primacy, Role
from tests.loadtest.support.looks import NOBODY, Looks, of


@pytest.mark.parametrize(
    "what, role",
    [
        ("writes", Role.PRIMARY),
        ("reads", Role.READ_ONLY),
        ("writer", Role.REPLICA),
        ("writer+", Role.REPLICA),
        ("-writer", Role.REPLICA),
        ("-writer+", Role.UNCLEAR),
        ("~writer+", Role.UNCLEAR),
    ],
)
def test_what_a_server_is(what: str, role: Role) -> None:
    assert Look(1.0, 2.0, of("a", what)).role is role


def test_nothing_happens() -> None:
    looks = Looks()
    looks.see()
    looks.see(a="-writer")
    looks.see(a="writer", b="~writer")
    looks.see(b="writer")
    assert looks.promoted == []
    assert looks.primacy.why_unknown() == ""


def test_a_promotion_is_seen_between_two_looks() -> None:
    looks = Looks()
    looks.see(writer="down")
    before = max(looks.now - 0.3, 0)
    looks.look("a", "writes")
    (promotion,) = looks.primacy.promotions
    assert (promotion.server, promotion.seen) == ("a", looks.now)
    assert before <= promotion.otherwise < looks.now
    assert looks.primacy.primary == "a"
    looks.see(b="a")
    assert looks.primacy.why_unknown() == ""
    assert looks.twos == []


@pytest.mark.parametrize(
    "steps",
    [
        [{"writer": "reads"}, {"a": "reads"}, {"a": "writes"}, {"b": "a"}, {"writer": "a"}],
        [{"writer": "reads"}, {"a": "-writer"}, {"a": "-writer+"}, {"a": "writes"}, {"writer": "a", "b": "a"}],
        [{"writer": "reads"}, {"b": "a"}, {"a": "reads"}, {"writer": "a"}, {"a": "writes"}],
        [{"writer": "reads"}, {"b": "reads"}, {"b": "~a"}, {"b": "a"}, {"a": "reads"}, {"a": "writes"}, {"writer": "~a"}],
        [{"writer": "silent"}, {"a": "~writer"}, {"a": "~writer+"}, {"a": "writes"}, {"b": "a"}, {"writer": "reads"}],
        [{"writer": "down"}, {"a": "writes"}, {"b": "~a"}],
        [{"writer": "down"}, {"a": "writes"}, {"b": "-writer"}],
        [{"writer": "down"}, {"a": "writes"}, {"writer": "reads"}, {"writer": "-a+"}, {"b": "down"}],
    ],
)
def test_each_order_of_steps_is_followed(steps: list[dict[str, str]]) -> None:
    looks = Looks()
    for step in steps:
        looks.see(**step)
    assert looks.promoted == ["a"]
    assert looks.primacy.why_unknown() == ""
    assert looks.twos == []


def test_a_promotion_back() -> None:
    looks = Looks()
    looks.see(writer="down")
    looks.see(a="writes", b="a")
    looks.see(writer="reads")
    looks.see(writer="a")
    looks.see(a="reads")
    looks.see(writer="writes")
    looks.see(a="writer", b="writer")
    assert looks.promoted == ["a", "writer"]
    assert looks.primacy.why_unknown() == ""
    assert looks.twos == []


def test_a_former_primary_that_comes_back_open_is_the_primary_only_when_the_new_one_is_closed() -> None:
    looks = Looks()
    looks.see(writer="down")
    looks.see(a="writes")
    looks.see(writer="writes")
    assert looks.promoted == ["a"]
    assert looks.twos == [("writer", "a")]
    looks.see(a="down")
    assert looks.promoted == ["a"], "it may be up in a moment"
    assert looks.primacy.why_unknown() == "cannot check whether a is still the primary: a is down"
    looks.see(a="writer")
    assert looks.promoted == ["a", "writer"]
    assert looks.primacy.why_unknown() == ""


# --- A replica that took writes all along ----------------------------------------------------------------------------


def test_a_writable_replica_that_is_detached_is_not_promoted() -> None:
    """For a backup, for instance. Its clients go on with the writer: called the primary, it would have lost their writes."""
    looks = Looks(a="writer+")
    looks.see(a="writes")
    looks.see()
    assert looks.promoted == []
    assert looks.twos == []
    assert looks.primacy.why_unknown() == (
        "a does not replicate from writer:3306 any more: it, or another server, may have been promoted (seen 0 s after the "
        "load began)"
    )
    looks.see(a="writer+")
    assert "a does not replicate" in looks.primacy.why_unknown(), "it may have been promoted, and that taken back"


@pytest.mark.parametrize("end", ["down", "reads"])
def test_a_writable_replica_that_is_detached_after_the_end_of_the_primary_is_promoted(end: str) -> None:
    looks = Looks(a="writer+", b="writer+")
    looks.see(writer=end)
    looks.look("a", "writes")
    assert looks.promoted == [], "perhaps it is only between two sources"
    looks.see()
    looks.see(b="a")
    assert looks.promoted == ["a"]
    assert looks.primacy.why_unknown() == ""


def test_a_writable_replica_that_was_detached_before_the_end_of_the_primary_is_not_promoted_by_that() -> None:
    looks = Looks(a="writer+")
    looks.see(a="writes")
    looks.see(writer="reads")
    looks.see(b="writes")
    assert looks.promoted == ["b"]
    assert looks.twos == []
    assert looks.primacy.why_unknown().startswith("a does not replicate")


def test_a_writable_replica_that_others_follow_is_promoted() -> None:
    looks = Looks(a="writer+")
    looks.see(a="writes")
    looks.see(b="a")
    assert looks.promoted == ["a"]
    assert looks.twos == [("writer", "a")]
    chain = Looks(a="writer+", b="a")
    chain.see(a="writes")
    assert chain.promoted == [], "it was followed before"


def test_a_writable_replica_between_two_sources_is_not_promoted() -> None:
    looks = Looks(b="writer+")
    looks.see(writer="down")
    looks.look("b", "writes")
    looks.see(b="~a+")
    looks.see(a="writes", b="a+")
    assert looks.promoted == ["a"]
    assert looks.primacy.why_unknown() == ""


# --- What nobody sees ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "steps, why",
    [
        ([{"b": "x"}], "b replicates from the server with id 9 now, and from 1 when the run began: it, or another"),
        ([{"b": "x"}, {"b": "writer"}], "b replicates from the server with id 9 now"),
        ([{"writer": "x"}], "writer is set up to replicate from x:3306 now, and was not when the run began"),
        ([{"writer": "x"}, {"writer": "writes"}], "writer is set up to replicate from x:3306 now"),
        ([{"a": "-writer+"}], "a has stopped replicating from writer:3306 and takes writes (IO thread No"),
        ([{"a": "-writer+"}, {"a": "writer"}], "a has stopped replicating from writer:3306 and takes writes (IO thread No"),
        ([{"a": "reads"}], "a does not replicate from writer:3306 any more"),
        ([{"a": "reads"}, {"a": "writer"}], "a does not replicate from writer:3306 any more"),
        ([{"b": "a"}], "b replicates from the server with id 2 now, and from 1 when the run began"),
        ([{"a": "writer+"}], "a takes writes, and was read-only when the run began"),
        ([{"writer": "reads"}], "writer is not the primary any more: it is read-only"),
        ([{"writer": "silent"}], "cannot check whether writer is still the primary: writer is silent"),
        ([{"b": "silent"}], "whether b has been promoted is not known: b is silent"),
        ([{"writer": "down", "a": "writes"}, {"b": "silent"}], "whether b has been promoted is not known: b is silent"),
        ([{"writer": "down", "a": "writes"}, {"writer": "silent"}], "whether writer has been promoted is not known"),
        ([{"writer": "down", "a": "writes"}, {"a": "down"}], "cannot check whether a is still the primary: a is down"),
        ([{"writer": "down", "a": "writes"}, {"a": "reads"}], "a is not the primary any more: it is read-only"),
        ([{"writer": "down", "a": "writes"}, {"b": "x"}], "b replicates from the server with id 9 now"),
        ([{"writer": "down"}, {"b": "x"}, {"a": "writes", "b": "a"}], "b replicates from the server with id 9 now"),
        ([{"writer": "down", "a": "writes"}, {"a": "x"}], "a replicates from the server with id 9 now"),
        ([{"writer": "down", "a": "writes"}, {"b": "~x"}], "b replicates from x:3306 now, and from writer:3306 when"),
        ([{"writer": "down", "a": "writes"}, {"writer": "-x+"}], "writer is set up to replicate from x:3306 now"),
        ([{"writer": "down", "a": "writes"}, {"b": "reads"}], "b does not replicate from writer:3306 any more"),
    ],
)
def test_what_cannot_be_followed_stays_unknown(steps: list[dict[str, str]], why: str) -> None:
    looks = Looks()
    for step in steps:
        looks.see(**step)
    assert looks.primacy.why_unknown().startswith(why)


def test_a_server_that_could_not_be_asked_when_the_run_began_is_not_followed() -> None:
    looks = Looks(a=NOBODY)
    looks.see(a="writes")
    assert looks.promoted == []
    assert looks.primacy.why_unknown().startswith("a could not be asked when the run began, and now replicates from no server")
    later = Looks(a=NOBODY)
    later.see(a="writer")
    later.see(writer="down")
    later.see(a="writes")
    assert later.promoted == ["a"]
    assert later.primacy.why_unknown() == ""


def test_an_address_that_moves_to_another_server_is_no_split_brain() -> None:
    """As that of a virtual address does, which the user has named `writer`."""
    looks = Looks()
    looks.see(a="writes")
    looks.primacy.finished.clear()
    moved = Looks()
    moved.look("writer", "silent")
    moved.look("a", "writes")
    for _ in range(3):
        moved.look("writer", "writes", server_id=2)
        moved.look("a")
        moved.look("b")
    assert moved.twos == []
    assert moved.primacy.why_unknown().startswith(
        "writer answers as a now (server id 2, and 1 before): its address leads there"
    )


def test_an_address_that_moves_to_a_server_nobody_knows_is_no_primary() -> None:
    looks = Looks()
    for _ in range(3):
        looks.look("writer", "writes", server_id=9)
        looks.look("a")
        looks.look("b")
    assert looks.primacy.why_unknown().startswith("writer takes writes and answers with the server id 9, and with 1 before")


def test_a_former_primary_that_was_rebuilt_has_another_id() -> None:
    looks = Looks()
    looks.see(writer="down")
    looks.see(a="writes", b="a")
    looks.look("writer", "a", server_id=7)
    assert looks.primacy.why_unknown() == ""


def test_a_server_with_two_names_is_promoted_once() -> None:
    looks = Looks()
    looks.primacy = Primacy("writer", {"writer": of("writer", "writes"), **dict.fromkeys("ab", of("a", "writer"))}, looks.now)
    for _ in range(3):
        looks.look("writer", "down")
        for name in "ab":
            looks.look(name, "writes", server_id=2)
    assert looks.promoted == ["a"]
    assert looks.twos == []
    assert looks.primacy.why_unknown() == ""


# --- The owner's command ---------------------------------------------------------------------------------------------


def test_the_owner_s_command_decides() -> None:
    looks = Looks(owner_says=True)
    looks.see(writer="reads", a="writes")
    assert looks.promoted == []
    assert looks.primacy.why_unknown() == "writer is not the primary any more: it is read-only"
    looks.primacy.told("a", 103.0, 102.5)
    looks.see(writer="a", b="a")
    (promotion,) = looks.primacy.promotions
    assert (promotion.server, promotion.seen, promotion.otherwise) == ("a", 103.0, 102.5)
    assert looks.primacy.why_unknown() == ""


def test_of_two_that_take_writes_the_owner_s_command_knows_the_primary() -> None:
    looks = Looks(owner_says=True)
    looks.see(a="writes")
    assert looks.promoted == []
    assert looks.primacy.why_unknown().startswith("a does not replicate from writer:3306 any more")
    looks.primacy.told("a", 103.0, 102.5)
    looks.primacy.told("writer", 104.0, 103.5)
    looks.see()
    assert looks.promoted == ["a", "writer"]
    assert looks.twos == [("a", "writer")]


def test_two_that_take_writes_are_seen_though_the_owner_s_command_never_names_one_of_them() -> None:
    looks = Looks(owner_says=True)
    looks.see(a="writes")
    looks.see(a="writes")
    looks.see(a="writer")
    assert looks.promoted == []
    assert looks.twos == [("writer", "a")]
