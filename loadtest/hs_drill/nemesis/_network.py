"""What a scenario's fault of the network is at the proxy."""

from __future__ import annotations

from hs_drill.proxy import disturbances
from hs_drill.scenario import faults

__all__ = ["disturbance_of"]


def disturbance_of(fault: faults.NetworkFault) -> disturbances.Disturbance:
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
