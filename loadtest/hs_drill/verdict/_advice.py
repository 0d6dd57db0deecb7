"""What to do about a verdict that is not a pass, as far as the run shows. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set

from hs_drill._counted import counted
from hs_drill.audit import Audit
from hs_drill.scenario import Scenario

from ._judge import ENDED, Judged, Result

__all__ = ["advice"]

WRITE_THROUGH = (
    "With cluster.topology: write-through they replicate; docs/replication.md says how your own servers can do that."
)


def advice(scenario: Scenario, judged: Sequence[Judged], primary: str, audit: Audit | None = None) -> list[str]:
    """One or two sentences per advice. `primary` is the server that took the writes at the end."""
    missed = {one.name for one in judged if one.result is Result.MISS}
    unknown = {one.name for one in judged if one.result is Result.UNKNOWN} - {ENDED}
    given = []
    if "lost" in missed:
        lost = audit["lost"] if audit is not None else None
        split = lost.measured.get("split_brain", 0) if lost is not None else 0
        if audit is not None and split:
            given.append(_about_split(audit))
        later = int(lost.measured.get("after_takeover", 0)) if lost is not None else 0
        if later:
            given.append(_about_later(later, primary))
        # More is lost than all that can have caused.
        if lost is None or lost.count > lost.measured.get("perhaps_split_brain", split) + later:
            given.append(_about_lost(scenario, primary))
    if missed & {"staleness", "replicas_agree"} and _unlogged(scenario):
        given.append(f"Writes straight to InnoDB never reach a reader on stock MariaDB. {WRITE_THROUGH}")
    if unknown:
        given += _about_unknown(unknown)
    return given


def _unlogged(scenario: Scenario) -> bool:
    return scenario.cluster.topology == "plain" and scenario.driver.name == "handlersocket"


def _about_split(audit: Audit) -> str:
    split = audit.split
    assert split is not None
    moment = (split.start - audit.origin) / 1e9
    return (
        f"This is a split brain: {split.promoted} had been promoted at {moment:.1f} s, and {split.old} still took writes. "
        "Fence the old primary before you promote another server: stop it, or make it read-only. Start every server read-only."
    )


def _about_later(count: int, primary: str) -> str:
    return (
        f"{counted(count, 'lost write')} began after {primary} had been promoted. If no other server took writes then, "
        f"{primary} itself lost what it had acknowledged: check how durable its commits are, and what else changes this table."
    )


def _about_lost(scenario: Scenario, primary: str) -> str:
    if scenario.cluster.kind == "external":
        return (
            "On your own servers a run does not know whether another one took over: it read back the writer. If one did, check "
            "what it holds, and what it had fetched by then. If none did, check how durable the writer's commits are, and what "
            "else changes this table."
        )
    if primary == "writer":
        return (
            "No other server took over, so the writer itself lost writes that it had acknowledged: check how durable its "
            "commits are, and what else changes this table."
        )
    if _unlogged(scenario):
        return f"Stock MariaDB does not replicate writes straight to InnoDB: {primary} took over without them. {WRITE_THROUGH}"
    if scenario.cluster.replication != "semisync":
        return (
            f"What {primary} had not fetched when it took over is lost. With cluster.replication: semisync no write is "
            "acknowledged before a replica has it."
        )
    return f"{primary} took over without them although replication was semisync: check its log, and when it was promoted."


def _about_unknown(names: Set[str]) -> Iterator[str]:
    yield "Unknown is not a pass: fix what kept the expectation from being judged, and run the scenario again."
    if any(name.startswith("recovery.") for name in names):
        yield (
            "Recovery can be judged when a second of load is measured before the first fault, and when each fault is followed "
            "by enough load before the next one."
        )
