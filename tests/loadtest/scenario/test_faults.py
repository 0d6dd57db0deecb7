"""Which servers faults strike, and when they strike and heal: the schedule of a scenario, without servers."""

from __future__ import annotations

import math
import random
from itertools import islice
from typing import Any

import pytest

from hs_drill.scenario._faults import FAULTS, Fault
from hs_drill.scenario._model import Scenario
from hs_drill.scenario._reader import ScenarioError, parse_scenario
from hs_drill.scenario._targets import targets_of, to_be_promoted
from hs_drill.scenario._timeline import timeline

SERVERS = ["writer", "standby", "reader-1", "reader-2", "reader-3"]


def schedule(*faults: dict[str, Any], **cluster: Any) -> list[Fault]:
    cluster = {"readers": 3, "standby": True, **cluster}
    given = {"name": "x", "mix": {"get": 1}, "cluster": cluster, "load": {"duration": 1000.0}, "faults": list(faults)}
    return list(Scenario.model_validate(given).faults)


def moments(faults: list[Fault], duration: float) -> list[tuple[float, int, int, bool]]:
    return [(m.at, m.number, m.occurrence, m.heals) for m in timeline(faults, duration)]


@pytest.mark.parametrize(
    "faults, promoted",
    [
        ([], []),
        ([("kill", "reader-1"), ("rejoin", "reader-2")], []),
        ([("promote", "reader-2"), ("promote", "standby")], ["standby", "reader-2"]),
        ([("promote", "one reader")], ["reader-1", "reader-2", "reader-3"]),
        ([("switch-over", "reader-3")], ["reader-3"]),
    ],
)
def test_clients_know_which_servers_may_be_promoted(faults: list[tuple[str, str]], promoted: list[str]) -> None:
    planned = schedule(*({"fault": name, "target": target, "at": 1.0} for name, target in faults), replication="semisync")
    assert to_be_promoted(planned, SERVERS) == promoted


def test_a_fault_strikes_and_heals_once() -> None:
    faults = schedule({"fault": "kill", "target": "writer", "at": 2.0, "for": 3.0})
    assert moments(faults, 10) == [(2, 0, 0, False), (5, 0, 0, True)]


def test_without_for_it_lasts_until_the_end() -> None:
    faults = schedule({"fault": "kill", "target": "writer", "at": 2.0})
    assert moments(faults, 10) == [(2, 0, 0, False)]


@pytest.mark.parametrize(
    "fault, duration, count",
    [
        ("{fault: reset, target: reader-1, at: 1s, every: 1ms}", "20s", "19,000"),
        ("{fault: reset, target: reader-1, at: 0s, every: 1ms}", "168h", "604,800,000"),
        ("{fault: kill, target: reader-1, at: 0s, every: 1s, for: 500ms}", "5001s", "10,002"),
    ],
)
def test_a_run_has_a_limited_number_of_faults(fault: str, duration: str, count: str) -> None:
    once = "{fault: stop, target: writer, at: 1s}"
    text = f"name: x\nmix: {{get: 1}}\nload: {{duration: {duration}}}\nfaults:\n- {once}\n- {fault}"
    with pytest.raises(ScenarioError, match=f"s.yaml:6: faults.1.every: is too short: .*{count} starts and healings"):
        parse_scenario(text, "s.yaml")
    text = text.replace("1ms", "1s").replace("5001s", "4999s").replace("168h", "1h")
    assert parse_scenario(text, "s.yaml")


def test_moments_after_the_end_are_left_out() -> None:
    faults = schedule(
        {"fault": "kill", "target": "writer", "at": 10.0}, {"fault": "pause", "target": "writer", "at": 8.0, "for": 2.0}
    )
    assert moments(faults, 10) == [(8, 1, 0, False)]


def test_every_repeats_until_the_end() -> None:
    faults = schedule({"fault": "pause", "target": "reader-1", "at": 1.0, "for": 1.0, "every": 3.0})
    assert [(at, occurrence, heals) for at, _, occurrence, heals in moments(faults, 8)] == [
        (1, 0, False),
        (2, 0, True),
        (4, 1, False),
        (5, 1, True),
        (7, 2, False),
    ]


def test_an_endless_run_repeats_endlessly() -> None:
    """A run in the web UI goes on until it is stopped."""
    faults = schedule(
        {"fault": "restart", "target": "writer", "at": 1.0, "every": 10.0}, {"fault": "pause", "target": "writer", "at": 5.0}
    )
    assert [m.at for m in islice(timeline(faults, math.inf), 4)] == [1, 5, 11, 21]


def test_at_one_moment_healing_comes_first() -> None:
    faults = schedule(
        {"fault": "kill", "target": "reader-1", "at": 4.0, "for": 1.0},
        {"fault": "pause", "target": "reader-1", "at": 2.0, "for": 2.0},
    )
    assert [(m.number, m.heals) for m in timeline(faults, 10)] == [(1, False), (1, True), (0, False), (0, True)]


def test_targets() -> None:
    drawing = random.Random(1)

    def struck(target: str, primary: str = "writer", rng: random.Random = drawing) -> list[str]:
        (fault,) = schedule({"fault": "reset", "target": target, "at": 1.0})
        return targets_of(fault, SERVERS, primary, rng)

    assert struck("primary", "standby") == ["standby"]
    assert struck("writer", "standby") == ["writer"]
    assert struck("all readers") == ["reader-1", "reader-2", "reader-3"]
    assert struck("client->reader-2") == ["reader-2"]
    assert struck("client->primary", "standby") == ["standby"]
    drawn = {struck("client->one reader")[0] for _ in range(100)}
    assert drawn == {"reader-1", "reader-2", "reader-3"}, "drawn each time, and only from the readers"
    first, second = (struck("one reader", rng=random.Random(7)) for _ in range(2))
    assert first == second, "the same seed draws the same"


@pytest.mark.parametrize(
    "text, where, message",
    [
        ("{fault: kill, target: writer, at: 20s}", "faults.0.at", "must be less than the run (20 s)"),
        ("{fault: restart, target: writer, at: 1s, for: 2s}", "faults.0", "has nothing to heal: leave `for` out"),
        ("{fault: pause, target: writer, at: 1s, for: 2s, every: 2s}", "faults.0", "needs a `for` shorter than `every`"),
        ("{fault: pause, target: writer, at: 1s, every: 2s}", "faults.0", "needs a `for` shorter than `every`"),
        ("{fault: promote, target: standby, at: 1s}", "faults.0.target", "for a standby say cluster.standby: true"),
        ("{fault: kill, target: reader-4, at: 1s}", "faults.0.target", "cluster.readers is 2"),
        ("{fault: promote, target: all readers, at: 1s}", "faults.0.target", "there is one primary"),
        ("{fault: switch-over, target: all readers, at: 1s, suspend: true}", "faults.0.target", "there is one primary"),
        ("{fault: kil, target: writer, at: 1s}", "faults.0.fault", "did you mean kill?"),
        ("{fault: switch-over, target: reader-1, at: 1s}", "faults.0.fault", "needs cluster.replication: semisync"),
        ("{fault: switch-over, target: reader-1, at: 1s, suspend: 1}", "faults.0.suspend", "must be true or false"),
        ("{fault: kill, target: client->reader-1, at: 1s}", "faults.0.target", "say 'reader-1'"),
        ("{fault: partition, target: client->reader-4, at: 1s}", "faults.0.target", "cluster.readers is 2"),
        ("{fault: partition, target: writer->reader-1, at: 1s}", "faults.0.target", "not 'writer->reader-1'"),
        ("{fault: kill, target: writer, at: 1s, form: 2s}", "faults.0.form", "did you mean for?"),
        ("{fault: kill, target: writer, at: 1s, drain: true}", "faults.0.drain", "unknown key"),
        ("{fault: stop, target: writer, at: 1s, drain: 2}", "faults.0.drain", "must be true or false"),
        ("{fault: restart, target: writer, at: 1s, drain: true}\ndriver: sql", "faults.0.drain", "leave it out"),
    ],
)
def test_a_mistake_in_a_fault_is_reported_with_its_place(text: str, where: str, message: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        parse_scenario(f"name: x\nmix: {{get: 1}}\nfaults:\n  - {text}\n", "x.yaml")
    assert str(caught.value).startswith(f"x.yaml:4: {where}"), str(caught.value)
    assert message in str(caught.value)


def test_all_readers_may_be_promoted_if_there_is_only_one() -> None:
    fault = "{fault: promote, target: all readers, at: 1s}"
    parse_scenario(f"name: x\ncluster: {{readers: 1}}\nmix: {{get: 1}}\nfaults: [{fault}]\n", "x.yaml")


@pytest.mark.parametrize(
    "one, other, where, after",
    [
        ("{fault: kill, target: writer, at: 1s}", "{fault: kill, target: primary, at: 3s}", 1, 3),
        (
            "{fault: lag, target: all readers, at: 5s, seconds: 1}",
            "{fault: lag, target: reader-2, at: 4s, for: 2s, seconds: 2}",
            0,
            5,
        ),
        (
            "{fault: pause, target: reader-1, at: 1s, for: 1s, every: 3s}",
            "{fault: pause, target: reader-1, at: 9s, for: 2s}",
            0,
            10,
        ),
    ],
)
def test_a_fault_that_is_already_on_is_reported_with_its_place(one: str, other: str, where: int, after: float) -> None:
    with pytest.raises(ScenarioError) as caught:
        parse_scenario(f"name: x\nmix: {{get: 1}}\nfaults:\n  - {one}\n  - {other}\n", "x.yaml")
    message = str(caught.value)
    assert message.startswith(f"x.yaml:{4 + where}: faults.{where}.at: faults.{1 - where} already has "), message
    assert f" on the same server, {after} s after the start: let one heal before the other strikes" in message
    parse_scenario(f"name: x\nmix: {{get: 1}}\nfaults:\n  - {one}\n  - {other}\n", "x.yaml", kept=True)


@pytest.mark.parametrize(
    "faults",
    [
        "{fault: latency, target: reader-1, at: 1s, delay: 1s}\n  - {fault: latency, target: reader-1, at: 2s, delay: 1s}",
        "{fault: pause, target: reader-1, at: 1s, for: 1s}\n  - {fault: pause, target: reader-1, at: 2s}",  # heals first
        "{fault: pause, target: reader-1, at: 1s}\n  - {fault: pause, target: reader-2, at: 2s}",
        "{fault: pause, target: one reader, at: 1s}\n  - {fault: pause, target: reader-2, at: 2s}",
        "{fault: row-lock, target: writer, at: 1s, key: 1}\n  - {fault: row-lock, target: writer, at: 2s, key: 2}",
        # The promotion or the rejoin may end the first one.
        "{fault: kill, target: writer, at: 1s}\n  - {fault: promote, target: reader-1, at: 2s}\n"
        "  - {fault: rejoin, target: writer, at: 3s}\n  - {fault: kill, target: writer, at: 9s}",
    ],
)
def test_faults_that_do_not_exclude_each_other_are_accepted(faults: str) -> None:
    parse_scenario(f"name: x\nmix: {{get: 1}}\nfaults:\n  - {faults}\n", "x.yaml")


def test_replication_faults_need_replication() -> None:
    text = "name: x\nmix: {get: 1}\ncluster: {replication: none}\nfaults:\n  - {fault: promote, target: reader-1, at: 1s}\n"
    with pytest.raises(ScenarioError, match="promote needs servers that replicate"):
        parse_scenario(text, "x.yaml")


def test_every_kind_of_fault_has_a_name_and_says_whether_it_lasts() -> None:
    assert len(FAULTS) >= 20
    at_once = {name for name, kind in FAULTS.items() if not kind.lasts}
    assert at_once == {"restart", "promote", "rejoin", "switch-over", "alter-table", "reset"}
    assert {name for name, kind in FAULTS.items() if kind.needs_mariadb} == {
        "writer-lock",
        "row-lock",
        "alter-table",
        "stop-listener",
    }
