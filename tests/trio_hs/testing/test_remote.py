"""Replication over TCP and the commands, both within one process."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio

from tests.support.patience import patience, until
from tests.trio_hs.support.embedded import TRUCKS, ids, insert, receive
from trio_hs.testing import EmbeddedServer, open_server
from trio_hs.testing._control import Control
from trio_hs.testing._remote import RemoteSource, serve_replicas
from trio_hs.testing._replication import Log


@pytest.fixture
async def source(nursery: trio.Nursery) -> AsyncIterator[EmbeddedServer]:
    async with open_server([TRUCKS], name="source") as server:
        yield server


@pytest.fixture
async def port(source: EmbeddedServer, nursery: trio.Nursery) -> int:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    nursery.start_soon(serve_replicas, source, listener)
    return int(listener.socket.getsockname()[1])


@pytest.fixture
async def replica() -> AsyncIterator[EmbeddedServer]:
    async with open_server([TRUCKS], name="replica") as server:
        yield server


async def until_ids(server: EmbeddedServer, expected: list[int]) -> None:
    await until(lambda: ids(server) == expected)


async def test_a_replica_follows_acknowledges_and_reconnects(
    source: EmbeddedServer, replica: EmbeddedServer, port: int
) -> None:
    source.synchronous = 1
    await replica.follow(RemoteSource("replica", "127.0.0.1", port))
    with trio.fail_after(patience(5)):
        assert await insert(source, 1, 2) == b"0\t1\t0\n"
    assert source.unreplicated == 0
    replica.replica.transfer = 0.05
    await insert(source, 3, 4)
    await until_ids(replica, [1, 2, 3, 4])
    replica.crash()
    source.synchronous = 0
    await insert(source, 5)
    replica.restart()
    await until_ids(replica, [1, 2, 3, 4, 5])
    source.crash()
    source.restart()
    await insert(source, 6)
    await until_ids(replica, [1, 2, 3, 4, 5, 6])


async def test_a_replica_that_is_behind_catches_up_faster_than_the_source_commits(
    source: EmbeddedServer, replica: EmbeddedServer, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A send for each transaction costs ten times what its commit does: under load a replica never caught up."""
    sends = 0
    send_all = trio.SocketStream.send_all

    async def counting(stream: trio.SocketStream, data: bytes) -> None:
        nonlocal sends
        sends += 1
        await send_all(stream, data)

    for number in range(1000):
        await source.load("cars", "trucks", [(number + 1, "c", 1)])
    monkeypatch.setattr(trio.SocketStream, "send_all", counting)
    await replica.follow(RemoteSource("replica", "127.0.0.1", port))
    await until(lambda: replica.log.position == source.log.position and source.unreplicated == 0)
    assert sends < 100, "transactions in batches, acknowledgements for all that has arrived"


async def test_a_new_replica_gets_a_copy_and_a_diverged_one_none(
    source: EmbeddedServer, replica: EmbeddedServer, port: int
) -> None:
    source.log = Log(kept=1)
    await insert(source, 1, 2, 3)
    await replica.follow(RemoteSource("replica", "127.0.0.1", port))
    await until_ids(replica, [1, 2, 3])
    replica.promote()
    await insert(replica, 9)
    await insert(source, 4)
    await replica.follow(RemoteSource("replica", "127.0.0.1", port))
    await until(lambda: replica.statistics().replication_error is not None)
    assert "needs a rebuild" in str(replica.statistics().replication_error)
    await replica.follow(RemoteSource("replica", "127.0.0.1", port), rebuild=True)
    await until_ids(replica, [1, 2, 3, 4])


@pytest.mark.parametrize("line", [b"junk\n", b"[]\n", b"{}\n", b'{"name": 1, "position": 2}\n', b"\xff\n", b""])
async def test_a_client_that_is_no_replica_is_refused(line: bytes, source: EmbeddedServer, port: int) -> None:
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(line)
        await stream.send_eof()
        with trio.fail_after(patience(5)):
            assert await stream.receive_some() == b""


async def test_a_replica_retries_an_unavailable_source(replica: EmbeddedServer) -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    await listener.aclose()
    await replica.follow(RemoteSource("replica", "127.0.0.1", port))
    await trio.sleep(0.05)
    assert not replica.statistics().replicating
    assert replica.statistics().replication_error is None


# ---- commands


@pytest.fixture
def control(replica: EmbeddedServer) -> Control:
    return Control(replica, lambda: None)


@pytest.mark.parametrize(
    "line, message",
    [
        ("create []", "a table is an object"),
        ('create {"x": 1}', "no description of a table"),
        ("create {", "create: "),
        ("lag", "could not convert"),
        ("lag -1", "is not a number of seconds"),
        ("transfer nan", "is not a number of seconds"),
        ("follow", "takes HOST PORT"),
        ("follow 127.0.0.1 x", "takes HOST PORT"),
        ("follow 127.0.0.1 1 again", "takes HOST PORT"),
        ("read-only maybe", "takes on or off"),
        ("synchronous some", "number of replicas"),
        ("fly", "no command 'fly'"),
        ("", "no command ''"),
    ],
)
async def test_a_wrong_command(line: str, message: str, control: Control) -> None:
    assert message in (await control.execute(line))["error"]


async def test_commands(control: Control, replica: EmbeddedServer, source: EmbeddedServer, port: int) -> None:
    for line in ("lag 2", "transfer 0.5", "synchronous 3", "pause", "read-only on"):
        assert await control.execute(line) == {"ok": None}
    following = replica.replica
    assert (following.lag, following.transfer, following.paused) == (2, 0.5, True)
    assert (replica.synchronous, replica.database.read_only) == (3, True)
    for line in ("lag 0", "transfer 0", "synchronous 0", "read-only off", f"follow 127.0.0.1 {port}", "resume"):
        assert await control.execute(line) == {"ok": None}
    await insert(source, 1)
    await until_ids(replica, [1])
    assert (await control.execute("status"))["ok"]["position"] == (1, "source")
    await control.execute('create {"database": "d", "name": "t", "columns": {"id": "INT"}}')
    assert ("d", "t") in replica.database.tables
    await control.execute("promote")
    assert await insert(replica, 2) == b"0\t1\t0\n"


async def test_the_control_port(control: Control, nursery: trio.Nursery) -> None:
    stopped = trio.Event()
    server = Control(control._server, stopped.set)
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    nursery.start_soon(server.serve, listener)
    async with await trio.open_tcp_stream("127.0.0.1", listener.socket.getsockname()[1]) as stream:
        await stream.send_all(b"lag 1\nfl")
        await stream.send_all(b"y\nstop\n")
        answers = b""
        with trio.fail_after(patience(5)):
            while answers.count(b"\n") < 3:
                answers += await stream.receive_some()
            await stopped.wait()
    assert answers == b'{"ok": null}\n{"error": "no command \'fly\'"}\n{"ok": null}\n'


async def test_a_command_changes_what_clients_get(control: Control, replica: EmbeddedServer) -> None:
    await control.execute("read-only on")
    transport = await replica.connect(replica.write_address)
    transport.send(b"P\t0\tcars\ttrucks\tPRIMARY\tid\n0\t+\t1\t1\n")
    assert await receive(transport, 2) == b"0\t1\n1\t1\tlock_tables\n"
