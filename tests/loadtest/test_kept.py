"""Kept runs: a directory of their own, nothing secret in it, and readable whatever became of the run."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadtest._cluster import Cluster, Server
from loadtest._final import write_final_state
from loadtest._history import HistoryWriter
from loadtest._kept import CONTROLLER, KeptRun


def test_each_run_has_a_directory_of_its_own_named_after_its_scenario(tmp_path: Path) -> None:
    root = tmp_path / "runs"
    assert KeptRun.all(root) == []
    runs = [KeptRun.create("../Reader failover: ö/2", root) for _ in range(3)]
    assert len({run.path for run in runs}) == 3
    assert all(run.path.parent == root and "-Reader-failover-2" in run.path.name for run in runs)
    (root / "notes").mkdir()
    assert [run.path for run in KeptRun.all(root)] == sorted(run.path for run in runs)


@pytest.mark.parametrize("name", ["...", "/", "ö"])
def test_a_name_without_plain_letters_is_a_run(tmp_path: Path, name: str) -> None:
    assert KeptRun.create(name, tmp_path).path.name.endswith("-run")


def test_no_secret_is_kept(tmp_path: Path) -> None:
    server = Server("writer", "127.0.0.1", 1, 2, "hush-r", "hush-w", admin_password="hush-a")
    cluster = Cluster("mariadb", "", "11", (server,), admin_password="hush-b", replication_password="hush-c")
    run = KeptRun.create("x", tmp_path)
    run.write_cluster(cluster.to_dict())
    text = (run.path / "cluster.json").read_text()
    assert "hush" not in text
    assert run.read_json("cluster.json")["servers"][0]["read_port"] == 1


def test_what_is_kept_is_found_again(tmp_path: Path) -> None:
    run = KeptRun.create("x", tmp_path)
    for worker in (0, 11, CONTROLLER):
        HistoryWriter(run.history_path(worker), worker=worker).close()
    run.history_path(7).write_bytes(b"torn")
    write_final_state(run.final_path("writer"), [(1, 0, 0)])
    run.final_path("reader-1").write_bytes(b"")
    histories, unreadable = run.histories()
    assert {history.header.worker for history in histories} == {0, 11, CONTROLLER}
    assert len(unreadable) == 1
    assert "history-7.bin: is no history" in unreadable[0]
    assert {name: list(state) for name, state in run.final_states().items()} == {"writer": [(1, 0, 0)]}
    run.write_scenario("name: x\n")
    run.write_json("result.json", {"exit_code": 0})
    assert run.read_json("result.json") == {"exit_code": 0}
    assert not list(run.path.glob(".*"))
