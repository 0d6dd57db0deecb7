"""The embedded server as clients meet it: its cycles, its sockets and its faults."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
import trio

import trio_hs
from tests.support.patience import patience
from tests.trio_hs.support.embedded import OPEN, TRUCKS, receive
from trio_hs import Manager, RetryPolicy
from trio_hs.testing import EmbeddedServer, network, open_server


@pytest.fixture
async def server() -> AsyncIterator[EmbeddedServer]:
    async with open_server([TRUCKS], rng=random.Random(1)) as opened:
        yield opened


def manager(server: EmbeddedServer, **options: Any) -> AbstractAsyncContextManager[Manager]:
    options = {"retry": RetryPolicy(attempts=1), **options}
    return trio_hs.open_manager([server.read_address], [server.write_address], connect=server.connect, **options)


async def test_a_manager_works_on_it(server: EmbeddedServer, autojump_clock: trio.testing.MockClock) -> None:
    started = trio.current_time()
    async with manager(server) as hs:
        assert await hs.insert("cars", "trucks", [("company", "Scania"), ("price", 5)]) == 1
        assert await hs.insert("cars", "trucks", [("company", "Volvo"), ("price", None)]) == 2
        assert await hs.get("cars", "trucks", ["company", "price"], 1) == [("company", "Scania"), ("price", "5")]
        assert await hs.incr("cars", "trucks", "=", ["price"], [1], [3], return_original=True) == ["5"]
        assert await hs.find("cars", "trucks", "=", ["id", "price"], ["SCANIA"], "company") == [[("id", "1"), ("price", "8")]]
        with pytest.raises(trio_hs.DuplicateKeyError):
            await hs.insert("cars", "trucks", [("id", 2)])
        assert await hs.delete("cars", "trucks", "=", ["id"], [2]) == 1
    assert trio.current_time() == started


async def test_secrets() -> None:
    async with open_server([TRUCKS], read_secret="r", write_secret="w") as server:
        async with manager(server) as hs:
            assert await hs.get("cars", "trucks", ["id"], 1) == []
        addresses = [("inet", "localhost", 9998)], [("inet", "localhost", 9999)]
        async with trio_hs.open_manager(*addresses, read_secret="wrong", connect=server.connect) as hs:
            with pytest.raises(trio_hs.AuthenticationError):
                await hs.get("cars", "trucks", ["id"], 1)
        assert "'r'" not in repr(server.read_address)


async def test_an_address_without_a_server_is_refused(server: EmbeddedServer) -> None:
    with pytest.raises(ConnectionRefusedError, match="nothing listens on elsewhere:9998; localhost is localhost:9998"):
        await server.connect(trio_hs.Server("inet", "elsewhere", 9998))


async def test_a_network_of_servers(server: EmbeddedServer, autojump_clock: trio.testing.MockClock) -> None:
    async with open_server([TRUCKS], name="two") as two:
        readers = [[server.read_address], [two.read_address]]
        connect = network(server, two)
        async with trio_hs.open_manager(readers, [server.write_address], connect=connect) as hs:
            await two.follow(server)
            await hs.insert("cars", "trucks", [("company", "Scania")])
            await trio.sleep(1)
            server.crash()
            assert await hs.get("cars", "trucks", ["company"], 1) == [("company", "Scania")]
        with pytest.raises(ConnectionRefusedError, match="there is no server three, but localhost, two"):
            await connect(trio_hs.Server("inet", "three", 9998))
        with pytest.raises(ValueError, match="names of their own: two, two"):
            network(two, two)


async def test_a_cycle_is_one_transaction_and_sees_one_state(server: EmbeddedServer) -> None:
    transport = await server.connect(server.write_address)
    transport.send(OPEN + b"".join(b"0\t+\t3\t%d\tc\t1\n" % number for number in (1, 2, 1, 3)))
    assert await receive(transport, 5) == b"0\t1\n0\t1\t0\n0\t1\t0\n1\t1\t121\n0\t1\t0\n"
    assert server.statistics().position.number == 1
    transport.send(b"0\t=\t1\t9\n")  # no change, no transaction
    assert await receive(transport) == b"0\t3\n"
    assert server.statistics().position.number == 1
    assert server.statistics().requests == 6
    assert server.statistics().most_pending == 5


async def test_a_request_in_pieces_is_carried_out_though_the_client_leaves_at_once(server: EmbeddedServer) -> None:
    transport = await server.connect(server.read_address)
    for byte in OPEN + b"0\t=\t1\t1\n0\t=":
        transport.send(bytes((byte,)))
        await trio.testing.wait_all_tasks_blocked()
    assert await receive(transport, 2) == b"0\t1\n0\t3\n"
    transport.close()
    await trio.testing.wait_all_tasks_blocked()
    assert server.statistics().connections == 0


async def test_a_slash_ends_the_connection(server: EmbeddedServer) -> None:
    transport = await server.connect(server.read_address)
    transport.send(b"/\n")
    assert await receive(transport) == b""


async def test_a_batch_longer_than_the_window_comes_through(server: EmbeddedServer) -> None:
    transport = await server.connect(server.write_address)
    transport.send(OPEN + b"0\t+\t3\t1\t%b\t1\n" % (b"x" * 40))
    await receive(transport, 2)
    data, lines = memoryview(b"0\t=\t1\t1\n" * 100_000), 0
    while lines < 100_000:
        data = data[transport.send(data) :] if data else data
        lines += (transport.receive() or b"").count(b"\n")
        await trio.lowlevel.checkpoint()
    assert lines == 100_000


async def test_idle_connections_are_closed(autojump_clock: trio.testing.MockClock) -> None:
    async with open_server([TRUCKS], idle_timeout=30) as server:
        transport = await server.connect(server.read_address)
        started = trio.current_time()
        await trio.sleep(20)
        transport.send(OPEN)
        assert await receive(transport) == b"0\t1\n"
        assert await receive(transport) == b""
        assert 50 <= trio.current_time() - started <= 61


async def test_tcp_and_unix_sockets(server: EmbeddedServer, tmp_path: Path) -> None:
    await server.listen(("127.0.0.1", 0), tmp_path / "write.sock")
    async with trio_hs.open_manager([server.read_address], [server.write_address]) as hs:
        assert await hs.insert("cars", "trucks", [("company", "Scania")]) == 1
        assert await hs.get("cars", "trucks", ["company"], 1) == [("company", "Scania")]
        server.crash()
        with pytest.raises(trio_hs.ConnectionError), trio.fail_after(patience(5)):
            await hs.insert("cars", "trucks", [("company", "Volvo")])
    address = server.read_address
    server.restart()
    assert server.read_address == address
    async with trio_hs.open_manager([address], [server.write_address]) as hs:
        assert await hs.get("cars", "trucks", ["company"], 1) == [("company", "Scania")]
        server.faults.refuse()
    with pytest.raises(OSError, match="all attempts to connect"):
        await trio.open_tcp_stream("127.0.0.1", address.port or 0)
    server.faults.accept()
    await (await trio.open_tcp_stream("127.0.0.1", address.port or 0)).aclose()


async def test_an_address_in_use(server: EmbeddedServer) -> None:
    await server.listen(("127.0.0.1", 0), ("127.0.0.1", 0))
    async with open_server([TRUCKS]) as other:
        with pytest.raises(OSError, match="in use"):
            await other.listen(("127.0.0.1", server.read_address.port or 0), ("127.0.0.1", 0))


# ---- faults
async def test_refused_connections(server: EmbeddedServer, autojump_clock: trio.testing.MockClock) -> None:
    server.faults.refuse()
    async with manager(server) as hs:
        with pytest.raises(trio_hs.ConnectionError, match="refuses"):
            await hs.get("cars", "trucks", ["id"], 1)
        server.faults.accept()
        await trio.sleep(60)
        assert await hs.get("cars", "trucks", ["id"], 1) == []


async def test_a_stalled_server_answers_when_it_goes_on(server: EmbeddedServer, autojump_clock: trio.testing.MockClock) -> None:
    async with manager(server, timeout=3) as hs:
        await hs.insert("cars", "trucks", [("company", "Scania")])
        server.faults.stall(reads=False)
        assert await hs.get("cars", "trucks", ["id"], 1) == [("id", "1")]
        with pytest.raises(trio_hs.ConnectionError) as caught:
            await hs.insert("cars", "trucks", [("company", "Volvo")])
        assert caught.value.maybe_applied
    transport = await server.connect(server.write_address)
    transport.send(OPEN)
    await trio.sleep(1)
    assert transport.receive() is None
    server.faults.resume()
    assert await receive(transport) == b"0\t1\n"


async def test_delayed_answers_keep_their_order(server: EmbeddedServer, autojump_clock: trio.testing.MockClock) -> None:
    server.faults.delay(0.5, 2)
    transport = await server.connect(server.write_address)
    transport.send(OPEN)
    started = trio.current_time()
    for number in range(1, 20):
        await trio.sleep(0.01)
        transport.send(b"0\t+\t3\t%d\tc\t1\n0\t=\t1\t%d\n" % (number, number))
    await trio.testing.wait_all_tasks_blocked()
    assert server.statistics().position.number == 19  # executed at once
    answers = await receive(transport, 39)
    assert answers == b"0\t1\n" + b"".join(b"0\t1\t0\n0\t3\t%d\tc\t1\n" % number for number in range(1, 20))
    assert 0.5 <= trio.current_time() - started <= 2.3
    with pytest.raises(ValueError, match="not negative"):
        server.faults.delay(-1)


@pytest.mark.parametrize("silent", [False, True])
async def test_dropped_answers(silent: bool, server: EmbeddedServer, autojump_clock: trio.testing.MockClock) -> None:
    async with manager(server, timeout=3) as hs:
        await hs.get("cars", "trucks", ["id"], 1)
        await hs.update("cars", "trucks", "=", ["id"], [1], [2])
        server.faults.drop_answers(silent=silent)
        with pytest.raises(trio_hs.ConnectionError) as caught:
            await hs.insert("cars", "trucks", [("company", "Scania")])
        assert caught.value.maybe_applied
        assert await hs.get("cars", "trucks", ["company"], 1) == [("company", "Scania")]
        await trio.sleep(60)
        assert await hs.insert("cars", "trucks", [("company", "Volvo")]) == 2
    await trio.testing.wait_all_tasks_blocked()
    assert server.statistics().connections == 0


async def test_an_answer_cut_in_the_middle(server: EmbeddedServer) -> None:
    transport = await server.connect(server.write_address)
    server.faults.cut_answers()
    transport.send(OPEN + b"0\t+\t3\t1\tc\t1\n0\t=\t1\t1\n")
    whole = b"0\t1\n0\t1\t0\n0\t3\t1\tc\t1\n"
    cut = await receive(transport, 99)
    assert whole.startswith(cut)
    assert cut != whole
    transport = await server.connect(server.write_address)
    transport.send(OPEN + b"0\t=\t1\t1\n")
    assert await receive(transport, 2) == b"0\t1\n0\t3\t1\tc\t1\n"


async def test_reset_connections(server: EmbeddedServer) -> None:
    transport = await server.connect(server.read_address)
    server.faults.reset_connections()
    await transport.wait_receivable()
    with pytest.raises(ConnectionResetError):
        transport.receive()
    await server.listen(("127.0.0.1", 0), ("127.0.0.1", 0))
    stream = await trio.open_tcp_stream("127.0.0.1", server.read_address.port or 0)
    await stream.send_all(OPEN)
    assert await stream.receive_some() == b"0\t1\n"
    server.faults.reset_connections()
    with pytest.raises(trio.BrokenResourceError):
        await stream.receive_some()
    await stream.aclose()


async def test_a_crash_ends_connections_and_a_restart_forgets_indexes(server: EmbeddedServer) -> None:
    transport = await server.connect(server.write_address)
    transport.send(OPEN)
    await receive(transport)
    for number in (1, 2, 3):
        transport.send(b"0\t+\t3\t%d\tc\t1\n" % number)
        await receive(transport)
    transport.send(b"0\t+\t3\t9\tc\t1\n")
    server.crash(lose=2)
    assert await receive(transport) == b""  # the insert was not executed
    with pytest.raises(ConnectionRefusedError):
        await server.connect(server.read_address)
    assert not server.statistics().running
    server.crash()
    server.restart()
    server.restart()
    transport = await server.connect(server.write_address)
    transport.send(b"0\t=\t1\t1\n" + OPEN + b"0\t>\t1\t0\t9\t0\n")
    assert await receive(transport, 3) == b"2\t1\tstmtnum\n0\t1\n0\t3\t1\tc\t1\n"
    assert "running, at 1@localhost" in repr(server)
    with pytest.raises(ValueError, match="number of transactions"):
        server.crash(lose=-1)


async def test_heal_ends_every_fault(server: EmbeddedServer, autojump_clock: trio.testing.MockClock) -> None:
    faults = server.faults
    faults.refuse()
    faults.stall()
    faults.delay(5)
    faults.drop_answers(3)
    faults.cut_answers(3)
    faults.heal()
    started = trio.current_time()
    transport = await server.connect(server.read_address)
    transport.send(OPEN)
    assert await receive(transport) == b"0\t1\n"
    assert trio.current_time() == started


async def test_the_same_seed_gives_the_same_faults() -> None:
    async def run() -> list[bytes]:
        cuts = []
        async with open_server([TRUCKS], rng=random.Random(7)) as server:
            for _ in range(5):
                transport = await server.connect(server.read_address)
                server.faults.cut_answers()
                transport.send(OPEN * 20)
                cuts.append(await receive(transport, 99))
        return cuts

    first = await run()
    assert first == await run()
    assert len(set(first)) > 1
