"""Checks of a client's settings: what cannot work is refused before anything starts."""

from __future__ import annotations

from threading import get_ident

from trio.lowlevel import current_task

from .._protocol import shown

#: To each server. A server's HandlerSocket threads serve a few; more only cost memory.
MAX_CONNECTIONS = 1000


def require_trio() -> None:
    """Raises RuntimeError outside of trio, such as under asyncio."""
    try:
        current_task()
    except RuntimeError:
        raise RuntimeError("trio_hs needs trio: open a client in a task of trio.run(), not under asyncio") from None


def check_thread(thread: int) -> None:
    """Raises RuntimeError in another thread than that of a client: its requests and connections belong to one trio run."""
    if get_ident() != thread:
        raise RuntimeError(
            "this client was opened in another thread or process, and works only there: use trio.from_thread.run(), or open a "
            "client in this thread's own trio run"
        )


def check_seconds(what: str, seconds: float) -> None:
    """Raises TypeError or ValueError for what is no positive number of seconds."""
    if not isinstance(seconds, int | float) or isinstance(seconds, bool):
        raise TypeError(f"{what} must be a number of seconds, not {seconds!r}")
    try:
        if float(seconds) > 0:
            return
    except OverflowError:
        pass
    raise ValueError(f"{what} must be a positive number of seconds, not {shown(seconds)}")


def check_flags(**flags: bool) -> None:
    """Raises TypeError for a flag that is no bool."""
    for name, flag in flags.items():
        if not isinstance(flag, bool):
            raise TypeError(f"{name} must be a bool, not {flag!r}")


def check_connections(connections: object) -> None:
    """Raises TypeError or ValueError for what is no number of connections to each server."""
    if not isinstance(connections, int) or isinstance(connections, bool):
        raise TypeError(f"connections must be an int, the number of connections to each server, not {connections!r}")
    if not 1 <= connections <= MAX_CONNECTIONS:
        raise ValueError(f"connections must be 1 to {MAX_CONNECTIONS} per server, not {shown(connections)}")


def check_settings(timeout: float, connections: int, connect: object, moves_on_silence: bool) -> None:
    """Raises TypeError or ValueError, naming the setting of ``open_manager``."""
    check_seconds("timeout", timeout)
    check_connections(connections)
    if not callable(connect):
        raise TypeError(f"connect must be an async function that takes a trio_hs.Server, not {connect!r}")
    check_flags(move_writes_on_silence=moves_on_silence)
