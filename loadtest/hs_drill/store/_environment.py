"""The machine and versions of a run, kept with it. Nothing in it names a person or a machine, so a report can be passed on."""

from __future__ import annotations

import os
import platform
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from hs_drill._cluster import Cluster

__all__ = ["environment"]

PACKAGES = ("trio-hs", "trio", "locust")


def environment(cluster: Cluster, options: str) -> dict[str, Any]:
    """The environment at this moment, as plain data: call it when a run begins. `options`: what Locust's options make of the
    load beside the scenario, in words."""
    return {
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "server": f"{cluster.version} ({cluster.kind})",
        "servers": ", ".join(server.name for server in cluster.servers) + (", behind a router" if cluster.router else ""),
        "writes": "write-through" if cluster.write_databases else "plain",
        "replication": cluster.replication,
        "options": options,
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        **{package: _version(package) for package in PACKAGES},
        "cpu": _cpu(),
        "cores": _cores(),
        "memory": _memory(),
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "load average": _load(),
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


def _cpu() -> str:
    return _line("/proc/cpuinfo", "model name") or platform.processor() or "unknown"


def _cores(cgroups: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> float:
    """The number of cores that we may use. A container's limit of CPU time may leave less than whole cores, such as 1.5:
    `cpu.max` of a control group, in version 2 of these."""
    cores: float = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 0
    for group in [line.removeprefix("0::/") for line in _lines(own) if line.startswith("0::/")]:
        for folder in (cgroups / group, *(cgroups / group).parents):
            quota, _, period = next(iter(_lines(folder / "cpu.max")), "").partition(" ")
            if quota.isdecimal() and period.isdecimal():
                cores = min(cores, round(int(quota) / int(period), 2))
    return cores


def _memory() -> str:
    found = _line("/proc/meminfo", "MemTotal").split()
    return f"{int(found[0]) / 1024**2:.1f} GiB" if found else "unknown"


def _load() -> str:
    """Load averages of the last 1, 5 and 15 minutes, which show what else the machine does."""
    try:
        return " ".join(f"{load:.2f}" for load in os.getloadavg())
    except OSError:
        return "unknown"


def _line(path: str, name: str) -> str:
    for line in _lines(Path(path)):
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return ""


def _lines(path: Path) -> list[str]:
    """Empty if the file cannot be read."""
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
