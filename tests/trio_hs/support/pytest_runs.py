"""Runs pytest on files that a test has written."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.patience import patience


def run_pytest(directory: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options]
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=patience(60), check=False)
