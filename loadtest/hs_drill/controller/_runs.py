"""The runs on one set of servers, one after the other, as Locust's messages begin and end them."""

from __future__ import annotations

from dataclasses import asdict

import trio

from hs_drill._cluster import ClusterError
from hs_drill._trio_child import TrioChannel, one_line
from hs_drill._wire import Message
from hs_drill.nemesis import Proxies, Strike
from hs_drill.scenario import Scenario
from hs_drill.servers import Control
from hs_drill.store import BeforeImageError, RunDirectoryError

from ._drill import Drill, DrillListener
from ._existing import Existing
from ._outbox import Outbox
from ._suspension import Clients

__all__ = ["Runs"]


class Runs:
    """Handles the messages about runs; __main__.py lists them."""

    def __init__(
        self,
        channel: TrioChannel,
        outbox: Outbox,
        control: Control,
        proxies: Proxies,
        scenario: Scenario,
        existing: Existing | None,
    ) -> None:
        self._channel = channel
        self._outbox = outbox
        self._control = control
        self._proxies = proxies
        self._scenario = scenario
        self._existing = existing
        self._clients = Clients(channel.send)
        self._drill: Drill | None = None
        self._prepared: Drill | None = None
        """That of a run which has yet to begin."""

    async def serve(self, messages: trio.MemoryReceiveChannel[Message]) -> None:
        """Handle messages until cancelled; a run that is on then is healed."""
        async with trio.open_nursery() as nursery:
            async for message in messages:
                match message["type"]:
                    case "prepare":
                        self._prepared = await self._prepare(message["run"])
                        if self._prepared is not None:
                            await self._outbox.send({"type": "prepared"})  # what the run changes is told before that
                    case "begin":
                        await self._begin(message["run"], message["options"], nursery)
                    case "worker" if self._drill is not None:
                        self._drill.take_part(message["worker"])
                    case "batch" if self._drill is not None:
                        self._drill.count(message["worker"], message["batch"])
                    case "suspended":
                        self._clients.confirm(message["number"])
                    case "load-ends" if self._drill is not None:
                        self._drill.end_load()
                    case "finish" if self._drill is not None:
                        drill, self._drill = self._drill, None
                        result = await drill.finish(**{name: value for name, value in message.items() if name != "type"})
                        await self._channel.send({"type": "result", "result": result})

    async def _prepare(self, run: int) -> Drill | None:
        """A drill that can begin. None: it is refused, which is reported, and a later one may be possible."""
        if self._drill is not None:  # Locust did not finish it; its faults must not strike the next run
            await self._drill.abandon()
            self._drill = None
        drill = Drill(
            self._control,
            self._proxies,
            self._scenario,
            run,
            suspended=self._clients.suspended,
            listener=_ToLocust(self._outbox),
            existing=self._existing,
        )
        try:
            await drill.prepare(run)
        except (ClusterError, BeforeImageError, RunDirectoryError) as error:
            await self._channel.send({"type": "refused", "run": run, "line": one_line(str(error))})
            return None
        return drill

    async def _begin(self, run: int, options: str, nursery: trio.Nursery) -> None:
        self._drill, self._prepared = self._prepared or await self._prepare(run), None
        if self._drill is None:
            return
        self._drill.keep_environment(options)
        await self._drill.begin_writing()
        nursery.start_soon(self._drill.run_faults)
        await self._channel.send({"type": "begun", "run": run, "directory": str(self._drill.directory.path)})


class _ToLocust(DrillListener):
    """Passes on to Locust what a drill reports."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox

    def on_line(self, line: str) -> None:
        self._outbox.put({"type": "event", "line": line})

    def on_alarm(self, line: str) -> None:
        self._outbox.put({"type": "alarm", "line": line})

    def on_fault(self, strike: Strike) -> None:
        self._outbox.put({"type": "fault", "event": asdict(strike)})

    def on_primary(self, server: str) -> None:
        self._outbox.put({"type": "primary", "server": server})

    def on_mark(self) -> None:
        self._outbox.put({"type": "mark"})
