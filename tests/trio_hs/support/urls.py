"""URLs and variables for random settings, in the many ways in which they can be written: the opposite of the parser."""

from __future__ import annotations

import random
import string
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from trio_hs import RetryPolicy, Server
from trio_hs._network._settings import MAX_CONNECTIONS

Groups = list[list[Server]]

#: What a name of a host may contain: anything but what separates something in a URL, or in a list of servers.
HOST_CHARACTERS = st.characters(categories=["L", "N"], include_characters="-._~!$'()*+;")
PRINTABLE = st.characters(categories=["L", "N", "P", "S"], include_characters=" ")
#: Of a path of a unix socket, which a list of servers cannot quote.
PATH_CHARACTERS = st.characters(categories=["L", "N", "P", "S"], include_characters=" \t", exclude_characters=",|")
SCOPES = st.text(string.ascii_letters + string.digits + ".-_", min_size=1, max_size=5)

seconds = st.one_of(st.integers(1, 1000), st.floats(0.001, 1000))
ipv6 = st.one_of(
    st.ip_addresses(v=6).map(str),
    st.builds(lambda address, scope: f"{address}%{scope}", st.ip_addresses(v=6).map(str), SCOPES),
)
hosts = st.one_of(st.text(HOST_CHARACTERS, min_size=1, max_size=12), st.ip_addresses(v=4).map(str), ipv6)


def servers(default_port: int) -> st.SearchStrategy[Server]:
    ports = st.one_of(st.just(default_port), st.integers(1, 65535))
    inet = st.builds(Server, st.just("inet"), hosts, ports)
    unix = st.builds(lambda path: Server("unix", f"/{path}"), st.text(PATH_CHARACTERS, min_size=1, max_size=20))
    return st.one_of(inet, inet, inet, unix)


def groups(default_port: int) -> st.SearchStrategy[Groups]:
    group = st.lists(servers(default_port), min_size=1, max_size=3)
    return st.lists(group, min_size=1, max_size=3)


secrets = st.one_of(
    st.text(PRINTABLE, min_size=1, max_size=20), st.text(min_size=1, max_size=20).filter(lambda s: "\0" not in s)
)
names = st.text(string.ascii_letters + "_", min_size=1, max_size=8)

#: Values of the settings, as arguments of `open_manager` (for a policy: of `RetryPolicy`).
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "read_servers": groups(9998),
    "write_servers": groups(9999),
    "read_secret": st.one_of(secrets, secrets.map(Path)),
    "write_secret": st.one_of(secrets, secrets.map(Path)),
    "timeout": seconds,
    "connections": st.integers(1, MAX_CONNECTIONS),
    "encoding": st.sampled_from(["utf-8", "cp1252", None]),
    "write_databases": st.dictionaries(names, names, min_size=1, max_size=2),
    "move_writes_on_silence": st.booleans(),
    "connect": st.just("eager"),
    "retry_attempts": st.integers(1, 50),
    "retry_backoff": st.floats(0, 0.9),
    "retry_max_backoff": st.floats(0.9, 100),
    "retry_deadline": seconds,
    "retry_hedge_after": seconds,
    "retry_repeat_writes": st.lists(st.sampled_from(["insert", "update", "delete"]), min_size=1, unique=True).map(tuple),
}
settings = st.fixed_dictionaries({}, optional=VALUES)


def arguments(chosen: dict[str, Any]) -> dict[str, Any]:
    """The settings as `open_manager` gets them."""
    policy = {name.removeprefix("retry_"): value for name, value in chosen.items() if name.startswith("retry_")}
    rest = {name: value for name, value in chosen.items() if not name.startswith("retry_")}
    return {**rest, "retry": RetryPolicy(**policy)} if policy else rest


class Writer:
    """Writes settings as text. Where there is a choice of how, the random generator decides."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng

    def maybe(self) -> bool:
        return self.rng.random() < 0.5

    def server(self, server: Server, default_port: int) -> str:
        if server.kind == "unix":
            return server.host
        host = f"[{server.host}]" if ":" in server.host else server.host
        return host if server.port == default_port and self.maybe() else f"{host}:{server.port}"

    def groups(self, listed: Groups, default_port: int) -> str:
        return "|".join(",".join(self.server(server, default_port) for server in group) for group in listed)

    def text(self, name: str, value: Any) -> tuple[str, str]:
        """Name and text of a setting."""
        if name.endswith("_servers"):
            return name, self.groups(value, 9998 if name.startswith("read") else 9999)
        if isinstance(value, Path):
            return f"{name}_file", str(value)
        if name == "encoding":
            return name, value or "none"
        if isinstance(value, bool):
            return name, self.rng.choice([str(value).lower(), str(int(value))])
        if isinstance(value, dict):
            return name, ",".join(f"{one}:{other}" for one, other in value.items())
        if isinstance(value, tuple):
            return name, ",".join(value)
        return name, value if isinstance(value, str) else repr(value)

    def encoded(self, text: str, plain: str) -> str:
        """Percent-encoded, but for the characters in ``plain``, of which some are."""
        share = self.rng.choice((0.0, 0.3, 1.0))
        digits = self.rng.choice(("%02x", "%02X"))
        return "".join(
            one if one in plain and self.rng.random() >= share else "".join(f"%{digits % byte}" for byte in one.encode())
            for one in text
        )

    def url(self, chosen: dict[str, Any]) -> str:
        unreserved = string.ascii_letters + string.digits + "-._~!$'()*+;:"
        texts = dict(self.text(name, value) for name, value in chosen.items())
        place = self.encoded(texts.pop("read_servers", ""), unreserved + ",|[]\u00e9\u4e2d")
        pairs = [
            f"{'write' if name == 'write_servers' else name}={self.encoded(text, unreserved + ',|[]/?@=')}"
            for name, text in texts.items()
        ]
        self.rng.shuffle(pairs)
        query = "?" + "&".join(pairs) if pairs or self.maybe() else ""
        return f"{self.rng.choice(('handlersocket', 'HandlerSocket'))}://{place}{self.rng.choice(('', '/'))}{query}"

    def environment(self, chosen: dict[str, Any]) -> dict[str, str]:
        """Some settings in variables of their own, the rest in the URL."""
        apart = {name: value for name, value in chosen.items() if self.maybe()}
        rest = {name: value for name, value in chosen.items() if name not in apart}
        texts = dict(self.text(name, value) for name, value in apart.items())
        variables = {f"TRIO_HS_{name.upper()}": text for name, text in texts.items()}
        return {**variables, "TRIO_HS_URL": self.url(rest)} if rest else variables


writers = st.integers(0, 2**32).map(random.Random).map(Writer)
