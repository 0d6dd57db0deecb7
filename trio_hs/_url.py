"""The syntax of a client's URL, and of lists of servers in a text: ``reader1:9998,reader2:9998|far:9998``.

In a list, ``,`` separates servers that share the load, and ``|`` separates groups in order of preference. The list has no
escapes of its own. A URL is percent-decoded before its lists are read, so it makes no difference which characters a tool has
encoded.

Errors quote parts of a URL only if no secret is in it: a ``&`` or ``#`` in a secret cuts it into parts that look like others.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ._network import Server, parse_server
from ._protocol import located

SCHEME = "handlersocket"
EXAMPLE = f"{SCHEME}://reader1:9998,reader2:9998/?write=primary:9999|standby:9999"
SERVERS = (
    "servers such as host1:9998,host2:9998 (| before the next group, an IPv6 address in brackets, or the path of a unix socket)"
)

_HOST_AND_PORT = re.compile(r"(\[[^\[\]]*\]|[^:\[\]]*)(?::([0-9]{1,5}))?")
#: What no name of a host contains. (The scope of an IPv6 address, in brackets, begins with a percent sign.)
_NO_HOST = re.compile(r"[\x00-\x20\x7f/?#@&=%\\]")


def servers_of(text: str, default_port: int) -> list[list[Server]]:
    """The servers in a text, in groups in order of preference. Raises ValueError, which says what is wrong."""
    return [[_server(one, default_port) for one in group.split(",")] for group in text.split("|")]


def _server(text: str, default_port: int) -> Server:
    if not text:
        raise ValueError("a server is missing: before or after a comma or a |, or there is none at all")
    if text.startswith("/") and "\0" not in text:
        return parse_server(("unix", text))
    match = _HOST_AND_PORT.fullmatch(text)
    host = match[1] if match is not None else ""
    if match is None or not host or (_NO_HOST.search(host) and not host.startswith("[")):
        hint = ": write an IPv6 address in brackets, such as [::1]:9998" if text.count(":") > 1 and "[" not in text else ""
        raise ValueError(f"{text!r} is no server{hint}")
    port = default_port if match[2] is None else int(match[2])
    if not 0 < port < 65536:
        raise ValueError(f"{text!r} is no server: a port is 1 to 65535")
    try:
        return parse_server(("inet", host, port))
    except ValueError:
        raise ValueError(f"{text!r} is no server: {host} is no IPv6 address") from None


def is_url(text: str) -> bool:
    return text.lower().startswith(f"{SCHEME}://")


class Url:
    """A URL in its parts. No part is checked yet but for its characters.

    Attributes:
      where: what to call it in errors.
      hosts: what is in the place of the host.
      settings: key and value of each setting behind the question mark.
      holds_secret: whether a secret is in it, or may be. Errors quote nothing of it then.
    """

    def __init__(self, url: str, where: str) -> None:
        self.where = where
        self.holds_secret = True  # until the contrary is known
        if not is_url(url):
            raise self.wrong(f"must begin with {SCHEME}://, such as {EXAMPLE}")
        _, _, rest = url.partition("://")
        if not rest.isprintable() or " " in rest:
            raise self.wrong("contains a space or a character that cannot be printed: write it as % and two digits")
        if re.search(r"%(?![0-9a-fA-F]{2})", rest):
            raise self.wrong("contains a % that two digits must follow: a % itself is written %25")
        if "#" in rest:
            raise self.wrong("contains a #: write it as %23")
        place, _, query = rest.partition("?")
        hosts, _, path = place.partition("/")
        pairs = [pair.partition("=") for pair in query.split("&") if pair]
        self.settings = [(self._decoded(key), equals, self._decoded(value)) for key, equals, value in pairs]
        keys = " ".join(key for key, _, _ in self.settings).lower()
        self.holds_secret = "@" in url or "secret" in keys
        if "@" in hosts or "@" in path:
            raise self.wrong("has an @ before its servers: secrets go behind read_secret= and write_secret=")
        if path:
            raise self.wrong("has a path: only /?key=value may follow the servers. Write / as %2F in the path of a unix socket")
        self.hosts = self._decoded(hosts)

    def _decoded(self, text: str) -> str:
        from urllib.parse import unquote_to_bytes  # two milliseconds, which only programs with a URL need

        try:
            return unquote_to_bytes(text).decode()
        except UnicodeError:
            pass  # the exception holds the text
        raise self.wrong("contains characters that are not UTF-8")

    def wrong(self, what: str) -> ValueError:
        return ValueError(f"{self.where} {what}")

    def items(self) -> Iterator[tuple[str, str]]:
        """Each setting once. Raises ValueError for one without a value, and for one that is there twice."""
        seen: set[str] = set()
        for number, (key, equals, value) in enumerate(self.settings, 1):
            name = f"setting {number}" if self.holds_secret else repr(key)
            if not equals or not value:
                raise self.wrong(f"gives {name} no value" + self.hint)
            if key in seen:
                raise self.wrong(f"gives {name} twice" + self.hint)
            seen.add(key)
            yield key, value

    @property
    def hint(self) -> str:
        """What to add to an error that may come from a secret that was not encoded."""
        return " (in a secret, & is written %26: urllib.parse.quote(secret, safe='') does it)" if self.holds_secret else ""

    def located(self, key: str, error: TypeError | ValueError, expected: str) -> TypeError | ValueError:
        """The error about the value of a known key."""
        if self.holds_secret:
            return self.wrong(f"has a wrong {key}, which is not shown beside a secret: it must be {expected}")
        return located(f"{key} in {self.where}", error)
