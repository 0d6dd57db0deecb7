"""Measure what the audit of a long run takes: seconds, memory and disk. `./dev bench audit`

Generates the histories and the final state of a run, audits them on all cores, and checks that every check is true. Writes
`audit.md`. Exit code 1: a check was not true, or the claim does not hold.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks._generated_run import generate
from benchmarks.memory import MIB, descendants
from hs_drill.audit import Audit, Validity, audit

ROOT = Path(__file__).resolve().parent.parent
LIMIT = 5.0
"""Microseconds per operation: a tenth of the time that a run takes at 20,000 operations per second."""
LOOK_SECONDS = 0.1


@dataclass
class Peaks:
    """The most that was used at one time."""

    memory: int = 0
    """Bytes of all processes together; what they share counts once for each."""
    disk: int = 0
    """Bytes of the audit's temporary file."""
    processes: int = 1

    def look(self, folder: Path) -> None:
        pids = [os.getpid(), *descendants(os.getpid())]
        self.memory = max(self.memory, sum(map(_resident, pids)))
        self.processes = max(self.processes, len(pids))
        self.disk = max(self.disk, _unlinked(folder))


@dataclass(frozen=True)
class Measured:
    """One audit."""

    operations: int
    history: int
    """Bytes of the histories and the final state."""
    seconds: float
    cpu: float
    """Seconds of all processes together."""
    peaks: Peaks

    @property
    def each(self) -> float:
        """Microseconds per operation."""
        return self.seconds / self.operations * 1e6


def measure(operations: int, processes: int | None, where: Path | None) -> Measured:
    """Raises `AssertionError` if the audit finds something."""
    workers = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory(prefix="trio-hs-bench-", dir=where) as directory:
        folder, began = Path(directory), time.monotonic()
        histories, final, loaded = generate(folder, operations, workers)
        size = sum(file.stat().st_size for file in folder.iterdir())
        say(f"{operations:,} operations generated in {time.monotonic() - began:.0f} s")
        with _watched(folder) as peaks:
            began, used = time.monotonic(), _cpu()
            found = audit(
                histories,
                final,
                loaded=loaded,
                processes=processes,
                report=lambda line: print(line, file=sys.stderr),
            )
            seconds, cpu = time.monotonic() - began, _cpu() - used
    require_right(found)
    return Measured(operations // workers * workers, size, seconds, cpu, peaks)


def say(line: str) -> None:
    print(line, file=sys.stderr)


def require_right(found: Audit) -> None:
    """Raises `AssertionError` unless everything but the replicas, of which there are none, was checked and is right."""
    wrong = [check for name, check in found.checks.items() if check.verdict is not Validity.TRUE and name != "replicas"]
    assert not wrong, "; ".join(f"{check.name} is {check.verdict.value}: {check.explanation}" for check in wrong)


@contextmanager
def _watched(folder: Path) -> Iterator[Peaks]:
    peaks, ended = Peaks(), threading.Event()

    def watch() -> None:
        while not ended.wait(LOOK_SECONDS):
            peaks.look(folder)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peaks
    finally:
        ended.set()
        thread.join()


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0  # the process has just ended


def _unlinked(folder: Path) -> int:
    """Bytes of the files in the folder that this process has open and that have no name any more."""
    size = 0
    for link in Path("/proc/self/fd").iterdir():
        try:
            if os.readlink(link).startswith(f"{folder}/") and not os.path.exists(os.readlink(link)):
                size += link.stat().st_size
        except OSError:
            continue
    return size


def _cpu() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


ABOUT = """
Generated histories of one server without a fault, with one worker of 64 users for each core. Of 100 operations 40 are reads,
all of the primary, 20 updates, 20 inserts, 15 increments and 5 deletes.

*Operations* are those that the histories hold: all writes, and of a run's reads the share that its scenario says (a tenth if it
says nothing). *Memory* is that of all processes together; what they share counts once for each. *Kept* are the histories and
the final state, *temporary* is the audit's own file. Where the load average is not near 0, other programs took the cores for
part of the seconds; what the audit itself needs is the CPU time.

| operations | processes | seconds | µs each | CPU, µs each | memory, MiB | kept, MB | temporary, MB |
| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
"""


def report(measured: Sequence[Measured]) -> str:
    """In Markdown."""
    load = ", ".join(f"{one:.2f}" for one in _LOAD)
    system = (
        f"{platform.system()} {platform.release()}; Python {platform.python_version()}; {len(os.sched_getaffinity(0))} cores"
    )
    text = "# What the audit of a long run takes\n\n"
    text += f"`./dev bench audit`, {time.strftime('%Y-%m-%dT%H:%M:%S%z')}. {system}. Load average before the run: {load}.\n"
    text += ABOUT
    for one in measured:
        cells = [
            f"{one.operations:,}",
            f"{one.peaks.processes}",
            f"{one.seconds:,.1f}",
            f"{one.each:.2f}",
            f"{one.cpu / one.operations * 1e6:.2f}",
            f"{one.peaks.memory / MIB:,.0f}",
            f"{one.history / 1e6:,.0f}",
            f"{one.peaks.disk / 1e6:,.0f}",
        ]
        text += f"| {' | '.join(cells)} |\n"
    longest = max(measured, key=lambda one: one.operations)
    holds = "holds" if longest.each <= LIMIT else "does not hold"
    text += f"\nThe claim: at most {LIMIT:g} µs for each operation, a tenth of the time of a run that does 20,000 per second.\n"
    return f"{text}With {longest.operations:,} operations it {holds} ({longest.each:.2f} µs).\n"


_LOAD = os.getloadavg()


def main() -> int:
    parser = argparse.ArgumentParser(prog="./dev bench audit", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--operations",
        type=float,
        nargs="+",
        default=[1e6, 1e7],
        metavar="N",
        help="of each run, such as 1e6 (default: 1e6 1e7)",
    )
    parser.add_argument("--processes", type=int, metavar="N", help="instead of as many as the audit itself would use")
    parser.add_argument("--folder", type=Path, help="for the generated runs, which take 80 bytes for each operation")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks/results", help="folder for the report")
    options = parser.parse_args()
    try:
        measured = [measure(int(operations), options.processes, options.folder) for operations in options.operations]
    except AssertionError as error:
        print(f"the audit is wrong: {error}", file=sys.stderr)
        return 1
    text = report(measured)
    (options.output / "audit.md").write_text(text, encoding="utf-8")
    print(text)
    return 0 if max(measured, key=lambda one: one.operations).each <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
