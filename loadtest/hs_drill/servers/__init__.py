"""The servers of a run: four ways to have them, one `Control` to kill, pause, promote and rejoin them."""

from __future__ import annotations

from ._by_command import ByCommand, open_commands
from ._commands import Command
from ._control import Control, Rejoined, ReplicationStatus, Row
from ._cpu_time import CpuTime
from ._exact_rows import Exact, ExactRows, identity, leave_checks, log_statements
from ._exact_values import exact_session
from ._existing_table import require_existing
from ._fencing import FormerPrimary
from ._followers import require_followers
from ._instance import State
from ._key_sample import first_rows, sample_rows
from ._live_table import LiveColumn, LiveTable, read_live_table
from ._load_account import require_load_account
from ._opening import check_servers, open_cluster, open_servers
from ._primary_watch import looks_every, watch_as_told
from ._privileges import Privilege, grants, needed_by_load, needed_privileges, to_grant
from ._replication_check import check_replication
from ._router import SeenRouter, ask_router, require_router
from ._semisync import Lapse
from ._server_table import ServerTable, key_of
from ._sql import as_cluster_errors, connect_sql, execute_sql, sql_error_code
from ._table_lock import TableLock
from ._topology import Answers, SeenSource, ask_servers, primaries, same_server_as

__all__ = [
    "Answers",
    "ByCommand",
    "Command",
    "Control",
    "CpuTime",
    "Exact",
    "ExactRows",
    "FormerPrimary",
    "Lapse",
    "LiveColumn",
    "LiveTable",
    "Privilege",
    "Rejoined",
    "ReplicationStatus",
    "Row",
    "SeenRouter",
    "SeenSource",
    "ServerTable",
    "State",
    "TableLock",
    "as_cluster_errors",
    "ask_router",
    "ask_servers",
    "check_replication",
    "check_servers",
    "connect_sql",
    "exact_session",
    "execute_sql",
    "first_rows",
    "grants",
    "identity",
    "key_of",
    "leave_checks",
    "log_statements",
    "looks_every",
    "needed_by_load",
    "needed_privileges",
    "open_cluster",
    "open_commands",
    "open_servers",
    "primaries",
    "read_live_table",
    "require_existing",
    "require_followers",
    "require_load_account",
    "require_router",
    "same_server_as",
    "sample_rows",
    "sql_error_code",
    "to_grant",
    "watch_as_told",
]
