"""Classes of users in Python: their tasks and waits, and the lines that name their mistakes."""

from __future__ import annotations

from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from hs_drill.user_classes import (
    TAGS,
    WaitTime,
    between,
    constant,
    constant_pacing,
    constant_throughput,
    mistakes_in_file,
    poisson,
    tag,
    task,
    tasks_of,
)


def test_a_method_of_a_subclass_takes_the_place_of_the_task_of_its_base() -> None:
    class Base:
        @task
        async def kept(self) -> None: ...

        @task(3)
        async def replaced(self) -> None: ...

        @task
        async def dropped(self) -> None: ...

    class Derived(Base):
        @task(7)
        async def replaced(self) -> None: ...

        async def dropped(self) -> None: ...

        @task(2)
        async def added(self) -> None: ...

    found = tasks_of(Derived)
    assert {name: weight for name, (_, weight) in found.items()} == {"kept": 1, "replaced": 7, "added": 2}
    assert found["replaced"][0] is vars(Derived)["replaced"]


@pytest.mark.parametrize("weight", [0, -1, 1.5, True, "5"])
def test_a_weight_is_a_whole_number(weight: Any) -> None:
    with pytest.raises(ValueError, match=r"the weight of a task must be a whole number from 1 on, not "):
        task(weight)


@pytest.mark.parametrize(
    "make, arguments, told",
    [
        (between, (2, 1), "between needs seconds from 0 on, the lower number first, not 2 and 1"),
        (between, (-1, 1), "between needs seconds from 0 on"),
        (constant, (-1,), "constant needs a number of seconds from 0 on, not -1"),
        (constant_throughput, (0,), "constant_throughput needs a number of tasks a second above 0, not 0"),
        (constant_pacing, (0,), "constant_pacing needs a number of seconds above 0, not 0"),
        (poisson, (-1,), "poisson needs a number of tasks a second above 0, not -1"),
    ],
)
def test_a_wait_that_cannot_be_is_refused(make: Any, arguments: Any, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        make(*arguments)


def test_between_draws_from_the_users_own_random() -> None:
    user = SimpleNamespace(random=Random(1))
    rng = Random(1)
    assert [between(1, 2)(user) for _ in range(9)] == [1 + rng.random() for _ in range(9)]
    assert sum(poisson(50)(user) for _ in range(2000)) == pytest.approx(40, rel=0.1)


@pytest.mark.parametrize("wait", [constant_throughput(4), constant_pacing(0.25)])
def test_tasks_begin_at_equal_intervals_unless_one_takes_longer(wait: WaitTime) -> None:
    now = 10.0
    pace = SimpleNamespace(due=now, now=lambda: now)
    user = SimpleNamespace(_pace=pace)
    now += 0.1  # a task
    assert wait(user) == pytest.approx(0.15)
    now += 0.15 + 0.2
    assert wait(user) == pytest.approx(0.05)
    now += 0.05 + 3.0
    assert wait(user) == 0
    now += 0.2
    assert wait(user) == pytest.approx(0.05), "it does not catch up"


@pytest.mark.parametrize(
    "text, lines",
    [
        ("import os\nimport gevent\n", [2]),
        ("from gevent.pool import Group\n", [1]),
        ("def f():\n    import gevent.monkey as m\n", [2]),
        ("import geventhttpclient, locust\nfrom .gevent import x\n", []),
        ("import gevent.event, os, gevent\n", [1]),
        ("no Python", []),
    ],
)
def test_gevent_in_a_file_is_found(text: str, lines: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("shop.py").write_text(text)
    found = list(mistakes_in_file(str(tmp_path / "shop.py")))
    assert [line.partition(": imports gevent, ")[0] for line in found] == [f"shop.py:{line}" for line in lines]


BLOCKS = """\
import asyncio
import time as t
import urllib.request
from time import sleep
import requests, trio
from urllib import request
import mine.requests

async def task(self):
    await trio.to_thread.run_sync(requests.get, "http://127.0.0.1/")
    await trio.to_thread.run_sync(lambda: requests.get("http://127.0.0.1/"))
    def in_a_thread():
        sleep(1)
    mine.requests.get("x")
    self.requests.get("x")
    t.monotonic()
    await trio.sleep(1)
    # from here on it is wrong
    t.sleep(1)
    sleep(1)
    async with self.measure("x"):
        requests.get("http://127.0.0.1/").json()
    urllib.request.urlopen("http://127.0.0.1/")
    request.urlopen("http://127.0.0.1/")
    await asyncio.sleep(1)
    trio.run(task)

def sync():
    t.sleep(1)
    asyncio.run(task)
"""


def test_calls_that_block_are_found_in_async_functions_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("shop.py").write_text(BLOCKS)
    lines = BLOCKS.splitlines()
    first, last = lines.index("    # from here on it is wrong") + 2, lines.index("def sync():") - 1
    where = [*range(first, first + 2), *range(first + 3, last + 1)]
    found = list(mistakes_in_file(str(tmp_path / "shop.py")))
    assert [line.partition(": calls ")[0] for line in found] == [f"shop.py:{line}" for line in where], found
    assert found[0] == f"shop.py:{first}: calls time.sleep in an async function; it blocks all trio users: await `trio.sleep`"


def test_tags_are_those_that_locust_looks_for() -> None:
    @tag("a", "b")
    @task(2)
    async def tagged() -> None: ...

    assert vars(tagged)[TAGS] == {"a", "b"}
    tag("c")(tagged)
    assert vars(tagged)[TAGS] == {"a", "b", "c"}

    @tag("all")
    class Several:
        @tag("own")
        @task
        async def one(self) -> None: ...

        @task
        class Inner:
            @task
            async def two(self) -> None: ...

    (one, _), (inner, _) = tasks_of(Several).values()
    assert vars(one)[TAGS] == {"all", "own"}
    assert vars(vars(inner)["two"])[TAGS] == {"all"}
    for wrong in ((), (tagged,)):
        with pytest.raises(ValueError, match="tag needs names"):
            tag(*wrong)
