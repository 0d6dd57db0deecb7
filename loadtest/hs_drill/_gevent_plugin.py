"""Adds our options to `locust -f loadtest/ --help`, and lets Ctrl-C end Locust quietly while it still imports.

Locust prints its help before it loads a locustfile, so the help lacks the options that a locustfile adds. Only two things run
earlier. Locust tries to import a package `locust_plugins`. And gevent, when Locust has it patch the standard library, calls
entry points before and after, `will_patch_all` and `did_patch_all`, of which we have one each.

- Before: if the command line names our locustfile, Ctrl-C from now on ends the process at once, without a traceback. Nothing
  has been started by then. Later the session takes Ctrl-C over (`in_locust/_session.py`). This is the first moment at which
  code of ours runs.
- After: if the command line asks for the help of our locustfile, wait for the import of `locust_plugins`, and add the options
  then.

gevent calls the entry points in every process of the environment that it patches. In a process that is not ours they do nothing
and import nothing.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

__all__ = ["did_patch_all", "will_patch_all"]

PACKAGE = Path(__file__).resolve().parent
FOLDER = PACKAGE.parent


def will_patch_all(_event: object) -> None:
    """The entry point: gevent is about to patch the standard library of this process."""
    ours = _runs_our_locustfile(sys.argv, os.environ.get("LOCUST_LOCUSTFILE", ""))
    if ours and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def did_patch_all(_event: object) -> None:
    """The entry point: gevent has patched the standard library of this process."""
    if _asks_for_our_help(sys.argv, os.environ.get("LOCUST_LOCUSTFILE", "")):
        sys.meta_path.insert(0, _PluginImportHook())


def _asks_for_our_help(argv: Sequence[str], locustfile: str) -> bool:
    return bool({"-h", "--help"} & set(argv)) and _runs_our_locustfile(argv, locustfile)


def _runs_our_locustfile(argv: Sequence[str], locustfile: str) -> bool:
    program = Path(argv[0]) if argv and argv[0] else Path()
    # While `python -m locust` imports the package, argv[0] is "-m".
    if program.stem != "locust" and str(program) != "-m":
        return False
    for index, word in enumerate(argv):
        if word in ("-f", "--locustfile"):
            locustfile = argv[index + 1] if index + 1 < len(argv) else ""
        elif word.startswith("--locustfile="):
            locustfile = word.partition("=")[2]
        elif word.startswith("-f"):
            locustfile = word[2:].removeprefix("=")
    return any(_is_ours(Path(part.strip())) for part in locustfile.split(",") if part.strip())


def _is_ours(path: Path) -> bool:
    try:
        # In a clone the locustfile lies beside the package, in a wheel inside it.
        return path.resolve() in (FOLDER, FOLDER / "locustfile.py", PACKAGE / "locustfile.py")
    except (OSError, ValueError):
        return False


class _PluginImportHook:
    """An import hook that finds nothing. It adds our options when Locust is about to import its plugins."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname == "locust_plugins":
            sys.meta_path.remove(self)
            import locust

            from hs_drill._exit_codes import report_missing_package, report_other_system

            if code := report_other_system("our part of this help"):
                sys.exit(code)
            try:
                from hs_drill.in_locust._options import add_options
            except ModuleNotFoundError as error:
                sys.exit(report_missing_package("our part of this help", error))
            events: Any = locust.events
            events.init_command_line_parser.add_listener(lambda parser, **_: add_options(parser))
        return None
