"""The addresses of a server. A name may have several, and an address is good when the server has answered there.

That something accepts a connection shows little: a frozen machine still does, and so does a proxy in front of nothing. So the
addresses race until one of them answers, and the next attempt begins with that one.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeAlias, TypeVar

import trio

from ..exceptions import OperationalError
from ._servers import Server

#: Seconds before the next address is tried beside the ones that have not answered yet (as RFC 8305 recommends).
STAGGER = 0.25

T = TypeVar("T")

#: The servers to try for one server. OSError says that there is none.
Resolve: TypeAlias = Callable[[Server], Awaitable[list[Server]]]


async def addresses_of(server: Server) -> list[Server]:
    """The server at each address that its name has now. A checkpoint. Raises OSError or UnicodeError when it has none."""
    if server.kind == "unix":
        return [server]
    found = await trio.socket.getaddrinfo(server.host, server.port, type=socket.SOCK_STREAM)
    return [replace(server, host=host) for host in dict.fromkeys(_host(*address) for *_, address in found)]


def _host(address: str, port: int, flow: int = 0, scope: int = 0) -> str:
    """An address without its port. A link-local one of IPv6 keeps its scope: the network interface."""
    return f"{address}%{scope}" if scope else address


async def only(server: Server) -> list[Server]:
    """The server as it is: what its name means is up to the user's own ``connect=``."""
    return [server]


class Addresses:
    """The addresses of one server, in the order in which to try them."""

    def __init__(self, server: Server, resolve: Resolve) -> None:
        self._server = server
        self._resolve = resolve
        self._good: Server | None = None
        self._failures = 0
        self._failed: dict[Server, int] = {}  # higher numbers failed later

    def failed(self, address: Server) -> None:
        """Try the other addresses first from now on."""
        self._failures += 1
        self._failed[address] = self._failures
        if self._good == address:
            self._good = None

    async def _in_order(self) -> list[Server]:
        """The good one, then those that never failed, then the others, the latest failure last."""
        found = await self._resolve(self._server)
        if not found:
            raise OSError("the name has no address")
        self._failed = {address: self._failed[address] for address in found if address in self._failed}
        return sorted(found, key=lambda address: (address != self._good, self._failed.get(address, 0)))

    async def first_answer(self, attempt: Callable[[Server], Awaitable[T]], discard: Callable[[T], None]) -> T:
        """The result of the first attempt that succeeds. The others are cancelled; ``discard`` gets one that came too late.

        A checkpoint. When all fail it raises the only error, or an OSError from a group of them.
        """
        addresses = await self._in_order()
        if len(addresses) == 1:
            return await attempt(addresses[0])
        winners: list[T] = []
        errors: list[Exception] = []

        async def race(address: Server, ended: trio.Event) -> None:
            try:
                result = await attempt(address)
            except Exception as error:
                self.failed(address)
                errors.append(error)
                ended.set()
                return
            except trio.Cancelled:  # another one was faster
                self.failed(address)
                raise
            if winners:
                discard(result)
                return
            winners.append(result)
            self._failed.pop(address, None)
            self._good = address
            nursery.cancel_scope.cancel()

        try:
            async with trio.open_nursery() as nursery:
                for address in addresses:
                    ended = trio.Event()
                    nursery.start_soon(race, address, ended)
                    with trio.move_on_after(STAGGER):
                        await ended.wait()
        except BaseException:  # cancelled just when one had answered
            for winner in winners:
                discard(winner)
            raise
        if winners:
            return winners[0]
        if all(isinstance(error, OperationalError) for error in errors):
            raise errors[0]
        raise OSError("no address answers") from ExceptionGroup("each address failed", errors)
