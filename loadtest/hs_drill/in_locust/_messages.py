"""The names of our messages between Locust's master and its workers."""

from __future__ import annotations

__all__ = ["DIED", "DRAIN", "DRAINED", "HELLO", "MARK", "REPORT", "RUN", "SETUP", "SUSPEND", "SUSPENDED"]

# Custom messages between master and workers.
RUN = "trio_hs_run"
HELLO = "trio_hs_hello"
SETUP = "trio_hs_setup"
DRAIN = "trio_hs_drain"
DRAINED = "trio_hs_drained"
SUSPEND = "trio_hs_suspend"
SUSPENDED = "trio_hs_suspended"
MARK = "trio_hs_mark"
DIED = "trio_hs_engine_died"
REPORT = "trio_hs"
"""Our part of a worker's report."""
