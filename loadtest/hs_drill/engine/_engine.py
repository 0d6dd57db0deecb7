"""Obeys the messages from Locust's process: set-up, runs, users, suspensions."""

from __future__ import annotations

import logging

import trio

from hs_drill._trio_child import TrioChannel
from hs_drill._wire import Message

from ._engine_run import EngineRun
from ._meter import Meter
from ._setup import TIMEOUT, Setup, WarningBuffer

__all__ = ["Engine"]


class Engine:
    """Executes one run at a time."""

    def __init__(self, channel: TrioChannel, nursery: trio.Nursery) -> None:
        self._channel = channel
        self._nursery = nursery
        self._log = WarningBuffer()
        logging.getLogger().addHandler(self._log)
        self._setup: Setup | None = None
        self._run: EngineRun | None = None
        self._stop = trio.Event()
        self._ended = trio.Event()

    async def serve(self) -> None:
        """Obey messages until Locust is gone."""
        while (message := await self._channel.receive()) is not None:
            await self._obey(message)

    async def _obey(self, message: Message) -> None:
        match message["type"]:
            case "setup":
                self._setup = Setup(message, self._log)
                await self._channel.send({"type": "ready"})
            case "start":
                assert self._setup is not None
                assert self._run is None
                self._stop, self._ended = trio.Event(), trio.Event()
                self._run = await self._nursery.start(self._carry_out, self._setup, message)
            case "users":
                if self._run is not None:
                    self._run.set_users(message["count"], message.get("code", {}))
            case "suspend":
                if self._run is not None:
                    self._run.suspend(message["number"])
            case "resume":
                if self._run is not None:
                    self._run.resume()
            case "mark":
                if self._run is not None:
                    self._run.mark()
            case "stop":
                if self._run is not None:
                    self._stop.set()
                    await self._ended.wait()
                    self._run = None
                await self._channel.send({"type": "stopped"})
            case unknown:
                raise AssertionError(f"unknown message: {unknown}")

    async def _carry_out(
        self,
        setup: Setup,
        start: Message,
        task_status: trio.TaskStatus[EngineRun] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        with setup.open_history(start.get("history"), start["run"]) as history:
            meter = Meter(setup.names, setup.write_addresses, setup.acknowledged())
            async with (
                setup.open_client(meter) as hs,
                setup.open_users_client(meter, history) as users_hs,
                setup.open_primary_clients(meter) as primary,
            ):
                async with trio.open_nursery() as reports:
                    with trio.CancelScope() as users:
                        async with trio.open_nursery() as nursery:
                            run = EngineRun(self._channel, nursery, users, hs, users_hs, primary, setup, start, history, meter)
                            reports.start_soon(run.report_until_finished)
                            task_status.started(run)
                            await self._stop.wait()
                            run.stop()
                            run.resume()
                            # An operation that waits for its first answer ends by the client's timeout. One that the client
                            # retries may last longer: cancel it then, which counts it as failed.
                            users.deadline = trio.current_time() + TIMEOUT + 1
                    run.finish()
        self._ended.set()
