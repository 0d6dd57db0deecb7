"""How a scenario's network faults are injected by the proxies, and how their effects are counted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from hs_drill._cluster import ClusterError
from hs_drill.proxy import Proxy, ProxyStatistics, disturbances
from hs_drill.scenario import Fault, faults

from ._strike import Step, Strike

__all__ = ["COUNTED", "Proxies", "network_steps"]

Proxies: TypeAlias = Mapping[tuple[str, str], Proxy]
"""The proxy before each port that the load uses, by the server's name and `read` or `write`, or `sql`."""


@dataclass(frozen=True)
class _Counted:
    """How to count a fault's effects."""

    effects: str
    """What is counted, for the user."""
    of: Callable[[ProxyStatistics], int]
    """How many a proxy has seen so far."""
    without: str
    """What to report if there was none: why, and what to do about it."""


_NO_CONNECTION = "no connection was open at that moment: aim it at a server that carries load, while it does"
COUNTED: dict[type[Fault], _Counted] = {
    faults.DropReplies: _Counted(
        "replies lost",
        lambda seen: seen.cut,
        "no connection carried more than `after` replies: lower `after`, or aim it at a server that carries load (by SQL it "
        "cannot tell replies apart on connections that are encrypted)",
    ),
    faults.Reset: _Counted("connections reset", lambda seen: seen.reset, _NO_CONNECTION),
    faults.HalfOpen: _Counted("connections made half-open", lambda seen: seen.half_open, _NO_CONNECTION),
}
"""The faults whose effects can be counted with certainty."""


def network_steps(fault: faults.NetworkFault, proxies: Proxies, strike: Strike) -> tuple[Step, Step | None]:
    """The step that injects a fault at a server's proxies, and the one that heals it; None if it happens at once."""
    names = ("read", "write", "sql") if fault.listener == "both" else (fault.listener,)  # the load uses SQL, or the others
    both = [(proxies[(strike.server, name)], _disturbance_of(fault)) for name in names if (strike.server, name) in proxies]
    if not both:
        raise ClusterError(f"{strike.server} has no listener for {fault.listener}s")

    counted = COUNTED.get(type(fault))
    before = 0

    def seen() -> int:
        return 0 if counted is None else sum(counted.of(proxy.statistics()) for proxy, _ in both)

    def count() -> None:
        if counted is not None:
            strike.effects = seen() - before
            strike.note = f"{counted.effects}: {strike.effects:,}"

    async def inject() -> None:
        nonlocal before
        before = seen()
        for proxy, disturbance in both:
            proxy.start(disturbance)
        if not fault.lasts:
            count()

    async def heal() -> None:
        for proxy, disturbance in both:
            proxy.heal(disturbance)
        count()

    return inject, heal if fault.lasts else None


def _disturbance_of(fault: faults.NetworkFault) -> disturbances.Disturbance:
    """A new disturbance for one proxy."""
    match fault:
        case faults.Partition():
            return disturbances.Partition()
        case faults.Latency():
            return disturbances.Latency(fault.delay, fault.jitter)
        case faults.Bandwidth():
            return disturbances.Bandwidth(fault.bytes_per_second)
        case faults.Reset():
            return disturbances.ResetPeer()
        case faults.HalfOpen():
            return disturbances.HalfOpen()
        case faults.Blackhole():
            return disturbances.Blackhole()
        case faults.DropReplies():
            return disturbances.DropReplies(fault.after)
        case faults.IdleTimeout():
            return disturbances.IdleTimeout(fault.after)
        case faults.Flapping():
            return disturbances.Flapping(fault.down, fault.up)
        case _:
            raise AssertionError(f"no such fault of the network: {fault!r}")
