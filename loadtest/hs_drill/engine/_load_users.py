"""Loads the files of users in Python into the engine, where gevent has patched nothing, and finds the mistakes in them."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Iterator, Sequence
from importlib.machinery import SourceFileLoader
from pathlib import Path

from hs_drill._trio_child import one_line
from hs_drill.user_classes import full_name, mistakes_in_class, mistakes_in_file, place_of, shown_path, tasks_of

from ._task_sets import TaskSet
from ._trio_user import HandlerSocketUser, TrioUser, concrete
from ._user_results import UserFiles

__all__ = ["UserCodeError", "load_users"]


class UserCodeError(Exception):
    """The users' code has mistakes; `str()` is a line for each."""


def load_users(modules: Sequence[tuple[str, str]]) -> dict[str, type[TrioUser]]:
    """Load modules, each by its name and path in Locust's process. Returns their classes of trio users, by `full_name`.

    Raises `UserCodeError`.
    """
    # A file that imports Locust, for users of its own, must not have it patch this process.
    os.environ["LOCUST_SKIP_MONKEY_PATCH"] = "1"
    mistakes = [line for _, path in modules for line in mistakes_in_file(path)]
    if mistakes:
        raise UserCodeError("\n".join(mistakes))
    for name, path in modules:
        _load(name, path)
        _require_unpatched(path)
    names = {name for name, _ in modules}
    classes = [cls for cls in dict.fromkeys(concrete(TrioUser)) if cls.__module__ in names]
    mistakes = [line for cls in classes for line in mistakes_in_class(cls, TrioUser, TaskSet)]
    mistakes += [line for cls in concrete(HandlerSocketUser) if cls.__module__ in names for line in _mistakes_in_mix(cls)]
    if mistakes:
        raise UserCodeError("\n".join(sorted(mistakes, key=_place_in)))
    return {full_name(cls): cls for cls in classes}


def _place_in(mistake: str) -> tuple[str, int]:
    file, line, *_ = [*mistake.split(":"), ""]
    return file, int(line) if line.isdecimal() else 0


def _load(name: str, path: str) -> None:
    """As Locust loads a file: its folder and the current one can be imported from."""
    folder = Path(path).resolve().parents[name.count(".")]
    for one in (os.getcwd(), str(folder)):
        if one not in sys.path:
            sys.path.insert(0, one)
    loaded = sys.modules.get(name)
    if loaded is not None and os.path.realpath(getattr(loaded, "__file__", None) or "") == os.path.realpath(path):
        return  # another one has imported it
    if loaded is not None or name in sys.stdlib_module_names:
        raise UserCodeError(f"{shown_path(path)}: Python has a module named {name} already: give the file another name")
    try:
        if "." in name:
            importlib.import_module(name)
            return
        spec = importlib.util.spec_from_file_location(name, path, loader=SourceFileLoader(name, path))
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        place = UserFiles([path]).place(error.__traceback__) or shown_path(path)
        raise UserCodeError(f"{place}: {type(error).__name__}: {one_line(str(error))} (in the load engine)") from error


def _require_unpatched(path: str) -> None:
    monkey = sys.modules.get("gevent.monkey")
    if monkey is not None and (monkey.is_module_patched("socket") or monkey.is_module_patched("time")):
        raise UserCodeError(
            f"{shown_path(path)}: something that it imports has gevent patch the process, in which trio cannot run"
        )


def _mistakes_in_mix(cls: type[HandlerSocketUser]) -> Iterator[str]:
    methods = [name for name in ("on_start", "on_stop", "wait_time") if inspect.getattr_static(cls, name, None) is not None]
    for name in (*tasks_of(cls), *methods):
        thing = inspect.getattr_static(cls, name)
        where = place_of(thing if getattr(thing, "__module__", "") == cls.__module__ else cls)
        why = "a HandlerSocketUser executes the scenario's mix as its load says, and nothing else: make it a TrioUser"
        yield f"{where}: {cls.__name__}.{name}: {why}"
