"""Faults on the user's own servers: those that commands of the user's own inject, and a failover that somebody else makes."""

from __future__ import annotations

import trio

from hs_drill._cluster import ClusterError
from hs_drill.scenario import Fault
from hs_drill.servers import ByCommand, Control

from ._strike import Step, Strike

__all__ = ["await_failover", "command_name", "command_steps"]


def command_name(fault: Fault, number: int) -> str:
    """The name of the command that injects the scenario's fault with this number. It is that of the fault, or if the fault is a
    command itself, one that no fault has."""
    return f"faults.{number}" if fault.untargeted else fault.name


def command_steps(by_command: ByCommand, fault: Fault, strike: Strike) -> tuple[Step, Step | None]:
    """The step that injects a fault by a command, and the one that heals it; None if it happens at once."""
    server = None if fault.untargeted else strike.server
    injection = by_command.injection(command_name(fault, strike.number), f"{strike.fault} {strike.server}", server)

    async def inject() -> None:
        try:
            await injection.strike()
        finally:
            strike.note = injection.note

    return inject, injection.heal if fault.lasts else None


def await_failover(control: Control, within: float, strike: Strike) -> Step:
    """The step that waits until a server was seen to have become the primary, which no command of ours has ordered."""

    async def wait() -> None:
        known = len(control.promotions)
        with trio.move_on_after(within):
            while True:
                promotion = await control.wait_promotion(known)
                known += 1
                if control.by_command is None or not control.by_command.ordered(promotion):
                    strike.note = f"{promotion.server} became the primary"
                    return
        raise ClusterError(f"no failover was seen within {within:g} s: {control.primary} is the primary")

    return wait
