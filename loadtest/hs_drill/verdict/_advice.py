"""What to do about a verdict that is no pass, as far as the run itself shows it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set

from hs_drill.audit import Audit
from hs_drill.scenario import Scenario

from ._judge import Judged, Result

__all__ = ["advice"]

WRITE_THROUGH = (
    "With cluster.topology: write-through they replicate; docs/replication.md says how your own servers can do that."
)


def advice(scenario: Scenario, judged: Sequence[Judged], primary: str, audit: Audit | None = None) -> list[str]:
    """A sentence or two for each thing that can be told. `primary` is the server that took the writes at the end."""
    missed = {one.name for one in judged if one.result is Result.MISS}
    unknown = {one.name for one in judged if one.result is Result.UNKNOWN}
    told = []
    if "lost" in missed:
        lost = audit["lost"] if audit is not None else None
        split = lost.measured.get("split_brain", 0) if lost is not None else 0
        if audit is not None and split:
            told.append(_about_split(audit))
        # Of steps that may have been the old primary's nobody can say that the new one had not fetched them.
        if lost is None or lost.count > lost.measured.get("perhaps_split_brain", split):
            told.append(_about_lost(scenario, primary))
    if missed & {"staleness", "replicas_agree"} and _unlogged(scenario):
        told.append(f"Writes straight to InnoDB never reach a reader on stock MariaDB. {WRITE_THROUGH}")
    if unknown:
        told += _about_unknown(unknown)
    return told


def _unlogged(scenario: Scenario) -> bool:
    return scenario.cluster.topology == "plain" and scenario.driver.name == "handlersocket"


def _about_split(audit: Audit) -> str:
    split = audit.split
    assert split is not None
    moment = (split.start - audit.origin) / 1e9
    return (
        f"This is a split brain: {split.promoted} had been promoted at {moment:.1f} s, and {split.old} still took writes. "
        "Fence the old primary before another is promoted: end it, or make it read-only; and start servers read-only."
    )


def _about_lost(scenario: Scenario, primary: str) -> str:
    if scenario.cluster.kind == "external":
        return (
            "A run on your own servers does not know whether another one took over: it read writer back. If one did, look "
            "there, and at what it had fetched by then. If none did, look at how durable writer's commits are, and at what "
            "else changes this table."
        )
    if primary == "writer":
        return (
            "No other server took over, so the writer itself lost what it had acknowledged: look at how durable its commits "
            "are, and at what else changes this table."
        )
    if _unlogged(scenario):
        return (
            f"Writes straight to InnoDB are not replicated by stock MariaDB: {primary} took over without them. {WRITE_THROUGH}"
        )
    if scenario.cluster.replication != "semisync":
        return (
            f"What {primary} had not fetched when it took over is lost. With cluster.replication: semisync no write is "
            "acknowledged before a replica has it."
        )
    return f"{primary} took over without them although replication was semisync: look at its log, and at when it was promoted."


def _about_unknown(names: Set[str]) -> Iterator[str]:
    yield "What is unknown is no pass: mend what kept it from being judged, and carry the scenario out again."
    if any(name.startswith("recovery.") for name in names):
        yield (
            "Recovery can be judged when the load is counted for a second before the first fault and goes on long enough after "
            "each, and no other fault comes meanwhile."
        )
