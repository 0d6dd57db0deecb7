"""The order in which Locust gets messages."""

from __future__ import annotations

from typing import Any, cast

import trio

from hs_drill._trio_child import TrioChannel
from hs_drill.controller._outbox import open_outbox


async def test_a_message_that_must_arrive_comes_behind_the_lines_before_it(autojump_clock: trio.abc.Clock) -> None:
    got: list[Any] = []

    class Slow:
        async def send(self, message: Any) -> None:
            await trio.sleep(1)
            got.append(message)

    async with open_outbox(cast(TrioChannel, Slow())) as outbox:
        outbox.put({"type": "progress", "line": "THIS RUN CHANGES N"})
        await outbox.send({"type": "prepared"})
    assert [message["type"] for message in got] == ["progress", "prepared"]
