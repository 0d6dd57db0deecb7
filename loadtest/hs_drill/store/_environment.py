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


def environment(cluster: Cluster) -> dict[str, Any]:
    """The environment at this moment, as plain data: call it when a run begins."""
    return {
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "server": f"{cluster.version} ({cluster.kind})",
        "servers": ", ".join(server.name for server in cluster.servers) + (", behind a router" if cluster.router else ""),
        "writes": "write-through" if cluster.write_databases else "plain",
        "replication": cluster.replication,
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


def _cores() -> int:
    """The number of cores that we may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 0


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
    try:
        for line in Path(path).read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() == name:
                return value.strip()
    except OSError:
        pass
    return ""
