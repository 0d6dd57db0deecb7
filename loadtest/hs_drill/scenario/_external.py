"""The user's own servers, as a scenario or the command line names them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from ipaddress import IPv6Address
from typing import Annotated, Any

from pydantic import BeforeValidator, Discriminator, Field, Tag

from hs_drill._cluster import ClusterError, Server

from ._base import Model

__all__ = [
    "SERVER_NAME",
    "VARIABLE",
    "ExternalServer",
    "FromEnvironment",
    "Port",
    "named_servers",
    "parse_host",
    "parse_servers",
    "without_secrets",
]

SERVER_NAME = r"^(writer|standby|reader-[1-9][0-9]?)$"
VARIABLE = r"^[A-Za-z_][A-Za-z0-9_]*$"
READ_PORT, WRITE_PORT = 9998, 9999
HIDDEN = "(not kept)"

Port = Annotated[int, Field(ge=1, le=65535)]


class FromEnvironment(Model):
    """A secret from the environment, so that it is in no file."""

    env: Annotated[str, Field(pattern=VARIABLE)]
    """The environment variable that holds it."""


def _kind(value: object) -> str:
    return "variable" if isinstance(value, Mapping | FromEnvironment) else "text"


_Secret = Annotated[Annotated[str, Tag("text")] | Annotated[FromEnvironment, Tag("variable")], Discriminator(_kind)]


def parse_host(value: object) -> object:
    """A host without the brackets of an IPv6 address. Raises ValueError for one that has its port with it."""
    match value:
        case [str(address)]:  # YAML reads [::1] as a list
            value = f"[{address}]"
    if not isinstance(value, str) or not set(value) & set("[:"):
        return value
    address = value[1:-1] if value.startswith("[") and value.endswith("]") else value
    try:
        IPv6Address(address)
    except ValueError:
        raise ValueError(f"must be a name or address, such as db1.example or ::1, without a port, not {value!r}") from None
    return address


class ExternalServer(Model):
    """One server, and how to reach it. Secrets, users and passwords that are not given come from the environment:
    TRIO_HS_READ_SECRET, TRIO_HS_WRITE_SECRET, TRIO_HS_SQL_USER, TRIO_HS_SQL_PASSWORD, TRIO_HS_LOAD_USER and
    TRIO_HS_LOAD_PASSWORD."""

    name: Annotated[str, Field(pattern=SERVER_NAME)]
    """Its role in the run: `writer`, `standby`, `reader-1`, `reader-2` and so on."""
    host: Annotated[str, BeforeValidator(parse_host), Field(min_length=1, max_length=255)]
    """Its name or address. An IPv6 address may be in brackets."""
    read_port: Port = READ_PORT
    write_port: Port | None = None
    """9999 if not given. A reader needs none, and by default has none."""
    read_secret: _Secret | None = None
    """Text, or `{env: NAME}`."""
    write_secret: _Secret | None = None
    """Text, or `{env: NAME}`."""
    sql_port: Port | None = None
    """Lets the run create, load and read back its table by SQL, and inspect the binary log."""
    sql_user: _Secret | None = None
    sql_password: _Secret | None = None
    """Text, or `{env: NAME}`."""
    load_user: _Secret | None = None
    """The account of `driver: sql`. It should have only the rights of an application, so that `read_only` stops it."""
    load_password: _Secret | None = None
    """Text, or `{env: NAME}`."""

    @property
    def writes_at(self) -> int | None:
        """Its port for writes, or None."""
        return self.write_port or (None if self.name.startswith("reader-") else WRITE_PORT)

    def resolved(self) -> Server:
        """The server with its secrets filled in. Raises `ClusterError` when a variable is not set."""
        return Server(
            name=self.name,
            host=self.host,
            read_port=self.read_port,
            write_port=self.writes_at or 0,
            read_secret=self._secret(self.read_secret, "TRIO_HS_READ_SECRET"),
            write_secret=self._secret(self.write_secret, "TRIO_HS_WRITE_SECRET"),
            sql_port=self.sql_port,
            admin_user=self._secret(self.sql_user, "TRIO_HS_SQL_USER"),
            admin_password=self._secret(self.sql_password, "TRIO_HS_SQL_PASSWORD"),
            load_user=self._secret(self.load_user, "TRIO_HS_LOAD_USER"),
            load_password=self._secret(self.load_password, "TRIO_HS_LOAD_PASSWORD"),
        )

    def _secret(self, value: str | FromEnvironment | None, otherwise: str) -> str:
        if value == HIDDEN:
            if otherwise not in os.environ:
                raise ClusterError(
                    f"{self.name}: a kept run holds no secrets: set {otherwise}, or name the servers (--servers)"
                )
            value = None
        if isinstance(value, str):
            return value
        if value is None:
            return os.environ.get(otherwise, "")
        if value.env not in os.environ:
            raise ClusterError(f"{self.name}: the environment variable {value.env} is not set; it should hold a secret")
        return os.environ[value.env]


def named_servers(servers: list[ExternalServer]) -> tuple[int, bool]:
    """The number of readers, and whether there is a standby. Raises ValueError when the servers do not make a cluster."""
    names = [server.name for server in servers]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"names {name} twice")
    if "writer" not in names:
        raise ValueError("must name one server `writer`")
    readers = sum(name.startswith("reader-") for name in names)
    expected = [f"reader-{number}" for number in range(1, readers + 1)]
    if not readers or set(expected) - set(names):
        raise ValueError("must name at least one reader: reader-1, reader-2 and so on; it may have the writer's address")
    return readers, "standby" in names


def parse_servers(text: str) -> list[dict[str, Any]]:
    """Parse `writer=db1:9998:9999:3306,reader-1=db2:9998` into `servers` of a scenario.

    The SQL port is optional, and so is a reader's port for writes: `reader-1=db2:9998::3306`. Raises ValueError.
    """
    servers = []
    for one in text.split(","):
        match = re.fullmatch(r"\s*([\w-]+)=(\[[^][]+\]|[^][:]+):(\d+)(?::(\d*)(?::(\d+))?)?\s*", one)
        if match is None or not (match[4] or match[1].startswith("reader-")):
            form = "NAME=HOST:READ_PORT:WRITE_PORT[:SQL_PORT]"
            notes = "an IPv6 address is in brackets, and only a reader may lack WRITE_PORT"
            raise ValueError(f"a server is written {form}, not {one.strip()!r}; {notes}")
        name, host, *ports = match.groups()
        known = zip(("read_port", "write_port", "sql_port"), ports, strict=True)
        servers.append({"name": name, "host": host} | {key: int(port) for key, port in known if port})
    return servers


def without_secrets(server: Mapping[str, Any]) -> dict[str, Any]:
    """A dumped server, fit to be kept: without the secrets that the file gave as text."""
    secret = ("read_secret", "write_secret", "sql_password", "load_password")
    return {key: HIDDEN if key in secret and isinstance(value, str) else value for key, value in server.items()}
