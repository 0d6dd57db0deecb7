"""Many runs at once: each depends on its own seed alone, so processes may share them out in any order."""

from __future__ import annotations

import multiprocessing
import signal
import time

from .runner import run

#: Runs handed to a process at once: enough to make that cheap, few enough for progress to be seen.
BATCH = 8
#: Seconds of real time after which a run is stuck in a loop in which no virtual time passes. One takes a tenth of a second.
STUCK_SECONDS = 120
PROGRESS_SECONDS = 5.0


class _Stuck(BaseException):
    """A run that does not end."""


def _on_alarm(_signal: int, _frame: object) -> None:
    raise _Stuck(f"the run was stuck for {STUCK_SECONDS} s")


def _play(seed: str) -> tuple[str, tuple[str, ...]]:
    """In a worker process. The log stays here: a replay gives it again."""
    signal.signal(signal.SIGALRM, _on_alarm)
    signal.alarm(STUCK_SECONDS)
    try:
        result = run(seed)
    except BaseException as error:
        return seed, (f"the run ended with {error!r}",)
    finally:
        signal.alarm(0)
    return seed, result.violations


def _ignore_interrupt() -> None:
    """Ctrl-C is the parent's business: it stops the workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def simulate(seed: str, first: int, runs: int, jobs: int) -> list[str]:
    """Plays runs ``first`` to ``first + runs - 1`` of a seed, prints what happens, and gives the seeds that failed."""
    seeds = [f"{seed}:{number}" for number in range(first, first + runs)]
    failed: list[str] = []
    started = told = time.monotonic()
    with multiprocessing.get_context("spawn").Pool(jobs, _ignore_interrupt) as workers:
        for done, (name, violations) in enumerate(workers.imap_unordered(_play, seeds, BATCH), 1):
            if violations:
                failed.append(name)
                print(f"seed {name}: {len(violations)} violations; replay: ./dev simulate --replay {name} -v")
                print("".join(f"  {violation}\n" for violation in violations[:5]), end="", flush=True)
            now = time.monotonic()
            if now - told >= PROGRESS_SECONDS or done == runs:
                told = now
                rate = done / (now - started)
                print(
                    f"{done} of {runs} runs, {rate:.1f} runs/s, {(runs - done) / rate:.0f} s to go, {len(failed)} failed",
                    flush=True,
                )
    print(f"{runs} runs in {time.monotonic() - started:.0f} s: {f'{len(failed)} failed' if failed else 'no violation'}")
    return failed
