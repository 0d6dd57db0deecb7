"""Our options in `locust -f loadtest/ --help`, and the end of `locust -f loadtest/` by a Ctrl-C while Python still imports.

Locust prints its help before it loads any locustfile, so options that a locustfile adds are not in it. The one thing that it
imports before is a package `locust_plugins`, if there is one; the one thing that runs code of ours before that is gevent,
which calls the entry points `gevent.plugins.monkey.did_patch_all` when Locust patches the standard library. So: there,
where the command line asks for the help of this locustfile, wait for that import, and add the options then. Where it names
this locustfile at all, a Ctrl-C ends the process at once, without the traceback of whatever was being imported, until our
session takes it (`in_locust/_session.py`): nothing has been started by then.

gevent calls this in every process of the environment that it patches: elsewhere it does nothing, and it imports nothing.
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
    """gevent has patched everything, in whatever process this is."""
    locustfile = os.environ.get("LOCUST_LOCUSTFILE", "")
    if _is_help_of_ours(sys.argv, locustfile):
        sys.meta_path.insert(0, _Waiting())
    if _is_locust_of_ours(sys.argv, locustfile) and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def _is_help_of_ours(argv: Sequence[str], locustfile: str) -> bool:
    return bool({"-h", "--help"} & set(argv)) and _is_locust_of_ours(argv, locustfile)


def _is_locust_of_ours(argv: Sequence[str], locustfile: str) -> bool:
    program = Path(argv[0]) if argv and argv[0] else Path()
    # `python -m locust` has "-m" there while it imports the package.
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


class _Waiting:
    """Finds nothing: it only notices that Locust is about to look for its plugins."""

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
