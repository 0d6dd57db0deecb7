"""Replies by SQL that the proxy drops. The client and the server are played by hand, in MariaDB's own protocol."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
import trio
import trio.testing

from hs_drill.proxy._disturbances import DropReplies
from hs_drill.proxy._replies import Count
from hs_drill.proxy._sql_replies import SqlReplies
from tests.loadtest.support.proxied import RESET, hear, hear_all, playground


def packet(payload: bytes, number: int = 0) -> bytes:
    return len(payload).to_bytes(3, "little") + bytes([number]) + payload


def query(text: bytes) -> bytes:
    return packet(b"\x03" + text)


LOGIN = packet((0x00BE_A20D).to_bytes(4, "little") + bytes(28) + b"app\0", 1)
"""A real client's flags (of MariaDB's, without TLS), and a name."""
TLS = packet((0x00BE_AA0D).to_bytes(4, "little") + bytes(28), 1)
GREETING = packet(b"\x0a10.11.19-MariaDB\0" + bytes(40))
OK = packet(b"\0\0\0\2\0\0\0", 1)
LOGGED_IN = packet(b"\0\0\0\2\0\0\0", 2)
END_OF_ROWS = b"\xfe\0\0\2\0"
_ROWS = [b"\1", b"\3def" + bytes(40), END_OF_ROWS, b"\x0a0123456789", END_OF_ROWS]
ROWS = b"".join(packet(payload, number + 1) for number, payload in enumerate(_ROWS))
QUIT, CLOSE_STATEMENT, PING, EXECUTE = packet(b"\x01"), packet(b"\x19\1\0\0\0"), packet(b"\x0e"), packet(b"\x17" + bytes(9))


def armed(*disturbances: DropReplies, login: bytes = LOGIN) -> SqlReplies:
    replies = SqlReplies()
    replies.requests(login)
    assert replies.answers(LOGGED_IN) == (LOGGED_IN, False)
    for one in disturbances:
        replies.arm(one, Count(), fresh=False, at_boundary=True)
    return replies


def lost(replies: SqlReplies, request: bytes, answer: bytes = OK) -> bool:
    """Whether the answer to a request is lost. If not, all of it must be delivered."""
    replies.requests(request)
    delivered, cut = replies.answers(answer)
    assert delivered == (b"" if cut else answer)
    return cut


@pytest.mark.parametrize("portion", [1, 3, 5, 41, 1000])
def test_answers_are_counted_however_the_bytes_come(portion: int) -> None:
    replies = SqlReplies()
    replies.arm(DropReplies(after=3), Count(), fresh=True, at_boundary=True)
    assert replies.answers(GREETING) == (GREETING, False)
    cut = []
    for request, answer in [
        (LOGIN, LOGGED_IN),
        (query(b"set autocommit=1"), OK),
        (query(b"PREPARE s1 FROM 'SELECT 1'"), OK),
        (query(b"EXECUTE s1 USING 1"), ROWS),  # the first that counts, once
        (CLOSE_STATEMENT + query(b"EXECUTE s2 USING '" + b"v" * 100_000 + b"'"), OK),
        (PING, OK),
        (EXECUTE, ROWS),
        (query(b"SELECT 1"), ROWS),
    ]:
        for start in range(0, len(request), portion):
            replies.requests(request[start : start + portion])
        heard = b""
        for start in range(0, len(answer), portion):
            part, end = replies.answers(answer[start : start + portion])
            heard += part
            if end:
                break
        cut.append(end)
        assert heard == (b"" if end else answer)
    assert cut == [False] * 7 + [True]


def test_a_packet_that_goes_on_is_one_command() -> None:
    replies = armed(DropReplies(after=1))
    whole = packet(b"\x03INSERT " + bytes(0xFFFFFF - 8)) + packet(b"\x03" * 50, 1)
    assert not lost(replies, whole), "the first answer"
    assert lost(replies, query(b"SELECT 1"))


def test_every_answer_after_none_is_lost_but_not_what_prepares() -> None:
    replies = armed(DropReplies(after=0))
    assert not lost(replies, query(b"SET NAMES utf8mb4"))
    assert not lost(replies, packet(b"\x02drill")), "a change of the database"
    replies.requests(QUIT)
    assert replies.answers(b"") == (b"", False)
    assert lost(replies, query(b"SETTLE")), "which is not SET"


def test_an_answer_under_way_is_spared_and_one_that_is_due_is_not() -> None:
    begun = armed()
    begun.requests(query(b"SELECT 1"))
    assert begun.answers(ROWS[:20]) == (ROWS[:20], False)
    begun.arm(DropReplies(after=0), Count(), fresh=False, at_boundary=False)
    assert begun.answers(ROWS[20:]) == (ROWS[20:], False)
    assert lost(begun, query(b"SELECT 1"))
    due = armed()
    due.requests(query(b"SELECT 1"))
    due.arm(DropReplies(after=0), Count(), fresh=False, at_boundary=True)
    assert due.answers(ROWS) == (b"", True)


def test_what_the_server_says_unasked_is_no_answer() -> None:
    replies = armed(DropReplies(after=0))
    killed = packet(b"\xff\x87\x07#70100Connection was killed")
    assert replies.answers(killed) == (killed, False)


@pytest.mark.parametrize("login", [TLS, packet((0x00BE_A22D).to_bytes(4, "little") + bytes(28) + b"app\0", 1)])
def test_encrypted_and_compressed_connections_lose_nothing(login: bytes) -> None:
    replies = armed(DropReplies(after=0), login=login)
    assert not lost(replies, query(b"SELECT 1"))


@pytest.mark.parametrize("cut, delivered", [("boundary", b""), ("middle", ROWS[: len(ROWS) // 2])])
@pytest.mark.parametrize("end", ["reset", "close"])
async def test_the_client_is_cut_off_without_the_answer_that_the_server_gave(cut: Any, delivered: bytes, end: Any) -> None:
    async with playground(sql=True) as (proxy, target):
        client, server = await target.dial(), await target.accept()

        async def ask(request: bytes, answer: bytes) -> None:
            await client.send_all(request)
            assert await hear_all(server, len(request)) == request
            with suppress(trio.BrokenResourceError):
                await server.send_all(answer)

        await server.send_all(GREETING)
        await hear_all(client, len(GREETING))
        for request, answer in [(LOGIN, LOGGED_IN), (query(b"SELECT 1"), ROWS)]:
            await ask(request, answer)
            assert await hear_all(client, len(answer)) == answer
        proxy.start(DropReplies(after=1, cut=cut, end=end))  # on a connection of before, and from its next answer on
        await ask(query(b"SELECT 2"), ROWS)
        assert await hear_all(client, len(ROWS)) == ROWS
        assert proxy.statistics().cut == 0
        await ask(query(b"UPDATE"), ROWS)
        heard = b""
        while isinstance(more := await hear(client), bytes) and more:
            heard += more
        assert heard == delivered
        assert more == (RESET if end == "reset" else b"")
        assert proxy.statistics().cut == 1
