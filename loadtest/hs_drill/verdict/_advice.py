"""What to do about a verdict that is not a pass, as far as the run shows. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set

from hs_drill._counted import counted
from hs_drill.audit import NOT_KNOWN, Audit
from hs_drill.scenario import Scenario, unaudited_writes
from hs_drill.store import PROMOTION, Lapse

from ._audit_expectations import FENCED, SPLIT_BRAIN
from ._judge import ENDED
from ._judged import Judged, Result

__all__ = ["about_lapses", "advice"]

WRITE_THROUGH = (
    "With cluster.topology: write-through they replicate; docs/replication.md says how your own servers can do that."
)

FENCE = "Fence the old primary before you promote another server: stop it, or make it read-only. Start every server read-only."
ALONE = (
    "Nothing replicates from a single server, so its stale reads have another cause. Check whether something else answers at "
    "its address, and whether its data was restored meanwhile."
)
MOST_LAPSES = 3
DURABLE = "Check how durable its commits are, and what else changes this table."


def advice(scenario: Scenario, judged: Sequence[Judged], primary: str, audit: Audit | None = None) -> list[str]:
    """One or two sentences per advice. `primary` is the server that took the writes at the end."""
    missed = {one.name for one in judged if one.result is Result.MISS}
    unknown = {one.name for one in judged if one.result is Result.UNKNOWN} - {ENDED}
    given: list[str] = []
    if "lost" in missed:
        given += _about_takeover(audit) if audit is not None and audit.takeover is not None else []
        # More is lost than what was acknowledged after the promotion.
        if not given or (audit is not None and audit["lost"].measured.get("before_promotion", 0)):
            given.append(_about_lost(scenario, primary, audit))
    if SPLIT_BRAIN in missed and not any(FENCE in line for line in given):
        given.append(f"Two servers were open for writes at once, and what one of them acknowledged the other may lack. {FENCE}")
    elif FENCED in missed and not any(FENCE in line for line in given):
        given.append(FENCE)
    told = any(WRITE_THROUGH in line for line in given)
    if "staleness" in missed and audit is not None and audit.alone:
        given.append(ALONE)
    elif missed & {"staleness", "replicas_agree"} and _unlogged(scenario) and not told:
        given.append(f"Writes straight to InnoDB never reach a reader on stock MariaDB. {WRITE_THROUGH}")
    if unknown:
        given += _about_unknown(unknown)
    if why := unaudited_writes(scenario):
        given.append(f"Writes were measured, and not audited: {why}.")
    return given


def about_lapses(lapses: Sequence[Lapse], origin: int) -> list[str]:
    """That semi-synchronous replication was off. It decides no verdict: whether a write was lost by it, the audit knows."""
    if not lapses:
        return []
    told = [_about_lapse(one, origin) for one in lapses[:MOST_LAPSES]]
    told += [f"and {counted(len(lapses) - MOST_LAPSES, 'more time', 'more times')}"] if len(lapses) > MOST_LAPSES else []
    return [
        f"Semi-synchronous replication was off: {'; '.join(told)}. What was acknowledged meanwhile may be on one server only. "
        "See rpl_semi_sync_master_timeout, and whether a replica that acknowledges was connected."
    ]


def _about_lapse(one: Lapse, origin: int) -> str:
    since = f"{(one.first - origin) / 1e9:.3f}"
    when = f"after {since} s until the end" if one.last is None else f"between {since} and {(one.last - origin) / 1e9:.3f} s"
    commits = f", for at least {counted(one.commits, 'transaction')}" if one.commits else ""
    return f"on {one.server} {when}{commits}"


def _unlogged(scenario: Scenario) -> bool:
    return scenario.cluster.topology == "plain" and scenario.driver.name == "handlersocket"


def _about_takeover(audit: Audit) -> Iterator[str]:
    """What to do about the server that lost the writes, as far as the audit knows which one did; nothing about those from
    before the promotion. Which server acknowledged how many, and when, is in the audit's own line."""
    takeover, measured = audit.takeover, audit["lost"].measured
    assert takeover is not None
    old, promoted = takeover.old, takeover.promoted
    moment = takeover.moment(audit.origin, digits=1)
    if measured.get("split_brain"):
        yield f"This is a split brain. {FENCE}"
    if measured.get("lost_by_promoted"):
        yield f"{promoted} itself lost writes that it had acknowledged. {DURABLE}"
    if measured.get("split_brain") or measured.get("lost_by_promoted"):
        return
    maybe = {
        "perhaps_before_promotion": f"{promoted} took over without them",
        "perhaps_split_brain": f"{old} acknowledged them after {promoted} had been promoted {moment} (a split brain)",
        "perhaps_lost_by_promoted": f"{promoted} acknowledged them itself after its promotion {moment}, and lost them",
    }
    look_on = old
    if takeover.primaries.routed:
        del maybe["perhaps_lost_by_promoted"]
        maybe["perhaps_split_brain"] = f"they were acknowledged after {promoted} had been promoted {moment}, and {NOT_KNOWN}"
        look_on = "every server that the router may have led to"
    if measured.get("before_promotion"):
        del maybe["perhaps_before_promotion"]
    possible = [words for name, words in maybe.items() if measured.get(name)]
    if len(possible) > 1 or (possible and takeover.primaries.routed):
        either = "either " if len(possible) > 1 else ""
        some = "some of the lost writes" if measured.get("before_promotion") else "the lost writes"
        yield f"It is not known what became of {some}: {either}{', or '.join(possible)}. Look for them on {look_on}. {FENCE}"


def _about_lost(scenario: Scenario, primary: str, audit: Audit | None) -> str:
    promoted = [event.name for event in audit.events if event.kind == PROMOTION] if audit is not None else []
    if scenario.cluster.kind == "external" and audit is not None and promoted:
        return _about_own_failover(scenario, primary, audit, promoted)
    if scenario.cluster.kind == "external":
        return (
            "On your own servers a run does not know whether another one took over: it read back the writer. If one did, check "
            "what it holds, and what it had fetched by then. If none did, check how durable the writer's commits are, and what "
            "else changes this table."
        )
    if primary == "writer" and not promoted:
        return (
            "This run promoted no other server, so as far as it knows the writer itself lost writes that it had acknowledged. "
            f"{DURABLE} Or was a server promoted by other means?"
        )
    if _unlogged(scenario):
        return f"Stock MariaDB does not replicate writes straight to InnoDB: {primary} took over without them. {WRITE_THROUGH}"
    if scenario.cluster.replication != "semisync":
        return (
            f"What {primary} had not fetched when it took over is lost. With cluster.replication: semisync no write is "
            "acknowledged before a replica has it."
        )
    return f"{primary} took over without them although replication was semisync: check its log, and when it was promoted."


def _about_own_failover(scenario: Scenario, primary: str, audit: Audit, promoted: Sequence[str]) -> str:
    """On the user's own servers, of which some were promoted."""
    takeover = audit.takeover
    if takeover is None:
        return (
            f"Promoted in this run: {', '.join(promoted)}; read back at the end: {primary}. Check what each of them holds, and "
            "which one is the primary."
        )
    promotions = takeover.primaries.promotions
    last = f"{takeover.promoted} was promoted {takeover.moment(audit.origin, digits=1)}"
    if len(promotions) > 1:
        last += f", the last of {len(promotions)} promotions ({', '.join(one.server for one in promotions)})"
    if not audit["lost"].measured.get("before_promotion"):
        return f"{last}. Check what it had by then, and how durable its commits are."
    known = f"Lost writes were acknowledged before {last}."
    if _unlogged(scenario):
        return f"{known} Stock MariaDB does not replicate writes straight to InnoDB. {WRITE_THROUGH}"
    if scenario.cluster.replication == "semisync":
        return (
            f"{known} Either no replica had acknowledged them (look at Rpl_semi_sync_master_no_tx, and at rpl_semi_sync_master_"
            "wait_point), or the promoted one had not applied what it had fetched, or lost it later."
        )
    return (
        f"{known} What a promoted server had not fetched and applied by then is lost, unless it lost it later. Let a replica "
        "apply what it has fetched before you promote it. With semi-synchronous replication no write is acknowledged before a "
        "replica has it."
    )


def _about_unknown(names: Set[str]) -> Iterator[str]:
    yield "Unknown is not a pass: fix what kept the expectation from being judged, and run the scenario again."
    if any(name.startswith("recovery.") for name in names):
        yield (
            "Recovery can be judged when a second of load is measured before the first fault, and when each fault is followed "
            "by enough load before the next one."
        )
