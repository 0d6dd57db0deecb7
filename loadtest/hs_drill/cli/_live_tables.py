"""Reads a table from a user's servers, for commands that start no run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import trio

from hs_drill._cluster import ClusterError, Server
from hs_drill._trio_child import first_error
from hs_drill.controller import check_existing
from hs_drill.scenario import LiveTableError, Scenario, ScenarioError
from hs_drill.servers import LiveTable

__all__ = ["ask_servers", "read_table", "writer_of"]

T = TypeVar("T")


def writer_of(scenario: Scenario) -> Server:
    """The server that is asked. Raises `ClusterError`."""
    (writer,) = [server for server in scenario.cluster.servers if server.name == "writer"]
    server = writer.resolved()
    if server.sql_port is not None and not server.admin_user:
        raise ClusterError("SQL at writer needs an account: set TRIO_HS_SQL_USER and TRIO_HS_SQL_PASSWORD in the environment")
    return server


def ask_servers(ask: Callable[[], Awaitable[T]]) -> T:
    """Run `ask` under trio. Raises its `ClusterError` and `ScenarioError` as they are."""
    answers: list[T] = []

    async def run() -> None:
        answers.append(await ask())

    try:
        trio.run(run)
    except* (ClusterError, ScenarioError, KeyboardInterrupt) as errors:
        failed = first_error(errors)
    else:
        return answers[0]
    raise failed


def read_table(scenario: Scenario, path: Path) -> tuple[Scenario, LiveTable]:
    """The scenario in the file `path` with the columns of its table. Raises as `ask_servers` does."""
    writer = writer_of(scenario)
    try:
        return ask_servers(lambda: check_existing(scenario, writer))
    except LiveTableError as error:
        raise error.in_file(path) from error
