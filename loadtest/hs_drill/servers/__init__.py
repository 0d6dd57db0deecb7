"""The servers of a run: four ways to have them, one `Control` to kill, pause, promote and rejoin them."""

from __future__ import annotations

from ._control import Control, Rejoined, ReplicationStatus, Row
from ._instance import State
from ._load_account import require_load_account
from ._opening import check_servers, open_cluster, open_servers
from ._replication_check import check_replication
from ._sql import connect_sql, execute_sql

__all__ = [
    "Control",
    "Rejoined",
    "ReplicationStatus",
    "Row",
    "State",
    "check_replication",
    "check_servers",
    "connect_sql",
    "execute_sql",
    "open_cluster",
    "open_servers",
    "require_load_account",
]
