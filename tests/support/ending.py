"""What ends together with the tests, also when they are killed."""

from __future__ import annotations

__all__ = ["ENDS_WITH_ITS_STARTER"]

ENDS_WITH_ITS_STARTER = ("setpriv", "--pdeathsig", "TERM")
"""Before a command line: the process gets SIGTERM when the thread that started it has ended (prctl(2), PR_SET_PDEATHSIG). So a
Locust without a run time ends in order, with its servers, when `./dev test` is interrupted."""
