"""Adds our options to `locust -f loadtest/ --help`, and lets Ctrl-C end Locust quietly while Python still imports.

Locust prints its help before it loads a locustfile, so the help lacks the options that a locustfile adds. Only two things run
earlier. Locust tries to import a package `locust_plugins`. And gevent, when Locust has it patch the standard library, calls the
entry points `gevent.plugins.monkey.did_patch_all`, of which we have one. If the command line asks for the help of our
locustfile, that entry point waits for the import of `locust_plugins`, and adds the options then.

If the command line names our locustfile at all, Ctrl-C ends the process at once, without a traceback. Nothing has been started
by then. Later the session takes Ctrl-C over (`in_locust/_session.py`).

gevent calls the entry point in every process of the environment that it patches. In a process that is not ours it does nothing
and imports nothing.
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

__all__ = ["did_patch_all"]

PACKAGE = Path(__file__).resolve().parent
FOLDER = PACKAGE.parent


def did_patch_all(_event: object) -> None:
    """The entry point: gevent has patched the standard library of this process."""
    locustfile = os.environ.get("LOCUST_LOCUSTFILE", "")
    if _asks_for_our_help(sys.argv, locustfile):
        sys.meta_path.insert(0, _PluginImportHook())
    if _runs_our_locustfile(sys.argv, locustfile) and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


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

            from hs_drill.in_locust._options import add_options

            events: Any = locust.events
            events.init_command_line_parser.add_listener(lambda parser, **_: add_options(parser))
        return None
