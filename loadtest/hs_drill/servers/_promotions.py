"""Whether the user's readers replicate from the writer, and whether one of them was promoted since the run began.

A server that cannot be asked may have been promoted. Taking that for a no would call writes lost that the new primary has, and
drop a table on the old primary, which then could not replicate from the new one.

A promotion shows at the promoted server, and at those that were pointed to it: every change of what a server replicates from
counts. And it shows in what a server has replicated: a transaction that the writer does not have comes from another primary.

What HandlerSocket writes to a promoted server shows in no GTID. So a server that takes writes counts as a replica only while
it fetches and applies what the writer logs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
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
EARLIER = ", in an earlier run: start Locust again, so that it checks the servers anew"
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
    """`gtid_binlog_state`: the last transaction that it has logged, of each origin."""
    writer_id: int = 0
    """The writer's `server_id`; 0 if that is not known."""
    server_id: int = 0
    """Its own `server_id`."""

    @property
    def direct(self) -> Mapping[str, Source]:
        """The connections that lead to the writer itself."""
        return {name: source for name, source in self.sources.items() if source.server_id == self.writer_id != 0}

    @property
    def links(self) -> Mapping[str, Source]:
        """The connections through which it gets what the writer logs: all of them, if none is known to lead to the writer."""
        return self.direct or self.sources

    @property
    def follows(self) -> bool:
        """Whether it fetches and applies what the writer logs, as far as that can be known of a chain."""
        healthy = [source.healthy for source in self.links.values()]
        return all(healthy) if self.direct else any(healthy)

    @property
    def why_unproven(self) -> str:
        """Why it is not certain that it gets what the writer logs, and directly; "" if it is."""
        if not self.direct:
            return f"replicates from {_listed(self.sources)}, not from writer (server id {self.writer_id})"
        return "" if self.follows else f"does not replicate from writer: {_listed(self.direct)}"


def _listed(sources: Mapping[str, Source]) -> str:
    each = (f"{source.address} (server id {source.server_id or 'unknown'}, {source.threads})" for source in sources.values())
    return " and ".join(each) or "no server"


def change(before: Replication, now: Replication, *, watching: bool = False) -> str:
    """What suggests that the server, or its source, was promoted in between, in words; "" if nothing does.

    `watching`: it is asked again later, so a connection that is only interrupted does not count yet.
    """
    for name, source in before.sources.items():
        then = now.sources.get(name)
        if then is None:
            return f"does not replicate from {source.address} any more"
        if then.server_id and source.server_id and then.server_id != source.server_id:
            return f"replicates from the server with id {then.server_id} now, and from {source.server_id} when the run began"
        # Until a server has answered at a new address, SHOW ALL SLAVES STATUS keeps the id of the former one (seen on 10.11).
        if then.address != source.address and not (then.server_id and source.server_id and then.io == "Yes"):
            return f"replicates from {then.address} now, and from {source.address} when the run began"
        if now.takes_writes and name in before.links:
            if then.stopped and not source.stopped:
                return f"has stopped replicating from {source.address} and takes writes ({then.threads})"
            if source.healthy and not (then.healthy or watching):
                return f"does not replicate from {source.address} and takes writes ({then.threads})"
    for name, source in now.sources.items():
        if name not in before.sources:
            return f"is set up to replicate from {source.address} now, and was not when the run began"
    if now.takes_writes and not before.takes_writes:
        return "takes writes, and was read-only when the run began"
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


def lacks(writer: Logged, replica: Replication, before: Replication | None = None, explained: Collection[int] = ()) -> str:
    """A transaction of the replica that the writer does not have; "" if it has all of them.

    Those that servers with the ids `explained` have made do not count.

    With several sources that cannot be told: a replica has transactions of them all. Transactions that it had `before` do not
    count; at the start of a run (None), those in a domain that the writer does not use: they come from another time, unless
    the replica's source has made them.
    """
    if len(replica.sources) > 1:
        return ""
    logged = gtids(writer.logged)
    replicated = {domain: number for (domain, _), number in gtids(writer.replicated).items()}
    domains = {writer.domain, *replicated, *(domain for domain, _ in logged)}
    # A replica may have local transactions of its own. They matter when it does not replicate, and takes writes.
    local = replica.takes_writes and not replica.follows
    has = gtids(replica.own if local else replica.position).items()
    known = set() if before is None else {*gtids(before.own).items(), *gtids(before.position).items()}
    others = {source.server_id for source in replica.sources.values()} - {replica.writer_id}
    for (domain, origin), number in has:
        old = (domain not in domains and origin not in others) if before is None else ((domain, origin), number) in known
        if not old and origin not in explained and max(logged.get((domain, origin), 0), replicated.get(domain, 0)) < number:
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

    def __init__(
        self,
        writer: Server | None = None,
        before: Sequence[_Before] = (),
        writer_id: int = 0,
        writer_before: Replication | None = None,
    ) -> None:
        self._writer = writer
        self._before = before
        self.writer_id = writer_id
        """The writer's `server_id`; 0 if that is not known."""
        self._writer_before = writer_before
        self._noticed = ""
        """The first suspicion that `watch` had."""

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
            if replication.takes_writes and not replication.follows:
                raise ClusterError(
                    f"{name} takes writes and does not replicate from {_listed(replication.links)}: it may be the primary. "
                    f"Name the primary `writer`. If {name} is a replica, run START SLAVE there, and SET GLOBAL read_only=1. "
                    "Nothing was written"
                )
            if writer is not None and (gtid := lacks(writer, replication)):
                raise ClusterError(
                    f"{name} has the transaction {gtid}, which writer does not have: another server may be, or "
                    "have been, the primary. Name the primary `writer`, and its replicas. Nothing was written"
                )

    def lines(self) -> Iterator[str]:
        """What the run cannot know, for the user."""
        for one in self._before:
            if one.replication is None:
                yield f"{one.why_unknown}: its promotion would go unnoticed, {UNKNOWN_FATE}"
            elif self.writer_id and one.replication.sources and not one.replication.direct:
                yield f"{one.server.name} {one.replication.why_unproven}: a promotion there may go unnoticed"

    async def why_unproven(self, *, direct: bool) -> str:
        """Why the promotion of a server could go unnoticed, as the beginning of a sentence that says what to do instead; "" if
        it could not. `direct`: each must be shown now to replicate from the writer itself. For a server between the two, or
        one that has stopped, may be promoted, or have been."""
        asked = await self._ask_all()
        for one in self._before:
            now, trouble = asked[one.server.name]
            if one.replication is None or now is None:
                return (
                    f"a promotion of {one.server.name} would go unnoticed, for {one.why_unknown or trouble}. Give it a "
                    "sql_port, with an account that has SLAVE MONITOR, or"
                )
            if direct and now.why_unproven:
                return f"a promotion could go unnoticed, for {one.server.name} {now.why_unproven}. So"
        return ""

    def new_run(self) -> None:
        """Another run begins on these servers, which does not make a suspicion go away."""
        if self._noticed and not self._noticed.endswith(EARLIER):
            self._noticed += EARLIER

    def notice(self, suspicion: str) -> None:
        """From now on the writer may not be the primary any more, or was not for a while."""
        self._noticed = self._noticed or suspicion

    def before(self, name: str) -> Replication | None:
        """How a server replicated when the servers were opened; None if it could not be asked."""
        if self._writer is not None and name == self._writer.name:
            return self._writer_before
        return next((one.replication for one in self._before if one.server.name == name), None)

    async def watch(self) -> None:
        """Look again and again, until cancelled: a promotion may be taken back before the end of the run. What cannot be asked
        for a moment does not count, because it is asked again at the end."""
        begun = trio.current_time()
        while not self._noticed:
            seen, *_ = await self._look(watching=True)
            if seen:
                self._noticed = f"{seen} (seen {trio.current_time() - begun:.0f} s after the load began)"
            await trio.sleep(WATCH_SECONDS)

    async def suspicion(self) -> str:
        """Why another server may have been promoted since; "" if none can have been."""
        return self._noticed or next(filter(None, await self._look()), "")

    async def sign(self) -> str:
        """`suspicion` without the servers that could not be asked at the start either."""
        return self._noticed or next(filter(None, (await self._look())[:2]), "")

    async def _look(self, *, watching: bool = False) -> tuple[str, str, str]:
        """A sign of a promotion; why one may go unnoticed by now; and why one would have gone unnoticed from the start."""
        seen: list[str] = []
        silent: list[str] = []
        unknown: list[str] = []
        asked = await self._ask_all()
        for one in self._before:
            name = one.server.name
            now, trouble = asked[name]
            if now is None:
                (silent if one.replication else unknown).append(f"whether {name} has been promoted is not known: {trouble}")
            elif one.replication is None:
                if now.takes_writes and not now.follows:
                    unknown.append(f"{name} could not be asked when the run began, and now replicates from no server")
            elif what := change(one.replication, now, watching=watching):
                seen.append(f"{name} {what}: it, or another server, may have been promoted")
        if not seen and (writer := await self._logged()) is not None:  # asked last: it may have got what they have from others
            for one in self._before:
                now, _ = asked[one.server.name]
                if now is not None and (gtid := lacks(writer, now, one.replication)):
                    seen.append(
                        f"{one.server.name} has the transaction {gtid}, which writer does not have: another server may have "
                        "been promoted"
                    )
        return "".join(seen[:1]), "".join(silent[:1]), "".join(unknown[:1])

    async def _ask_all(self) -> dict[str, tuple[Replication | None, str]]:
        return await _ask_all((one.server for one in self._before), self.writer_id)

    async def _logged(self) -> Logged | None:
        return None if self._writer is None else await self.logged(self._writer)

    async def logged(self, server: Server) -> Logged | None:
        """None if the server has no binary log, or cannot be asked, which is reported where it is checked."""
        if server.sql_port is None:
            return None
        try:
            with bounded(f"asking {server.name} for its transactions", ANSWER_SECONDS):
                (row,) = await execute_sql(
                    server,
                    "SELECT @@global.gtid_binlog_state AS logged, @@global.gtid_slave_pos AS replicated, @@log_bin AS logs, "
                    "@@global.gtid_domain_id AS domain",
                )
        except ClusterError:
            return None
        return Logged(str(row["logged"]), str(row["replicated"]), int(row["domain"])) if row["logs"] else None


async def watch_promotions(writer: Server, servers: Iterable[Server]) -> Promotions:
    """Ask the servers, without the writer and its aliases, how they replicate now."""
    given = list(servers)
    writer_id = 0
    if writer.sql_port is not None:
        writer_id = int((await execute_sql(writer, "SELECT @@global.server_id AS id"))[0]["id"])
    asked = await _ask_all([writer, *given], writer_id)
    before = [_Before(server, *asked[server.name]) for server in given]
    return Promotions(writer, before, writer_id, asked[writer.name][0])


async def _ask_all(servers: Iterable[Server], writer_id: int) -> dict[str, tuple[Replication | None, str]]:
    """How each of the servers replicates, or why that is not known, by its name."""
    asked: dict[str, tuple[Replication | None, str]] = {}

    async def ask(server: Server) -> None:
        asked[server.name] = await _ask(server, writer_id)

    await run_all(*(partial(ask, server) for server in servers))
    return asked


async def _ask(server: Server, writer_id: int) -> tuple[Replication | None, str]:
    if server.sql_port is None:
        return None, f"{server.name} cannot be asked whether it replicates, because its sql_port is not known"
    try:
        with bounded(f"asking {server.name} whether it replicates", ANSWER_SECONDS):
            (row,) = await execute_sql(
                server, "SELECT @@global.gtid_slave_pos AS p, @@global.gtid_binlog_state AS own, @@global.server_id AS id"
            )
            sources, writable = await sources_of(server), await takes_writes(server)
            return Replication(sources, writable, str(row["p"]), str(row["own"]), writer_id, int(row["id"])), ""
    except ClusterError as error:
        return None, str(error)
