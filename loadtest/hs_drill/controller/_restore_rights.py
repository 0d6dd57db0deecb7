"""Whether the SQL account may put back what a run changes, asked before the run's first write. For use in threads."""

from __future__ import annotations

import pymysql

from hs_drill._cluster import ClusterError, Server
from hs_drill._sql_text import quoted, table_name
from hs_drill.servers import LiveTable, exact_session, log_statements
from hs_drill.store import ImageHeader

__all__ = ["require_restore_rights"]

DENIED = (1142, 1143)
"""For the table; for a column."""


def require_restore_rights(writer: Server, live: LiveTable, header: ImageHeader) -> None:
    """Raise `ClusterError` if `hs-drill restore` would be refused, with this account, what it does to rows."""
    with exact_session(writer) as cursor:
        if not header.logged:
            log_statements(cursor, live.database)
        name = table_name(live.database, live.name)
        statements = []
        if header.written:
            columns = dict.fromkeys([*header.written, *live.on_update])
            new = ", ".join(f"{quoted(column)} = {quoted(column)}" for column in columns)
            statements.append(f"UPDATE {name} SET {new} WHERE FALSE")
        if header.inserts:
            statements.append(f"DELETE FROM {name} WHERE FALSE")
        for statement in statements:
            try:
                cursor.execute(f"EXPLAIN {statement}")  # needs the same privileges, and executes nothing
            except pymysql.MySQLError as error:
                if error.args[0] not in DENIED:
                    raise
                raise ClusterError(
                    f"hs-drill restore could not put back what this run writes: {error.args[1]}. "
                    f"GRANT {statement.partition(' ')[0]} ON {live.shown} to the SQL account. Nothing was written"
                ) from error
