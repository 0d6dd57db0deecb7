"""The engine's check of users' files: a line for each mistake, with the file and line of the user; and what it loads."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

IMPORTS = "from hs_drill.users import HandlerSocketUser, SequentialTaskSet, TaskSet, TrioUser, constant, task\n\n\n"
MISTAKES = f"""{IMPORTS}class NoTasks(TrioUser):
    pass


class Base(TrioUser):
    abstract = True


class Sync(Base):
    wait_time = 3

    def __init__(self):
        pass

    def on_start(self):
        pass

    @task
    def browse(self):
        pass

    @task(3)
    async def more(self, x):
        pass

    @task
    class Nested:
        pass

    @task
    class Buy(SequentialTaskSet):
        wait_time = 5

        @task
        def pay(self):
            pass

        @task
        class Empty(TaskSet):
            def on_stop(self):
                pass


class Listed(TrioUser):
    tasks = [print]

    async def wait_time(self):
        return 1


class Odd(Listed):
    weight = "heavy"
    fixed_count: int = -1
    tasks = []
    user = "bob"

    @task
    @staticmethod
    async def static():
        pass

    @task
    async def gives(self):
        yield 1

    @task
    async def hs(self):
        pass


class Mix(HandlerSocketUser):
    wait_time = constant(1)

    @task
    async def a(self): ...
"""
MIX = "a HandlerSocketUser executes the scenario's mix as its load says, and nothing else: make it a TrioUser"
TOLD = f"""\
shop.py:4: NoTasks has no tasks: mark an async method with @task, or say `abstract = True`
shop.py:13: Sync.wait_time must be such as constant(1), not 3
shop.py:15: Sync.__init__: prepare it in `async def on_start(self)`
shop.py:18: Sync.on_start must be async: write `async def on_start(self)`
shop.py:21: Sync.browse: a task must be async: write `async def browse(self)`
shop.py:25: Sync.more: a task is called with nothing but self: write `async def more(self)`
shop.py:29: Sync.Nested: a class is no task, unless it is a TaskSet or SequentialTaskSet of hs_drill.users
shop.py:35: Sync.Buy.wait_time must be such as constant(1), not 5
shop.py:37: Sync.Buy.pay: a task must be async: write `async def pay(self)`
shop.py:41: Sync.Buy.Empty has no tasks: mark an async method with @task
shop.py:43: Sync.Buy.Empty.on_stop must be async: write `async def on_stop(self)`
shop.py:48: Listed.tasks: mark async methods and task sets with @task instead of listing them
shop.py:50: Listed.wait_time must not be async: it returns the seconds to wait
shop.py:50: Odd.wait_time must not be async: it returns the seconds to wait
shop.py:55: Odd.weight must be a number from 0 on, not 'heavy'
shop.py:56: Odd.fixed_count must be a whole number from 0 on, not -1
shop.py:58: Odd.user: every user has self.user already: choose another name
shop.py:60: Odd.static: a task must be async: write `async def static(self)`, without @staticmethod
shop.py:65: Odd.gives: a task must be async: write `async def gives(self)`, without `yield`
shop.py:69: Odd.hs: every user has self.hs already: choose another name
shop.py:74: Mix.wait_time: {MIX}
shop.py:77: Mix.a: {MIX}
"""
GOOD = f"""{IMPORTS}from common import Kept, Shopper as Base
from locust import HttpUser, constant as locusts_constant, task as locusts_task
import sys


class Web(HttpUser):
    wait_time = locusts_constant(1)

    @locusts_task
    def home(self):
        self.client.get("/")


class Shopper(Base):
    pass


print("loaded", "gevent.monkey" in sys.modules, file=sys.stdout)
import gevent_is_not_patched
"""


def check(folder: Path, *names: str) -> tuple[int, str]:
    modules = [(name, str(folder / f"{name}.py")) for name in names]
    command = [sys.executable, "-m", "hs_drill.engine", "--check", json.dumps(modules)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout


@pytest.mark.process
def test_every_mistake_has_its_line(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(MISTAKES)
    assert check(tmp_path, "shop") == (1, TOLD)
    (tmp_path / "shop.py").write_text(f"{MISTAKES}import gevent\n")
    code, told = check(tmp_path, "shop")
    assert (code, told.partition(",")[0]) == (1, "shop.py:79: imports gevent"), "before it is loaded"


@pytest.mark.process
def test_a_file_is_loaded_beside_locusts_users_and_unpatched(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(GOOD)
    common = "class Kept: ...\n\n\nclass Shopper(TrioUser):\n    @task\n    async def one(self): ...\n"
    (tmp_path / "common.py").write_text(IMPORTS + common)
    unpatched = "import gevent.monkey\nassert not gevent.monkey.is_module_patched('socket'), 'patched'\n"
    (tmp_path / "gevent_is_not_patched.py").write_text(unpatched)
    assert check(tmp_path, "common", "shop") == (0, ""), "what a file prints is no mistake"
    (tmp_path / "gevent_is_not_patched.py").write_text("import gevent.monkey\ngevent.monkey.patch_all()\n")
    patched = "shop.py: something that it imports has gevent patch the process, in which trio cannot run\n"
    assert check(tmp_path, "common", "shop") == (1, patched)


@pytest.mark.process
@pytest.mark.parametrize("name", ["trio", "queue"])
def test_a_file_with_the_name_of_a_module_of_pythons_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / f"{name}.py").write_text("")
    modules = json.dumps([(name, str(tmp_path / f"{name}.py"))])
    # From elsewhere: in its own folder the file would be in the way of all that Python imports.
    done = subprocess.run(
        [sys.executable, "-m", "hs_drill.engine", "--check", modules],
        cwd=tmp_path.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    told = f"{tmp_path.name}/{name}.py: Python has a module named {name} already: give the file another name\n"
    assert (done.returncode, done.stdout) == (1, told)


@pytest.mark.process
def test_an_import_that_fails_in_the_engine_is_told_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(f"{IMPORTS}import common\n")
    (tmp_path / "common.py").write_text("def f():\n    return 1 / 0\n\n\nf()\n")
    assert check(tmp_path, "shop") == (1, "common.py:2: ZeroDivisionError: division by zero (in the load engine)\n")
