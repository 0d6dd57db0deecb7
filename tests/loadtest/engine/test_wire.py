"""Messages between processes, however their bytes are split."""

from __future__ import annotations

import socket
import threading
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from hs_drill._trio_child import TrioChannel
from hs_drill._wire import Decoder, WireError, encode
from hs_drill.in_locust._child import BlockingChannel

_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5) | st.integers(0, 99), inner, max_size=4),
    max_leaves=10,
)
_messages = st.dictionaries(st.text(max_size=8), _values, max_size=5)


@given(st.lists(_messages, max_size=5), st.data())
def test_messages_survive_any_split(messages: list[dict[str, Any]], data: st.DataObject) -> None:
    raw = b"".join(map(encode, messages))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=8)))
    decoder, received = Decoder(), []
    for start, end in zip([0, *cuts], [*cuts, len(raw)], strict=True):
        decoder.feed(raw[start:end])
        while (message := decoder.next()) is not None:
            received.append(message)
    assert received == messages


@pytest.mark.parametrize(
    "raw", [b"\xff\xff\xff\xff", b"\x00\x00\x00\x01\xc1", b"\x00\x00\x00\x02\x01\x01", b"\x00\x00\x00\x01\x05", b"\0\0\0\0"]
)
def test_other_bytes_are_refused(raw: bytes) -> None:
    decoder = Decoder()
    decoder.feed(raw)
    with pytest.raises(WireError):
        decoder.next()


@given(st.binary(max_size=40))
def test_any_bytes_decode_or_are_refused(raw: bytes) -> None:
    decoder = Decoder()
    decoder.feed(raw)
    try:
        while decoder.next() is not None:
            pass
    except WireError:
        pass


async def test_the_two_ends_understand_each_other() -> None:
    ours, theirs = socket.socketpair()
    blocking, trio_channel = BlockingChannel(ours), TrioChannel.from_fd(theirs.detach())
    big = {"type": "batch", "counts": dict.fromkeys(range(300_000), 1)}
    received: list[object] = []

    def receive() -> None:
        while (message := blocking.receive()) is not None:
            received.append(message)

    thread = threading.Thread(target=receive)
    thread.start()
    async with trio.open_nursery() as nursery:
        for number in range(10):  # many tasks, and a message that does not fit the socket's buffer
            nursery.start_soon(trio_channel.send, {"number": number})
        nursery.start_soon(trio_channel.send, big)
    blocking.send({"type": "users", "count": 3})
    assert await trio_channel.receive() == {"type": "users", "count": 3}
    blocking.shut_down()
    assert await trio_channel.receive() is None
    await trio_channel.aclose()
    await trio.to_thread.run_sync(thread.join)
    assert big in received
    assert len(received) == 11
    blocking.close()


async def test_a_closed_socket_is_no_error_for_the_child() -> None:
    ours, theirs = socket.socketpair()
    channel = TrioChannel.from_fd(theirs.detach())
    ours.close()
    await channel.send({"x": 1})
    await channel.send({"x": 1})
    assert await channel.receive() is None
    await channel.aclose()
