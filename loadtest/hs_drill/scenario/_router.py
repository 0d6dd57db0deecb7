"""What stands between clients and servers of the user's own, such as HAProxy or MaxScale. Clients know nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

from pydantic import BeforeValidator, Field

from hs_drill._cluster import ROUTER, ClusterError, Server

from ._base import MissingKey, Model, PlacedError
from ._external import ExternalServer, Port, parse_host

if TYPE_CHECKING:
    from ._model import ClusterSpec, Scenario

__all__ = ["RouterSpec", "mistakes_of_router", "mistakes_through_router"]

PORTS = ("read_port", "write_port", "sql_port")


class RouterSpec(Model):
    """The router's address. It passes on secrets and accounts, which are those of the servers."""

    host: Annotated[str, BeforeValidator(parse_host), Field(min_length=1, max_length=255)]
    """Its name or address. An IPv6 address may be in brackets."""
    read_port: Port | None = None
    """Where clients read through HandlerSocket."""
    write_port: Port | None = None
    """Where clients write through HandlerSocket."""
    sql_port: Port | None = None
    """Where clients with `driver: sql` read and write. It also shows which server is behind the router."""

    def resolved(self, servers: Sequence[Server]) -> Server:
        """The router as clients reach it. Raises `ClusterError` if it would need several secrets for one port."""
        writer = next(server for server in servers if server.name == "writer")
        return Server(
            name=ROUTER,
            host=self.host,
            read_port=self.read_port or 0,
            write_port=self.write_port or 0,
            read_secret=_common("read_secret", servers) if self.read_port else "",
            write_secret=_common("write_secret", [one for one in servers if one.write_port]) if self.write_port else "",
            sql_port=self.sql_port,
            admin_user=writer.admin_user,
            admin_password=writer.admin_password,
            load_user=writer.load_user,
            load_password=writer.load_password,
        )


def _common(key: str, servers: Sequence[Server]) -> str:
    first, *others = servers
    for server in others:
        if getattr(server, key) != getattr(first, key):
            raise ClusterError(
                f"{ROUTER}: {first.name} and {server.name} have different secrets ({key}), and clients, which know only the "
                "router, have one: give these servers the same"
            )
    return str(getattr(first, key))


def mistakes_of_router(cluster: ClusterSpec) -> Iterator[PlacedError]:
    """The mistakes of `cluster.router`. Their places begin below `cluster`."""
    if (router := cluster.router) is None:
        return
    if cluster.kind != "external":
        only = f"is only for servers of your own: kind must be external, not {cluster.kind}"
        yield PlacedError(("router",), only)
        return
    given = {key: port for key in PORTS if (port := getattr(router, key)) is not None}
    for key, port in given.items():
        if other := next((other for other in given if other != key and given[other] == port), None):
            yield PlacedError(("router", key), f"is {port}, as {other} is: each is a port of its own")
            return
    for server in cluster.servers:
        for key, port in given.items() if server.host == router.host else ():
            if same := _port_of(server, port):
                yield PlacedError(
                    ("router", key),
                    f"{router.host}, port {port}, is the {same} of {server.name}, so no router: name the router's own address, "
                    "or leave `router` out",
                )
                return


def mistakes_through_router(scenario: Scenario) -> Iterator[PlacedError]:
    """The mistakes of `cluster.router` that show only beside the load."""
    if (router := scenario.cluster.router) is None:
        return
    driver = scenario.driver.name
    used = {"sql_port": "reads and writes"} if driver == "sql" else {"read_port": "reads", "write_port": "writes"}
    for key, does in used.items():
        if getattr(router, key) is None:
            yield MissingKey(("cluster", "router", key), f"is missing; driver: {driver} {does} there")
    for one in scenario.operations:
        if one.primary:
            unknown = "cannot be primary behind a router, for clients do not know where it leads: leave it out"
            yield PlacedError(("mix", one.name, "from"), unknown)


def _port_of(server: ExternalServer, port: int) -> str | None:
    ports = {"read_port": server.read_port, "write_port": server.writes_at, "sql_port": server.sql_port}
    return next((name for name, its in ports.items() if its == port), None)
