"""Containers and networks that nobody else will remove: of runs that were killed together with their guardian, or by a reboot.

They carry the name of their run's process, and are removed when that has certainly ended. A process id alone would not do:
it is given again, and means another process in a container.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

import docker.errors

from ._container_engine import ContainerEngine
from ._guardian import RUN_LABEL

__all__ = ["OWNER_LABEL", "certainly_ended", "owner", "remove_leftovers"]

OWNER_LABEL = "trio-hs.owner"
"""On every container and network of a run: the process whose run it is, as `owner` names it."""


class _Owner(NamedTuple):
    machine: str
    """Empty where it has no id."""
    boot: str
    namespace: str
    """Of process ids."""
    pid: str
    start: str
    """In clock ticks since boot."""


def owner() -> str:
    """The name of this process: no other one has it, on this machine or another, now or later."""
    pid = os.getpid()
    start = _start(pid)
    assert start
    return "/".join(_Owner(*_here(), str(pid), start))


def certainly_ended(name: str) -> bool:
    """Whether the process that `owner` has named so has ended. False when that cannot be known from here."""
    parts = name.split("/")
    if len(parts) != len(_Owner._fields) or not parts[3].isdigit():
        return False
    that, (machine, boot, namespace) = _Owner(*parts), _here()
    if that.boot != boot:
        return bool(machine) and that.machine == machine  # it has been restarted since
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
    """When a process started; "" for one that has ended and only waits to be reaped, None where that cannot be seen."""
    try:
        # Behind the name, which may hold anything: the state, and 19 more fields up to the start.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return "" if fields[0] in "ZX" else fields[19]


async def remove_leftovers(engine: ContainerEngine, tell: Callable[[str], None]) -> bool:
    """Remove what they have left, if anything, and tell of it. Raises `ClusterError` when the engine cannot be asked."""
    removed = await engine.call("looking for what killed runs have left", partial(_remove, engine))
    if removed:
        tell(f"removed what killed runs have left in the container engine: {', '.join(removed)}")
    return bool(removed)


def _remove(engine: ContainerEngine) -> list[str]:
    """The names of what was removed. Blocking."""
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
                continue  # somebody else is removing it
            removed.append(name)
            with suppress(OSError):  # of a run in containers it is empty
                os.rmdir(labels[RUN_LABEL])
    return removed
