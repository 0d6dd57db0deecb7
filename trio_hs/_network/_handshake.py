"""The first exchange on a connection: it checks the secret, proves that a server answers, and measures whether it is near."""

from __future__ import annotations

import trio

from .._protocol import Answers, auth_line, error_of
from ..exceptions import ProtocolError, operational_error
from ._transport import Transport

#: A server is near when the round trip to it takes less than NEAR seconds, and its first answer less than NEAR_ANSWER.
NEAR = 0.0002
NEAR_ANSWER = 0.005


async def authenticate(transport: Transport, secret: str | None, peer: str) -> bool:
    """Authenticates with the server ``peer``, and returns whether it is near.

    Raises AuthenticationError, OSError or ProtocolError. The caller sets the deadline, and closes the
    transport after a failure.
    """
    started = trio.current_time()
    line = await _first_answer(transport, secret)
    # The kernel's round trip ends at a proxy on the way; the answer has come all the way.
    round_trip = getattr(transport, "round_trip", None)
    near = round_trip is not None and round_trip < NEAR and trio.current_time() - started < NEAR_ANSWER
    try:
        error = error_of(line)
    except ProtocolError:
        # The answer is not quoted: an echo of the request would show the secret.
        raise ProtocolError("the answer is not from a HandlerSocket server") from None
    # A server without authentication does not know the command. That matters only when there is a secret to check.
    if error is not None and (secret is not None or error[0] == 3):
        raise operational_error(*error, server=peer)
    return near


async def _first_answer(transport: Transport, secret: str | None) -> bytes:
    data = memoryview(auth_line(secret))
    while data:
        data = data[transport.send(data) :]
        if data:
            await transport.wait_sendable()
    answers = Answers()
    lines: list[bytes] = []
    while not lines:
        await transport.wait_receivable()
        received = transport.receive()
        if received == b"":
            raise OSError("the server closed the connection instead of answering")
        lines = answers.feed(received or b"")
    if len(lines) > 1 or answers.incomplete:
        raise ProtocolError("more than one answer to the first request")
    return lines[0]
