"""The CPU time that servers take which are processes of this machine: were they the limit, or one of their threads?

HandlerSocket has one thread for writes and a few for reads, so a server can be at its limit with most cores idle.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hs_drill._cluster import Cluster

__all__ = ["CpuTime"]

PROC = Path("/proc")
PROCESSES = ("mariadb", "embedded")
"""The kinds of servers that are processes of this machine."""
NONE = (0.0, 0.0)
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class _Taken:
    pid: int
    """Of the server's process."""
    threads: dict[str, tuple[float, float]]
    """Thread -> seconds of CPU time since its start, and seconds that it was ready to run and had no core."""


class CpuTime:
    """What the servers of a cluster take from now on, if they are processes of this machine.

    (Those in containers may not be, if their engine runs elsewhere. Their pid here would be another process's.)
    """

    def __init__(self, cluster: Cluster, proc: Path = PROC, clock: Callable[[], float] = time.monotonic) -> None:
        self._proc, self._clock = proc, clock
        self._began = clock()
        self._before = self._taken(cluster)

    def until_now(self, cluster: Cluster) -> dict[str, dict[str, float]]:
        """Of each server that ran all the time: `cores`, how many it kept busy on average; `thread`, the same of its busiest
        thread; and `waited`, the share of the time that a thread, at most, waited for a core. Threads that have ended count for
        nothing."""
        seconds = max(self._clock() - self._began, 1e-3)
        found: dict[str, dict[str, float]] = {}
        for name, after in self._taken(cluster).items():
            before = self._before.get(name)
            if before is not None and before.pid == after.pid:
                spent = [
                    (cpu - before.threads.get(thread, NONE)[0], waited - before.threads.get(thread, NONE)[1])
                    for thread, (cpu, waited) in after.threads.items()
                ]
                cpu_times, waits = zip(*spent, strict=True)
                figures = {"cores": sum(cpu_times), "thread": max(cpu_times), "waited": max(waits)}
                found[name] = {what: round(value / seconds, 3) for what, value in figures.items()}
        return found

    def _taken(self, cluster: Cluster) -> dict[str, _Taken]:
        if cluster.kind not in PROCESSES:
            return {}
        taken = {one.name: _Taken(one.pid, self._threads(one.pid)) for one in cluster.servers if one.pid is not None}
        return {name: one for name, one in taken.items() if one.threads}

    def _threads(self, pid: int) -> dict[str, tuple[float, float]]:
        """Empty if the process has ended."""
        found: dict[str, tuple[float, float]] = {}
        with suppress(OSError):
            for path in (self._proc / str(pid) / "task").iterdir():
                with suppress(OSError):
                    # The name of a thread, in parentheses, may have spaces.
                    fields = (path / "stat").read_text().rpartition(")")[2].split()
                    waited = 0.0
                    with suppress(OSError, IndexError):  # not every kernel counts it
                        waited = int((path / "schedstat").read_text().split()[1]) / 1e9
                    found[path.name] = (int(fields[11]) + int(fields[12])) / TICKS, waited
        return found
