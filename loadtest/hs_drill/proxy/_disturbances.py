"""What a proxy can do to the network, as plain data. The names are toxiproxy's where it has one.

`upstream` is the way from the client to the server, `downstream` the way back.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

__all__ = [
    "Bandwidth",
    "Blackhole",
    "Direction",
    "Disturbance",
    "DropReplies",
    "Flapping",
    "HalfOpen",
    "IdleTimeout",
    "Latency",
    "Partition",
    "ResetPeer",
]

Direction: TypeAlias = Literal["both", "upstream", "downstream"]


@dataclass(frozen=True)
class Partition:
    """Nothing passes, not even a close. Bytes are held, as TCP would retransmit them, and arrive when the partition heals."""

    direction: Direction = "both"
    """A one-way partition lets the other way pass on open connections. New ones need both ways for their handshake."""
    new_connections: Literal["silent", "refuse"] = "silent"
    """`silent`: the kernel completes the handshake, and no answer comes. `refuse`: the port is closed."""

    def __post_init__(self) -> None:
        _one_of("direction", self.direction, "both", "upstream", "downstream")
        _one_of("new_connections", self.new_connections, "silent", "refuse")


@dataclass(frozen=True)
class Latency:
    """Everything arrives later, in order. Handshakes are the kernel's and stay fast."""

    latency: float
    """Seconds, each way that `direction` names."""
    jitter: float = 0.0
    """Seconds. Each portion of bytes is late by `latency` plus or minus up to this, at random."""
    direction: Direction = "both"

    def __post_init__(self) -> None:
        _number("latency", self.latency, positive=False)
        _number("jitter", self.jitter, positive=False)
        if self.latency + self.jitter == 0:
            raise ValueError("latency and jitter must not both be 0")
        _one_of("direction", self.direction, "both", "upstream", "downstream")


@dataclass(frozen=True)
class Bandwidth:
    """All connections together share a limited rate, each way that `direction` names."""

    rate: float
    """Bytes per second."""
    direction: Direction = "both"

    def __post_init__(self) -> None:
        _number("rate", self.rate, positive=True)
        _one_of("direction", self.direction, "both", "upstream", "downstream")


@dataclass(frozen=True)
class ResetPeer:
    """Every open connection gets a RST, on both sides, once. There is nothing to heal."""


@dataclass(frozen=True)
class HalfOpen:
    """One side of every open connection vanishes, and the other does not notice: what it sends is swallowed. Connections made
    later work."""

    vanished: Literal["server", "client"] = "server"
    """The side that is gone; its socket is reset. `client` shows what a server keeps of clients that died silently."""

    def __post_init__(self) -> None:
        _one_of("vanished", self.vanished, "server", "client")


@dataclass(frozen=True)
class Blackhole:
    """The listener accepts and never answers: requests are swallowed, on open connections and new ones, and never reach the
    server."""


@dataclass(frozen=True)
class DropReplies:
    """Lost acknowledgements: the server executes the request, and its answer is lost with the connection.

    After `after` answers the proxy waits for the next one, so that its request has certainly been applied, and cuts the client
    off without it; then the count begins anew. Answers to `A` and `P` lines (log in, open an index) do not count on connections
    made during the disturbance. On older ones the proxy cannot tell which answer belongs to which request, and all count.

    By SQL an answer is lost from its first byte, and answers to statements that only prepare (SET, PREPARE) never count. An
    encrypted connection loses none.
    """

    after: int
    scope: Literal["connection", "total"] = "connection"
    """Whether each connection counts for itself, or all count together."""
    cut: Literal["boundary", "middle"] = "boundary"
    """`middle` delivers the first half of the lost answer, or of what has come of it."""
    end: Literal["reset", "close"] = "reset"
    """What the client sees: a RST, or the end of the stream."""

    def __post_init__(self) -> None:
        if isinstance(self.after, bool) or not isinstance(self.after, int):
            raise TypeError(f"after must be a number of answers, not {self.after!r}")
        if self.after < 0:
            raise ValueError(f"after must be 0 or more answers, not {self.after}")
        _one_of("scope", self.scope, "connection", "total")
        _one_of("cut", self.cut, "boundary", "middle")
        _one_of("end", self.end, "reset", "close")


@dataclass(frozen=True)
class Flapping:
    """A partition that comes and goes: `down` seconds with it, `up` seconds without, and so on."""

    down: float
    up: float
    partition: Partition = field(default_factory=Partition)

    def __post_init__(self) -> None:
        _number("down", self.down, positive=True)
        _number("up", self.up, positive=True)


@dataclass(frozen=True)
class IdleTimeout:
    """A connection that has carried nothing for `after` seconds is closed on both sides, without a reset, as the server's own
    `handlersocket_timeout` or `wait_timeout` and many firewalls do."""

    after: float

    def __post_init__(self) -> None:
        _number("after", self.after, positive=True)


Disturbance: TypeAlias = (
    Partition | Latency | Bandwidth | ResetPeer | HalfOpen | Blackhole | DropReplies | Flapping | IdleTimeout
)


def _one_of(name: str, value: object, *allowed: str) -> None:
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}, not {value!r}")


def _number(name: str, value: object, *, positive: bool) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a number, not {value!r}")
    if not math.isfinite(value) or value < 0 or (positive and value == 0):
        raise ValueError(f"{name} must be {'more than 0' if positive else '0 or more'}, not {value!r}")
