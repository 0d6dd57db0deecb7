"""The transport's round-trip time to the server, as the kernel reports it."""

from __future__ import annotations

import socket
import sys
from typing import Any

import pytest

from trio_hs._network import SocketTransport
from trio_hs._network._transport import round_trip


class FakeSocket:
    """A socket whose kernel answers `getsockopt` with these bytes."""

    def __init__(self, info: bytes | OSError) -> None:
        self.info = info

    def getsockopt(self, level: int, option: int, size: int) -> bytes:
        if isinstance(self.info, OSError):
            raise self.info
        return self.info[:size]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux reports the round trip")
def test_the_kernel_knows_the_round_trip_of_a_new_tcp_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as tcp:
        # After the handshake alone the minimum equals the smoothed value, `tcpi_rtt`.
        only = int.from_bytes(tcp.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 72)[-4:], sys.byteorder)
        assert round_trip(tcp) == SocketTransport(tcp).round_trip == only / 1e6


def test_the_round_trip_of_a_unix_socket_is_zero() -> None:
    one, other = socket.socketpair(socket.AF_UNIX)
    with one, other:
        assert SocketTransport(one).round_trip == 0


@pytest.mark.parametrize(
    "info,seconds",
    [
        (b"\x01" * 148 + (70).to_bytes(4, sys.byteorder) + b"\x01" * 80, 7e-5),
        (b"\x01" * 148, None),  # from a kernel that does not report it
        (bytes(152), None),  # from a kernel that leaves it 0
        (OSError(92, "Protocol not available"), None),
    ],
)
def test_the_round_trip_is_unknown_where_the_kernel_does_not_tell(
    monkeypatch: pytest.MonkeyPatch, info: Any, seconds: float | None
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(socket, "TCP_INFO", 11, raising=False)
    assert round_trip(FakeSocket(info)) == seconds  # type: ignore[arg-type]
    monkeypatch.setattr(sys, "platform", "darwin")
    assert round_trip(FakeSocket(info)) is None  # type: ignore[arg-type]
