"""The controller: a child process of the local runner or master that owns the servers, `python -m loadtest._controller FD`.

Down: `open` (scenario). Up: `progress` (a line for the user), `ready` (the cluster, its table filled), `failed` (one line
for the user; the process then ends). It takes everything down when the socket ends (Locust has quit, or was killed) and on
SIGTERM. It ignores SIGINT: Ctrl-C is Locust's business.
"""

from __future__ import annotations

import signal
import sys
import traceback
from collections.abc import Callable

import trio

from loadtest._cluster import ClusterError, open_controlled_cluster
from loadtest._scenario import Scenario
from loadtest._table import fill_table
from loadtest._wire import TrioChannel


async def main(fd: int) -> None:
    """Serve Locust's process at the other end of the socket `fd`."""
    channel = TrioChannel.from_fd(fd)
    failure: str | None = None
    try:
        message = await channel.receive()
        if message is not None:
            await _own_servers(channel, Scenario.model_validate(message["scenario"]))
    except* ClusterError as errors:
        failure = str(_first(errors))
    except* Exception as errors:
        traceback.print_exc()
        error = _first(errors)
        failure = f"{type(error).__name__}: {error}"
    if failure is not None:  # not in the handlers: what they raise comes out in a group
        await _fail(channel, failure)


async def _own_servers(channel: TrioChannel, scenario: Scenario) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_end_on_sigterm, nursery)
        nursery.start_soon(_end_with_locust, channel, nursery)
        async with trio.open_nursery() as progress:
            lines, receive = trio.open_memory_channel[str](100)
            progress.start_soon(_send_progress, channel, receive)
            async with (
                lines,
                open_controlled_cluster(
                    scenario.cluster.kind,
                    readers=scenario.cluster.readers,
                    standby=scenario.cluster.standby,
                    topology=scenario.cluster.topology,
                    replication=scenario.cluster.replication,
                    database=scenario.table.database,
                    progress=_into(lines),
                ) as control,
            ):
                _into(lines)(f"filling {scenario.table.database}.{scenario.table.name} with {scenario.table.rows:,} rows")
                await fill_table(control, scenario)
                await channel.send({"type": "ready", "cluster": control.cluster.to_dict()})
                await trio.sleep_forever()


def _into(lines: trio.MemorySendChannel[str]) -> Callable[[str], None]:
    def progress(line: str) -> None:
        try:
            lines.send_nowait(line)
        except trio.WouldBlock:
            pass  # nobody reads a hundred lines that came at once

    return progress


async def _send_progress(channel: TrioChannel, lines: trio.MemoryReceiveChannel[str]) -> None:
    async for line in lines:
        await channel.send({"type": "progress", "line": line})


async def _end_with_locust(channel: TrioChannel, nursery: trio.Nursery) -> None:
    while await channel.receive() is not None:
        pass
    nursery.cancel_scope.cancel()


async def _end_on_sigterm(nursery: trio.Nursery) -> None:
    with trio.open_signal_receiver(signal.SIGTERM) as signals:
        async for _ in signals:
            nursery.cancel_scope.cancel()


async def _fail(channel: TrioChannel, line: str) -> None:
    with trio.move_on_after(1):
        await channel.send({"type": "failed", "line": " ".join(line.split())})
    sys.exit(2)


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    trio.run(main, int(sys.argv[1]))
