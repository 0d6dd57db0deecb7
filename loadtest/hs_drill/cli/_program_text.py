"""A program that connects to a cluster, for a user to start from."""

from __future__ import annotations

from hs_drill._cluster import Cluster, Server
from hs_drill.scenario import Scenario, TableSpec
from hs_drill.workload import rows_of

__all__ = ["program"]

HIDDEN = "..."


def program(cluster: Cluster, table: TableSpec, *, secrets: bool) -> str:
    """Python code that connects to the cluster and reads a row, and in the drill's own table writes it first."""

    def listener(server: Server, port: int, secret: str) -> str:
        shown = secret if secrets else HIDDEN
        return f'trio_hs.Server("inet", "{server.host}", {port}, secret="{shown}")'

    readers = "".join(f"    {listener(s, s.read_port, s.read_secret)},\n" for s in cluster.readers)
    writers = [cluster.writer, *([cluster.standby] if cluster.standby else [])]
    groups = "".join(f"    [{listener(s, s.write_port, s.write_secret)}],\n" for s in writers)
    databases = f", write_databases={dict(cluster.write_databases)!r}" if cluster.write_databases else ""
    needs, columns, body = _of_declared_table(table) if table.declared else _of_drills_table(table)
    return f"""\
import trio, trio_hs
{needs}
readers = [
{readers}]
writers = [  # in order of preference
{groups}]
{columns}

async def main():
    async with trio_hs.open_manager(readers, writers{databases}) as hs:
{body}

trio.run(main)
"""


def _of_drills_table(table: TableSpec) -> tuple[str, str, str]:
    """Imports, declarations, and what the program does."""
    name = f'"{table.database}", "{table.name}"'
    body = f"""\
        await hs.delete({name}, "=", ["id"], [1000001])  # of an earlier run
        await hs.insert({name}, [("id", 1000001), ("grp", 1), ("n", 0), ("payload", "hello")])
        print(dict(await hs.get({name}, ["id", "payload"], 1)))
"""
    return "", "", body


def _of_declared_table(table: TableSpec) -> tuple[str, str, str]:
    key = rows_of(Scenario.model_validate({"name": "program", "mix": {"get": 1}, "table": table})).key(1)
    columns = "".join(
        f"    trio_hs.Column.from_sql({name!r}, {spec.type!r}{', nullable=True' if spec.is_nullable else ''}),\n"
        for name, spec in table.columns.items()
    )
    needs = "import datetime\nfrom decimal import Decimal\nfrom ipaddress import *\nfrom uuid import UUID\n"
    plain = all(isinstance(value, int | str | bytes) for value in key)
    indexes = {"PRIMARY": list(table.primary), **table.indexes}
    body = f"""\
        table = hs.table({table.database!r}, {table.name!r}, columns=columns)
        for row in await table.find("=", {list(key)!r}):
            print(dict(row))
"""
    return "" if plain else needs, f"columns = trio_hs.Columns([\n{columns}], {indexes!r})\n", body
