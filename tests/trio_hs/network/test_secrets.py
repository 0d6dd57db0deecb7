"""Secrets from files and functions: each new connection gets its own, and nobody else sees it. Fake servers, virtual time."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

import trio_hs
from tests.trio_hs.support.clients import A, B, C, managed
from tests.trio_hs.support.fake import REFUSED, FakeServer, Network, black_hole, echo
from trio_hs import AuthenticationError, ConnectionError, Instrument, RetryPolicy, Server
from trio_hs._network._link import LONGEST_PAUSE
from trio_hs._network._secrets import MAX_BYTES, SecretError, secret_now

SECRET = "s3cr\u00e9t"


class Rotating(FakeServer):
    """Takes one secret at a time. What it was offered is in ``offered``."""

    def __init__(self, nursery: trio.Nursery, secret: str) -> None:
        super().__init__(nursery, self._answer)
        self.secret = secret
        self.offered: list[str] = []

    def _answer(self, line: bytes) -> bytes | None:
        if line[:1] != b"A":
            return echo(line)
        self.offered.append(line.split(b"\t")[2].decode())
        return b"0\t1\n" if self.offered[-1] == self.secret else b"3\t1\tunauth\n"

    def restart(self, secret: str) -> None:
        self.secret = secret
        for connection in self.open:
            connection.reset()


def sources(path: Path) -> list[tuple[Callable[[str], object], Any]]:
    """How to change a secret, and what the client is given."""
    held = {"secret": "first"}
    path.write_text("first\n")

    async def fetch() -> str:
        await trio.sleep(0.01)
        return held["secret"]

    def change(secret: str) -> None:
        held["secret"] = secret

    return [(change, lambda: held["secret"]), (change, fetch), (lambda secret: path.write_text(f"{secret}\r\n"), path)]


@pytest.mark.parametrize("number", range(3), ids=["function", "async function", "file"])
@pytest.mark.parametrize("own", [False, True], ids=["of all", "of one server"])
async def test_each_new_connection_has_the_secret_of_its_moment(
    number: int, own: bool, nursery: trio.Nursery, autojump_clock: MockClock, tmp_path: Path
) -> None:
    change, secret = sources(tmp_path / "secret")[number]
    server = Rotating(nursery, "first")
    address = Server("inet", "fake", 1, secret=secret if own else None)
    async with trio_hs.open_manager([address], [B], read_secret="other" if own else secret, connect=server.connect) as hs:
        assert await hs.get("d", "t", ["id"], 1) == [("id", "1")]
        for new in ("second", "third"):
            change(new)
            server.restart(new)
            assert await hs.get("d", "t", ["id"], 2) == [("id", "2")]
    assert server.offered == ["first", "second", "third"]


@pytest.mark.parametrize("late", ["the client", "the server"])
async def test_a_rotation_fails_no_caller_whoever_is_late(late: str, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    current = "old"
    server = Rotating(nursery, "old")
    async with trio_hs.open_manager([A], [B], read_secret=lambda: current, connect=server.connect) as hs:
        assert await hs.get("d", "t", ["id"], 1) == [("id", "1")]
        async with trio.open_nursery() as callers:
            if late == "the client":
                server.restart("new")
            else:
                current = "new"
                server.restart("old")
            for key in range(20):
                callers.start_soon(hs.get, "d", "t", ["id"], key)
            await trio.sleep(0.3)
            current = server.secret = "new"
    assert server.offered[-1] == "new"


async def test_a_secret_that_stays_wrong_is_reported_in_the_end(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    server = Rotating(nursery, "right")
    started = trio.current_time()
    async with trio_hs.open_manager([A], [B], read_secret=lambda: "wrong", connect=server.connect) as hs:
        with pytest.raises(AuthenticationError):
            await hs.get("d", "t", ["id"], 1)
        assert 0.3 < trio.current_time() - started < 2
        assert len(server.offered) >= 5
        retry = hs.statistics().retries
    assert retry == 4
    async with trio_hs.open_manager(
        [A], [B], read_secret=lambda: "wrong", connect=server.connect, retry=RetryPolicy(attempts=1)
    ) as hs:
        with pytest.raises(AuthenticationError):
            await hs.get("d", "t", ["id"], 1)
        assert hs.statistics().retries == 0


async def test_a_late_secret_moves_no_write_to_the_standby(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """The primary refuses this client's secret, and takes the writes of those that have the new one."""
    primary, standby = Rotating(nursery, "old"), Rotating(nursery, "old")
    current = "old"
    network = Network({1: FakeServer(nursery), 3: primary, 4: standby})
    writers: trio_hs.Servers = [[C], [("inet", "fake", 4)]]
    async with trio_hs.open_manager([A], writers, write_secret=lambda: current, connect=network.connect) as hs:
        await hs.incr("d", "t", "=", ["n"], [1])
        primary.restart("new")
        with pytest.raises(AuthenticationError):
            await hs.incr("d", "t", "=", ["n"], [2])
        current = "new"
        await hs.incr("d", "t", "=", ["n"], [3])
    assert not standby.requests
    assert len(primary.requests) == 2


async def test_a_server_that_is_down_costs_no_secret(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    calls = 0

    def secret() -> str:
        nonlocal calls
        calls += 1
        return "s"

    async with managed(nursery, read_secret=secret) as (hs, fakes):
        for port in (1, 2):
            fakes[port].refuses = REFUSED
        with pytest.raises(ConnectionError):
            await hs.get("d", "t", ["id"], 1)
        await trio.sleep(60)
        assert calls == 0
        for port in (1, 2):
            fakes[port].refuses = None
        await hs.get("d", "t", ["id"], 1)
        await trio.sleep(LONGEST_PAUSE)
        assert calls == 2  # one for each connection
        await hs.ping()
        assert calls == 4


class Failures(Instrument):
    def __init__(self) -> None:
        self.reasons: list[BaseException] = []

    def connect_failed(self, server: str, reason: BaseException) -> None:
        self.reasons.append(reason)


def refused_by_the_vault() -> str:
    raise ConnectionRefusedError(f"{SECRET} was refused")


async def grouped() -> str:
    raise ExceptionGroup(SECRET, [ConnectionRefusedError(SECRET)])


async def endless() -> str:
    await trio.sleep_forever()
    raise AssertionError


WRONG: list[tuple[Callable[[], Any], str]] = [
    (refused_by_the_vault, "the function for the secret raised ConnectionRefusedError"),
    (grouped, "the function for the secret raised ExceptionGroup"),
    (endless, "the function for the secret took longer than 3 s"),
    (lambda: SECRET.encode(), "the function for the secret returned bytes, not str"),
    (lambda: None, "the function for the secret returned NoneType, not str"),
    (lambda: SECRET + "\udcff", "the function for the secret returned a character that UTF-8 does not have"),
]


@pytest.mark.parametrize("secret, why", WRONG, ids=[why for _, why in WRONG])
async def test_a_function_that_fails_is_no_refusal_and_shows_no_secret(
    secret: Callable[[], Any], why: str, nursery: trio.Nursery, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Nor do writes go to the standby: what is wrong is ours."""
    caplog.set_level("DEBUG")
    failures = Failures()
    primary = Server("inet", "fake", 3, secret=secret)
    network = Network({port: FakeServer(nursery) for port in (1, 3, 4)})
    async with trio_hs.open_manager(
        [A], [[primary], [("inet", "fake", 4)]], connect=network.connect, instruments=[failures]
    ) as hs:
        with pytest.raises(ConnectionError) as caught:
            await hs.incr("d", "t", "=", ["n"], [1])
        assert f"fake:3: {why}; not asked" in str(caught.value)
        assert not caught.value.maybe_applied
        assert not network.servers[4].requests
        shown = [repr(hs), repr(hs.statistics()), repr(await hs.ping()), str(caught.value), caplog.text]
        assert why in caplog.text
        assert not any(SECRET in text for text in shown)
        assert all(isinstance(reason, SecretError) for reason in failures.reasons)


async def test_only_a_slow_function_is_blamed_for_silence(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    slow = True

    async def secret() -> str:
        await trio.sleep(60 if slow else 0)
        return "s"

    server = FakeServer(nursery)
    async with trio_hs.open_manager([A], [B], read_secret=secret, connect=Network({1: server}).connect) as hs:
        with pytest.raises(ConnectionError, match="the function for the secret took longer"):
            await hs.get("d", "t", ["id"], 1)
        slow = False
        server.gate = trio.Event()  # it accepts connections, and does not answer
        await trio.sleep(60)
        with pytest.raises(ConnectionError, match="no answer within 3 s"):
            await hs.get("d", "t", ["id"], 1)
        slow = True
        await trio.sleep(60)
        with pytest.raises(ConnectionError, match="the function for the secret took longer"):
            await hs.get("d", "t", ["id"], 1)
        black_hole(server)
        await trio.sleep(60)
        with pytest.raises(ConnectionError, match="no answer within 3 s"):
            await hs.get("d", "t", ["id"], 1)


async def test_an_instrument_gets_what_the_function_raised(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    failures = Failures()
    async with managed(nursery, read_secret=refused_by_the_vault, instruments=[failures]) as (hs, _):
        with pytest.raises(ConnectionError):
            await hs.get("d", "t", ["id"], 1)
    assert all(isinstance(reason.__cause__, ConnectionRefusedError) for reason in failures.reasons)


async def test_a_function_that_fails_for_a_moment_fails_no_caller(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    calls = 0

    def secret() -> str:
        nonlocal calls
        calls += 1
        if calls < 4:
            raise OSError("the vault is sealed")
        return "s"

    async with managed(nursery, read_secret=secret) as (hs, _):
        assert await hs.get("d", "t", ["id"], 1) == [("id", "1")]


async def test_closing_does_not_wait_for_a_function(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with managed(nursery, read_secret=endless) as (hs, fakes):
        hs.ready()
        await trio.sleep(1)
        assert fakes[1].open
    assert not fakes[1].open


async def failure(secret: Any) -> str:
    with pytest.raises(SecretError) as caught:
        await secret_now(secret)
    seen: list[BaseException | None] = [caught.value]
    while seen[-1] is not None:
        seen.append(seen[-1].__cause__ or seen[-1].__context__)
    assert SECRET not in repr(seen)
    return str(caught.value)


async def test_files_that_hold_no_secret_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    assert await failure(path) == f"{path}, the file of the secret, cannot be read: No such file or directory"
    assert "no regular file" in await failure(tmp_path)
    for content in (b"", b"\n", b"\r\n", SECRET.encode("latin-1"), SECRET.encode() * MAX_BYTES):
        path.write_bytes(content)
        assert "is empty, is not UTF-8, or has more than" in await failure(path)
    os.mkfifo(tmp_path / "pipe")
    assert "no regular file" in await failure(tmp_path / "pipe")
    assert "cannot be read: ValueError" in await failure(Path("a\0b"))


@pytest.mark.parametrize("content, secret", [("a", "a"), ("a\n", "a"), ("a\r\n", "a"), (" a \n\n", " a \n"), ("\ta", "\ta")])
async def test_one_newline_at_the_end_of_a_file_is_not_of_the_secret(content: str, secret: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(content.encode())
    assert await secret_now(tmp_path / "secret") == secret


@pytest.mark.parametrize("secret", [SECRET.encode(), 3, ["a"], {"a": SECRET}, SECRET + "\udcff"])
async def test_what_cannot_be_a_secret_is_refused_without_being_shown(secret: Any) -> None:
    for arguments in ({"read_secret": secret}, {"write_secret": secret}):
        with pytest.raises((TypeError, ValueError), match=next(iter(arguments))) as caught:
            async with trio_hs.open_manager([A], [B], **arguments):
                pass
        assert SECRET not in str(caught.value) + repr(caught.value.__context__)


async def test_the_low_level_takes_them_too(nursery: trio.Nursery, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("from a file")
    server = Rotating(nursery, "from a file")
    opened: list[Any] = [trio_hs.open_read_socket, trio_hs.open_write_socket]
    for open_socket in opened:
        async with open_socket([A], tmp_path / "secret", connect=server.connect) as hs:
            assert await hs.find(await hs.get_index_id("d", "t", ["id"]), "=", [1]) == [["1"]]
