"""Locust in a process of its own, as users run it, and what it leaves behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from hs_drill.store import RunDirectory
from tests.loadtest.support.processes import marked
from tests.support.ending import ENDS_WITH_ITS_STARTER
from tests.support.patience import wait_until

ROOT = Path(__file__).resolve().parents[3]
SCENARIO = """\
name: short
cluster: {readers: 1}
table: {rows: 2000, value_size: 20}
load: {users: 8, spawn_rate: 100, duration: 2s, think_time: 20ms}
mix: {get: 60, find: {weight: 10, limit: 5}, insert: 10, incr: 5, decr: 5, update: 5, delete: 5}
"""


class Locust:
    """A Locust process that is marked, so that everything that it starts can be found again.

    `beside` is the text of a locustfile of the user's own, `more` are others; with `alone` ours is left out. Leaving the block
    kills the process and fails if a process or a file of it stays behind.
    """

    def __init__(
        self,
        *arguments: str,
        scenario: str | None = SCENARIO,
        env: dict[str, str] | None = None,
        beside: str | None = None,
        alone: bool = False,
        more: Sequence[Path] = (),
        wrapper: Sequence[str] = (),
    ) -> None:
        self._mark = f"TRIO_HS_TEST={uuid.uuid4().hex}"
        # Not pytest's tmp_path: the user that runs MariaDB for root must be able to enter it.
        self.directory = Path(tempfile.mkdtemp(prefix="trio-hs-locust-"))
        self.directory.chmod(0o755)
        self.temporary = self.directory / "tmp"
        self.temporary.mkdir(mode=0o755)
        self.out, self.err = self.directory / "out", self.directory / "err"
        if scenario is not None:
            (self.directory / "short.yaml").write_text(scenario)
            arguments = ("--scenario", str(self.directory / "short.yaml"), *arguments)
        locustfiles = [] if alone else [str(ROOT / "loadtest")]
        if beside is not None:
            (self.directory / "beside.py").write_text(beside)
            locustfiles.append(str(self.directory / "beside.py"))
        locustfiles += map(str, more)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("LOCUST_")}
        if "--processes" in arguments:
            # The default port may be another Locust's, and workers would carry load for that one.
            port = str(free_port())
            arguments += ("--master-bind-host", "127.0.0.1", "--master-bind-port", port, "--master-port", port)
        name, _, value = self._mark.partition("=")
        environment |= {name: value, "TMPDIR": str(self.temporary), **(env or {})}
        if "--cluster" not in arguments and "kind:" not in (scenario or ""):
            environment.setdefault("LOCUST_CLUSTER", "embedded")  # the quickest, and the same everywhere
        self.arguments = arguments
        self.environment = environment
        with self.out.open("w") as out, self.err.open("w") as err:
            self.process = subprocess.Popen(
                [*ENDS_WITH_ITS_STARTER, *wrapper, sys.executable, "-m", "locust", "-f", ",".join(locustfiles), *arguments],
                cwd=self.directory,  # where it keeps its runs
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,  # a terminal's process group: Ctrl-C goes to all of it
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.process.kill()
        self.process.wait()
        try:
            self.wait_until(lambda: not self.processes(), "processes are left")
            self.wait_until(lambda: not list(self.temporary.iterdir()), "files are left")
        finally:
            for pid in self.processes():
                os.kill(pid, signal.SIGKILL)
            shutil.rmtree(self.directory)

    @property
    def stdout(self) -> str:
        return self.out.read_text()

    @property
    def run(self) -> Path:
        """The directory of the only run that it has kept."""
        (run,) = (self.directory / "runs").iterdir()
        return run

    @property
    def stderr(self) -> str:
        return self.err.read_text()

    def exit_code(self, seconds: float = 60) -> int:
        """Wait until Locust ends without a signal, and return its exit code. Its children may end a moment later."""
        self.wait_until(lambda: self.process.poll() is not None, "it does not end", seconds)
        return self.process.wait()

    def finish(self) -> int:
        """The same, and fail if one of its processes still runs then."""
        code = self.exit_code()
        assert not self.processes(), self.describe()
        return code

    def wait_for(self, text: str, seconds: float = 60) -> None:
        self.wait_until(lambda: text in self.stderr or self.process.poll() is not None, f"no {text!r}", seconds)
        assert text in self.stderr, self.describe()

    def wait_for_load(self) -> None:
        """Every worker has its first operations behind it. (Locust's "All users spawned" comes earlier, or not at all: it does
        not print it if a worker reports late.)"""
        self.wait_until(lambda: self.written_by_each_worker(1), "no history")
        self.wait_until(lambda: any(path.stat().st_size > 0 for path in self.directory.glob("runs/*/batches.bin")), "no load")

    def wait_for_operations(self, *names: str) -> None:
        """Each of these has been executed, also where the engines start late."""
        self.wait_until(lambda: self._executed("ok") >= {*names}, f"not every one of {names}")

    def wait_for_failures(self, *names: str) -> None:
        """Each of these has failed."""
        self.wait_until(lambda: self._executed("failed") >= {*names}, f"not every one of {names} failed")

    def _executed(self, how: Literal["ok", "failed"]) -> set[str]:
        batches = [batch for path in self.directory.glob("runs/*") for batch in RunDirectory(path).batches()]
        return {name for batch in batches for name, each in batch.operations.items() if getattr(each, how).total()}

    def written_by_each_worker(self, size: int) -> bool:
        """Whether the history of each has so many bytes (a write takes about 40, before compression)."""
        workers = int(self.arguments[self.arguments.index("--processes") + 1]) if "--processes" in self.arguments else 1
        names = [f"history-{worker}.bin" for worker in range(workers)]
        return all(any(path.stat().st_size >= size for path in self.directory.glob(f"runs/*/{name}")) for name in names)

    def interrupt(self) -> None:
        """End the run in order. Without a limit (`-t 0`) its exit code is the verdict's."""
        self.process.send_signal(signal.SIGINT)

    def wait_until(self, condition: Callable[[], bool], what: str, seconds: float = 60) -> None:
        """`seconds` on an idle machine; patience.py stretches them. They only catch a hang."""
        wait_until(condition, lambda: f"{what}: {self.describe()}", seconds)

    def processes(self, containing: str = "") -> list[int]:
        """The ids of its processes, with `containing` in their command line, Locust's own among them."""
        found = []
        for pid in marked(self._mark):
            try:
                command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
            except (OSError, UnicodeDecodeError):
                continue  # it has just ended
            if command and containing in command:
                found.append(pid)
        return found

    def describe(self) -> str:
        lines = [f"exit code {self.process.poll()}", "stdout:", self.stdout, "stderr:", self.stderr, "processes:"]
        for pid in self.processes():
            lines.append(f"{pid} " + Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode())
        return "\n".join(lines)


def free_port() -> int:
    """A port of 127.0.0.1 on which no process listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


HEADLESS = ("--headless", "--only-summary", "--explain")


def result_of(locust: Locust) -> dict[str, Any]:
    """What the run that has ended left in result.json."""
    result: dict[str, Any] = json.loads((locust.run / "result.json").read_text())
    return result


def judged(result: dict[str, Any]) -> dict[str, str]:
    """The result of each expectation, by its name."""
    return {one["name"]: one["result"] for one in result["expectations"]}
