"""The servers of a run: what they are and where they listen.

Plain data that travels over msgpack to the other processes of a run. `servers.open_cluster` starts what it describes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

ClusterKind = Literal["auto", "docker", "mariadb", "embedded", "external"]
Topology = Literal["plain", "write-through"]
Replication = Literal["none", "async", "semisync"]
Listener = Literal["read", "write"]
CLUSTER_KINDS: tuple[ClusterKind, ...] = get_args(ClusterKind)
TOPOLOGIES: tuple[Topology, ...] = get_args(Topology)
REPLICATIONS: tuple[Replication, ...] = get_args(Replication)
SUITES: Mapping[str, str] = {"10.11": "bookworm", "11.8": "trixie"}
"""The server versions that containers can run and embedded servers answer as, and the Debian release that has each. Without a
wish, the first is taken."""
ROUTER = "router"
"""The name of what stands between clients and servers of the user's own. No server has it."""
DEFAULT_VERSION = next(iter(SUITES))
VERSION = r"^[0-9]+\.[0-9]+$"
"""How users write a version."""
VERSION_HELP = (
    f"the servers' version: containers run, and embedded servers answer as, {' or '.join(SUITES)}; other servers are refused "
    "unless they have it"
)


class ClusterError(Exception):
    """Servers could not be started, reached or controlled. The message is one clear line for the user; show no traceback."""


@dataclass(frozen=True)
class Server:
    """One server of a run. Secrets and passwords stay out of its `repr`."""

    name: str
    """`writer`, `standby`, `reader-1`, `reader-2`, …"""
    host: str
    read_port: int
    """HandlerSocket's read-only listener. 0 if it has none, as a router for SQL alone."""
    write_port: int
    """HandlerSocket's read-write listener. A replica refuses writes there until it is promoted. 0 if it has none, as a
    reader of the user's own."""
    read_secret: str = field(repr=False)
    write_secret: str = field(repr=False)
    sql_port: int | None = None
    pid: int | None = None
    """The id of the server's process if it runs on this machine, as of its last start."""
    admin_user: str = ""
    admin_password: str = field(default="", repr=False)
    load_user: str = ""
    """The load's account for `driver: sql`. It has no more rights than an application, so `read_only` applies to it."""
    load_password: str = field(default="", repr=False)
    own: bool = False
    """Whether the run has started it as a MariaDB server of its own."""
    peer_host: str = ""
    """The address at which the run's other servers reach it, on the same ports, if that is not `host`."""

    def at(self, port: int | None) -> str:
        """The address of a port, in a message."""
        return f"[{self.host}]:{port}" if ":" in self.host else f"{self.host}:{port}"

    @property
    def listeners(self) -> tuple[tuple[Listener, int, str], ...]:
        """HandlerSocket's listeners that it has: what for, port and secret."""
        reads: tuple[Listener, int, str] = ("read", self.read_port, self.read_secret)
        writes: tuple[Listener, int, str] = ("write", self.write_port, self.write_secret)
        return tuple(listener for listener in (reads, writes) if listener[1])


@dataclass(frozen=True)
class Cluster:
    """One writer and what replicates from it."""

    kind: str
    """`mariadb`, `docker`, `embedded` or `external`."""
    why: str
    """One line: why this kind was chosen."""
    version: str
    """The writer's version. If servers of the user's own differ, or some cannot be asked: the version of each."""
    servers: tuple[Server, ...]
    admin_user: str = ""
    admin_password: str = field(default="", repr=False)
    write_databases: Mapping[str, str] = field(default_factory=dict, hash=False)
    """`{"drill": "drill_wt"}` if writes go through a FEDERATED twin (write-through), `{}` if they go straight to InnoDB
    (plain)."""
    replication_user: str = ""
    replication_password: str = field(default="", repr=False)
    replication: str = "async"
    """`none`, `async` or `semisync`: see `open_servers`."""
    followers: tuple[str, ...] = ()
    """Of the user's own servers: those to which clients' writes move, in this order, when the writer refuses them or is down.
    Each was read-only at the start, if it could be asked."""
    aliases: tuple[str, ...] = ()
    """Of the user's own servers: further names of the writer's server."""
    router: Server | None = None
    """What stands between clients and the user's own servers: clients know nothing else. It is not among the `servers`."""

    @property
    def writer(self) -> Server:
        """The primary at the time when the cluster came up."""
        return self._named("writer")[0]

    @property
    def standby(self) -> Server | None:
        """The server meant to be promoted, if there is one. It is not among the `readers`."""
        return next(iter(self._named("standby")), None)

    @property
    def readers(self) -> tuple[Server, ...]:
        return self._named("reader")

    @property
    def replicas(self) -> tuple[Server, ...]:
        """Every server but the writer: the standby and the readers."""
        return tuple(server for server in self.servers if server != self.writer)

    @property
    def followers_proven(self) -> bool:
        """Whether there are `followers`, and each was seen to be read-only at the start."""
        asked = [server.sql_port is not None for server in self.servers if server.name in self.followers]
        return bool(asked) and all(asked)

    def _named(self, role: str) -> tuple[Server, ...]:
        return tuple(server for server in self.servers if server.name.partition("-")[0] == role)

    def to_dict(self) -> dict[str, Any]:
        """Lists, dicts, strings and numbers only, for msgpack or JSON. It contains the secrets: do not log it."""
        data = asdict(self)
        data["servers"] = [asdict(server) for server in self.servers]
        data["write_databases"] = dict(self.write_databases)
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Cluster:
        servers = tuple(Server(**server) for server in data["servers"])
        router = Server(**data["router"]) if data.get("router") else None
        names = {name: tuple(data.get(name, ())) for name in ("followers", "aliases")}
        return cls(**{**data, "servers": servers, "router": router, **names})


def series(version: str) -> str:
    """The part of a server's version string that a user names: `10.11` of `10.11.19-MariaDB`."""
    return ".".join(version.split(".")[:2])


def server_names(readers: int, standby: bool) -> list[str]:
    return ["writer", *(["standby"] if standby else []), *(f"reader-{i + 1}" for i in range(readers))]
