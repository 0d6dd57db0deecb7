"""Whether the user has promoted one of their own servers since the run began.

A server that cannot be asked may have been promoted. Taking that for a no would call writes lost that the new primary has, and
drop a table on the old primary, which then could not replicate from the new one.

A promotion shows at the promoted server, and at those that were pointed to it: every change of what a server replicates from
counts. And it shows in what a server has replicated: a transaction that the writer does not have comes from another primary.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import trio

from hs_drill._cluster import ClusterError, Server

from ._control import bounded
from ._replication import gtids
from ._sql import execute_sql, run_all
from ._writable import Source, sources_of, takes_writes

__all__ = ["UNKNOWN_FATE", "Logged", "Promotions", "Replication", "change", "lacks", "watch_promotions"]

ANSWER_SECONDS = 10.0
"""A server that has not answered by then cannot be asked, and then what the run created is left there."""
WATCH_SECONDS = 2.0
"""Between two looks while the load runs."""
UNKNOWN_FATE = "so what becomes of the run's writes will be unknown, and an audit of them inconclusive"


@dataclass(frozen=True)
class Replication:
    """How a server replicates at one moment."""

    sources: Mapping[str, Source]
    """By the name of the connection."""
    takes_writes: bool
    position: str
    """`gtid_slave_pos`, which moves when the server replicates."""
    own: str = ""
    """`gtid_current_pos`: the same, with the server's own last transaction."""

    @property
    def stopped(self) -> bool:
        return not any(source.running for source in self.sources.values())

    @property
    def partly_stopped(self) -> bool:
        """Whether it replicates from no server, or not from one of several."""
        return not all(source.running for source in self.sources.values()) or not self.sources

    @property
    def healthy(self) -> bool:
        """Whether it fetches and applies from all of its sources."""
        return bool(self.sources) and all(source.healthy for source in self.sources.values())


def change(before: Replication, now: Replication) -> str:
    """What suggests that the server, or its source, was promoted in between, in words; "" if nothing does."""
    for name, source in before.sources.items():
        then = now.sources.get(name)
        if then is None:
            return f"does not replicate from {source.address} any more"
        if then.server_id and source.server_id and then.server_id != source.server_id:
            return f"replicates from the server with id {then.server_id} now, and from {source.server_id} when the run began"
        if then.address != source.address and not (then.server_id and source.server_id):
            return f"replicates from {then.address} now, and from {source.address} when the run began"
        if source.running and not then.running and now.takes_writes:
            return f"has stopped replicating from {source.address} and takes writes"
    for name, source in now.sources.items():
        if name not in before.sources:
            return f"is set up to replicate from {source.address} now, and was not when the run began"
    if now.takes_writes and not before.takes_writes:
        return "takes writes, and was read-only when the run began"
    if now.takes_writes and now.partly_stopped and now.position != before.position:
        return "has replicated since the run began, does not any more, and takes writes"
    return ""


@dataclass(frozen=True)
class Logged:
    """Which transactions the writer has."""

    logged: str
    """`gtid_binlog_state`."""
    replicated: str
    """`gtid_slave_pos`."""
    domain: int = 0
    """`gtid_domain_id`, in which it logs."""


def lacks(writer: Logged, replica: Replication, before: Replication | None = None) -> str:
    """A transaction of the replica that the writer does not have; "" if it has all of them.

    With several sources that cannot be told: a replica has transactions of them all. Transactions that it had `before` do not
    count; at the start of a run (None), those in a domain that the writer does not use: they come from another time.
    """
    if len(replica.sources) > 1:
        return ""
    logged = gtids(writer.logged)
    replicated = {domain: number for (domain, _), number in gtids(writer.replicated).items()}
    domains = {writer.domain, *replicated, *(domain for domain, _ in logged)}
    # A replica may have local transactions of its own. They matter when it does not replicate, and takes writes.
    local = replica.takes_writes and not replica.healthy
    has = gtids(replica.own if local else replica.position).items()
    known = set() if before is None else {*gtids(before.own).items(), *gtids(before.position).items()}
    for (domain, origin), number in has:
        old = domain not in domains if before is None else ((domain, origin), number) in known
        if not old and max(logged.get((domain, origin), 0), replicated.get(domain, 0)) < number:
            return f"{domain}-{origin}-{number}"
    return ""


@dataclass(frozen=True)
class _Before:
    """A server as it was when the run began."""

    server: Server
    replication: Replication | None
    """None if it could not be asked."""
    why_unknown: str = ""


class Promotions:
    """The servers that the user may promote during a run."""

    def __init__(self, writer: Server | None = None, before: Sequence[_Before] = ()) -> None:
        self._writer = writer
        self._before = before
        self._noticed = ""
        """The first suspicion that `watch` had."""

    @property
    def unwatched(self) -> list[str]:
        """The names of the servers whose promotion would go unnoticed."""
        return [one.server.name for one in self._before if one.replication is None]

    async def require_replicas(self) -> None:
        """Raise `ClusterError` if a server that can be asked is no replica of the writer: it, or its source, may have been
        promoted. Then what is written to the former primary keeps that from replicating from the new one."""
        writer = await self._logged()
        for one in self._before:
            name, replication = one.server.name, one.replication
            if replication is None:
                continue
            if not replication.sources:
                raise ClusterError(
                    f"{name} replicates from no server, so it is no replica of writer. If it is the primary now, name it "
                    "`writer`. If the servers do not replicate at all, set cluster.replication: none. Nothing was written"
                )
            if replication.stopped and replication.takes_writes:
                raise ClusterError(
                    f"{name} takes writes and does not replicate: it may be the primary. Name the primary `writer`. If {name} "
                    "is a replica, run START SLAVE there, and SET GLOBAL read_only=1. Nothing was written"
                )
            if writer is not None and (gtid := lacks(writer, replication)):
                raise ClusterError(
                    f"{name} has the transaction {gtid}, which writer does not have: another server is, or was, the primary. "
                    "Name the primary `writer`, and its replicas. Nothing was written"
                )

    def lines(self) -> Iterator[str]:
        """What the run cannot know, for the user."""
        for one in self._before:
            if one.replication is None:
                yield f"{one.why_unknown}: its promotion would go unnoticed, {UNKNOWN_FATE}"

    async def watch(self) -> None:
        """Look again and again, until cancelled: a promotion may be taken back before the end of the run. What cannot be asked
        for a moment does not count, because it is asked again at the end."""
        begun = trio.current_time()
        while not self._noticed:
            seen, _ = await self._look()
            if seen:
                self._noticed = f"{seen} (seen {trio.current_time() - begun:.0f} s after the load began)"
            await trio.sleep(WATCH_SECONDS)

    async def suspicion(self) -> str:
        """Why another server may have been promoted since; "" if none can have been."""
        if self._noticed:
            return self._noticed
        seen, unknown = await self._look()
        return seen or unknown

    async def _look(self) -> tuple[str, str]:
        """A sign of a promotion, and why one may go unnoticed."""
        seen: dict[str, str] = {}
        unknown: dict[str, str] = {}
        asked: dict[str, Replication] = {}

        async def ask(one: _Before) -> None:
            name = one.server.name
            now, trouble = await _ask(one.server)
            if now is not None:
                asked[name] = now
            if now is None:
                unknown[name] = f"whether {name} has been promoted is not known: {trouble}"
            elif one.replication is None:
                if now.stopped and now.takes_writes:
                    unknown[name] = f"{name} could not be asked when the run began, and now replicates from no server"
            elif what := change(one.replication, now):
                seen[name] = f"{name} {what}: it, or another server, may have been promoted"

        await run_all(*(partial(ask, one) for one in self._before))
        if not seen and (writer := await self._logged()) is not None:  # asked last: it may have got what they have from others
            for one in self._before:
                name, now = one.server.name, asked.get(one.server.name)
                if now is not None and (gtid := lacks(writer, now, one.replication)):
                    seen[name] = f"{name} has the transaction {gtid}, which writer does not have: another server was promoted"
        first_seen, first_unknown = (next((found[name] for name in sorted(found)), "") for found in (seen, unknown))
        return first_seen, first_unknown

    async def _logged(self) -> Logged | None:
        """None if the writer has no binary log, or cannot be asked, which is reported where it is checked."""
        if self._writer is None or self._writer.sql_port is None:
            return None
        try:
            with bounded(f"asking {self._writer.name} for its transactions", ANSWER_SECONDS):
                (row,) = await execute_sql(
                    self._writer,
                    "SELECT @@global.gtid_binlog_state AS logged, @@global.gtid_slave_pos AS replicated, @@log_bin AS logs, "
                    "@@global.gtid_domain_id AS domain",
                )
        except ClusterError:
            return None
        return Logged(str(row["logged"]), str(row["replicated"]), int(row["domain"])) if row["logs"] else None


async def watch_promotions(writer: Server, servers: Iterable[Server]) -> Promotions:
    """Ask the servers, without the writer and its aliases, how they replicate now."""
    before: dict[str, _Before] = {}

    async def ask(server: Server) -> None:
        before[server.name] = _Before(server, *await _ask(server))

    given = list(servers)
    await run_all(*(partial(ask, server) for server in given))
    return Promotions(writer, [before[server.name] for server in given])


async def _ask(server: Server) -> tuple[Replication | None, str]:
    """How the server replicates, or why that is not known."""
    if server.sql_port is None:
        return None, f"{server.name} cannot be asked whether it replicates, because its sql_port is not known"
    try:
        with bounded(f"asking {server.name} whether it replicates", ANSWER_SECONDS):
            (row,) = await execute_sql(server, "SELECT @@global.gtid_slave_pos AS p, @@global.gtid_current_pos AS own")
            return Replication(await sources_of(server), await takes_writes(server), str(row["p"]), str(row["own"])), ""
    except ClusterError as error:
        return None, str(error)
