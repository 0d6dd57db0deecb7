"""Addresses of servers: what is taken, and how a wrong one is refused."""

from __future__ import annotations

from typing import Any

import pytest

import trio_hs
from tests.trio_hs.support.clients import A, B, C
from trio_hs import Server
from trio_hs._network._servers import parse_server, parse_servers


@pytest.mark.parametrize(
    "servers, groups",
    [
        ([A, B], [[A, B]]),
        ([[A], [B]], [[A], [B]]),
        ([[A, B], [C]], [[A, B], [C]]),
        ([("unix", "/s")], [[("unix", "/s", None, None)]]),
        ([("inet", "h", 1, 2.5)], [[("inet", "h", 1, 2.5)]]),
        ([("inet", "::1", 1)], [[("inet", "::1", 1)]]),
        ([("inet", "[::1]", 1)], [[("inet", "::1", 1)]]),
        ([Server("inet", "[fe80::1%eth0]", 1)], [[("inet", "fe80::1%eth0", 1)]]),
        ([Server("inet", "h", 1, secret="s")], [[("inet", "h", 1, None, "s")]]),
    ],
)
def test_accepted_servers(servers: Any, groups: Any) -> None:
    assert parse_servers(servers) == [[Server(*server) for server in group] for group in groups]


@pytest.mark.parametrize(
    "servers, match",
    [
        ([], "list of servers"),
        ("localhost:9998", "list of servers"),
        (None, "list of servers"),
        ([[]], "empty"),
        (["localhost"], "a server is"),
        ([("inet", "localhost")], "None is not a port of localhost"),
        ([("inet", "localhost", "9998")], "'9998' is not a port"),
        ([("inet", "localhost", 0)], "0 is not a port"),
        ([("inet", "localhost", 70000)], "70000 is not a port"),
        ([("inet", "", 1)], "'' is not a host"),
        ([("inet", "localhost:9998", 1)], "'localhost:9998' is not a host: .* the port as a separate item"),
        ([("inet", "[::1]:9998", 1)], "is not a host"),
        ([("inet", "[localhost]", 1)], "is not a host"),
        ([("tcp", "localhost", 1)], "not 'tcp'"),
        ([("unix", "/s", 1)], "no port"),
        ([("inet", "localhost", 1, 0)], "positive"),
        ([("inet", "localhost", 1, 2, 3)], "a server is"),
    ],
)
def test_wrong_servers_say_what_is_wrong(servers: Any, match: str) -> None:
    with pytest.raises((TypeError, ValueError), match=match):
        parse_servers(servers)


def test_a_secret_of_another_type_is_refused() -> None:
    with pytest.raises(TypeError, match="or None, not bytes"):
        parse_server(trio_hs.Server("inet", "a", 1, secret=b"hush"))  # type: ignore[arg-type]
