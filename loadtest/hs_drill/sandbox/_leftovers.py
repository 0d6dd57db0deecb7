"""Removes leftovers: containers and networks of runs that were killed together with their guardian, or by a reboot.

A label names the run's process; they are removed once that process has certainly ended. A process id alone is not enough: the
kernel reuses it, and it means another process inside a container.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

from ._claim import remove_if_abandoned
from ._container_engine import ContainerEngine
from ._guardian import RUN_LABEL

__all__ = ["OWNER_LABEL", "certainly_ended", "owner", "remove_leftovers"]

OWNER_LABEL = "trio-hs.owner"
"""Label of every container and network of a run: the process that owns the run, as `owner` names it."""


class _Owner(NamedTuple):
    machine: str
    """Empty if the machine has no id."""
    boot: str
    namespace: str
    """The namespace of process ids."""
    pid: str
    start: str
    """When the process started, in clock ticks since boot."""


def owner() -> str:
    """A name for this process, unique over all machines and times."""
    pid = os.getpid()
    start = _start(pid)
    assert start
    return "/".join(_Owner(*_here(), str(pid), start))


def certainly_ended(name: str) -> bool:
    """Whether the process that `owner` gave this name has ended. False if that cannot be known from here."""
    parts = name.split("/")
    if len(parts) != len(_Owner._fields) or not parts[3].isdigit():
        return False
    that, (machine, boot, namespace) = _Owner(*parts), _here()
    if that.boot != boot:
        return bool(machine) and that.machine == machine  # this machine has rebooted since
    if that.namespace != namespace:
        return False
    try:
        os.kill(int(that.pid), 0)  # /proc may hide the processes of others
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    start = _start(int(that.pid))
    return start is not None and start != that.start


def _here() -> tuple[str, str, str]:
    try:
        machine = Path("/etc/machine-id").read_text().strip()
    except OSError:
        machine = ""
    return machine, Path("/proc/sys/kernel/random/boot_id").read_text().strip(), os.readlink("/proc/self/ns/pid")


def _start(pid: int) -> str | None:
    """When a process started; "" if it has ended and waits to be reaped, None if that cannot be seen."""
    try:
        # The process's name may contain anything, so look after its end: the state, and 19 more fields up to the start.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return "" if fields[0] in "ZX" else fields[19]


async def remove_leftovers(engine: ContainerEngine, progress: Callable[[str], None]) -> bool:
    """Remove the leftovers, report them, and return whether there were any. Raises `ClusterError` if the engine fails."""
    removed = await engine.call("looking for leftovers of killed runs", partial(_remove, engine))
    if removed:
        progress(f"removed leftovers of killed runs from the container engine: {', '.join(removed)}")
    return bool(removed)


def _remove(engine: ContainerEngine) -> list[str]:
    """Remove the leftovers, and return their names. Blocking."""
    import docker.errors  # see engine_errors

    wanted = {"label": OWNER_LABEL}
    containers = engine.api.containers.list(all=True, sparse=True, filters=wanted)
    networks = engine.api.networks.list(filters=wanted)
    found = [
        *((one.attrs["Names"][0][1:], one.attrs["Labels"], partial(one.remove, force=True, v=True)) for one in containers),
        *((one.name, one.attrs["Labels"], one.remove) for one in networks),
    ]
    removed = []
    for name, labels, remove in found:
        if certainly_ended(labels[OWNER_LABEL]):
            try:
                remove()
            except docker.errors.APIError:
                continue  # another run is removing it
            removed.append(name)
            # It may be elsewhere than where this process keeps temporary files.
            remove_if_abandoned(Path(labels[RUN_LABEL]), {os.geteuid()})
            with suppress(OSError):  # older versions left the directory of a run in containers empty, without a claim
                os.rmdir(labels[RUN_LABEL])
    return removed
