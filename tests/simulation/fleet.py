"""Many runs at once. Each depends on its own seed alone, so processes may share them in any order."""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from .runner import run

#: Runs given to a process at once: enough to make that cheap, few enough to show progress.
BATCH = 8
#: Seconds of real time after which a run counts as stuck in a loop without virtual time. A run takes a tenth of a second.
STUCK_SECONDS = 120
PROGRESS_SECONDS = 5.0


class _Stuck(BaseException):
    """A run that does not end."""


def _on_alarm(_signal: int, _frame: object) -> None:
    raise _Stuck(f"the run was stuck for {STUCK_SECONDS} s")


def _play(seed: str) -> tuple[str, tuple[str, ...]]:
    """A seed with its violations, without the log: a replay produces that again."""
    return seed, run(seed).violations


def _play_guarded(seed: str) -> tuple[str, tuple[str, ...]]:
    """Like `_play`, in a worker process: any exception, or a run that is stuck, becomes a violation."""
    signal.alarm(STUCK_SECONDS)
    try:
        return _play(seed)
    except BaseException as error:
        return seed, (f"the run ended with {error!r}",)
    finally:
        signal.alarm(0)


def _start_worker() -> None:
    signal.signal(signal.SIGALRM, _on_alarm)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C, and stops the workers


@contextmanager
def _results(seeds: Sequence[str], jobs: int) -> Iterator[Iterable[tuple[str, tuple[str, ...]]]]:
    """Each seed with its violations, in no order. With one job the runs are in this process, where a debugger can see them."""
    if jobs == 1:
        yield map(_play, seeds)
    else:
        with multiprocessing.get_context("spawn").Pool(jobs, _start_worker) as workers:
            yield workers.imap_unordered(_play_guarded, seeds, BATCH)


def simulate(seed: str, first: int, runs: int, jobs: int) -> list[str]:
    """Plays runs ``first`` to ``first + runs - 1`` of a seed, prints their progress, and returns the seeds that failed."""
    seeds = [f"{seed}:{number}" for number in range(first, first + runs)]
    failed: list[str] = []
    started = reported = time.monotonic()
    with _results(seeds, jobs) as results:
        for done, (name, violations) in enumerate(results, 1):
            if violations:
                failed.append(name)
                print(f"seed {name}: {len(violations)} violations; replay: ./dev simulate --replay {name} -v")
                print("".join(f"  {violation}\n" for violation in violations[:5]), end="", flush=True)
            now = time.monotonic()
            if now - reported >= PROGRESS_SECONDS:
                reported = now
                rate = done / (now - started)
                left = (runs - done) / rate
                print(f"{done} of {runs} runs, {rate:.1f} runs/s, {left:.0f} s to go, {len(failed)} failed", flush=True)
    verdict = f"{len(failed)} failed" if failed else "no violation"
    print(f"{runs} runs in {time.monotonic() - started:.0f} s: {verdict}")
    return failed
