"""The same bytes to real MariaDB and to the embedded server must give the same bytes back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, nullcontext
from itertools import groupby

import pytest
import trio

from hs_drill._cluster import Cluster, Server
from hs_drill.servers import execute_sql, open_servers
from hs_drill.servers._replication import wait_replicated
from tests.support.server_version import containers_instead
from tests.trio_hs.support.real_servers import release
from tests.trio_hs.support.requests import DATABASE, SHAPES, Group, Step, everything, groups, inserts, opened
from tests.trio_hs.support.requests_ddl import attributes
from tests.trio_hs.support.shared_servers import shared_servers
from trio_hs import Server as Address
from trio_hs._network import Transport, connect_transport
from trio_hs.testing import EmbeddedServer, Table, open_server
from trio_hs.testing._versions import VERSIONS

pytestmark = pytest.mark.mariadb

READ_SECRET, WRITE_SECRET = "the readers'", "the writers'"


def version_of(cluster: Cluster) -> str:
    """The version that an embedded server has to answer as: the newest one that is not newer than the real server."""

    known = {tuple(int(number) for number in version.split(".")): version for version in VERSIONS}
    return known[max((version for version in known if version <= release(cluster)), default=min(known))]


@pytest.fixture(scope="module", params=["installed", pytest.param("11.8", marks=pytest.mark.docker)])
def cluster(request: pytest.FixtureRequest, mariadb: None) -> Iterator[Cluster]:
    """A writer and a reader of each version."""
    if request.param != "installed":
        request.getfixturevalue("docker_images")  # may skip: this comes before what asks the markers
    with nullcontext() if request.param == "installed" else containers_instead(request.param):
        with shared_servers(readers=1) as servers:
            yield servers.cluster


class Wire:
    """A connection that sends raw requests and gives the raw answers."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport

    async def ask(self, data: bytes) -> list[bytes]:
        """The answer to each line of ``data``."""
        received = bytearray()
        rest = memoryview(data)
        with trio.fail_after(30):
            while rest or received.count(b"\n") < data.count(b"\n"):
                rest = rest[self.transport.send(rest) :] if rest else rest
                piece = self.transport.receive()
                if piece is None:
                    await (self.transport.wait_sendable if rest else self.transport.wait_receivable)()
                    continue
                assert piece, f"the connection ended after {bytes(received)!r}"
                received += piece
        return split_lines(bytes(received))


def split_lines(data: bytes) -> list[bytes]:
    return [line + b"\n" for line in data.split(b"\n")[:-1]]


def addresses_of(server: Server) -> tuple[Address, Address]:
    return (
        Address("inet", server.host, server.read_port, secret=server.read_secret),
        Address("inet", server.host, server.write_port, secret=server.write_secret),
    )


@asynccontextmanager
async def real(server: Server, tables: Sequence[Table]) -> AsyncIterator[tuple[Address, Address]]:
    """The addresses of a real server that has these tables and nothing else in the database."""
    await execute_sql(
        server,
        f"DROP DATABASE IF EXISTS {DATABASE}",
        f"CREATE DATABASE {DATABASE}",
        *(table.sql() for table in tables),
        # HandlerSocket cannot always be the first to open a new table that has many DEFAULT expressions: docs/server.md.
        *(f"SELECT * FROM {DATABASE}.{table.name} LIMIT 0" for table in tables),
    )
    yield addresses_of(server)
    await execute_sql(server, f"DROP DATABASE {DATABASE}")


@asynccontextmanager
async def wires(addresses: Iterable[Address], server: EmbeddedServer | None) -> AsyncIterator[dict[str, Wire]]:
    """An authenticated connection to each listener, ``R`` and ``W``. Closed after the block, because they pin the tables."""
    opened_wires = {}
    for name, address in zip("RW", addresses, strict=True):
        wire = opened_wires[name] = Wire(await (connect_transport if server is None else server.connect)(address))
        assert await wire.ask(f"A\t1\t{address.secret}\n".encode()) == [b"0\t1\n"]
    try:
        yield opened_wires
    finally:
        for wire in opened_wires.values():
            wire.transport.close()


def batches(steps: Sequence[Step]) -> list[Step]:
    """Send consecutive reads together, which only saves time. Each write is a transaction of its own."""
    out: list[Step] = []
    for port, run in groupby(steps, key=lambda step: step[0]):
        lines = [data for _, data in run]
        size = 1 if port == "W" else 100
        out += [(port, b"".join(lines[at : at + size])) for at in range(0, len(lines), size)]
    return out


async def compare(group: Group, real_wires: dict[str, Wire], embedded_wires: dict[str, Wire]) -> None:
    for port, data in batches(group.steps):
        expected, found = await real_wires[port].ask(data), await embedded_wires[port].ask(data)
        for line, theirs, ours in zip(split_lines(data), expected, found, strict=True):
            assert ours == theirs, f"{group.name}, {port}: {line!r}"


@pytest.mark.parametrize("group", [*groups(), attributes()], ids=lambda group: group.name)
async def test_the_same_bytes(group: Group, cluster: Cluster) -> None:
    async with (
        real(cluster.writer, group.tables) as addresses,
        open_server(group.tables, version=version_of(cluster), read_secret=READ_SECRET, write_secret=WRITE_SECRET) as server,
        wires(addresses, None) as real_wires,
        wires((server.read_address, server.write_address), server) as embedded_wires,
    ):
        await compare(group, real_wires, embedded_wires)


async def test_permissions_of_each_listener(cluster: Cluster) -> None:
    find = b"0\t=\t1\t1\n"
    lines = [
        b"\n", b"Z\n", find, b"P\t0\n", b"0\n", b"A\n", b"A\t\n", b"A\t2\tSECRET\n", b"A\t1\n", b"A\t1\t\n", b"A\t1\twrong\n",
        b"A\t1\tSECRET\0\n", b"A\t11\tSECRET\n", b"A\t1\tSECRET\textra\n", find,
        b"P\t0\tconformance\tshapes\tPRIMARY\tid\n", find,
        b"A\t1\twrong\n", find, b"P\t0\n", b"A\t1\tSECRET\n", find, b"A\t3\tSECRET\n", find,
    ]  # fmt: skip
    async with (
        real(cluster.writer, [SHAPES]) as addresses,
        open_server([SHAPES], version=version_of(cluster), read_secret="s", write_secret="t") as server,
    ):
        for theirs, ours in zip(addresses, (server.read_address, server.write_address), strict=True):
            one, other = Wire(await connect_transport(theirs)), Wire(await server.connect(ours))
            assert isinstance(theirs.secret, str)
            assert isinstance(ours.secret, str)
            for line in lines:
                expected = await one.ask(line.replace(b"SECRET", theirs.secret.encode()))
                assert await other.ask(line.replace(b"SECRET", ours.secret.encode())) == expected, line
            one.transport.close()
            other.transport.close()


async def test_a_replica_refuses_writers(cluster: Cluster) -> None:
    writes = [b"=\t1\t1", b"=\t1\t1\t1\t0\tD", b"=\t1\t1\t1\t0\tX", b"=\t9\t1", b"=", b"S\t1\t1"]
    reads = [b"=\t1\t1", b"+\t1\t1"]
    steps = [*opened(0, "shapes", "PRIMARY", "id,k"), *inserts(0, (1, "a"))]
    steps += [("W", b"0\t%b\n" % line) for line in writes] + [("R", b"0\t%b\n" % line) for line in reads]
    (reader,) = cluster.readers
    async with (
        real(cluster.writer, [SHAPES]),
        open_server([SHAPES], version=version_of(cluster), read_secret=READ_SECRET, write_secret=WRITE_SECRET) as server,
        open_server([SHAPES], version=version_of(cluster)) as source,
    ):
        await wait_replicated(cluster)
        await server.follow(source)
        async with (
            wires(addresses_of(reader), None) as real_wires,
            wires((server.read_address, server.write_address), server) as embedded_wires,
        ):
            await compare(Group("replica", [SHAPES], steps), real_wires, embedded_wires)


@pytest.mark.usefixtures("cluster")  # for its version
async def test_a_twin_answers_as_the_federated_engine_does() -> None:
    """Through the write-through topology's second name for the table. Not compared, because SQL decides it: the order of a
    range over a secondary index, and that such a range skips NULLs."""
    twin = f"{DATABASE}_wt".encode()
    reads = [
        *(b"%b\t1\t%b\t%b" % (operation, key, limit)
          for operation in (b"=", b">", b">=", b"<", b"<=") for key in (b"1", b"2", b"4", b"99")
          for limit in (b"1\t0", b"9\t0", b"1\t1", b"1\t0\tF\t=\t0\t10", b"1\t0\tW\t=\t0\t20")),
        *(b"%b\t1\t\t10\t0\t@\t0\t3\t%b" % (operation, values)
          for operation in (b"=", b">", b"<") for values in (b"2\t77\t3", b"77\t2\t3", b"2\t3\t4")),
        b"=\t2\t1\t1", b"S\t1\t1", b"=", b"=\t33\t1",
    ]  # fmt: skip
    writes = [
        b"+\t3\t2\tk2\t20", b"+\t3\t20\tk2\t20", b"+\t3\t0\tk0\t7",
        b"=\t1\t2\t1\t0\tU\t3\tk3\t20", b"=\t1\t2\t1\t0\tU\t2\tkk\t21", b"=\t1\t9\t1\t0\tU\t9\tx\t1",
        b"=\t1\t2\t1\t0\t-\t0\t0\t500", b"=\t1\t2\t1\t0\t-?\t0\t0\t500", b"=\t1\t2\t1\t0\t+?\t0\t0\t5",
        b"<=\t1\t4\t1\t0\tD?", b"<\t1\t4\t2\t0\tD", b"<=\t1\t4\t1\t0\tU\t50\tfifty\t5",
        b">\t1\t3\t9\t0\tU?\t60\tsixty\t6", b">=\t1\t0\t1\t0\tX",
    ]  # fmt: skip
    steps = [*opened(0, "shapes", "PRIMARY", "id,k,n", "n"), *inserts(0, *((i, f"k{i}", 10 * i) for i in range(1, 6)))]
    steps += [(port, b"0\t%b\n" % line) for port in "RW" for line in reads]
    for line in writes:
        steps += [("W", b"0\t%b\n" % line), everything(0, -100)]
    # A range over an index that it changes: each row changes once.
    steps += [*opened(1, "shapes", "kn", "n"), ("W", b"1\t>\t1\t0\t9\t0\t+\t5\n"), everything(0, -100)]
    steps = [(port, data.replace(DATABASE.encode(), twin)) for port, data in steps]
    async with (
        open_servers("mariadb", readers=0, topology="write-through", database=DATABASE) as control,
        open_server(
            [SHAPES], version=version_of(control.cluster), read_secret=READ_SECRET, write_secret=WRITE_SECRET
        ) as server,
    ):
        await control.create_table(SHAPES)
        server.database.twins[twin.decode()] = DATABASE
        async with (
            wires(addresses_of(control.cluster.writer), None) as real_wires,
            wires((server.read_address, server.write_address), server) as embedded_wires,
        ):
            await compare(Group("twin", [SHAPES], steps), real_wires, embedded_wires)
