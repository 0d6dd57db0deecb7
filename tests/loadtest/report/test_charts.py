"""The report's parts: slots of the charts, faults and marks, names of servers, markup."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from unittest.mock import AsyncMock

import pytest
import trio

import trio_hs
from hs_drill._cluster import Cluster, Server
from hs_drill.engine._bound_operations import BoundOperation, Intent
from hs_drill.engine._scribe import Scribe
from hs_drill.engine._server_names import connections_recorded, in_names, names_of_servers, server_of
from hs_drill.metrics import ALL, Batch, OperationBatch, TimeAxis, axis_of, series_of
from hs_drill.report._charts import Backdrop, draw_faults, draw_latency
from hs_drill.report._kept_run import FaultSeen, KeptRun, Mark, faults_seen, marks_seen
from hs_drill.report._markup import el, to_html
from hs_drill.store import Event, History, HistoryWriter, Operation
from hs_drill.verdict._judge_run import judge_run
from tests.loadtest.support.kept_runs import SECOND, HandMade
from tests.support.patience import patience
from trio_hs.testing import Table, open_server


def test_counts_are_shared_out_over_the_slots_of_a_batch() -> None:
    # Batches of 0.3 s in slots of 0.25 s: by their middles, every sixth slot would be empty.
    batches = [Batch(i * 0.3, (i + 1) * 0.3, {"get": OperationBatch(Counter({1000: 30}))}) for i in range(50)]
    axis = axis_of(0, 15, 0.3)
    assert axis.slot == 0.25
    series = series_of(batches, axis)
    assert series["get"].rate == pytest.approx([100.0] * 60)
    assert series[ALL].rate == pytest.approx([100.0] * 60)


def test_the_last_slot_may_be_cut_and_silence_is_a_gap() -> None:
    get = {"get": OperationBatch(Counter({1000: 9, 5000: 1}), Counter({7: 5}))}
    axis = TimeAxis(0, 4.5, 1)
    series = series_of([Batch(0, 1, get), Batch(3, 4, get), Batch(4, 4.5, get)], axis)["get"]
    assert axis.count == 5
    assert series.rate == pytest.approx([10, 0, 0, 10, 20])
    assert series.errors == pytest.approx([5, 0, 0, 5, 10])
    assert series.latency["p50"] == [1.0, None, None, 1.0, 1.0]
    assert series.latency["p99"] == [5.0, None, None, 5.0, 5.0]
    drawn = to_html(draw_latency(Backdrop(axis, [], []), series, "get"))
    path = re.search(r'class="line p50" d="([^"]*)"', drawn)
    assert path is not None
    assert path[1].count("M") == 2, "a line over the silence would say that something was measured"


@pytest.mark.parametrize("seconds, slot", [(2, 0.25), (60, 0.25), (61, 0.5), (121, 1), (600, 1), (601, 2), (86_400, 300)])
def test_a_chart_has_at_most_600_points(seconds: float, slot: float) -> None:
    axis = axis_of(0, seconds, 0.25)
    assert axis.slot == slot
    assert axis.count <= 600
    assert axis_of(0, 60, 1.01).slot == 1


def events(*described: tuple[float, str, str]) -> list[tuple[float, Event]]:
    return [(time, Event(round(time * SECOND), kind, name, {"number": 0})) for time, kind, name in described]


@pytest.mark.parametrize(
    "described, expected",
    [
        ([(1, "fault-started", "a")], [FaultSeen("a", 1)]),
        ([(1, "fault-started", "a"), (2, "fault-ended", "a")], [FaultSeen("a", 1, 2, 2)]),
        (
            [(1, "fault-started", "a"), (2, "fault-struck", "a"), (3, "fault-failed", "a")],
            [FaultSeen("a", 1, 2, None, error="for an unknown reason")],
        ),
        (
            [(1, "fault-started", "a"), (2, "fault-ended", "a"), (3, "fault-started", "a"), (4, "promotion", "b")],
            [FaultSeen("a", 1, 2, 2), FaultSeen("a", 3)],
        ),
        ([(1, "fault-ended", "a")], []),
    ],
)
def test_faults_out_of_events(described: Sequence[tuple[float, str, str]], expected: list[FaultSeen]) -> None:
    assert faults_seen(events(*described)) == expected


async def test_the_client_tells_of_its_connections(tmp_path: Path) -> None:
    table = Table("drill", "t", {"id": "BIGINT NOT NULL"}, primary_key=["id"])
    path = tmp_path / "h.bin"
    async with open_server([table]) as server:
        read, write = server.read_address, server.write_address
        cluster = Cluster("embedded", "", "", (Server("writer", read.host, read.port or 0, write.port or 0, "", ""),))
        names = names_of_servers(cluster)
        with HistoryWriter(path, worker=0) as history, connections_recorded(history, names):
            scribe, bound = Scribe(history, 1.0, names), BoundOperation(AsyncMock(), Operation.GET)
            async with trio_hs.open_manager([read], [write], connect=server.connect) as hs:
                await hs.get("drill", "t", ["id"], 1)
                with pytest.raises(trio_hs.IndexNotFoundError) as refused:
                    await hs.find("drill", "t", "=", ["id"], [1], "no-such-index")
                scribe.failed(bound, refused.value, Intent(), 0, 1, 0)
                server.crash()
                with pytest.raises(trio_hs.ConnectionError) as nobody, trio.fail_after(patience(5)):
                    await hs.insert("drill", "t", [("id", 1)])
                scribe.failed(bound, nobody.value, Intent(), 0, 1, 0)
    assert server_of(trio_hs.ConnectionError("lost", server="writer"), names) == "writer", "as the SQL client has it"
    assert server_of(trio_hs.ConnectionError("no server is usable"), names) == ""
    kept = History(path)
    assert [(record.error, record.server) for record in kept.records()] == [
        ("IndexNotFoundError", "writer"),
        ("ConnectionError", "writer"),  # the only one was not usable
    ]
    assert [(event.kind, event.name) for event in kept.events] == [
        ("connection-up", "writer"),
        ("connection-lost", "writer"),
    ]


@pytest.mark.parametrize(
    "message, expected",
    [
        ("ReadOnlyError: 127.0.0.1:9: incr t: no", "ReadOnlyError: standby: incr t: no"),
        ("127.0.0.1:9: cannot connect: refused", "standby: cannot connect: refused"),
        ("ConnectionError: 127.0.0.1:8: x: 127.0.0.1:9: y", "ConnectionError: 127.0.0.1:8: x: 127.0.0.1:9: y"),
        ("the row is not there", "the row is not there"),
        ("failover: reads go to h:1, 127.0.0.1:9, h:2", "failover: reads go to h:1, standby, h:2"),
        ("failover: writes go nowhere, and no longer to 127.0.0.1:9", "failover: writes go nowhere, and no longer to standby"),
    ],
)
def test_messages_name_servers_by_their_names(message: str, expected: str) -> None:
    assert in_names(message, {"127.0.0.1:9": "standby"}) == expected


def test_a_connection_counts_only_after_one_was_lost() -> None:
    up, lost = "connection-up", "connection-lost"
    seen = list(marks_seen(events((0.0, up, "a"), (1.0, lost, "a"), (2.0, up, "a"), (3.0, "fault-started", "a"))))
    assert [(mark.time, mark.kind) for mark in seen] == [(1.0, "connection-lost"), (2.0, "connection-up")]


def test_labels_stay_on_the_page() -> None:
    axis = TimeAxis(0, 20, 1)
    late = FaultSeen("kill reader-1", 18, 18.1, 20)
    whole = FaultSeen("stop-replication reader-2", 0, 0.1, 20)
    drawn = draw_faults(Backdrop(axis, [late, whole, late], [Mark(10, "promotion", "standby")]))
    assert drawn is not None
    labels = {label.text: label for label in drawn.iter("text") if label.get("class") == "label"}
    assert labels["kill reader-1, 2 times"].get("text-anchor") == "end"
    assert labels["promotion standby, 10.00 s"].get("text-anchor") is None
    assert float(labels["stop-replication reader-2, 0.00 s to 20.00 s"].get("x", "0")) < 100
    assert draw_faults(Backdrop(axis, [], [])) is None


def test_text_and_attributes_are_escaped_and_cleaned() -> None:
    made = to_html(el("p", "a<b", [el("i", "&"), "c\x00"], None, class_='"x"', data_x=1.25, hidden=None))
    assert made == '<!DOCTYPE html>\n<p class="&quot;x&quot;" data-x="1.2">a&lt;b<i>&amp;</i>c\N{REPLACEMENT CHARACTER}</p>\n'


def test_judging_draws_no_report(tmp_path: Path) -> None:
    directory = HandMade().keep(tmp_path)
    run = KeptRun.read(directory, judge_run(directory))
    assert run.exit_code == 0
    assert not directory.report.exists(), "judging draws nothing"
