"""What to do about a verdict that is no pass, as far as the run itself shows it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from loadtest._judge import Judged, Result
from loadtest._scenario import Scenario

__all__ = ["advice"]


def advice(scenario: Scenario, judged: Sequence[Judged], primary: str) -> list[str]:
    """A sentence or two for each thing that can be told. `primary` is who took the writes at the end."""
    of = {one.name: one for one in judged}
    told = []
    if "lost" in of and of["lost"].result is Result.MISS:
        told.append(_about_lost(scenario, primary))
    if any(one.result is Result.UNKNOWN for one in judged):
        told += _about_unknown(of)
    return told


def _about_lost(scenario: Scenario, primary: str) -> str:
    if primary == "writer":
        return (
            "No other server took over, so the writer itself lost what it had acknowledged: look at how durable its commits "
            "are, and at what else changes this table."
        )
    if scenario.cluster.topology == "plain" and scenario.driver.name == "handlersocket":
        return (
            f"Writes went straight to InnoDB, which stock MariaDB does not replicate, so {primary} took over without them. "
            "With cluster.topology: write-through they replicate; docs/replication.md says how your own servers can do that."
        )
    if scenario.cluster.replication != "semisync":
        return (
            f"What {primary} had not fetched when it took over is lost. With cluster.replication: semisync no write is "
            "acknowledged before a replica has it."
        )
    return f"{primary} took over without them although replication was semisync: look at its log, and at when it was promoted."


def _about_unknown(of: Mapping[str, Judged]) -> Iterator[str]:
    yield "What is unknown is no pass: mend what kept it from being judged, and carry the scenario out again."
    if any(name.startswith("recovery.") and one.result is Result.UNKNOWN for name, one in of.items()):
        yield "Recovery can be judged when the load goes on long enough after a fault, and no other fault comes meanwhile."
