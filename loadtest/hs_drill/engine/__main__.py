"""The load engine, a child of every Locust process that carries load: `python -m hs_drill.engine FD`.

trio does not survive in a process that gevent has patched. So the load runs here, one task per Locust user, in one
`trio_hs.open_manager`. FD is a socket to Locust's process; `_wire.py` has the format of the messages.

From Locust's process:

- `setup`: cluster, scenario, worker; each: whether to report every operation; sample: of the rows of a table that exists; code:
  the modules of users in Python.
- `start`: run; history: the path of the file to write, or none; elapsed: the seconds since other engines began the run; tasks:
  the weights of the tasks of users in Python that Locust's options have left.
- `users`: count, of those that execute the mix; code: the number of each class of users in Python.
- `suspend`: number; close all connections. `resume`.
- `mark`: a fault is about to change, or has changed.
- `stop`.

To Locust's process:

- `ready`.
- `each`: every operation since the last message.
- `batch`: a `Batch`, every quarter of a second after the warm-up, and at every mark.
- `suspended`: number; no connection is open, and users wait.
- `log`: a warning or error of the client.
- `stopped`: after the last batch of the run.
- `fatal`: one line for the user; the process then exits.

The process exits at the socket's end only. It ignores SIGINT and SIGTERM, which are for Locust's process.

`python -m hs_drill.engine --check MODULES` only loads these modules (JSON: pairs of name and path), and prints a line for each
mistake in them.
"""

from __future__ import annotations

import contextlib
import gc
import json
import sys
import traceback

import trio

from hs_drill._trio_child import TrioChannel, first_error, ignore_signals, one_line
from hs_drill.store import cannot_keep

from ._engine import Engine
from ._load_users import UserCodeError, load_users


async def main(fd: int) -> None:
    """Serve Locust's process at the other end of the socket `fd`."""
    channel = TrioChannel.from_fd(fd)
    try:
        async with trio.open_nursery() as nursery:
            await Engine(channel, nursery).serve()
            nursery.cancel_scope.cancel()
    except BaseException as error:
        first = first_error(error)
        line = str(first) if isinstance(first, UserCodeError) else cannot_keep(first)
        if line is None:
            traceback.print_exc()
            line = one_line(f"{type(first).__name__}: {first}")
        with trio.move_on_after(1):
            await channel.send({"type": "fatal", "line": line})
        sys.exit(1)


def check(modules: list[tuple[str, str]]) -> int:
    """Print the mistakes of users' code. Returns the exit code."""
    try:
        with contextlib.redirect_stdout(sys.stderr):  # what the code prints is no mistake
            load_users(modules)
    except UserCodeError as error:
        print(error)
        return 1
    return 0


if __name__ == "__main__":
    if sys.argv[1] == "--check":
        sys.exit(check([(name, path) for name, path in json.loads(sys.argv[2])]))
    ignore_signals()
    # Exempt what is imported from the garbage collector. It would scan all of it several times a run, and block the event loop
    # for 35 ms each time (measured at 50 % of the closed loop's rate, on an otherwise idle core). With this it is 12 ms.
    gc.collect()
    gc.freeze()
    trio.run(main, int(sys.argv[1]))
