"""Errors name their server and can be pickled. Fake servers, virtual time."""

from __future__ import annotations

import copy
import pickle

import pytest
import trio
from trio.testing import MockClock

import trio_hs
from tests.trio_hs.support.clients import managed
from tests.trio_hs.support.fake import REFUSED, FakeServer, die_on_the_first_request, echo, kill
from trio_hs import ConnectionError, DecodingError, HandlerSocketError, OperationalError, RetryPolicy


async def test_an_error_names_its_server(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with managed(nursery, retry=RetryPolicy(attempts=1)) as (hs, fakes):
        fakes[3].answer = lambda line: b"1\t1\t121\n" if line[:1].isdigit() else echo(line)
        with pytest.raises(trio_hs.DuplicateKeyError) as refused:
            await hs.insert("d", "t", [("id", 1)])
        assert refused.value.server == "fake:3"
        (outcome,) = await hs.insert_many("d", "t", ["id"], [[1]])
        assert isinstance(outcome, trio_hs.DuplicateKeyError)
        assert outcome.server == "fake:3"
        die_on_the_first_request(fakes[3])
        with pytest.raises(ConnectionError) as lost:
            await hs.update("d", "t", "=", ["id"], [1], [2])
        assert lost.value.server == "fake:3"
        assert pickle.loads(pickle.dumps(lost.value)).server == "fake:3"
        kill(fakes[1])
        kill(fakes[2])
        with pytest.raises(ConnectionError, match=r"fake:1: .* fake:2: ") as nobody:
            await hs.get("d", "t", ["id"], 1)
        assert nobody.value.server is None


async def test_the_only_server_is_named_when_it_is_unavailable(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    fake = FakeServer(nursery)
    server = ("inet", "fake", 1)
    async with trio_hs.open_manager([server], [server], connect=fake.connect, retry=RetryPolicy(attempts=1)) as hs:
        fake.refuses = REFUSED
        with pytest.raises(ConnectionError, match="no server is usable") as nobody:
            await hs.insert("d", "t", [("id", 1)])
        assert (nobody.value.server, nobody.value.maybe_applied) == ("fake:1", False)
        fake.refuses = None
        fake.answer = lambda line: b"3\t1\tunauth\n"
        with pytest.raises(trio_hs.AuthenticationError) as refused:
            await hs.get("d", "t", ["id"], 1)
        assert refused.value.server == "fake:1"


@pytest.mark.parametrize(
    "error", [OperationalError(1, "121"), DecodingError("x", b"y"), ConnectionError("x", maybe_applied=True)]
)
def test_errors_can_be_pickled_and_copied(error: HandlerSocketError) -> None:
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(again) is type(error)
        assert str(again) == str(error)
        assert vars(again) == vars(error)
