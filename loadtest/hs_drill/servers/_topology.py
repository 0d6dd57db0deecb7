"""Asks the user's own servers what they are, before anything is written: replication, read_only, semi-sync, GTIDs, privileges.

Each server is asked at the same time as the others, and for a few seconds at most. A server that is silent, or lost on the way,
has said what it has said until then. Nothing here writes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import pymysql
import trio

from hs_drill._cluster import ClusterError, Server

from ._listeners import check_listener
from ._privileges import Privilege, is_lost, lacks_privilege
from ._replication import SLAVE_STATUS, replication_trouble
from ._sql import run_all, sql_error_code, sql_session
from ._writable import NOT_READ_ONLY, Source

__all__ = ["Answers", "SeenSource", "ask_servers", "primaries", "same_server_as"]

SECONDS = 5.0
"""For all questions to one server."""
VARIABLES = (
    "version", "hostname", "port", "datadir", "server_id", "read_only", "wsrep_on",
    "log_bin", "binlog_format", "log_slave_updates", "sync_binlog", "innodb_flush_log_at_trx_commit",
    "gtid_strict_mode", "gtid_domain_id", "gtid_current_pos",
    "rpl_semi_sync_master_enabled", "rpl_semi_sync_master_wait_point", "rpl_semi_sync_master_timeout",
    "rpl_semi_sync_master_wait_no_slave", "rpl_semi_sync_slave_enabled",
)  # fmt: skip
STATUS = ("Rpl_semi_sync_master_clients", "Rpl_semi_sync_master_status", "Rpl_semi_sync_slave_status")


@dataclass(frozen=True)
class SeenSource(Source):
    """A server that another one replicates from, and how it does."""

    gtid: str = ""
    """By which position: No (file and offset), Slave_Pos or Current_Pos."""
    lag: int | None = None
    """Seconds; None if it is not known."""
    trouble: str = ""
    """What stops it, in the server's words; empty while both threads run."""


@dataclass(frozen=True)
class Answers:
    """What one server has said of itself."""

    server: Server
    trouble: str = ""
    """Why it was not asked, or not to the end; empty if it has answered everything."""
    account: str = ""
    """The account that the server takes ours for, as `user@host`; empty if it was not asked that far."""
    variables: Mapping[str, str] = field(default_factory=dict)
    status: Mapping[str, str] = field(default_factory=dict)
    sources: Mapping[str, SeenSource] | None = None
    """By the name of the connection; None if that is not known."""
    lacking: tuple[Privilege, ...] = ()
    """The privileges that the server denies to the account."""
    unknown: Mapping[str, str] = field(default_factory=dict)
    """Questions that it did not answer, though it is there: what was asked -> its error."""
    listeners: Mapping[str, str] = field(default_factory=dict)
    """HandlerSocket's listeners: `read` or `write` -> why it cannot be used; empty if it can."""

    @property
    def name(self) -> str:
        return self.server.name

    def on(self, variable: str) -> bool:
        """Whether a variable or status is on. (It may be unknown: then it is not.)"""
        return {**self.variables, **self.status}.get(variable, "").upper() in ("ON", "1", "YES")

    @property
    def asked(self) -> bool:
        """Whether it has at least said what its variables are."""
        return bool(self.variables)

    @property
    def takes_writes(self) -> bool:
        return self.variables.get("read_only", "").upper() in NOT_READ_ONLY

    @property
    def is_primary(self) -> bool:
        """Whether it certainly is one: it takes writes, and replicates from no server."""
        return self.asked and self.takes_writes and self.sources is not None and not self.sources

    @property
    def identity(self) -> tuple[str, ...]:
        """Equal for two names of one server."""
        return tuple(self.variables.get(name, "") for name in ("hostname", "port", "datadir", "server_id"))


def same_server_as(one: Answers, other: Answers) -> bool:
    """Whether two names mean one server, as far as they have said. Unknown ones count as two."""
    return one.asked and other.asked and one.identity == other.identity


def primaries(answers: Sequence[Answers]) -> list[Answers]:
    """The servers that certainly are primaries, each once."""
    found: list[Answers] = []
    for one in answers:
        if one.is_primary and not any(same_server_as(one, other) for other in found):
            found.append(one)
    return found


async def ask_servers(
    servers: Sequence[Server], needed: Mapping[str, Sequence[Privilege]], *, listeners: bool = True
) -> list[Answers]:
    """Ask all of them at once, and their HandlerSocket `listeners`. Takes about `SECONDS` at most.

    `needed`: the privileges to ask for, by the server's name.
    """
    found: dict[str, Answers] = {}

    async def ask(server: Server) -> None:
        found[server.name] = await _ask(server, needed.get(server.name, ()), listeners)

    await run_all(*(partial(ask, server) for server in servers))
    return [found[server.name] for server in servers]


async def _ask(server: Server, needed: Sequence[Privilege], ask_listeners: bool) -> Answers:
    listeners: dict[str, str] = {}
    latest = [Answers(server, trouble=f"SQL at {server.at(server.sql_port)} did not answer within {SECONDS:g} s")]

    async def ask_sql() -> None:
        if server.sql_port is None:
            latest.append(Answers(server, trouble="its sql_port is not known"))
        elif not server.admin_user:
            none = "and none is given (sql_user and sql_password; for driver: sql also load_user and load_password)"
            latest.append(Answers(server, trouble=f"SQL at {server.at(server.sql_port)} needs an account, {none}"))
        else:
            # Abandoned when it is late: what it reports then comes too late to be seen.
            await trio.to_thread.run_sync(ask_by_sql, server, needed, latest.append, abandon_on_cancel=True)

    async with trio.open_nursery() as nursery:
        nursery.cancel_scope.deadline = trio.current_time() + SECONDS
        nursery.start_soon(ask_sql)
        for listener, port, secret in server.listeners if ask_listeners else ():
            listeners[listener] = f"did not answer within {SECONDS:g} s"
            nursery.start_soon(_ask_listener, server, listener, port, secret, listeners)
    return replace(latest[-1], listeners=listeners)


async def _ask_listener(server: Server, listener: str, port: int, secret: str, found: dict[str, str]) -> None:
    try:
        # Without SQL, which it would ask why, and which would take more time.
        await check_listener(replace(server, sql_port=None), port, secret, f"{listener}s")
        found[listener] = ""
    except ClusterError as error:
        found[listener] = str(error).partition(f"at {server.at(port)} ")[2]


def ask_by_sql(server: Server, needed: Sequence[Privilege], report: Callable[[Answers], None]) -> None:
    """For a thread. Reports what the server has said so far, again and again; the last report is the whole."""
    late = f"SQL at {server.at(server.sql_port)} did not answer everything within {SECONDS:g} s"
    asking = _Asking(Answers(server), lambda answers: report(replace(answers, trouble=answers.trouble or late)))
    with asking.noting_loss():
        with sql_session(server, connect_timeout=int(SECONDS), read_timeout=int(SECONDS)) as cursor:
            asking.ask_all(cursor, needed)
    report(asking.answers)


class _Asking:
    """One session's questions."""

    def __init__(self, answers: Answers, report: Callable[[Answers], None]) -> None:
        self.answers = answers
        self._report = report
        self._question = ""
        """What is being asked, in words."""

    @contextmanager
    def noting_loss(self) -> Iterator[None]:
        """Note why the questions of the block end early."""
        at = f"SQL at {self.answers.server.at(self.answers.server.sql_port)}"
        try:
            yield
        except (pymysql.MySQLError, OSError) as error:
            said = ": ".join(str(part) for part in error.args) or type(error).__name__
            if not is_lost(error):
                trouble = f"{at} refuses {'our questions' if self._question else 'the connection'} ({said})"
            elif self._question:
                trouble = f"the connection to {at} was lost when it was asked for {self._question} ({said})"
            else:
                trouble = f"{at} cannot be reached ({said})"
            self.answers = replace(self.answers, trouble=trouble)

    def ask_all(self, cursor: Any, needed: Sequence[Privilege]) -> None:
        self._question = "its state"
        cursor.execute("SET SESSION lock_wait_timeout = 1")  # a probe names the table, which an ALTER may have locked
        (row,) = _rows(cursor, "SELECT CURRENT_USER() AS account")
        self._note(account=str(row["account"]))
        self._note(variables=_pairs(cursor, f"SHOW GLOBAL VARIABLES WHERE Variable_name IN ({_listed(VARIABLES)})"))
        self._note(status=_pairs(cursor, f"SHOW GLOBAL STATUS WHERE Variable_name IN ({_listed(STATUS)})"))
        for privilege in needed:
            self._question = f"the privilege {privilege.name}"
            with self._noting_refusal():
                if lacks_privilege(cursor, privilege):
                    self._note(lacking=(*self.answers.lacking, privilege))
        lacking = [privilege.name for privilege in self.answers.lacking]
        if "SLAVE MONITOR" in {privilege.name for privilege in needed}.difference(lacking):
            self._question = "what it replicates from"
            with self._noting_refusal():
                self._note(sources={str(row["Connection_name"]): _source(row) for row in _rows(cursor, SLAVE_STATUS)})

    def _note(self, **changed: Any) -> None:
        self.answers = replace(self.answers, **changed)
        self._report(self.answers)

    @contextmanager
    def _noting_refusal(self) -> Iterator[None]:
        """Note that the server is there, and does not answer a question."""
        try:
            yield
        except pymysql.MySQLError as error:
            if is_lost(error):
                raise
            said = f"SQL error {sql_error_code(error)}: {error.args[-1]}"
            self._note(unknown={**self.answers.unknown, self._question: said})


def _rows(cursor: Any, query: str) -> list[dict[str, Any]]:
    cursor.execute(query)
    return list(cursor.fetchall())


def _pairs(cursor: Any, query: str) -> dict[str, str]:
    return {str(row["Variable_name"]): str(row["Value"]) for row in _rows(cursor, query)}


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)


def _source(row: Mapping[str, Any]) -> SeenSource:
    lag = row["Seconds_Behind_Master"]
    source = SeenSource(
        f"{row['Master_Host']}:{row['Master_Port']}",
        str(row["Slave_IO_Running"]),
        str(row["Slave_SQL_Running"]),
        int(row["Master_Server_Id"] or 0),
        str(row["Using_Gtid"]),
        None if lag is None else int(lag),
    )
    return source if source.healthy else replace(source, trouble=replication_trouble(row))
