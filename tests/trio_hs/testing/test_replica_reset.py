"""A replica killed by SIGKILL resets its connection, because unread data is left. Its source must live on."""

from __future__ import annotations

import json
import socket
import struct

import trio

from tests.support.patience import patience
from tests.trio_hs.support.embedded import TRUCKS
from trio_hs.testing import open_server
from trio_hs.testing._remote import serve_replicas


async def test_a_replica_that_resets_its_connection_does_not_end_its_source() -> None:
    async with open_server([TRUCKS], name="source") as source, trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(serve_replicas, source, listener)
        stream = await trio.open_tcp_stream("127.0.0.1", listener.socket.getsockname()[1])
        hello = {"name": "replica", "position": [0, ""], "rebuild": False, "transfer": 0.0}
        await stream.send_all(json.dumps(hello).encode() + b"\n")
        with trio.fail_after(patience(5)):
            assert b'"go"' in await stream.receive_some()
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await stream.aclose()
        await trio.sleep(0.2)
        nursery.cancel_scope.cancel()
