"""Users in Python under Locust: beside Locust's own and the mix, with workers, audited, and with mistakes."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from hs_drill.store import RunDirectory
from tests.loadtest.support.locust_process import HEADLESS, ROOT, Locust, judged, result_of

pytestmark = pytest.mark.process

EXAMPLES = ROOT / "examples/users"
SCENARIO = """\
name: users
cluster: {readers: 1, topology: write-through}
table: {rows: 1000, value_size: 20}
load: {users: 8, spawn_rate: 100, duration: 3s, think_time: 20ms}
mix: {get: 60, update: 10}
"""
BESIDE = """\
import os

import trio
from locust import HttpUser, constant as locusts_constant, task as locusts_task

from hs_drill.users import HandlerSocketUser, SequentialTaskSet, TrioUser, between, tag, task

WEB = os.environ["WEB"]


class Mix(HandlerSocketUser):
    weight = 1


class Web(HttpUser):
    host = f"http://{WEB}"
    wait_time = locusts_constant(0.02)

    @locusts_task
    def home(self):
        self.client.get("/locust")


class Shopper(TrioUser):
    wait_time = between(0.01, 0.02)
    weight = 3

    async def on_start(self):
        self.table = self.hs.table("drill", "t", ["id", "payload"])

    @task(5)
    async def browse(self):
        async with self.measure("browse"):
            number = self.random.randrange(1, 1001)
            row = await self.table.get(number)
            assert dict(row)["id"] == str(number)

    @task
    async def broken(self):
        await trio.sleep(0)
        raise LookupError("on purpose")

    @tag("slow")
    @task(9)
    async def excluded(self):
        async with self.measure("excluded"):
            await trio.sleep(0)

    @task
    class Checkout(SequentialTaskSet):
        @task
        async def look(self):
            async with self.measure("look"):
                await self.user.table.get(1)

        @tag("slow")
        @task
        async def wait(self):
            async with self.measure("excluded"):
                await trio.sleep(0)

        @task
        async def pay(self):
            async with self.measure("pay"):
                await self.user.table.get(2)
                self.interrupt()
"""


@contextmanager
def http_server() -> Iterator[ThreadingHTTPServer]:
    """Counts the requests for each path in `counts`."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            with lock:
                counts[self.path] = counts.get(self.path, 0) + 1
            self.send_response(200)
            self.send_header("Content-Length", "5")
            self.end_headers()
            self.wfile.write(b"hello")

        def log_message(self, *_: object) -> None:
            pass

    lock, counts = threading.Lock(), dict[str, int]()
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        server.counts = counts  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def test_beside_locusts_own_users_and_the_mix_with_workers() -> None:
    with http_server() as server:
        counts: dict[str, int] = server.counts  # type: ignore[attr-defined]
        options = (*HEADLESS, "--processes", "2", "--exclude-tags", "slow", "--json-file", "stats", "-t", "0")
        env = {"WEB": f"127.0.0.1:{server.server_port}"}
        with Locust(*options, scenario=SCENARIO, beside=BESIDE, more=[EXAMPLES / "web.py"], alone=True, env=env) as locust:
            locust.wait_for_operations("get", "update", "browse", "pay", "GET /")
            locust.wait_until(lambda: "/locust" in counts, "no request of Locust's own user")
            locust.wait_until(lambda: _engines(locust) == {0, 1}, "not both engines")
            locust.interrupt()
            assert locust.finish() == 1, locust.describe()
            result, operations = result_of(locust), result_of(locust)["operations"]
            locusts = {one["name"]: one["num_requests"] for one in json.loads((locust.directory / "stats.json").read_text())}
    assert set(operations) == {"all", "get", "update", "browse", "look", "pay", "Shopper.broken", "GET /"}
    for name in ("get", "update", "browse", "look", "pay", "GET /"):
        assert operations[name]["ok"]["count"] > 0
        assert operations[name]["failed"]["count"] == 0, operations[name]["errors"]
    (error,) = operations["Shopper.broken"]["errors"]
    line = next(number for number, text in enumerate(BESIDE.splitlines(), 1) if "on purpose" in text)
    assert error == f"LookupError: on purpose (beside.py:{line})"
    assert operations["GET /"]["ok"]["count"] == counts["/"]
    (of_locust,) = result["other_requests"]["requests"]
    # Locust's own users go on while the run is judged.
    assert 0 < of_locust["count"] <= counts["/locust"] == locusts["/locust"]
    assert locusts["GET /"] == counts["/"]
    assert locusts["browse"] == operations["browse"]["ok"]["count"]
    assert result["verdict"].endswith("; of what Shopper and Visitor did, only self.rows was audited")
    assert judged(result)["lost"] == "pass"


def _failed(locust: Locust) -> set[str]:
    return {name for batch in RunDirectory(locust.run).batches() for name, one in batch.operations.items() if one.failed}


def _engines(locust: Locust) -> set[int]:
    """Those that have executed something."""
    batches = RunDirectory(locust.run).batches()
    return {worker for batch in batches for worker in batch.engines if "browse" in batch.operations}


CLERK = (EXAMPLES / "shop.py").read_text()
AUDITED = (EXAMPLES / "users.yaml").read_text().replace("duration: 10s", "duration: 10m").replace("  kind: auto\n", "")
OPERATIONS = {"product", "browse", "order", "change", "cancel"}
WRITES = """

class Own(TrioUser):
    wait_time = between(0.05, 0.1)

    @task
    async def write(self):
        async with self.measure("write"):
            await self.hs.update("drill", "t", "=", ["payload"], [1], ["mine"], limit=1)
"""


@pytest.mark.parametrize("own", [False, True], ids=["audited", "own client"])
def test_what_users_do_with_rows_is_audited(own: bool) -> None:
    expected = OPERATIONS | ({"write"} if own else set())
    with Locust(*HEADLESS, "-t", "0", scenario=AUDITED, beside=CLERK + (WRITES if own else ""), alone=True) as locust:
        locust.wait_for_operations(*expected)
        locust.wait_for("fault over: kill reader-1")
        locust.interrupt()
        code = locust.finish()
        result = result_of(locust)
    assert set(result["operations"]) == expected | {"all"}
    found = judged(result)
    if own:
        # Its update left what no write of the audit's did. Without a word about it, that would be held against the servers.
        assert (code, found["unexpected"], found["lost"]) == (4, "unknown", "unknown"), result
        return
    assert code == 0, result
    assert set(found.values()) == {"pass"}
    assert result["verdict"].startswith(f"pass: all {len(found)} expectations hold")
    assert result["verdict"].endswith("; of what Clerk and Shopper did, only self.rows was audited")


def test_without_an_audit_rows_are_refused_and_blocking_is_told() -> None:
    blocks = "\n    @task\n    async def wait(self):\n        block()\n\n\ndef block():\n    import time\n    time.sleep(0.2)\n"
    text, code = AUDITED.partition("audit:")[0], CLERK + blocks
    line = next(number for number, text in enumerate(code.splitlines(), 1) if "time.sleep" in text)
    with Locust(*HEADLESS, "-t", "0", scenario=text, beside=code, alone=True) as locust:
        locust.wait_for(f"beside.py:{line}: blocked all users of this engine for ")
        locust.wait_until(lambda: bool(list(locust.directory.glob("runs/*/batches.bin"))), "no run")
        locust.wait_until(lambda: "order" in _failed(locust), "nothing failed")
        locust.interrupt()
        assert locust.finish() == 1
        result = result_of(locust)
    assert result["operations"]["order"]["ok"]["count"] == 0
    assert any("RuntimeError: self.rows is for audited runs" in error for error in result["operations"]["order"]["errors"])
    assert "; what Clerk and Shopper did was not audited" in result["verdict"]
    assert result["audit"] is None


def test_mistakes_are_told_before_anything_starts() -> None:
    wrong = CLERK.replace("async def on_start", "def on_start", 1)
    with Locust(*HEADLESS, scenario=AUDITED, beside=wrong, alone=True) as locust:
        assert locust.finish() == 2
        assert locust.stderr == "beside.py:14: Shopper.on_start must be async: write `async def on_start(self)`\n"
        assert not (locust.directory / "runs").exists()
