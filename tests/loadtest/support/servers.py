"""Requests to servers without the client, and what a run's servers leave behind on this machine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import trio

from hs_drill._cluster import Server
from hs_drill.sandbox._guardian import RUN_VARIABLE
from hs_drill.servers import Control
from tests.loadtest.support.containers import left_in_engine
from tests.support.patience import Patience, patience


def left_behind(temporary: Path) -> list[str]:
    """Files below `temporary`, and processes that belong to a run there: servers by their environment, the guardian by
    its command line. A zombie has neither."""
    found = [str(path) for path in temporary.iterdir()]
    marks = (f"{RUN_VARIABLE}={temporary}/".encode(), f"{temporary}/".encode())
    for process in Path("/proc").glob("[0-9]*"):
        try:
            texts = (process / "environ").read_bytes() + b"\0" + (process / "cmdline").read_bytes()
        except OSError:
            continue
        if any(text.startswith(marks) for text in texts.split(b"\0")):
            found.append(f"process {process.name}")
    return found


async def handlersocket(port: int, secret: str, *requests: str) -> list[str]:
    """The answers to the requests, sent one after the other on a connection of their own."""
    answers = []
    with trio.fail_after(patience(15)):
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            for request in (f"A\t1\t{secret}", *requests):
                await stream.send_all(request.encode() + b"\n")
                answer = b""
                while not answer.endswith(b"\n"):
                    received = await stream.receive_some()
                    assert received, f"the server closed the connection instead of answering {request!r}"
                    answer += received
                answers.append(answer.decode().rstrip("\n"))
    assert answers[0] == "0\t1"
    return answers[1:]


async def read(server: Server, id: int, database: str = "drill") -> str:
    open_index = f"P\t1\t{database}\tt\tPRIMARY\tid,v"
    return (await handlersocket(server.read_port, server.read_secret, open_index, f"1\t=\t1\t{id}"))[1]


async def insert(server: Server, id: int, database: str = "drill") -> str:
    open_index = f"P\t1\t{database}\tt\tPRIMARY\tid,v"
    return (await handlersocket(server.write_port, server.write_secret, open_index, f"1\t+\t2\t{id}\tv{id}"))[1]


async def soon(condition: Callable[[], bool]) -> bool:
    """Whether it holds within a few seconds."""
    bound = Patience(10)
    while not condition():
        if bound.ended():
            return False
        await trio.sleep(0.02)
    return True


def left(kind: str, temporary: Path) -> list[str]:
    return left_behind(temporary) + (left_in_engine(temporary) if kind == "docker" else [])


async def deaths(control: Control) -> list[tuple[str, str]]:
    """The deaths found since the last call: which server, and how it ended."""
    await control.look_for_deaths()
    found, control.deaths = control.deaths, []
    return [(death.server, death.ending) for death in found]
