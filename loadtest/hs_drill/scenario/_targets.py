"""What faults may strike: which servers a target means, and which faults are available on which kind of servers."""

from __future__ import annotations

import random
import re
from collections.abc import Collection, Sequence

from hs_drill._cluster import ROUTER

from ._faults import BY_COMMAND, Fault, NetworkFault

__all__ = ["not_on", "replication_missing", "targets_of", "to_be_promoted", "unknown_target"]

LINK = "client->"
"""How a target begins that means the network between clients and a server."""


def unknown_target(fault: Fault, readers: int, standby: bool, *, routed: bool) -> str | None:
    """What is wrong with a fault's target in such a cluster, or None. `routed`: clients reach the servers through a router."""
    if fault.untargeted:
        return f"{fault.name} has no target: leave it out" if fault.target else None
    target = fault.target.removeprefix(LINK)
    if wrong := _wrong_beside_router(fault, target, routed):
        return wrong
    if target == ROUTER and isinstance(fault, NetworkFault):
        return None
    if target != fault.target and not isinstance(fault, NetworkFault):
        what = f"{fault.target} is the network between clients and a server, but {fault.name} strikes the server itself"
        return f"{what}: say {target!r}"
    if target == "all readers" and readers > 1 and fault.promotes:
        return (
            f"must be one server, for there is one primary, and {fault.name} all readers would make {readers}: say one reader"
        )
    reader = re.fullmatch(r"reader-([1-9][0-9]*)", target)
    if target in ("writer", "primary", "one reader", "all readers") or (reader and int(reader[1]) <= readers):
        return None
    if target == "standby":
        return None if standby else "must be a server of this cluster: for a standby say cluster.standby: true"
    if reader:
        return f"must be a server of this cluster: there is no {target}, for cluster.readers is {readers}"
    known = ["writer", "primary", *(["standby"] if standby else []), *(f"reader-{n + 1}" for n in range(readers))]
    return f"must be one of {', '.join(known)}, one reader, all readers, not {fault.target!r}"


def _wrong_beside_router(fault: Fault, target: str, routed: bool) -> str | None:
    network = isinstance(fault, NetworkFault)
    if target == ROUTER and not routed:
        return "must be a server: this scenario names no router (cluster.router)"
    if target == ROUTER and not network:
        return f"must be a server: {fault.name} does not strike a router. A command of yours can do that: `fault: command`"
    if routed and network and target != ROUTER:
        return (
            f"must be {ROUTER}, for clients reach no server but through it: {fault.name} strikes the network in front of the "
            f"router, not {target!r}"
        )
    return None


def not_on(fault: Fault, kind: str, commands: Collection[str]) -> str | None:
    """Why a fault is not available on servers of this kind, or None. `commands`: the names of `cluster.commands`."""
    if kind == "external":
        return None if isinstance(fault, NetworkFault) or fault.untargeted else _without_command(fault, commands)
    if fault.untargeted:
        return f"{fault.name} is for servers of your own: it needs cluster.kind: external, not {kind}"
    if kind == "embedded" and fault.needs_mariadb:
        return f"embedded servers cannot do {fault.name}: use cluster kind mariadb or docker"
    return None


def _without_command(fault: Fault, commands: Collection[str]) -> str | None:
    if not fault.by_command:
        possible = f"faults of the network, those with a command in cluster.commands ({', '.join(BY_COMMAND)})"
        return f"external servers cannot do {fault.name}: only {possible}, and `fault: command`"
    if fault.name in commands:
        return None
    heal = ', heal: [PROGRAM, "{host}"]' if fault.lasts else ""
    give = f'{fault.name}: {{run: [PROGRAM, "{{host}}"]{heal}}}'
    return f"external servers do {fault.name} by a command of yours: write it below cluster.commands as `{give}`"


def replication_missing(fault: Fault, replication: str, kind: str) -> str | None:
    """What is wrong with a fault under this kind of replication, or None. External servers switch over as their owner says."""
    if kind != "external" and fault.demotes and not getattr(fault, "suspend", False) and replication != "semisync":
        without = f"{fault.name} without `suspend: true` needs cluster.replication: semisync"
        return f"{without}, not {replication}, or it loses writes that no replica has yet"
    if fault.needs_replication and replication == "none":
        return f"{fault.name} needs servers that replicate, but cluster.replication is none"
    return None


def targets_of(fault: Fault, names: Sequence[str], primary: str, rng: random.Random) -> list[str]:
    """The names of the servers that a fault strikes at this moment. For a fault without a target, what it is shown with."""
    if fault.untargeted:
        return [fault.subject]
    readers = [name for name in names if name.startswith("reader-")]
    target = fault.target.removeprefix(LINK)
    match target:
        case "primary":
            return [primary]
        case "one reader":
            return [rng.choice(readers)]
        case "all readers":
            return readers
    return [target]


def to_be_promoted(faults: Sequence[Fault], names: Sequence[str]) -> list[str]:
    """The names of the servers that the faults say they make the primary. One without a target may promote any server."""
    targets = {fault.target for fault in faults if fault.promotes}
    any_reader = bool(targets & {"one reader", "all readers"})
    return [name for name in names if name in targets or (any_reader and name.startswith("reader-"))]
