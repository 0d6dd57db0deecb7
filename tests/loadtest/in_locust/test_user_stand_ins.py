"""In Locust's process: classes that stand for users, and import nothing of trio."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

FILE = """\
from hs_drill.users import HandlerSocketUser, SequentialTaskSet, TaskSet, TrioUser, between, tag, task


class Mix(HandlerSocketUser):
    weight = 2


class Common:
    @task
    async def mixed_in(self): ...


class Base(TrioUser):
    abstract = True

    @tag("slow")
    @task(3)
    async def replaced(self): ...


class Shopper(Common, Base):
    wait_time = between(1, 2)

    async def on_start(self):
        raise AssertionError("not here")

    on_stop = on_start

    @tag("fast")
    @task(5)
    async def browse(self):
        raise AssertionError("not here")

    @tag("slow")
    @task(2)
    async def replaced(self): ...

    @task
    class Buy(SequentialTaskSet):
        @task
        async def choose(self): ...

        @tag("fast")
        @task
        async def pay(self): ...

        @task
        class Inner(TaskSet):
            @tag("slow")
            @task
            async def wait(self): ...
"""
CODE = """\
import gevent.monkey
gevent.monkey.patch_all()
import sys
import gevent, gevent.pool
from locust.util.load_locustfile import load_locustfile

classes, _ = load_locustfile({shop!r})
assert sorted(classes) == ["Mix", "Shopper"], classes  # what is imported is no class of its own
assert "trio" not in sys.modules
from hs_drill.in_locust import _user_stand_ins as stand_ins
load_locustfile({ours!r})
assert stand_ins.code_modules() == [("shop", {shop!r})], stand_ins.code_modules()
assert [len(classes[name].tasks) for name in ("Mix", "Shopper")] == [1, 9]

from types import SimpleNamespace
from hs_drill.in_locust._user_tasks import mistakes_in_selection, task_weights
from locust.user.task import filter_tasks_by_tags

Mix, Shopper = classes["Mix"], classes["Shopper"]
def told(cls, tags=None, without=None, equal=False):
    options = SimpleNamespace(tags=tags, exclude_tags=without, equal_weights=equal)
    return [line.partition(":")[0] for line in mistakes_in_selection(cls, options)]

assert told([Mix, Shopper]) == told([Shopper], ["fast"]) == told([Shopper], ["slow"], ["fast"]) == []
assert told([Mix, Shopper], None, ["slow"]) == []
assert told([Mix, Shopper], ["fast"]) == ["--tags cannot be used"]
assert told([Mix], None, ["fast"]) == ["--exclude-tags cannot be used"]
(line,) = told([Shopper], ["fast"], ["fast"])
assert line == "Shopper has no tasks that --tags, --exclude-tags or --config-users leave. Name the classes to run", line
assert told([Shopper], equal=True) == ["--equal-weights cannot be used"]

declared = {{
    "shop.Shopper": {{"mixed_in": 1, "browse": 5, "replaced": 2, "Buy": 1}},
    "shop.Shopper.Buy": {{"choose": 1, "pay": 1, "Inner": 1}},
    "shop.Shopper.Buy.Inner": {{"wait": 1}},
}}
assert task_weights([Mix, Shopper]) == declared, task_weights([Mix, Shopper])
filter_tasks_by_tags(Shopper, {{"fast"}}, None)
assert task_weights([Mix, Shopper]) == {{
    "shop.Shopper": {{"mixed_in": 0, "browse": 5, "replaced": 0, "Buy": 1}},
    "shop.Shopper.Buy": {{"choose": 0, "pay": 1, "Inner": 0}},
}}
from hs_drill.in_locust._load_options import load_options
from hs_drill.scenario import Load

def said(*cls, users=8, rate=100.0, events="batch", shape=None):
    options = SimpleNamespace(num_users=users, spawn_rate=rate, hs_events=events)
    found = SimpleNamespace(parsed_options=options, shape_class=shape, user_classes=list(cls))
    return load_options(found, Load(users=8, spawn_rate=100, duration=2))

assert said(Mix) == "none"
assert said(Mix, users=50, rate=2.5, events="each") == "--users 50; --spawn-rate 2.5; --hs-events each"
assert said(Mix, shape=SimpleNamespace()) == "shape SimpleNamespace"
Shopper.fixed_count = 3
assert said(Shopper, Mix).startswith("Mix weight 2; Shopper fixed_count 3; shop.Shopper: mixed_in 0, browse 5, ")
Shopper.fixed_count = 0
assert stand_ins.mistake_in_weights() == ""
for cls in stand_ins.concrete(stand_ins.StandIn):
    cls.weight = 0
told = "HandlerSocketUser, Mix, Shopper: nobody has a weight above 0, so there would be no users"
assert stand_ins.mistake_in_weights() == told
Shopper.fixed_count = 1
assert stand_ins.mistake_in_weights() == ""

class Engine:
    told = []
    def change_users(self, by, users):
        self.told.append((by, users))

stand_ins.StandIn.engine.set(Engine())
from locust.env import Environment
group = gevent.pool.Group()
users = [cls(Environment()) for cls in classes.values()]
for user in users:
    user.start(group)
gevent.sleep(0.01)
assert sorted(Engine.told) == [(1, ""), (1, "shop.Shopper")], Engine.told
assert all(user.stop() for user in users)  # they only wait, so that Locust ends them at once
group.join()
assert sorted(Engine.told) == [(-1, ""), (-1, "shop.Shopper"), (1, ""), (1, "shop.Shopper")], Engine.told

assert stand_ins.check_users([]) == ""
from locust import User, task
class Plain(User):
    @task(2)
    async def get(self): ...
(line,) = stand_ins.check_users([("shop", {shop!r})]).splitlines()
assert line.endswith(": Plain.get is async, so Locust's own users cannot execute it: make the class a TrioUser"), line

from hs_drill.scenario import ScenarioError, parse_scenario
for text, told in {refused!r}:
    try:
        stand_ins.require_fitting(parse_scenario(text, "s.yaml"), {scenario!r})
    except ScenarioError as error:
        assert str(error).endswith(told), error
    else:
        assert not told, told
print("done")
"""
REFUSED = [
    ("name: x\nmix: {get: 1}\n", ""),
    ("name: x\n", "`mix: {get: 70, insert: 30}`, or run only users that are Python code (TrioUser)"),
    ("name: x\nmix: {get: 1}\nload: {rate: 10}\n", "leave `load.rate` out, or run the mix alone"),
    ("name: x\nmix: {get: 1}\ndriver: sql\n", "executes the scenario's mix, and Shopper has a HandlerSocket client"),
]


@pytest.mark.process
def test_locusts_process_counts_users_and_runs_none_of_their_code(tmp_path: Path) -> None:
    shop, scenario = tmp_path / "shop.py", tmp_path / "s.yaml"
    shop.write_text(FILE)
    scenario.write_text("name: x\n")
    ours = Path(__file__).parents[3] / "loadtest/locustfile.py"
    code = CODE.format(shop=str(shop), ours=str(ours), refused=REFUSED, scenario=str(scenario))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
