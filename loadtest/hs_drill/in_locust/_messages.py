"""The names of our messages between Locust's master and its workers."""

from __future__ import annotations

__all__ = ["DIED", "DRAIN", "DRAINED", "HELLO", "MARK", "REPORT", "RUN", "SETUP", "SUSPEND", "SUSPENDED"]

# From the master.
SETUP = "trio_hs_setup"
RUN = "trio_hs_run"
SUSPEND = "trio_hs_suspend"
MARK = "trio_hs_mark"
DRAIN = "trio_hs_drain"

# From a worker.
HELLO = "trio_hs_hello"
SUSPENDED = "trio_hs_suspended"
DRAINED = "trio_hs_drained"
DIED = "trio_hs_engine_died"
REPORT = "trio_hs"
"""The key of our part of a worker's report."""
