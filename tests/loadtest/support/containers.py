"""What the container engine holds, as tests look at it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import docker

from hs_drill.sandbox import RUN_LABEL


@contextmanager
def engine() -> Iterator[Any]:
    client = docker.from_env()
    try:
        yield client
    finally:
        client.close()


def containers_below(client: Any, temporary: Path) -> list[Any]:
    """The containers of runs whose directories are below `temporary`."""
    return [
        container
        for container in client.containers.list(all=True, filters={"label": RUN_LABEL}, ignore_removed=True)
        if container.labels[RUN_LABEL].startswith(f"{temporary}/")
    ]


def left_in_engine(temporary: Path) -> list[str]:
    """Containers and networks of runs whose directories are below `temporary`; they have no volumes that could be left."""
    with engine() as client:
        containers = containers_below(client, temporary)
        networks = client.networks.list(filters={"label": RUN_LABEL})
        return [f"container {container.name}" for container in containers] + [
            f"network {network.name}" for network in networks if network.attrs["Labels"][RUN_LABEL].startswith(f"{temporary}/")
        ]
