"""The errors of trio_hs, and the table that maps the server's answers to them.

Two questions decide what a program does with an error: did the server answer, and may it have changed data?
An :class:`OperationalError` is the server's refusal. Only a change of several rows, or one behind a FEDERATED table, may
have been applied in part. A :class:`ConnectionError` says that no answer came. Its ``maybe_applied`` says whether the
server may have applied the change anyway.
"""

from __future__ import annotations

import builtins
from typing import Any


class HandlerSocketError(Exception):
    """The base of every error that trio_hs raises on its own account.

    Mistakes in a call (a wrong type, an unknown operator, a negative limit) are ``TypeError`` and ``ValueError`` instead,
    raised before a byte is sent.

    Attributes:
      server: the address of the server, as in ``statistics()``. None if the error is about several servers, of which none was
        usable, or about no server: a closed Manager, a :class:`DecodingError`.
    """

    server: str | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        # For copy and pickle: the constructors take more than the message.
        return _restore, (type(self), self.args, vars(self).copy())


def _restore(kind: type[HandlerSocketError], args: tuple[Any, ...], attributes: dict[str, Any]) -> HandlerSocketError:
    error = kind.__new__(kind, *args)
    super(HandlerSocketError, error).__init__(*args)
    vars(error).update(attributes)
    return error


class ConnectionError(HandlerSocketError, builtins.ConnectionError):
    """No answer came: the server could not be reached, closed the connection, or was silent for too long.

    Attributes:
      maybe_applied: True if the request may have reached the server and would change data, so that its outcome is unknown.
        False if it provably had no effect: it was never sent whole, or it only reads.
    """

    def __init__(self, message: str, *, maybe_applied: bool = False, server: str | None = None) -> None:
        super().__init__(message)
        self.maybe_applied = maybe_applied
        self.server = server


class IndexedConnectionError(ConnectionError):
    """A :class:`ConnectionError` of an operation on an opened index."""


#: pyhs's name of :class:`IndexedConnectionError`.
RecoverableConnectionError = IndexedConnectionError


class ProtocolError(HandlerSocketError):
    """The server sent bytes that are not a HandlerSocket answer. The connection is dropped. Callers see this error as the
    ``__cause__`` of their :class:`ConnectionError`.

    Attributes:
      data: how those bytes begin: 60 of them at most. They may hold values of rows, so neither the message nor the log has
        them.
    """

    def __init__(self, message: str, data: bytes = b"") -> None:
        super().__init__(message)
        self.data = bytes(data[:60])


class DecodingError(HandlerSocketError):
    """The server executed the operation, but a value that it returned is not text in the chosen encoding.

    Attributes:
      data: the answer's values, as the bytes that the server sent. Of a long answer the part with the value.
    """

    def __init__(self, message: str, data: bytes) -> None:
        super().__init__(message)
        self.data = data


class OperationalError(HandlerSocketError):
    """The server answered with an error. The connection stays in use.

    A Manager repeats an operation only if the server answered that it takes no requests now: see docs/delivery.md, rows 11
    and 20.

    Attributes:
      code: the answer's first number (1 storage engine, 2 request, 3 authentication).
      message: the server's word for it, such as ``"121"`` or ``"open_table"``.
    """

    #: What the answer means, for people.
    meaning = "the server refused the request"

    def __init__(self, code: int, message: str, context: str = "") -> None:
        meaning = _MEANINGS.get((code, message), self.meaning)
        super().__init__(f"{context + ': ' if context else ''}{meaning} (the server answered {code} {message})")
        self.code = code
        self.message = message


class AuthenticationError(OperationalError):
    """The secret is wrong, or none was given and the server wants one."""

    meaning = "authentication failed: wrong secret, or none given where the server wants one"


class TableNotFoundError(OperationalError):
    """The database or table does not exist, or the server cannot open it."""

    meaning = "no such database or table, or it cannot be opened"


class IndexNotFoundError(OperationalError):
    """The table has no index of that name (names are case-sensitive)."""

    meaning = "the table has no such index (names are case-sensitive)"


class ColumnNotFoundError(OperationalError):
    """The table has no column of that name (names are case-sensitive)."""

    meaning = "the table has no such column (names are case-sensitive)"


class DuplicateKeyError(OperationalError):
    """A row with the same unique key exists."""

    meaning = "duplicate key"


class ForeignKeyError(OperationalError):
    """A foreign key forbids the change."""

    meaning = "a foreign key forbids it"


class LockTimeoutError(OperationalError):
    """A row stayed locked for longer than the server's ``innodb_lock_wait_timeout``."""

    meaning = "a row stayed locked by another transaction for too long"


class ReadOnlyError(OperationalError):
    """The server takes no writes: it is ``read_only``, its writer lock is held, or this is its listener for reads.

    A server that is shutting down answers the same to reads.
    """

    meaning = "the server takes no writes here"


class UnsupportedOperationError(OperationalError):
    """The table's storage engine, or the server, cannot do this operation."""

    meaning = "the table's storage engine cannot do this operation"


class RemoteTableError(OperationalError):
    """The table is FEDERATED and the server behind it failed or refused."""

    meaning = "the server behind the FEDERATED table failed or refused"


# Measured on MariaDB 10.11 (docs/errors.md); 1 NNN are the storage engine's HA_ERR_* numbers.
_CLASSES: dict[tuple[int, str], type[OperationalError]] = {
    (1, "open_table"): TableNotFoundError,
    (1, "lock_tables"): ReadOnlyError,
    (1, "121"): DuplicateKeyError,
    (1, "131"): UnsupportedOperationError,
    (1, "146"): LockTimeoutError,
    (1, "151"): ForeignKeyError,
    (1, "152"): ForeignKeyError,
    (1, "1430"): RemoteTableError,
    (1, "10000"): RemoteTableError,
    (2, "idxnum"): IndexNotFoundError,
    (2, "fld"): ColumnNotFoundError,
    (2, "readonly"): ReadOnlyError,
    (2, "notimpl"): UnsupportedOperationError,
    (3, "unauth"): AuthenticationError,
    (3, "authtype"): AuthenticationError,
}

_MEANINGS: dict[tuple[int, str], str] = {
    (1, "lock_tables"): "the server cannot lock tables now: it is read_only, its writer lock is held, or it is shutting down",
    (2, "readonly"): "this is the server's listener for reads; writes go to its other port",
    (2, "kpnum"): "more key values than the index has columns",
    (2, "filterblob"): "a BLOB or TEXT column can only be filtered on NULL",
    (2, "cmd"): "the server does not know this command",
    (1, "188"): "the search was interrupted: the server is shutting down",
    (1, "167"): "auto_increment has reached its column's end, or an earlier error has stuck in the server's writer thread",
}

#: The server's words for errors that are no numbers.
WORDS = frozenset(message for _, message in (*_CLASSES, *_MEANINGS) if not message.isdecimal())


def operational_error(code: int, message: str, context: str = "", server: str | None = None) -> OperationalError:
    """The error for the ``server``'s answer ``code message``, of the class for that answer.

    ``context`` names server, table and operation for the reader; it must never hold a secret.
    """
    error = _CLASSES.get((code, message), OperationalError)(code, message, context)
    error.server = server
    return error
