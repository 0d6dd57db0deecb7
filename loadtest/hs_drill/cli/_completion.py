"""`hs-drill completion SHELL`: print the completion of commands and options for a shell, as shtab makes it.

bash: source <(hs-drill completion bash). zsh: hs-drill completion zsh >~/.zfunc/_hs-drill, with ~/.zfunc in fpath.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from importlib import import_module

import shtab

from . import COMMANDS

__all__ = ["main", "make_parser"]

FILES = {"SCENARIO": shtab.FILE, "FILE": shtab.FILE, "RUN": shtab.DIRECTORY, "DIR": shtab.DIRECTORY}
"""What completes an argument, by its name in the help."""


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("hs-drill completion", description=__doc__)
    parser.add_argument("shell", metavar="SHELL", choices=("bash", "zsh"), help="bash or zsh")
    return parser


def main(arguments: Sequence[str]) -> int:
    options = make_parser().parse_args(arguments)
    print(shtab.complete(_whole(), shell=options.shell))
    return 0


def _whole() -> argparse.ArgumentParser:
    """All commands in one parser."""
    whole = argparse.ArgumentParser("hs-drill")
    commands = whole.add_subparsers()
    for name, (module, what) in COMMANDS.items():
        parser: argparse.ArgumentParser = import_module(module).make_parser()
        _complete_files(parser._actions)
        commands.add_parser(name, help=what, parents=[parser], add_help=False)
    return whole


def _complete_files(actions: Iterable[argparse.Action]) -> None:
    for action in actions:
        if isinstance(action, argparse._SubParsersAction):
            for parser in action.choices.values():
                _complete_files(parser._actions)
        elif isinstance(action.metavar, str) and action.metavar in FILES:
            action.complete = FILES[action.metavar]  # type: ignore[attr-defined]
