"""The servers' CPU time, by a handmade /proc."""

from __future__ import annotations

from pathlib import Path

from hs_drill._cluster import Cluster, Server
from hs_drill.servers._cpu_time import TICKS, CpuTime


class Processes:
    """Processes with threads, and a clock."""

    def __init__(self, proc: Path) -> None:
        self.proc, self.now = proc, 50.0

    def run(self, pid: int, waited: float | None = None, **seconds: float) -> None:
        """Thread (`t1`, `t2`) -> seconds of CPU time since its start, half of them in the kernel. `waited` is of each."""
        for thread, cpu in seconds.items():
            path = self.proc / str(pid) / "task" / thread.removeprefix("t")
            path.mkdir(parents=True, exist_ok=True)
            half = round(cpu * TICKS / 2)
            (path / "stat").write_text(f"{pid} (hand) of (it) S {' '.join(['7'] * 10)} {half} {half} {' '.join(['7'] * 30)}\n")
            if waited is not None:
                (path / "schedstat").write_text(f"{round(cpu * 1e9)} {round(waited * 1e9)} 7\n")


def cluster(kind: str = "mariadb", **pids: int | None) -> Cluster:
    servers = [Server(name.replace("_", "-"), "h", 1, 2, "", "", pid=pid) for name, pid in pids.items()]
    return Cluster(kind, "by hand", "1", tuple(servers))


def test_what_threads_took_and_waited_is_that_of_the_time_in_between(tmp_path: Path) -> None:
    processes = Processes(tmp_path)
    processes.run(11, waited=2, t11=100, t12=3)
    processes.run(22, t22=0)
    servers = cluster(writer=11, reader_1=22)
    cpu = CpuTime(servers, tmp_path, lambda: processes.now)
    processes.now += 20
    processes.run(11, waited=8, t11=105, t12=23)
    processes.run(11, waited=0, t13=1)
    assert cpu.until_now(servers) == {
        "writer": {"cores": 1.3, "thread": 1.0, "waited": 0.3},
        "reader-1": {"cores": 0.0, "thread": 0.0, "waited": 0.0},
    }


def test_a_server_that_did_not_run_all_the_time_is_left_out(tmp_path: Path) -> None:
    processes = Processes(tmp_path)
    for pid in (11, 22, 33):
        processes.run(pid, t1=1)
    before = cluster(writer=11, reader_1=22, reader_2=44, reader_3=None)
    cpu = CpuTime(before, tmp_path, lambda: processes.now)
    processes.now += 1
    after = cluster(writer=11, reader_1=33, reader_2=44, reader_3=None)
    assert list(cpu.until_now(after)) == ["writer"]


def test_of_servers_that_are_no_processes_of_this_machine_nothing_is_said(tmp_path: Path) -> None:
    processes = Processes(tmp_path)
    processes.run(11, t1=1)
    for kind in ("docker", "external"):
        elsewhere = cluster(kind, writer=11)
        assert CpuTime(elsewhere, tmp_path, lambda: processes.now).until_now(elsewhere) == {}
