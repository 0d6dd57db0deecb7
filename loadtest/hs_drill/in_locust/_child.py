"""A child process of Locust's process, and the channel to it. For greenlets: gevent has patched what is imported here."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import gevent

from hs_drill._wire import CHUNK, Decoder, Message, WireError, encode

__all__ = ["BlockingChannel", "Child", "StartError"]

ROOT = Path(__file__).resolve().parents[2]


class StartError(Exception):
    """Something that a run needs is unavailable; one line for the user."""


class Child:
    """`python -m MODULE FD`, in a session of its own so that a signal to Locust's process group leaves it time to clean up.

    The child must exit when its end of the socket reads EOF, so that nothing outlives a Locust that was killed. A greenlet
    of the child's own calls `on_message`, and `on_end` with the exit code (negative for a signal).
    """

    def __init__(self, module: str, on_message: Callable[[Message], None], on_end: Callable[[int], None]) -> None:
        ours, theirs = socket.socketpair()
        search = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), str(ROOT)]))
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            stdout=2,  # keep Locust's stdout for the result
            pass_fds=[theirs.fileno()],
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": search},
        )
        theirs.close()
        self._channel = BlockingChannel(ours)
        self._on_message = on_message
        self._on_end = on_end
        self._reader = gevent.spawn(self._read)

    @property
    def pid(self) -> int:
        return int(self._process.pid)

    def cpu_seconds(self) -> float:
        """The CPU time that it has used so far: see the function."""
        return cpu_seconds(self.pid)

    def send(self, message: Message) -> None:
        """Send a message. Does nothing when the child is gone, which `on_end` reports."""
        try:
            self._channel.send(message)
        except OSError:
            pass

    def close(self, timeout: float) -> bool:
        """End the child by EOF, or by SIGKILL if it is still there after `timeout` seconds. Returns whether it was killed."""
        killed = False
        self._channel.shut_down()
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            killed = True
            self._process.kill()
            self._process.wait()
        self._reader.join(1)
        self._channel.close()
        return killed

    def _read(self) -> None:
        try:
            while (message := self._channel.receive()) is not None:
                self._on_message(message)
        except WireError:
            self._process.kill()
        self._on_end(self._process.wait())


def cpu_seconds(pid: int) -> float:
    """The CPU time that a process has used so far, in steps of about 0.01 s; 0 when it is gone."""
    try:
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


class BlockingChannel:
    """Locust's end of the socket to a child. Any greenlet may send; only one receives."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._decoder = Decoder()
        self._sending = threading.Lock()

    def send(self, message: Message) -> None:
        """Send one message. Raises `OSError` when the child is gone."""
        data = encode(message)
        with self._sending:
            self._socket.sendall(data)

    def receive(self) -> Message | None:
        """The next message, or None when the child has closed its end. Raises `WireError`."""
        while True:
            message = self._decoder.next()
            if message is not None:
                return message
            try:
                data = self._socket.recv(CHUNK)
            except OSError:
                return None
            if not data:
                return None
            self._decoder.feed(data)

    def shut_down(self) -> None:
        """Send EOF to the child. What it still sends can be received."""
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # the child has closed its end already

    def close(self) -> None:
        self._socket.close()
