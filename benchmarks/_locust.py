"""Run Locust headless in a separate process, as users start it."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping

import trio

__all__ = ["BenchmarkError", "run_locust"]


#: Seconds that an interrupted run gets to end.
PATIENCE = 30.0


class BenchmarkError(Exception):
    """Something could not be measured; one line for the user."""


async def run_locust(
    directory: str, *arguments: str, env: Mapping[str, str] | None = None, codes: tuple[int, ...] = (0,)
) -> None:
    """Run Locust to its end in `directory`, where the harness keeps its runs.

    Raises `BenchmarkError` for an exit code that is not one of `codes`, and when SIGTERM has ended it.
    """
    ended = False
    with trio.open_signal_receiver(signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:

            async def until_signal() -> None:
                nonlocal ended
                async for _ in signals:
                    ended = True
                    nursery.cancel_scope.cancel()

            nursery.start_soon(until_signal)
            done = await trio.run_process(
                [sys.executable, "-m", "locust", "--headless", "--only-summary", *arguments],
                cwd=directory,
                # Drop the user's LOCUST_ settings: one of them disables gevent, and the run would never end.
                env={name: value for name, value in os.environ.items() if not name.startswith("LOCUST_")} | dict(env or {}),
                capture_stdout=True,
                capture_stderr=True,
                check=False,
                deliver_cancel=_end,
            )
            nursery.cancel_scope.cancel()
    if ended:
        raise BenchmarkError("ended by SIGTERM")
    if done.returncode not in codes:
        raise BenchmarkError(f"locust {' '.join(arguments)}: exit code {done.returncode}\n{done.stderr.decode()[-2000:]}")


async def _end(process: trio.Process) -> None:
    """Give the run time to stop its servers."""
    process.terminate()
    with trio.move_on_after(PATIENCE):
        await process.wait()
        return
    process.kill()
