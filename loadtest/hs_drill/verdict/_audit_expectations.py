"""What a scenario may expect of the audit: in words, and judged."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from hs_drill._counted import counted
from hs_drill.audit import Audit, Check, Validity
from hs_drill.scenario import SESSION_GUARANTEES, Expect

from ._judged import Judged, Result, unknown

__all__ = ["FENCED", "SPLIT_BRAIN", "audit_expectations", "judge_audit", "split_brain"]

LINEARIZABLE, SPLIT_BRAIN, FENCED = "linearizable", "split_brain", "fenced"
GUARANTEES = {
    "monotonic_reads": "no user sees a row go back in time",
    "read_your_writes": "no user misses an own write",
    "monotonic_writes": "nobody sees the writes of one user in another order",
    "writes_follow_reads": "nobody sees a write, and then what its user had read before it",
    "no_resurrection": "no deleted row comes back",
}
"""Checks that need only be true if the scenario says so."""
NOT_OF_WRITES = ("staleness", *SESSION_GUARANTEES)
"""What a reader may miss although every write is as it was acknowledged: that is an expectation missed, and no failed audit."""


def audit_expectations(expect: Expect) -> Iterator[tuple[str, str]]:
    """Each one's name, and what it means."""
    limits = {"lost": expect.lost, "applied_twice": expect.applied_twice, "unexpected": expect.unexpected}
    words = {
        "lost": ("acknowledged write is lost", "acknowledged writes are lost"),
        "applied_twice": ("increment or decrement is applied twice", "increments or decrements are applied twice"),
        "unexpected": ("row or read shows data that no write left", "rows or reads show data that no write left"),
    }
    for name, limit in limits.items():
        yield name, _at_most(limit or 0, *words[name])
    together = [limit or 0 for limit in (expect.lost, expect.applied_twice)]
    allowed = "any" if "any" in together else sum(int(limit) for limit in together)
    yield (
        "counters",
        _at_most(allowed, *(f"{counters} off from what was acknowledged" for counters in ("counter is", "counters are"))),
    )
    if expect.staleness is not None:
        yield "staleness", f"no read lags behind an acknowledged write by more than {expect.staleness:g} s"
    yield from ((name, words) for name, words in GUARANTEES.items() if getattr(expect, name))
    if expect.linearizable:
        yield LINEARIZABLE, "an order of the writes explains what the primary showed of every row"
    if expect.replicas_agree:
        yield "replicas_agree", "at the end every other server holds what the primary holds"
    if expect.fenced:
        yield FENCED, "after each promotion, the former primary takes no writes"


def _at_most(limit: int | str, one: str, many: str) -> str:
    if isinstance(limit, str):
        return f"any number of {many}"
    return f"at most {counted(limit, one, many)}" if limit else f"no {many}"


def judge_audit(expect: Expect, audit: Audit | None) -> Iterator[Judged]:
    """Compare them with what the audit found; None leaves them unknown."""
    if audit is None:
        for name in dict.fromkeys(["lost", "applied_twice", "unexpected", "counters", *expect.needing_audit()]):
            yield unknown(name, None, "there is no audit of this run", audit=name not in NOT_OF_WRITES)
        return
    limits = {"lost": expect.lost, "applied_twice": expect.applied_twice, "unexpected": expect.unexpected}
    allowed = {name: None if limit == "any" else limit or 0 for name, limit in limits.items()}
    for name, limit in allowed.items():
        yield _counted(audit[name], limit, stated=limits[name] is not None)
    # A counter is off because a step was lost or applied twice, so the limits of both together bound how many may be off.
    together = [allowed["lost"], allowed["applied_twice"]]
    limit = None if None in together else sum(limit or 0 for limit in together)
    yield _counted(audit["counters"], limit, stated=expect.applied_twice is not None)
    if SPLIT_BRAIN in audit.checks:
        yield split_brain(audit[SPLIT_BRAIN].count, audit[SPLIT_BRAIN].explanation)
    if expect.staleness is not None:
        stale = audit["stale_reads"]
        longest = stale.measured["max_seconds"] if stale.measured.get("telling") else None
        stalest = f"the stalest read lagged by {longest:.3f} s; " if longest is not None else ""
        line = f"{stalest}at most {expect.staleness:g} s expected; {stale.explanation}"
        # The audit may have had another bound.
        result = Result.MISS if longest is not None and longest > expect.staleness else Result.PASS
        if stale.verdict is Validity.UNKNOWN:
            result = Result.UNKNOWN
        if stale.verdict is Validity.NOT_APPLICABLE:
            yield unknown("staleness", expect.staleness, _nothing_to_find(stale))
        else:
            yield Judged("staleness", result, longest, expect.staleness, line)
    for name in GUARANTEES:
        if getattr(expect, name):
            yield _true(name, audit[name], audit=name not in NOT_OF_WRITES)
    if LINEARIZABLE in audit.checks and expect.linearizable is not False:
        yield from _linearizable(audit[LINEARIZABLE], expect)
    if expect.replicas_agree:
        yield _true("replicas_agree", audit["replicas"], audit=True)
    if expect.fenced and FENCED not in audit.checks:
        yield unknown(FENCED, 0, "no promotion was seen, so there was no former primary to fence", audit=True)
    elif expect.fenced:
        yield _true(FENCED, audit[FENCED], audit=True)


def split_brain(times: int, line: str) -> Judged:
    """Two servers were open for writes at once. No scenario allows that, so no key is about it."""
    return Judged(SPLIT_BRAIN, Result.MISS, times, 0, line, audit=True)


def _linearizable(check: Check, expect: Expect) -> Iterator[Judged]:
    """If nothing is stated, what other checks found is theirs to judge. No other one finds what a promotion lost, and a later
    write hides; like other losses it may be allowed."""
    hidden = int(check.measured.get("promotion_rows", 0))
    if hidden and expect.lost != "any":
        check = replace(check, count=check.count + hidden, elsewhere=check.elsewhere - hidden)
    if expect.linearizable:
        yield replace(_true(LINEARIZABLE, check, audit=True), measured=check.count + check.elsewhere)
    elif check.verdict is not Validity.NOT_APPLICABLE and (check.count or not check.elsewhere):
        yield _counted(check, 0, stated=False)


_RESULTS = {Validity.TRUE: Result.PASS, Validity.FALSE: Result.MISS, Validity.UNKNOWN: Result.UNKNOWN}


def _nothing_to_find(check: Check) -> str:
    return f"not applicable, so the run shows nothing about it: {check.explanation}"


def _true(name: str, check: Check, *, audit: bool = False) -> Judged:
    """Judge a check that must be true."""
    if check.verdict is Validity.NOT_APPLICABLE:
        return unknown(name, 0, _nothing_to_find(check), audit=audit)
    return Judged(name, _RESULTS[check.verdict], check.count, 0, check.explanation, audit)


def _counted(check: Check, limit: int | None, *, stated: bool) -> Judged:
    expected = "any number allowed" if limit is None else f"at most {limit:,} expected"
    line = f"{check.explanation}; {expected}"
    if limit is None:
        result = Result.PASS
    elif check.count > limit:
        result = Result.MISS
    elif check.verdict is Validity.UNKNOWN or check.count + check.possible > limit:
        result = Result.UNKNOWN
    elif check.verdict is Validity.NOT_APPLICABLE and stated:
        return unknown(check.name, limit, f"{_nothing_to_find(check)}; {expected}", audit=True)
    elif check.verdict is Validity.NOT_APPLICABLE:
        return Judged(check.name, Result.NOT_APPLICABLE, None, limit, check.explanation, audit=True)
    else:
        result = Result.PASS
    return Judged(check.name, result, check.count, limit, line, audit=True)
