"""Examines the buckets of a large run in several processes, one for each core.

Each is `python -m hs_drill.audit FD`, where FD is the temporary file. It reads an `Examination` from its standard input, and
then one bucket after the other, each when it has examined the last; it answers on its standard output. So all are busy until
the last bucket, however much they differ, and a process whose parent is gone ends after the bucket at hand (on Linux at once).

They are not forked: the process that audits may have threads.
"""

from __future__ import annotations

import os
import pickle
import selectors
import subprocess
import sys
from collections.abc import Callable, Iterable
from typing import IO, Any

from hs_drill._process_end import describe_exit

from ._checker import NotExaminedError
from ._examination import Examination
from ._row_histories import Bucket

__all__ = ["examine_in_processes", "usable_cores"]


def usable_cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def examine_in_processes(
    examination: Examination, buckets: Iterable[Bucket], file: int, processes: int, progress: Callable[[int], None]
) -> None:
    """Examine the buckets of the file with this descriptor. `progress` is told how many operations were examined.

    Raises `NotExaminedError` if a process dies, and what is raised in one. Ends them all, also when this is interrupted.
    """
    shares: list[_Share] = []
    try:
        while len(shares) < processes:
            shares.append(_Share(file))
        for share in shares:
            share.send(examination)
        _deal_out(shares, buckets, progress)
        for share in shares:
            share.send(None)
        for share in shares:
            examination.merge(share.receive())
    finally:
        for share in shares:
            share.end()


def _deal_out(shares: Iterable[_Share], buckets: Iterable[Bucket], progress: Callable[[int], None]) -> None:
    """Let each process examine one bucket after the other, until all have been."""
    left = iter(buckets)
    busy: dict[_Share, Bucket] = {}
    with selectors.DefaultSelector() as selector:

        def give(share: _Share) -> None:
            bucket = next(left, None)
            if bucket is not None:
                share.send(bucket)
                busy[share] = bucket

        for share in shares:
            selector.register(share.output, selectors.EVENT_READ, share)
            give(share)
        while busy:
            for key, _ in selector.select():
                share = key.data
                share.receive()
                progress(busy.pop(share).operations_count)
                give(share)


class _Share:
    """A process that examines a share of the buckets."""

    def __init__(self, file: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "hs_drill.audit", str(file)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=[file],
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._input: IO[bytes] = self._process.stdin
        self.output: IO[bytes] = self._process.stdout

    def send(self, what: object) -> None:
        try:
            pickle.dump(what, self._input)
            self._input.flush()
        except BrokenPipeError:
            raise self._death() from None

    def receive(self) -> Any:
        """Its answer. Raises the error that it gives instead of one."""
        try:
            answer = pickle.load(self.output)
        except (EOFError, pickle.UnpicklingError):
            raise self._death() from None
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _death(self) -> NotExaminedError:
        return NotExaminedError(f"a process of the audit ended before its time: {describe_exit(self._process.wait())}")

    def end(self) -> None:
        """End it, however far it is."""
        self._process.kill()
        try:
            self._process.communicate()
        except BrokenPipeError:
            pass
