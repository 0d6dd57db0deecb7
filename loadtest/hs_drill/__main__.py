"""`hs-drill COMMAND`: a run, and the tools around it. The runs are Locust's: `locust -f loadtest/`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from io import TextIOWrapper
from typing import NoReturn

from hs_drill._exit_codes import ExitCode, report_missing_package, report_other_system
from hs_drill._process_end import discard_output
from hs_drill.cli import COMMANDS

__all__ = ["main"]


def usage() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {what}" for name, (_, what) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: hs-drill COMMAND ...",
            "",
            *lines,
            "",
            "`hs-drill COMMAND --help` shows a command's options.",
            'With the web UI: locust -f "$(hs-drill locustfile)" --scenario SCENARIO',
        ]
    )


def main(arguments: Sequence[str]) -> int:
    """Run a command line. Returns the exit code."""
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(usage())
        return 0 if arguments else ExitCode.BAD_ARGUMENTS
    name, *rest = arguments
    if name not in COMMANDS:
        sys.stderr.write(f"no such command: {name!r}; the commands are {', '.join(COMMANDS)}\n")
        return ExitCode.BAD_ARGUMENTS
    if code := report_other_system(f"hs-drill {name}"):
        return code
    try:
        command = import_module(COMMANDS[name][0])
    except ModuleNotFoundError as error:
        return report_missing_package(f"hs-drill {name}", error)
    result: int = command.main(rest)
    return result


def run() -> NoReturn:
    """The console script `hs-drill`."""
    if isinstance(sys.stdout, TextIOWrapper):
        # A sign that the terminal cannot show would end a command with 1, which means a missed gate or expectation.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        code = main(sys.argv[1:])
        sys.stdout.flush()
    except KeyboardInterrupt:
        code = ExitCode.INTERRUPTED
    except BrokenPipeError:
        discard_output()
        code = ExitCode.BAD_ARGUMENTS
    sys.exit(code)


if __name__ == "__main__":
    run()
