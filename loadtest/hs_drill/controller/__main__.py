"""The controller: a child process of the local runner or master that owns the servers, `python -m hs_drill.controller FD`.

Down: `open` (scenario), `begin` (a run's number), `worker` (the number of one that takes part), `batch` (an engine's
statistics), `suspended` (number: all clients have let go of the servers), `load-ends` (it was told to), `finish` (lost: the
workers that were; died: what of the harness did; ran: seconds until the load was told to end). Up: `progress` (a line for the
user), `ready` (the cluster as clients see it, its table filled), `begun` (the directory that keeps the run), `suspend`
(number) and `resume` (to all clients), `mark` (to all engines: a fault is about to change, or has changed), `event` (a line
about a fault), `fault` (its `Strike`), `alarm` (a line about what nobody ordered), `result` (the verdict) and `failed` (one
line for the user; the process then ends).
It takes everything down when the socket ends (Locust has quit, or was killed) and on SIGTERM. It ignores SIGINT: Ctrl-C is
Locust's business.
"""

from __future__ import annotations

import math
import random
import signal
import sys
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict
from functools import partial

import trio

from hs_drill._cluster import ClusterError
from hs_drill._trio_child import TrioChannel, end_on_sigterm, first_error, one_line
from hs_drill._wire import Message
from hs_drill.nemesis import Proxies, Strike
from hs_drill.proxy import Proxy, open_proxy
from hs_drill.scenario import WRITES, NetworkFault, Scenario
from hs_drill.servers import Control
from hs_drill.store import cannot_keep

from ._drill import Drill, client_view
from ._servers import open_scenario_servers
from ._suspension import Clients
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
    if failure is not None:  # not in the handlers: what they raise comes out in a group
        await _fail(channel, failure)


async def _own_servers(channel: TrioChannel, scenario: Scenario) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(end_on_sigterm, nursery.cancel_scope)
        send, messages = trio.open_memory_channel[Message](math.inf)
        nursery.start_soon(_end_with_locust, channel, send, nursery)
        async with trio.open_nursery() as progress:
            lines, receive = trio.open_memory_channel[Message](100)
            progress.start_soon(_send_all, channel, receive)
            async with (
                lines,
                open_scenario_servers(scenario, _into(lines, "progress")) as control,
            ):
                by_handlersocket = scenario.driver.name == "handlersocket"
                control.unlogged_writes &= by_handlersocket and any(name in WRITES for name in scenario.mix.weights())
                await fill_table(control, scenario, _into(lines, "progress"))
                async with _open_proxies(control, scenario) as proxies:
                    await channel.send({"type": "ready", "cluster": client_view(control.cluster, proxies).to_dict()})
                    await _Runs(channel, control, proxies, scenario).serve(messages)


def _into(messages: trio.MemorySendChannel[Message], kind: str) -> Callable[[str], None]:
    """What takes lines for the user."""

    def tell(line: str) -> None:
        _put(messages, {"type": kind, "line": line})

    return tell


def _put(messages: trio.MemorySendChannel[Message], message: Message) -> None:
    try:
        messages.send_nowait(message)
    except trio.WouldBlock:
        pass  # nobody reads so many that came at once


async def _send_all(channel: TrioChannel, messages: trio.MemoryReceiveChannel[Message]) -> None:
    async for message in messages:
        await channel.send(message)


async def _end_with_locust(channel: TrioChannel, send: trio.MemorySendChannel[Message], nursery: trio.Nursery) -> None:
    while (message := await channel.receive()) is not None:
        send.send_nowait(message)
    nursery.cancel_scope.cancel()


class _Runs:
    """The runs on one set of servers, one after the other."""

    def __init__(self, channel: TrioChannel, control: Control, proxies: Proxies, scenario: Scenario) -> None:
        self._channel = channel
        self._control = control
        self._proxies = proxies
        self._scenario = scenario
        self._clients = Clients(channel.send)
        self._drill: Drill | None = None

    async def serve(self, messages: trio.MemoryReceiveChannel[Message]) -> None:
        """Until cancelled; a run that is on then is healed."""
        async with trio.open_nursery() as nursery:
            news, receive = trio.open_memory_channel[Message](1000)
            nursery.start_soon(_send_all, self._channel, receive)
            async for message in messages:
                match message["type"]:
                    case "begin":
                        await self._begin(message["run"], news, nursery)
                    case "worker" if self._drill is not None:
                        self._drill.take_part(message["worker"])
                    case "batch" if self._drill is not None:
                        self._drill.count(message["worker"], message["batch"])
                    case "suspended":
                        self._clients.let_go(message["number"])
                    case "load-ends" if self._drill is not None:
                        self._drill.end_load()
                    case "finish" if self._drill is not None:
                        drill, self._drill = self._drill, None
                        result = await drill.finish(message["lost"], message["died"], message["ran"])
                        await self._channel.send({"type": "result", "result": result})

    async def _begin(self, run: int, news: trio.MemorySendChannel[Message], nursery: trio.Nursery) -> None:
        def happened(event: Strike) -> None:
            _put(news, {"type": "fault", "event": asdict(event)})

        if self._drill is not None:  # Locust has not ended it: its faults must not strike the next run
            await self._drill.abandon()
        self._drill = drill = Drill(
            self._control,
            self._proxies,
            self._scenario,
            run,
            self._clients.suspended,
            _into(news, "event"),
            _into(news, "alarm"),
            happened,
            partial(_put, news, {"type": "mark"}),
        )
        await drill.prepare(run)
        nursery.start_soon(drill.put_faults)
        await self._channel.send({"type": "begun", "directory": str(drill.directory.path)})


@asynccontextmanager
async def _open_proxies(control: Control, scenario: Scenario) -> AsyncIterator[Proxies]:
    """A proxy in front of every listener, when a fault of the scenario is in the network."""
    async with AsyncExitStack() as stack:
        proxies: dict[tuple[str, str], Proxy] = {}
        if any(isinstance(fault, NetworkFault) for fault in scenario.faults):
            for server in control.cluster.servers:
                for listener, port in (("read", server.read_port), ("write", server.write_port)):
                    rng = random.Random(f"{scenario.seed}/{server.name}/{listener}")
                    proxy = await stack.enter_async_context(open_proxy(server.host, port, rng=rng))
                    proxies[(server.name, listener)] = proxy
        yield proxies


async def _fail(channel: TrioChannel, line: str) -> None:
    with trio.move_on_after(1):
        await channel.send({"type": "failed", "line": one_line(line)})
    sys.exit(2)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    trio.run(main, int(sys.argv[1]))
