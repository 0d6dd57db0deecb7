"""What the transport knows of the way to the server."""

from __future__ import annotations

import socket
import sys

import pytest

from trio_hs import _transport
from trio_hs._transport import SocketTransport, round_trip

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="the kernel tells the round trip on Linux only")


@on_linux
def test_the_kernel_tells_the_round_trip_of_a_tcp_connection_from_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as tcp:
        seconds = round_trip(tcp)
        assert seconds is not None
        assert 0 < seconds < 1
        for limit, near in ((seconds, False), (seconds + 1e-6, True)):
            monkeypatch.setattr(_transport, "NEAR", limit)
            assert SocketTransport(tcp).near is near


def test_a_unix_socket_is_near() -> None:
    one, other = socket.socketpair(socket.AF_UNIX)
    with one, other:
        assert SocketTransport(one).near


def test_where_the_kernel_does_not_tell_the_server_counts_as_far(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as tcp:
        monkeypatch.setattr(_transport, "_TCP_INFO_BYTES", 4096)  # of an older kernel: less than what is wanted
        assert round_trip(tcp) is None
        assert not SocketTransport(tcp).near
    assert round_trip(tcp) is None  # closed
