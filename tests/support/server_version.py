"""Gives tests of the installed MariaDB containers of another version in its place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from hs_drill.servers import _containers, _opening


@contextmanager
def containers_instead(version: str) -> Iterator[None]:
    """Within the block, servers of the kind `mariadb` are containers of this version.

    They are reached at their own addresses. Docker's proxy on 127.0.0.1 passes on only half of the end of a connection that its
    client closes during a request: HandlerSocket then never closes it, and keeps its tables open.
    """
    provider, make = _opening._provider, _containers._Container.__init__

    async def provide(kind: str, _: str | None, *arguments: Any) -> _opening.Provider:
        return await provider("docker" if kind == "mariadb" else kind, version, *arguments)

    def make_direct(container: _containers._Container, *arguments: Any) -> None:
        make(container, *arguments)
        container.server = replace(container.server, host=container.server.peer_host)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_opening, "_provider", provide)
        patch.setattr(_containers._Container, "__init__", make_direct)
        yield
