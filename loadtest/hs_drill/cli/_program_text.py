"""A program that connects to a cluster, for a user to start from."""

from __future__ import annotations

from hs_drill._cluster import Cluster, Server

__all__ = ["program"]

HIDDEN = "..."


def program(cluster: Cluster, database: str, table: str, *, secrets: bool) -> str:
    """Python code that connects to the cluster, writes a row and reads it back."""

    def listener(server: Server, port: int, secret: str) -> str:
        shown = secret if secrets else HIDDEN
        return f'trio_hs.Server("inet", "{server.host}", {port}, secret="{shown}")'

    readers = "".join(f"    {listener(s, s.read_port, s.read_secret)},\n" for s in cluster.readers)
    writers = [cluster.writer, *([cluster.standby] if cluster.standby else [])]
    groups = "".join(f"    [{listener(s, s.write_port, s.write_secret)}],\n" for s in writers)
    databases = f", write_databases={dict(cluster.write_databases)!r}" if cluster.write_databases else ""
    return f"""\
import trio, trio_hs

readers = [
{readers}]
writers = [  # in order of preference
{groups}]


async def main():
    async with trio_hs.open_manager(readers, writers{databases}) as hs:
        await hs.delete("{database}", "{table}", "=", ["id"], [1000001])  # of an earlier run
        await hs.insert("{database}", "{table}", [("id", 1000001), ("grp", 1), ("n", 0), ("payload", "hello")])
        print(dict(await hs.get("{database}", "{table}", ["id", "payload"], 1)))


trio.run(main)
"""
