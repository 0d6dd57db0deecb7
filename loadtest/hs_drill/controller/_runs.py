"""The runs on one set of servers, one after the other, as Locust's messages begin and end them."""

from __future__ import annotations

from dataclasses import asdict

import trio

from hs_drill._trio_child import TrioChannel
from hs_drill._wire import Message
from hs_drill.nemesis import Proxies, Strike
from hs_drill.scenario import Scenario
from hs_drill.servers import Control

from ._drill import Drill, DrillListener
from ._outbox import Outbox
from ._suspension import Clients

__all__ = ["Runs"]


class Runs:
    """Handles the messages about runs; __main__.py lists them."""

    def __init__(self, channel: TrioChannel, outbox: Outbox, control: Control, proxies: Proxies, scenario: Scenario) -> None:
        self._channel = channel
        self._outbox = outbox
        self._control = control
        self._proxies = proxies
        self._scenario = scenario
        self._clients = Clients(channel.send)
        self._drill: Drill | None = None

    async def serve(self, messages: trio.MemoryReceiveChannel[Message]) -> None:
        """Handle messages until cancelled; a run that is on then is healed."""
        async with trio.open_nursery() as nursery:
            async for message in messages:
                match message["type"]:
                    case "begin":
                        await self._begin(message["run"], nursery)
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

    async def _begin(self, run: int, nursery: trio.Nursery) -> None:
        if self._drill is not None:  # Locust did not finish it; its faults must not strike the next run
            await self._drill.abandon()
        self._drill = drill = Drill(
            self._control,
            self._proxies,
            self._scenario,
            run,
            suspended=self._clients.suspended,
            listener=_ToLocust(self._outbox),
        )
        await drill.prepare(run)
        nursery.start_soon(drill.run_faults)
        await self._channel.send({"type": "begun", "run": run, "directory": str(drill.directory.path)})


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

    def on_mark(self) -> None:
        self._outbox.put({"type": "mark"})
