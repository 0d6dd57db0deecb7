"""Locust's users, which stand for users of the load engine: Locust counts them and divides them between their classes."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import locust
from gevent.event import AsyncResult
from locust import User

from hs_drill._shipped import locustfile, scenario_path
from hs_drill.scenario import Scenario, ScenarioError, require_mix
from hs_drill.user_classes import expanded, full_name, place_of

from ._child import ROOT
from ._engine_link import MIX, EngineLink

__all__ = [
    "HandlerSocketUser",
    "SequentialTaskSet",
    "StandIn",
    "TaskSet",
    "TrioUser",
    "check_users",
    "code_modules",
    "concrete",
    "mistake_in_weights",
    "names_of_code",
    "require_fitting",
]

U = TypeVar("U", bound=User)
FOREVER = 10 * 365 * 24 * 3600


def _in_the_engine(user: User) -> None:
    """Does nothing: see `hs_drill.engine`."""


class StandIn(User):
    """Stands for one user of the load engine, which carries the load in a process of its own. This greenlet only waits."""

    abstract = True
    engine: ClassVar[AsyncResult[EngineLink]] = AsyncResult()
    """Set when Locust fires `init`. A worker that joins a run may start users earlier, so they wait for it."""
    # Without a host the web UI asks for one. Ours come from the scenario.
    host = "the scenario's servers"

    file: ClassVar[str] = ""
    """The file that defines the class."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # Now, for Locust may load another file under the same name.
        cls.file = os.path.abspath(str(getattr(sys.modules.get(cls.__module__), "__file__", "")))

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        # On the object, for the class has those that the engine calls.
        self.tasks = [_in_the_engine]
        # Locust stops a waiting user at once, even with --stop-timeout; a working one it would let finish.
        own: dict[str, Any] = {"wait_time": lambda: FOREVER, "on_start": self._begin, "on_stop": self._end}
        vars(self).update(own)
        self._begun = False

    def _begin(self) -> None:
        self.engine.get().change_users(+1, self.users())
        self._begun = True

    def _end(self) -> None:
        if self._begun:
            self.engine.get().change_users(-1, self.users())

    @classmethod
    def users(cls) -> str:
        """Of which users of the engine it is one."""
        return full_name(cls)


class HandlerSocketUser(StandIn):
    """A user that executes the scenario's mix."""

    abstract = True
    tasks = [_in_the_engine]  # noqa: RUF012  (Locust's own). Locust warns of a class without any

    @classmethod
    def users(cls) -> str:
        return MIX


class TrioUser(StandIn):
    """A user that is Python code, in `hs_drill.engine`."""

    abstract = True

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.tasks = expanded(cls)  # Locust's own list has also what a subclass replaces, and not what is no user's


class TaskSet(locust.TaskSet):
    """Tasks of such a user. Locust removes those that its options leave out, and shows their shares."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.tasks = expanded(cls)


class SequentialTaskSet(TaskSet):
    """The same here."""


def concrete(base: type[U]) -> Iterator[type[U]]:
    """The subclasses of which Locust makes users."""
    for cls in base.__subclasses__():
        if not cls.abstract:
            yield cls
        yield from concrete(cls)


def names_of_code(classes: Iterable[type[User]]) -> list[str]:
    """The names of those that are Python code in the engine, for the verdict."""
    return sorted(cls.__name__ for cls in classes if issubclass(cls, TrioUser))


def code_modules() -> list[tuple[str, str]]:
    """The modules that the engine must load, by name and path: those that define users."""
    found = [(cls.__module__, cls.file) for base in (TrioUser, HandlerSocketUser) for cls in concrete(base)]
    return [module for module in dict.fromkeys(found) if Path(module[1]) != locustfile()]


def require_fitting(scenario: Scenario, name: str) -> None:
    """Raise `ScenarioError` if the users that Locust has loaded cannot run the scenario of this file."""
    if any(concrete(HandlerSocketUser)):
        require_mix(scenario, scenario_path(name))
    if (cls := next(concrete(TrioUser), None)) is None:
        return
    if scenario.load.open:
        waits = f"{cls.__name__} waits as its wait_time says: leave `load.rate` out, or run the mix alone"
        raise ScenarioError(f"{name}: load: a rate is for the scenario's mix, and {waits}")
    if scenario.driver.name == "sql":
        raise ScenarioError(f"{name}: driver: sql executes the scenario's mix, and {cls.__name__} has a HandlerSocket client")


def mistake_in_weights() -> str:
    """A line if no class could have users; "" otherwise. Locust ends with a traceback then."""
    ours = list(concrete(StandIn))
    if not ours or any(cls.weight > 0 or cls.fixed_count > 0 for cls in concrete(User)):
        return ""
    return f"{', '.join(sorted(cls.__name__ for cls in ours))}: nobody has a weight above 0, so there would be no users"


def _async_for_locust() -> Iterator[str]:
    """A line for each async task of a user of Locust's own, which Locust calls, but cannot execute."""
    for cls in concrete(User):
        for task in dict.fromkeys(cls.tasks if not issubclass(cls, StandIn) else ()):
            if inspect.iscoroutinefunction(task):
                why = "is async, so Locust's own users cannot execute it: make the class a TrioUser"
                yield f"{place_of(task)}: {cls.__name__}.{task.__name__} {why}"


def check_users(modules: list[tuple[str, str]]) -> str:
    """Load the files of users as the engine will. Returns a line for each mistake in them; "" if there is none."""
    if not modules:
        return ""
    if mistakes := "\n".join(_async_for_locust()):
        return mistakes
    search = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), str(ROOT)]))
    done = subprocess.run(
        [sys.executable, "-m", "hs_drill.engine", "--check", json.dumps(modules)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": search},
        start_new_session=True,  # Ctrl-C ends it by our end
        check=False,
    )
    if done.returncode == 0:
        return ""
    return done.stdout.strip() or f"the files of users could not be checked: exit code {done.returncode}"
