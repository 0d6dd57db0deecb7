"""Secrets: a text, a file or a callable, from which each new connection takes its own.

A server has one secret at a time, and takes a new one only when it is restarted (docs/server.md). So a secret that is rotated
changes together with a restart, which ends every connection. What matters is the secret of the next connection.

No message here contains a secret, nor the text of an exception of the user's: it may.
"""

from __future__ import annotations

import inspect
import os
import stat
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

#: What ``read_secret=``, ``write_secret=`` and ``Server(secret=)`` take: the secret, the path of a file that holds it
#: (``pathlib.Path``), or a function, plain or async, that returns it. File and function are asked again for each new
#: connection.
Secret: TypeAlias = str | os.PathLike[str] | Callable[[], str | Awaitable[str]]

#: A file with more bytes than this is not one that holds a secret.
MAX_BYTES = 65536


class SecretError(Exception):
    """The secret for a new connection is unavailable. It says nothing about the server."""


def rotates(secret: Secret | None) -> bool:
    """Whether the next connection may get another secret."""
    return secret is not None and not isinstance(secret, str)


def check_secret(what: str, secret: Secret | None) -> None:
    """Raises TypeError or ValueError for what is no secret. It never quotes one."""
    if secret is None or callable(secret):
        return
    if isinstance(secret, str):
        if not _encodable(secret):
            raise ValueError(f"{what} has a character that UTF-8 does not have")
    elif not isinstance(secret, os.PathLike) or not isinstance(os.fspath(secret), str):
        kinds = "a str, a pathlib.Path of a file, a function that returns a str, or None"
        raise TypeError(f"{what} must be {kinds}, not {type(secret).__name__}")


async def secret_now(secret: Secret | None) -> str | None:
    """The secret for a connection that is made now. Raises SecretError. A checkpoint only if an async function makes it one."""
    if secret is None or isinstance(secret, str):
        return secret
    if isinstance(secret, os.PathLike):
        return _read(secret)
    return await _call(secret)


async def _call(function: Callable[[], Any]) -> str:
    try:
        found = function()
        if inspect.isawaitable(found):
            found = await found
    except Exception as error:
        # Whoever needs the rest finds it as the `__cause__` of what `Instrument.connect_failed` gets.
        raise SecretError(f"the function for the secret raised {type(error).__name__}") from error
    if not isinstance(found, str):
        raise SecretError(f"the function for the secret returned {type(found).__name__}, not str")
    if not _encodable(found):
        raise SecretError("the function for the secret returned a character that UTF-8 does not have")
    return found


def _read(path: os.PathLike[str]) -> str:
    """The text of a file without a newline at its end, which editors and ``echo`` leave there.

    It is read in the trio thread, so that no thread outlives a cancelled attempt. A small file on a local disk takes less than
    a switch to a thread.
    """
    name = os.fspath(path)
    try:
        # What is no regular file might block, such as a named pipe until somebody writes.
        descriptor = os.open(name, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise SecretError(f"{name}, the file of the secret, is no regular file")
            data = os.read(descriptor, MAX_BYTES + 1)
        finally:
            os.close(descriptor)
    except (OSError, ValueError) as error:
        why = (isinstance(error, OSError) and error.strerror) or type(error).__name__
        raise SecretError(f"{name}, the file of the secret, cannot be read: {why}") from error
    text = _decoded(data).removesuffix("\n").removesuffix("\r")
    if not text or len(data) > MAX_BYTES:
        raise SecretError(f"{name}, the file of the secret, is empty, is not UTF-8, or has more than {MAX_BYTES} bytes")
    return text


def _decoded(data: bytes) -> str:
    """The text, or "" if it is none: an exception would hold the bytes."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return ""


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
