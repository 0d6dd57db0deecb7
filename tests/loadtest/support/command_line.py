"""Command lines of `hs-drill`, carried out in this process."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hs_drill import __main__ as commands

Run = Callable[..., tuple[int, str, str]]
"""Takes the arguments. Returns the exit code, and what was printed to the standard output and the standard error."""


def run_with(capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: object) -> tuple[int, str, str]:
        try:
            code = commands.main([str(argument) for argument in arguments])
        except SystemExit as error:  # raised by argparse
            code = int(error.code or 0)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run
