"""Lets other terminals find and control a running `cluster up`.

The process of `cluster up` answers on a socket in Linux's abstract namespace. Such a socket is not a file, so
nothing is left behind, however the process ends. The kernel says whose process is at the other end.
"""

from __future__ import annotations

import json
import os
import re
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from hs_drill._cluster import ClusterError

__all__ = ["answering", "ask", "clusters_up"]

ANSWER_SECONDS = 30.0
MAX_QUESTION = 1000

Answer = Callable[[str], Awaitable[dict[str, Any]]]


def _prefix() -> str:
    return f"trio-hs-cluster-{os.geteuid()}-"


def clusters_up() -> list[int]:
    """The process ids of this user's running `cluster up`."""
    try:
        sockets = Path("/proc/net/unix").read_text()
    except OSError:
        return []
    return sorted({int(pid) for pid in re.findall(rf" @{_prefix()}(\d+)$", sockets, re.MULTILINE)})


@asynccontextmanager
async def answering(answer: Answer) -> AsyncIterator[None]:
    """Within the block, answer other processes of this user, each of which may ask one question."""
    with trio.socket.socket(socket.AF_UNIX) as listener:
        await listener.bind(f"\0{_prefix()}{os.getpid()}")
        listener.listen()
        async with trio.open_nursery() as answers, trio.open_nursery() as listening:
            listening.start_soon(_serve, listener, answer, answers)
            yield
            listening.cancel_scope.cancel()  # an answer that is in progress, such as to `down`, is still sent


async def _serve(listener: trio.socket.SocketType, answer: Answer, answers: trio.Nursery) -> None:
    while True:
        connection, _ = await listener.accept()
        answers.start_soon(_answer, trio.SocketStream(connection), answer)


async def _answer(stream: trio.SocketStream, answer: Answer) -> None:
    async with stream:
        if not _ours(stream):
            return
        with trio.move_on_after(ANSWER_SECONDS):
            try:
                question = await stream.receive_some(MAX_QUESTION)
                await stream.send_all(json.dumps(await answer(question.decode())).encode())
            except (trio.BrokenResourceError, UnicodeDecodeError):
                pass  # the asking process is gone


def _ours(stream: trio.SocketStream) -> bool:
    """Whether the other end is a process of this user."""
    uid: int
    _, uid, _ = struct.unpack("3i", stream.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    return uid == os.geteuid()


async def ask(pid: int, question: str) -> dict[str, Any]:
    """Ask the process of a running `cluster up`. Raises `ClusterError`."""
    text = b""
    with trio.move_on_after(ANSWER_SECONDS):
        try:
            with trio.socket.socket(socket.AF_UNIX) as sock:
                await sock.connect(f"\0{_prefix()}{pid}")
                async with trio.SocketStream(sock) as stream:
                    if not _ours(stream):
                        raise ClusterError(f"process {pid} is another user's")
                    await stream.send_all(question.encode())
                    async for some in stream:
                        text += some
            answer: dict[str, Any] = json.loads(text)
            return answer
        except (OSError, trio.BrokenResourceError, ValueError) as error:
            raise ClusterError(f"the cluster of process {pid} does not answer: {error}") from error
    raise ClusterError(f"the cluster of process {pid} did not answer within {ANSWER_SECONDS:g} s")
