"""Valkey's server for `benchmarks.client`, as durable as MariaDB's: a write is flushed to a file before it is answered."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio

from hs_drill._cluster import ClusterError
from hs_drill.sandbox import open_sandbox

from ._contenders import find_valkey

HOST = "127.0.0.1"
#: How long the server may take to start, in seconds.
START_SECONDS = 60.0
SETTINGS = {
    "appendonly": "yes",
    "appendfsync": "always",
    "auto-aof-rewrite-percentage": "0",  # no rewriting of the file beside a measurement
    "save": "",
}


@dataclass(frozen=True)
class ValkeyServer:
    """A server that answers."""

    port: int
    pid: int


@asynccontextmanager
async def open_valkey() -> AsyncIterator[ValkeyServer]:
    """Start an empty server, which ends with the block. Raises `ClusterError`."""
    program = find_valkey()
    assert program is not None
    async with open_sandbox(None, lambda line: print(line, file=sys.stderr)) as sandbox:
        port = sandbox.reserve_port()
        log = sandbox.directory / "valkey.log"
        options = [word for name, value in SETTINGS.items() for word in (f"--{name}", value)]
        process = sandbox.spawn([program, "--bind", HOST, "--port", str(port), "--dir", str(sandbox.directory), *options], log)
        if not await _started(process, port):
            raise ClusterError(f"{program} did not start: {log.read_text()[-500:]}")
        yield ValkeyServer(port, process.pid)


async def _started(process: subprocess.Popen[bytes], port: int) -> bool:
    with trio.move_on_after(START_SECONDS):
        while process.poll() is None:
            if await _answers(port):
                return True
            await trio.sleep(0.05)
    return False


def valkey_version() -> str:
    """What the server's program says of itself; empty if there is none."""
    program = find_valkey()
    return subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout.strip() if program else ""


async def _answers(port: int) -> bool:
    try:
        async with await trio.open_tcp_stream(HOST, port) as stream:
            await stream.send_all(b"PING\r\n")
            return await stream.receive_some(7) == b"+PONG\r\n"
    except (OSError, trio.BrokenResourceError):
        return False
