"""A process that examines a share of a run's buckets: see `_processes`."""

from __future__ import annotations

import gc
import os
import pickle
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import IO

from hs_drill._process_end import end_with_parent

from ._examination import Examination

__all__ = ["main"]


def main(file: int) -> None:
    # Ctrl-C is for the parent. The controller ignores SIGTERM, and so would its child.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    end_with_parent()
    gc.disable()  # it found nothing: the objects of a row refer to each other in no circle
    with suppress(BrokenPipeError), os.fdopen(os.dup(1), "wb") as output:
        os.dup2(2, 1)  # whatever is printed is no answer
        for answer in _answers(file, sys.stdin.buffer):
            output.write(answer)
            output.flush()


def _answers(file: int, requests: IO[bytes]) -> Iterator[bytes]:
    """None for each bucket, and the examination in the end; or the error that ended it."""
    try:
        examination: Examination = pickle.load(requests)
        while (bucket := pickle.load(requests)) is not None:
            examination.examine(bucket, file)
            yield pickle.dumps(None)
        yield pickle.dumps(examination)
    except EOFError:
        pass  # the parent is gone
    except Exception as error:
        yield _pickled(error)


def _pickled(error: Exception) -> bytes:
    """The error, or what it says."""
    try:
        pickle.loads(packed := pickle.dumps(error))
    except Exception:
        return pickle.dumps(RuntimeError(f"{type(error).__name__}: {error}"))
    return packed


if __name__ == "__main__":
    main(int(sys.argv[1]))
