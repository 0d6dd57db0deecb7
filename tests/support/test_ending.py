from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.ending import ENDS_WITH_ITS_STARTER
from tests.support.patience import wait_until

STARTER = """\
import subprocess, sys
print(subprocess.Popen(sys.argv[1:]).pid, flush=True)
sys.stdin.read()
"""


@pytest.mark.process
def test_a_process_does_not_outlive_a_starter_that_is_killed() -> None:
    line = [sys.executable, "-c", STARTER, *ENDS_WITH_ITS_STARTER, "sleep", "600"]
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None
        started = Path("/proc", starter.stdout.readline().strip())
        wait_until(lambda: (started / "cmdline").read_text().startswith("sleep"), "it never started")
        starter.send_signal(signal.SIGKILL)
    try:
        wait_until(lambda: not started.exists() or "Z" in (started / "stat").read_text().split()[2], "it goes on")
    finally:
        if started.exists():
            os.kill(int(started.name), signal.SIGKILL)
