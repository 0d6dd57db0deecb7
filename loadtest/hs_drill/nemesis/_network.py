"""What a scenario's fault of the network is at the proxy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from hs_drill.proxy import Proxy, ProxyStatistics, disturbances
from hs_drill.scenario import Fault, faults

from ._strike import Do, Strike

__all__ = ["COUNTED", "Proxies", "network_action"]

Proxies: TypeAlias = Mapping[tuple[str, str], Proxy]
"""In front of each listener, by the server's name and `read` or `write`."""


@dataclass(frozen=True)
class _Counted:
    """The effects of a fault whose effects are known for certain."""

    what: str
    of: Callable[[ProxyStatistics], int]
    """How many a proxy has seen so far."""
    none: str
    """What to say where there was none, and what to do about it."""


_NO_CONNECTION = "no connection was open then: aim it at a server that carries load, when it does"
COUNTED: dict[type[Fault], _Counted] = {
    faults.DropReplies: _Counted(
        "replies lost",
        lambda seen: seen.cut,
        "no reply was lost, for none came after so many others: lower `after`, or aim it at a server that carries load",
    ),
    faults.Reset: _Counted("connections reset", lambda seen: seen.reset, _NO_CONNECTION),
    faults.HalfOpen: _Counted("connections made half-open", lambda seen: seen.half_open, _NO_CONNECTION),
}


def network_action(fault: faults.NetworkFault, proxies: Proxies, event: Strike) -> tuple[Do, Do | None]:
    """What puts a fault on the proxies before a server, and what takes it off, if it lasts."""
    listeners = ("read", "write") if fault.listener == "both" else (fault.listener,)
    both = [(proxies[(event.server, listener)], _disturbance_of(fault)) for listener in listeners]

    counted = COUNTED.get(type(fault))
    before = 0

    def seen() -> int:
        return 0 if counted is None else sum(counted.of(proxy.statistics()) for proxy, _ in both)

    def count() -> None:
        if counted is not None:
            event.effects = seen() - before
            event.note = f"{counted.what}: {event.effects:,}"

    async def strike() -> None:
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

    return strike, heal if fault.lasts else None


def _disturbance_of(fault: faults.NetworkFault) -> disturbances.Disturbance:
    """The disturbance that a fault puts on each proxy of its target; a new one each time."""
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
