"""Why an attempt to connect failed: in one line, and whether that shows that the server takes no writes from anybody."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Sequence

from ..exceptions import OperationalError

#: The errors of connecting to an IPv6 address on a machine without IPv6. Each has an address that fails with the same error
#: then: ``::1`` where IPv6 is switched off, the other address where there is no route.
_NO_NETWORK = {errno.EAFNOSUPPORT: "::1", errno.EADDRNOTAVAIL: "::1", errno.ENETUNREACH: "2001:db8::1"}


def reason_of(error: BaseException | None) -> str:
    """The reason of a failed connection, in one line. Where a name has several addresses, their errors are in a group."""
    cause = error.__cause__ if error is not None else None
    if isinstance(error, OSError) and isinstance(cause, BaseExceptionGroup):
        return "; ".join(dict.fromkeys(reason_of(inner) for inner in cause.exceptions))
    if isinstance(error, OSError) and error.errno:
        return error.strerror or os.strerror(error.errno)
    try:
        return str(error) or type(error).__name__
    except Exception:  # of a user's own `connect=`
        return type(error).__name__


def is_refusal(error: BaseException) -> bool:
    """Whether an attempt to connect failed because nothing listens there, or because the server refused it in an answer.

    No other failure shows that the server takes no writes from other clients: not a timeout, an unreachable host, a name that
    does not resolve, or a stream that ends before the answer, which a proxy or the network may have ended.
    """
    cause = error.__cause__
    errors: Sequence[BaseException] = (error,)
    if isinstance(error, OSError) and isinstance(cause, BaseExceptionGroup):  # a name may have several addresses
        errors = cause.exceptions
    relevant = [each for each in errors if not (isinstance(each, OSError) and _no_network(each.errno))]
    # A unix socket that is not there is FileNotFoundError.
    refusals = ConnectionRefusedError | FileNotFoundError | OperationalError
    return bool(relevant) and all(isinstance(each, refusals) for each in relevant)


def _no_network(number: int | None) -> bool:
    """Whether an error only says that this machine has no IPv6, and so nothing about the server.

    A machine with IPv6 has the same errors when no local port is free, or a route is gone. Then the server may be up.
    """
    address = _NO_NETWORK.get(number) if number is not None else None
    return address is not None and _route_error(address) in _NO_NETWORK


def _route_error(address: str) -> int | None:
    """The error of routing to an IPv6 address, or None if there is a route. Nothing is sent."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.connect((address, 9))
    except OSError as error:
        return error.errno
    return None
