"""Which effect of a command counts as seen, and which command is refused because it could change nothing: what servers answer
is written by hand."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest
import trio
import trio.testing

from hs_drill._cluster import ClusterError, Server
from hs_drill.servers import _effects
from hs_drill.servers._effects import EFFECTS, Effect
from hs_drill.servers._ports import Answer
from hs_drill.servers._writable import Source

WRITER = Server("writer", "db1", 9998, 9999, "", "", sql_port=3306)
READER = Server("reader-1", "db2", 9998, 0, "", "", sql_port=3306)


class Answers:
    """What the servers answer, by their names."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ports: dict[str, list[Answer]] = {"writer": ["answers"] * 3, "reader-1": ["answers"] * 2}
        self.not_writable: dict[str, str | ClusterError] = {"writer": "", "reader-1": "it is read-only (read_only is ON)"}
        self.read_only: dict[str, bool] = {"writer": False, "reader-1": True}
        self.sources: dict[str, list[Source]] = {"writer": [], "reader-1": [Source("db1:3306", "Yes", "Yes", 1)]}
        self.uptime = 100
        self.refuses = False
        for name in ("ask_ports", "why_not_writable", "takes_writes", "sources_of", "execute_sql", "refuses"):
            monkeypatch.setattr(_effects, name, getattr(self, f"_{name}"))

    async def _ask_ports(self, server: Server) -> dict[str, Answer]:
        await trio.lowlevel.checkpoint()
        return dict(zip(("SQL", "reads", "writes"), self.ports[server.name], strict=False))

    async def _why_not_writable(self, server: Server) -> str:
        await trio.lowlevel.checkpoint()
        answer = self.not_writable[server.name]
        if isinstance(answer, ClusterError):
            raise answer
        return answer

    async def _takes_writes(self, server: Server) -> bool:
        if await self._why_not_writable(server) == "down":
            raise ClusterError("down")
        return not self.read_only[server.name]

    async def _sources_of(self, server: Server) -> dict[str, Source]:
        await trio.lowlevel.checkpoint()
        return {str(number): source for number, source in enumerate(self.sources[server.name])}

    async def _execute_sql(self, server: Server, *statements: str) -> list[dict[str, str]]:
        assert statements == ("SHOW GLOBAL STATUS LIKE 'Uptime'",)
        await trio.lowlevel.checkpoint()
        return [{"Value": str(self.uptime)}]

    async def _refuses(self, server: Server) -> bool:
        await trio.lowlevel.checkpoint()
        return self.refuses


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Answers:
    return Answers(monkeypatch)


def of(fault: str, server: Server, primary: Server = WRITER) -> Effect:
    return EFFECTS[fault](server, primary)


async def refused(effect: Effect) -> str:
    with pytest.raises(ClusterError) as error:
        await effect.begin()
    return str(error.value)


@pytest.mark.parametrize("fault", ["kill", "stop"])
async def test_a_server_is_down_when_none_of_its_ports_answers_or_keeps_silent(fault: str, answers: Answers) -> None:
    effect = of(fault, WRITER)
    await effect.begin()
    assert "db1:3306 (SQL) answers" in await effect.unseen()
    answers.ports["writer"] = ["refuses", "answers", "refuses"]
    assert await effect.unseen() == "db1:9998 (reads) answers"
    answers.ports["writer"] = ["refuses", "refuses", "is silent"]
    assert await effect.unseen() == "db1:9999 (writes) is silent"
    answers.ports["writer"] = ["refuses", "is unreachable", "refuses"]
    assert await effect.unseen() == ""
    assert "is down already: db1:3306 (SQL) refuses" in await refused(effect)
    assert await effect.unhealed() != ""
    answers.ports["writer"] = ["answers", "answers", "refuses"]
    assert "db1:9999 (writes) refuses" in await effect.unhealed()
    answers.ports["writer"] = ["answers"] * 3
    assert await effect.unhealed() == ""


async def test_a_paused_server_may_be_killed(answers: Answers) -> None:
    answers.ports["writer"] = ["is silent"] * 3
    await of("kill", WRITER).begin()


@pytest.mark.parametrize(
    "ports, paused",
    [
        (["is silent", "is silent", "is silent"], True),
        (["is silent", "is unreachable", "is unreachable"], True),  # with a full backlog the kernel accepts none any more
        (["answers", "is silent", "is silent"], False),
        (["refuses", "is silent", "is silent"], False),
        (["is unreachable", "is unreachable", "is unreachable"], False),
    ],
)
async def test_a_server_is_paused_when_it_accepts_connections_and_answers_none(
    ports: list[Answer], paused: bool, answers: Answers
) -> None:
    effect = of("pause", WRITER)
    await effect.begin()
    assert await effect.unseen() != ""
    answers.ports["writer"] = ports
    assert (await effect.unseen() == "") is paused
    assert await effect.unhealed() != ""
    assert "does not answer before it is paused" in await refused(effect)
    answers.ports["writer"] = ["answers"] * 3
    assert await effect.unhealed() == ""


@pytest.mark.parametrize("fault", ["pause", "restart"])
async def test_a_busy_server_that_answers_late_may_be_paused_and_restarted(
    fault: str, answers: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = [["answers", "answers", "is silent"]] * 2

    async def ask_ports(server: Server) -> dict[str, Answer]:
        if late:
            answers.ports["writer"] = late.pop()  # type: ignore[assignment]
        else:
            answers.ports["writer"] = ["answers"] * 3
        return await answers._ask_ports(server)

    monkeypatch.setattr(_effects, "ask_ports", ask_ports)
    await of(fault, WRITER).begin()
    assert not late


@pytest.mark.parametrize("uptime, restarted", [(0, True), (108, True), (109, False), (110, False)])
async def test_a_server_has_restarted_when_it_is_up_for_less_time_than_has_passed(
    uptime: int, restarted: bool, answers: Answers, autojump_clock: trio.testing.MockClock
) -> None:
    effect = of("restart", WRITER)
    await effect.begin()
    await trio.sleep(10)
    answers.uptime = uptime
    seen = await effect.unseen()
    assert (seen == "") is restarted, seen
    answers.ports["writer"] = ["answers", "refuses", "answers"]
    assert "db1:9998 (reads) refuses" in await effect.unseen(), "it must answer again"


@pytest.mark.parametrize("sql_port", [3306, None])
async def test_a_server_has_restarted_when_it_refused_a_connection_in_between(
    sql_port: int | None, answers: Answers, autojump_clock: trio.testing.MockClock
) -> None:
    effect = of("restart", replace(WRITER, sql_port=sql_port))
    await effect.begin()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(effect.watch)
        await trio.sleep(1)
        answers.uptime += 1
        assert "has refused no connection" in await effect.unseen()
        answers.refuses = True
        await trio.sleep(1)
        answers.refuses = False
        answers.uptime += 1
        assert await effect.unseen() == ""


async def test_a_server_is_promoted_when_it_takes_writes_and_replicates_from_none(answers: Answers) -> None:
    effect = of("promote", READER)
    await effect.begin()
    assert await effect.unseen() == "reader-1 is not the primary: it is read-only (read_only is ON)"
    answers.not_writable["reader-1"] = ""
    assert await effect.unseen() == ""
    assert await refused(effect) == "reader-1 takes writes and replicates from no server already"
    without = of("promote", replace(READER, sql_port=None))
    assert await refused(without) == "whether it worked cannot be seen without the sql_port of reader-1"


async def test_a_switch_over_is_done_when_the_old_primary_takes_no_writes_any_more(answers: Answers) -> None:
    effect = of("switch-over", READER)
    await effect.begin()
    answers.not_writable["reader-1"] = ""
    assert await effect.unseen() == "writer still takes writes"
    answers.not_writable["writer"] = ClusterError("writer: SQL error 1040: too many connections")
    assert "1040" in await effect.unseen(), "it answers, so it may take writes"
    answers.ports["writer"] = ["refuses"] * 3
    assert await effect.unseen() == ""
    answers.ports["writer"] = ["answers"] * 3
    answers.not_writable["writer"] = "it is read-only (read_only is ON)"
    assert await effect.unseen() == ""
    assert await refused(of("switch-over", WRITER)) == "writer is the primary already"
    assert "sql_port of writer" in await refused(of("switch-over", READER, replace(WRITER, sql_port=None)))


def sources(*threads: tuple[str, str]) -> list[Source]:
    return [Source(f"db{number}:3306", io, sql) for number, (io, sql) in enumerate(threads, 1)]


@pytest.mark.parametrize(
    "read_only, replicates, rejoined",
    [
        (True, sources(("Yes", "Yes")), True),
        (False, sources(("Yes", "Yes")), False),
        (True, [], False),
        (True, sources(("Connecting", "Yes")), False),
        (True, sources(("Yes", "Yes"), ("Yes", "No")), False),
    ],
)
async def test_a_server_has_rejoined_when_it_is_read_only_and_both_threads_run(
    read_only: bool, replicates: Iterable[Source], rejoined: bool, answers: Answers
) -> None:
    effect = of("rejoin", WRITER, READER)
    await effect.begin()
    answers.read_only["writer"], answers.sources["writer"] = read_only, list(replicates)
    assert (await effect.unseen() == "") is rejoined
    if rejoined:
        assert await refused(effect) == "writer is read-only and replicates already"


async def test_a_server_that_is_down_may_rejoin(answers: Answers) -> None:
    answers.not_writable["writer"] = ClusterError("it is down")
    await of("rejoin", WRITER, READER).begin()


async def test_replication_has_stopped_when_one_thread_has(answers: Answers) -> None:
    effect = of("stop-replication", READER)
    await effect.begin()
    assert await effect.unseen() == "reader-1 still replicates"
    answers.sources["reader-1"] = sources(("Connecting", "Yes"))
    assert await effect.unseen() != "", "it may only have lost its connection"
    answers.sources["reader-1"] = sources(("No", "Yes"))
    assert await effect.unseen() == ""
    assert "does not replicate from db1:3306 (IO thread No, SQL thread Yes)" in await effect.unhealed()
    assert "before it is stopped" in await refused(effect)
    assert not await effect.moot()
    answers.not_writable["reader-1"] = ClusterError("it is down")
    assert not await effect.moot()
    answers.not_writable["reader-1"] = ""
    assert await effect.moot(), "it was promoted meanwhile"
    answers.sources["reader-1"] = sources(("Yes", "Yes"))
    assert await effect.unhealed() == ""
