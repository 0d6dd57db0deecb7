"""The client and its test server on systems without what Linux alone has: they import there, and work over TCP.

No test here runs on another system: a process hides what that system lacks.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.patience import patience

LINUX_ALONE = [
    "socket.TCP_QUICKACK",
    "socket.TCP_INFO",
    "socket.TCP_USER_TIMEOUT",
    "socket.SO_PEERCRED",
    "os.sched_getaffinity",
]
HIDDEN = {
    # Platform -> what the standard library does not have there: modules, and "module.name".
    "darwin": LINUX_ALONE,
    "win32": [
        *(*LINUX_ALONE, "socket.AF_UNIX", "os.fork", "os.register_at_fork", "os.getuid", "os.kill", "os.killpg", "os.setsid"),
        *("signal.SIGKILL", "signal.SIGSTOP", "signal.SIGCONT", "signal.SIGHUP", "signal.SIGUSR1", "signal.pthread_kill"),
        *("fcntl", "grp", "pwd", "resource", "termios"),
    ],
}

PROGRAM = """
import importlib, json, sys
import trio, trio.testing, sortedcontainers

result = {}

def hide(platform, names):
    for name in names:
        module, _, attribute = name.partition(".")
        if not attribute:
            sys.modules[module] = None
        elif hasattr(importlib.import_module(module), attribute):
            delattr(sys.modules[module], attribute)
    sys.platform = platform

async def main():
    hide(*json.loads(sys.argv[1]))  # now that trio's loop runs, which uses what this system has
    import trio_hs
    from trio_hs.testing import Table, open_server

    TABLE = Table("d", "t", {"id": "INT NOT NULL", "name": "VARCHAR(20)"}, primary_key=["id"])
    async with open_server([TABLE]) as server:
        await server.listen(("127.0.0.1", 0), ("127.0.0.1", 0))
        async with trio_hs.open_manager([server.read_address], [server.write_address]) as hs:
            await hs.insert("d", "t", [("id", 1), ("name", "one")])
            result["row"] = dict(await hs.get("d", "t", ["id", "name"], 1))
            result["many"] = len(await hs.get_many("d", "t", ["id"], [1] * 50))
            server._reset_connections()
            server.crash()
            server.restart()
            result["again"] = dict(await hs.get("d", "t", ["id"], 1))
    for name, address in {"unix": sys.argv[2], "other": ("127.0.0.1", 0)}.items():
        async with open_server([TABLE]) as server:
            try:
                await server.listen(address, ("127.0.0.1", 0))
                async with trio_hs.open_manager([server.read_address]) as hs:
                    result[name] = dict(await hs.get("d", "t", ["id"], 1))
            except (OSError, ValueError) as error:
                result[name] = str(error)
    try:
        async with trio_hs.open_manager([("unix", sys.argv[2])]):
            result["client"] = "accepted"
    except ValueError as error:
        result["client"] = str(error)

trio.run(main)
print(json.dumps(result))
"""


@pytest.mark.process
@pytest.mark.parametrize("platform", HIDDEN)
def test_the_client_works_over_tcp_without_what_linux_alone_has(platform: str, tmp_path: Path) -> None:
    path = str(tmp_path / "unix.sock")
    command = [sys.executable, "-c", PROGRAM, json.dumps([platform, HIDDEN[platform]]), path]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=patience(60))
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    assert result["row"] == {"id": "1", "name": "one"}
    assert result["many"] == 50
    assert result["again"] == {"id": "1"}
    assert result["other"] == {}
    if platform == "win32":
        assert result["unix"] == f"this system has no unix sockets: listen on (host, port) instead of {path!r}"
        assert (
            result["client"] == f"read_servers: this system has no unix sockets: give ('inet', host, port) instead of {path!r}"
        )
    else:
        assert result["unix"] == {}
        assert result["client"] == "accepted"
