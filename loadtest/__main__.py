"""`python -m loadtest COMMAND`: what is done around a run. Runs themselves are Locust's: `locust -f loadtest/`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

from loadtest._exit_codes import ExitCode

__all__ = ["COMMANDS", "main"]

#: A command, the module whose `main(arguments)` carries it out and gives the exit code, and what it does.
COMMANDS: dict[str, tuple[str, str]] = {
    "check": ("loadtest._cli_check", "check a scenario file, and show what would happen when"),
    "analyze": ("loadtest._cli_analyze", "judge a kept run again"),
    "compare": ("loadtest._cli_compare", "put two kept runs side by side"),
    "drills": ("loadtest._cli_drills", "carry out the scenarios that state their verdict, and compare"),
    "cluster": ("loadtest._cli_cluster", "servers without a load"),
    "schema": ("loadtest._cli_schema", "print the JSON Schema of scenario files, for editors"),
}


def usage() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {what}" for name, (_, what) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: python -m loadtest COMMAND ...",
            "",
            *lines,
            "",
            "`python -m loadtest COMMAND --help` tells more.",
            "To run a scenario: locust -f loadtest/ --headless --scenario SCENARIO",
        ]
    )


def main(arguments: Sequence[str]) -> int:
    """Carry out a command line; gives the exit code."""
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(usage())
        return 0 if arguments else ExitCode.BAD_ARGUMENTS
    name, *rest = arguments
    if name not in COMMANDS:
        sys.stderr.write(f"no such command: {name!r}; there are {', '.join(COMMANDS)}\n")
        return ExitCode.BAD_ARGUMENTS
    code: int = import_module(COMMANDS[name][0]).main(rest)
    return code


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(ExitCode.INTERRUPTED)
