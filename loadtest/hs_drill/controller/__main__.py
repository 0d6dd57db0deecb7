"""The controller's process: opens the servers, fills the table, reports that they are ready, and serves runs.

A child of the local runner or master: `python -m hs_drill.controller FD`.

Messages from Locust's process:

- `open` (scenario): the first one.
- `prepare` (a run's number): it will begin soon. What takes long before that is for now.
- `begin` (the run's number, and what Locust's options make of the load): a run begins.
- `worker` (its number): a worker takes part.
- `batch` (worker, batch): statistics of its engine.
- `suspended` (the suspension's number): all clients have closed their connections.
- `load-ends`: the load was told to end.
- `finish`: the run's last message. `lost`: workers that went away; `died`: a line for each process of the harness that died;
  `ran`: seconds until the load was told to end.

Messages to it:

- `progress` (a line for the user).
- `leaves` (words): what stays on the user's own servers if the controller dies from now on.
- `ready` (the cluster as clients see it): its table is filled. Of a table that exists also `scenario` (with its columns) and
  `sample` (of its rows).
- `prepared`: the answer to `prepare`.
- `refused` (the run's number, a line for the user): another answer to `prepare` or `begin`; a later run may be possible.
- `begun` (the run's number, and the directory that keeps it).
- `suspend` (a number), `resume`: for all clients.
- `mark`: for all engines: a fault is about to change, or has changed.
- `event` (a line for the user), `fault` (its `Strike`): a fault has changed.
- `primary` (a server): it is the primary, as a run begins or after a promotion.
- `alarm` (a line for the user): a server died unexpectedly.
- `result` (the verdict).
- `failed` (a line for the user): the process ends.

The controller takes the servers down when the socket ends, because Locust has quit or was killed. It ignores SIGINT and
SIGTERM, which are for Locust.
"""

from __future__ import annotations

import math
import sys
import traceback

import trio

from hs_drill._cluster import ClusterError
from hs_drill._trio_child import TrioChannel, first_error, ignore_signals, one_line
from hs_drill._wire import Message
from hs_drill.scenario import Scenario
from hs_drill.store import cannot_keep

from ._existing import require_own_servers, use_existing
from ._outbox import open_outbox
from ._proxies import client_view, open_proxies
from ._runs import Runs
from ._servers import open_scenario_servers, writes_by_handlersocket
from ._table import fill_table


async def main(fd: int) -> None:
    """Serve Locust's process at the other end of the socket `fd`."""
    channel = TrioChannel.from_fd(fd)
    failure: str | None = None
    try:
        message = await channel.receive()
        if message is not None:
            await _own_servers(channel, Scenario.model_validate(message["scenario"]))
    except* ClusterError as errors:
        failure = str(first_error(errors))
    except* Exception as errors:
        error = first_error(errors)
        failure = cannot_keep(error)
        if failure is None:
            traceback.print_exc()
            failure = f"{type(error).__name__}: {error}"
    if failure is not None:  # not in the handlers: what is raised there comes out in a group
        await _fail(channel, failure)


async def _own_servers(channel: TrioChannel, scenario: Scenario) -> None:
    async with trio.open_nursery() as nursery:
        send, messages = trio.open_memory_channel[Message](math.inf)
        nursery.start_soon(_end_with_locust, channel, send, nursery)
        async with open_outbox(channel) as outbox:

            def progress(line: str) -> None:
                outbox.put({"type": "progress", "line": line})

            require_own_servers(scenario)
            writes = writes_by_handlersocket(scenario)
            async with open_scenario_servers(scenario, progress, handlersocket_writes=writes) as control:
                control.report_left = lambda left: outbox.put({"type": "leaves", "left": left})
                ready: Message = {"type": "ready"}
                existing = await use_existing(control, scenario, progress) if scenario.table.existing else None
                if existing is None:
                    await fill_table(control, scenario, progress)
                else:
                    scenario = existing.scenario
                    ready |= {"scenario": scenario.model_dump(mode="json"), "sample": existing.sample.packed()}
                async with open_proxies(control.cluster, scenario) as proxies:
                    await channel.send({**ready, "cluster": client_view(control.cluster, proxies).to_dict()})
                    await Runs(channel, outbox, control, proxies, scenario, existing).serve(messages)


async def _end_with_locust(channel: TrioChannel, send: trio.MemorySendChannel[Message], nursery: trio.Nursery) -> None:
    while (message := await channel.receive()) is not None:
        send.send_nowait(message)
    nursery.cancel_scope.cancel()


async def _fail(channel: TrioChannel, line: str) -> None:
    with trio.move_on_after(1):
        await channel.send({"type": "failed", "line": one_line(line)})
    sys.exit(2)


if __name__ == "__main__":
    ignore_signals()
    trio.run(main, int(sys.argv[1]))
