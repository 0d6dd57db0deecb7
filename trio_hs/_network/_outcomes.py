"""Outcomes of a request: the answer or the error for its caller."""

from __future__ import annotations

from .._protocol import Index
from ..exceptions import ConnectionError, IndexedConnectionError, OperationalError, ProtocolError, operational_error
from ._request import Request

#: The answer of a server that is ``read_only``, whose writer lock is held, or that is shutting down (then to reads, too). It
#: did nothing.
_CANNOT_LOCK = (1, "lock_tables")
#: The answer to a read that the server's shutdown interrupts (HA_ERR_ABORTED_BY_USER).
_ABORTED = (1, "188")


def failure_of(request: Request, index: Index, operation: str, *, changes: bool) -> ConnectionError:
    """The error for the caller of a request that got no answer.

    ``changes`` says that it is a write, whose effect is unknown once it was sent. A read has none.
    """
    reason = request.failure
    maybe_applied = changes and request.sent_lines > len(request.answers)
    sent = "it may have been applied" if maybe_applied else "it had no effect"
    server = request.connection.peer
    error = IndexedConnectionError(
        f"{server}: {operation} {index.db}.{index.table}: {reason} ({sent})", maybe_applied=maybe_applied, server=server
    )
    error.__cause__ = reason
    return error


def refusal_of(request: Request, line: bytes, index: Index, operation: str) -> OperationalError | None:
    """The error in one of a request's answers, or None for a success."""
    error = request.error(line)
    if error is None:
        return None
    server = request.connection.peer
    return operational_error(*error, context=f"{server}: {operation} {index.db}.{index.table}", server=server)


def turned_away(request: Request, *, changes: bool) -> bool:
    """Whether another server may be asked instead, because this one answered that it cannot lock tables.

    For a write all answers must say so, which proves that nothing was done. A read can be repeated as a whole, even if it was
    interrupted.
    """
    if request.failure is not None:
        return False
    if changes:
        return all(request.error(line) == _CANNOT_LOCK for line in request.answers)
    return any(request.error(line) in (_CANNOT_LOCK, _ABORTED) for line in request.answers)


def answer_of(request: Request, index: Index, operation: str, *, changes: bool) -> bytes:
    """The answer to a request of one line. Raises the error if there is none, or if it is a refusal."""
    if request.failure is not None:
        raise failure_of(request, index, operation, changes=changes)
    line = request.answers[0]
    error = refusal_of(request, line, index, operation)
    if error is not None:
        raise error
    return line


def garbled(request: Request, index: Index, operation: str, error: ProtocolError, *, changes: bool) -> ConnectionError:
    """The error for the caller of a request whose answer is malformed. Ends the connection, which cannot be trusted any
    more."""
    request.connection.invalidate(error)
    request.failure = error
    request.answers = ()
    request.sent_lines = request.lines
    return failure_of(request, index, operation, changes=changes)
