"""What the user's own servers are, what could be rehearsed on them, and what is missing for the rest: in words.

Everything here follows from what the servers have answered, and from the scenario. Nothing is asked.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from hs_drill._cluster import ROUTER
from hs_drill.scenario import NetworkFault, PlacedError, PrimarySpec, Scenario, faults, missing_programs
from hs_drill.servers import (
    Answers,
    Privilege,
    SeenRouter,
    SeenSource,
    grants,
    looks_every,
    primaries,
    same_server_as,
    to_grant,
)

__all__ = ["Rehearsal", "rehearsal"]

Row = tuple[str, str]
Needed = Mapping[str, Sequence[Privilege]]
UNNAMED = "a server that is not named here"


@dataclass(frozen=True)
class Rehearsal:
    """The report of `hs-drill cluster check` on servers of the user's own."""

    servers: list[Row]
    """What each of them is, and what was seen of the router."""
    promotions: list[Row]
    faults: list[Row]
    missing: list[str]
    """What a run of this scenario would lack, one sentence each; empty if nothing."""
    statements: list[str]
    """SQL that gives the accounts what they lack, with the servers on which to run it as comments."""
    unasked: list[str]
    """What a run needs too, and nobody was asked for."""
    unreachable: bool
    """Whether a server that the scenario names could not be asked."""


def rehearsal(
    scenario: Scenario,
    answers: Sequence[Answers],
    needed: Needed,
    load_answers: Sequence[Answers] = (),
    load_needed: Needed = MappingProxyType({}),
    router: SeenRouter | None = None,
) -> Rehearsal:
    """`needed`: the privileges that were asked for, by the server's name. `load_answers`: what the servers have answered to the
    account of `driver: sql`."""
    promotions, unseen = _promotions(scenario, answers)
    use = {"by_sql": scenario.driver.name == "sql", "writes": scenario.writes}
    routed = [] if router is None else list(router.mistakes(**use))
    return Rehearsal(
        servers=[
            *((one.name, "\n".join(_state(one, answers))) for one in answers),
            *([] if router is None else [(ROUTER, "\n".join(router.lines()))]),
        ],
        promotions=promotions,
        faults=list(_faults(scenario, answers, watched=not unseen)),
        missing=[
            *_unanswered(answers),
            *(f"the account of driver: sql: {line}" for line in _unanswered(load_answers)),
            *_privileges([*answers, *load_answers]),
            *_roles(scenario, answers),
            *routed,
            *(_semisync(answers) if scenario.cluster.replication == "semisync" else ()),
            *unseen,
            *(_at(one) for one in missing_programs(scenario)),
        ],
        statements=[*_statements(scenario, answers, needed), *_statements(scenario, load_answers, load_needed)],
        unasked=[*_unasked(scenario), *([] if router is None else router.unknown(**use))],
        unreachable=any(one.trouble and one.server.sql_port is not None for one in (*answers, *load_answers))
        or any(why for one in answers for why in one.listeners.values())
        or (router is not None and not router.answers),
    )


# ---- what each server is


def _state(one: Answers, answers: Sequence[Answers]) -> Iterator[str]:
    server = one.server
    if one.trouble:
        yield one.trouble
    if one.asked:
        alias = next((other.name for other in answers if other is not one and same_server_as(one, other)), None)
        version = one.variables.get("version", "").partition("-")[0]
        also = f", also named {alias}" if alias else ""
        yield f"{server.at(server.sql_port)}, MariaDB {version}, server id {one.variables.get('server_id', '?')}{also}"
        role = "takes writes" if one.takes_writes else f"read-only (read_only is {one.variables.get('read_only', 'not known')})"
        yield f"{role}; {_replication(one, answers)}"
        yield from _logs(one)
        yield _semisync_of(one)
        if one.on("wsrep_on"):
            yield "a node of a Galera cluster"
    for listener, trouble in one.listeners.items():
        at = server.at(server.read_port if listener == "read" else server.write_port)
        yield f"HandlerSocket for {listener}s at {at}: {trouble or 'answers'}"


def _replication(one: Answers, answers: Sequence[Answers]) -> str:
    if one.sources is None:
        return "what it replicates from is not known"
    each = [_from(source, answers) for source in one.sources.values()]
    return f"replicates from {' and '.join(each) or 'no server'}"


def _from(source: SeenSource, answers: Sequence[Answers]) -> str:
    named = _named(source, answers)
    by = "by file and position, not by GTID" if source.gtid == "No" else f"by GTID ({source.gtid})"
    lag = "" if source.lag is None else f", {source.lag} s behind"
    state = f"{by}{lag}" if source.healthy else source.trouble or source.threads
    return f"{named} ({source.address}, server id {source.server_id or 'unknown'}; {state})"


def _named(source: SeenSource, answers: Sequence[Answers]) -> str:
    """The name of the server that a source is, by its id."""
    ids = {one.name: one.variables.get("server_id") for one in answers}
    named = next((name for name, id in ids.items() if source.server_id and id == str(source.server_id)), "")
    # One that has not said its id may be it.
    return named or (UNNAMED if source.server_id and all(ids.values()) else "a server")


def _logs(one: Answers) -> Iterator[str]:
    variable = one.variables.get
    if one.on("log_bin"):
        chained = "" if one.on("log_slave_updates") else ", without what it replicates (log_slave_updates is off)"
        flushed = [f"{name} {variable(name, '?')}" for name in ("sync_binlog", "innodb_flush_log_at_trx_commit")]
        yield f"binary log {variable('binlog_format', '?')}{chained}; {', '.join(flushed)}"
    else:
        yield "no binary log (log_bin is off): nothing can replicate from it"
    strict = "on" if one.on("gtid_strict_mode") else "off"
    yield f"GTID at {variable('gtid_current_pos') or 'nothing'}, domain {variable('gtid_domain_id', '?')}, strict mode {strict}"


def _semisync_of(one: Answers) -> str:
    parts = []
    if one.on("rpl_semi_sync_master_enabled"):
        point = one.variables.get("rpl_semi_sync_master_wait_point", "?")
        clients = one.status.get("Rpl_semi_sync_master_clients", "0")
        alone = "" if one.on("rpl_semi_sync_master_wait_no_slave") else ", and not at all while none is connected"
        how = f"a commit waits for a replica ({point}), at most {_timeout(one)}{alone}; {clients} connected"
        fallen = "" if one.on("Rpl_semi_sync_master_status") else "; just now none waits (Rpl_semi_sync_master_status is OFF)"
        parts.append(f"{how}{fallen}")
    if one.on("rpl_semi_sync_slave_enabled") and not one.is_primary:
        works = one.on("Rpl_semi_sync_slave_status")
        off = "would acknowledge, but does not just now (Rpl_semi_sync_slave_status is OFF)"
        parts.append("acknowledges what it fetches" if works else off)
    return f"semi-sync: {'; '.join(parts) or 'off'}"


def _timeout(one: Answers) -> str:
    milliseconds = one.variables.get("rpl_semi_sync_master_timeout", "")
    return f"{int(milliseconds) / 1000:g} s" if milliseconds.isdigit() else "a time that is not known"


# ---- promotions


def _promotions(scenario: Scenario, answers: Sequence[Answers]) -> tuple[list[Row], list[str]]:
    """How they would be noticed, and which would not be."""
    cluster = scenario.cluster
    if cluster.replication == "none":
        return [("watched", "no: cluster.replication is none, so nothing can be promoted")], []
    now = " and ".join(one.name for one in primaries(answers)) or "not known"
    rows = [("primary now", now)]
    unseen = list(_unseen(answers))  # also if a command decides: at the end each server must say what it is
    watch = cluster.primary or PrimarySpec()
    rows.append(("watched", "only in part: see what is missing" if unseen else f"by SQL, every {looks_every(watch.every):g} s"))
    if watch.command is not None:
        rows.append(("decided", f"by a command of yours, every {watch.every:g} s: {shlex.join(watch.command)}"))
    if cluster.router is not None:
        rows.append(("clients follow", "the router, and nobody but it knows which server acknowledges a write"))
        return rows, unseen
    by_sql = scenario.driver.name == "sql"
    follow = [one for one in answers if one.name != "writer" and not _is_writer(one, answers)]
    able = [one.name for one in follow if (one.server.sql_port if by_sql else one.server.write_port)]
    port = "sql_port" if by_sql else "write_port"
    others = ", ".join(one.name for one in follow if one.name not in able)
    rest = f"; not to {others}, whose {port} is not given" if others else ""
    rows.append(("clients follow", f"to {', '.join(able) or 'no server'}{rest}"))
    return rows, unseen


def _is_writer(one: Answers, answers: Sequence[Answers]) -> bool:
    return any(other.name == "writer" and same_server_as(one, other) for other in answers)


def _unseen(answers: Sequence[Answers]) -> Iterator[str]:
    """Which promotions the watch by SQL would not see, and why."""
    unasked = {
        "sql_port is not known": [one.name for one in answers if one.server.sql_port is None],
        "sources are not known": [one.name for one in answers if one.server.sql_port is not None and one.sources is None],
    }
    for why, names in unasked.items():
        if names:
            yield f"promotions would not be seen at {', '.join(names)}, whose {why}, and an audit would be inconclusive"
    for one in answers:
        for source in (one.sources or {}).values():
            if _named(source, answers) == UNNAMED:
                yield f"{one.name} replicates from {source.address}, which is not named here: a promotion there goes unnoticed"


# ---- faults


def _faults(scenario: Scenario, answers: Sequence[Answers], *, watched: bool) -> Iterator[Row]:
    """Which of them can be rehearsed, and what the others need."""
    blind = [one.name for one in answers if one.sources is None]
    unseen = f"; not at {', '.join(blind)}, where nobody could see whether it worked (that needs SQL)" if blind else ""
    cluster, by_sql = scenario.cluster, scenario.driver.name == "sql"
    network = [name for name, fault in faults.FAULTS.items() if issubclass(fault, NetworkFault)]
    seen = [name for name in network if not (by_sql and faults.FAULTS[name].only_handlersocket)]
    if seen:
        where = "clients and the router makes them (target: router)" if cluster.router else "clients and servers makes them"
        yield ", ".join(seen), f"yes, without a command: a proxy between {where}"
    without: list[str] = []
    for name, fault in faults.FAULTS.items():
        if not fault.by_command:
            continue
        if cluster.replication == "none" and fault.needs_replication:
            yield name, "no: cluster.replication is none"
        elif (command := cluster.commands.get(name)) is None:
            without.append(name)
        else:
            heal = f"; heals by {shlex.join(command.heal)}" if command.heal is not None else ""
            yield name, f"yes, by {shlex.join(command.run)}{heal}{unseen if fault.needs_replication else ''}"
    if without:
        yield ", ".join(without), f"need a command of yours each, in cluster.commands, such as {_example(without[0])}"
    yield "command", "yes: any command of yours, which the fault itself names"
    if cluster.replication != "none":
        yield "external", "yes: somebody else fails over" if watched else "only in part: see promotions"
    never = [
        name for name, fault in faults.FAULTS.items() if name not in (*seen, "command", "external") and not fault.by_command
    ]
    yield ", ".join(never), f"no: not on servers of your own{', or not with driver: sql' if len(seen) < len(network) else ''}"


def _example(name: str) -> str:
    heal = ', heal: [PROGRAM, "{host}"]' if faults.FAULTS[name].lasts else ""
    return f'{name}: {{run: [PROGRAM, "{{host}}"]{heal}}}'


# ---- what is missing


def _unasked(scenario: Scenario) -> Iterator[str]:
    """What shows only when a run begins, which then says so, and writes nothing."""
    if scenario.table.existing and scenario.writes:
        yield (
            "what `writes: allowed` needs on a table that exists (TRIGGER, UPDATE, perhaps DELETE and BINLOG ADMIN; through a "
            "twin SELECT on mysql.servers): see docs/scenarios.md, Privileges"
        )
    if scenario.driver.name == "sql":
        yield "whether read_only applies to the load's account, and what that may write on servers that are read-only now"


def _unanswered(answers: Sequence[Answers]) -> Iterator[str]:
    for one in answers:
        if one.trouble and one.server.sql_port is not None:
            yield f"{one.name}: {one.trouble}; which privileges the account has is not known" + (
                f" beyond {', '.join(privilege.name for privilege in one.lacking)}, which it lacks" if one.lacking else ""
            )
        for question, why in one.unknown.items():
            yield f"{one.name}: {question} could not be asked for ({why})"
        for listener, why in one.listeners.items():
            if why:
                port = one.server.read_port if listener == "read" else one.server.write_port
                yield f"{one.name}: HandlerSocket's listener for {listener}s at {one.server.at(port)} {why}"


def _privileges(answers: Sequence[Answers]) -> Iterator[str]:
    on: dict[tuple[str, str, str, str], list[str]] = {}
    for one in answers:
        for privilege in one.lacking:
            on.setdefault((one.account, privilege.name, privilege.scope, privilege.why), []).append(one.name)
    for (account, name, scope, why), names in on.items():
        yield f"the account {account} lacks {name} ON {scope} at {', '.join(names)}: needed {why}"


def _roles(scenario: Scenario, answers: Sequence[Answers]) -> Iterator[str]:
    """What the servers are, and should not be in this scenario."""
    (writer,) = (one for one in answers if one.name == "writer")
    if writer.asked and not writer.takes_writes:
        yield "writer is read-only, so it is not the primary: name the primary `writer`"
    if writer.sources:
        yield "writer replicates from another server, so it is not the primary: name the primary `writer`"
    if scenario.cluster.replication == "none":
        return
    if writer.asked and not writer.on("log_bin"):
        yield "writer has no binary log (log_bin is off): nothing replicates from it"
    for one in answers:
        if one is writer or not one.asked or same_server_as(one, writer):
            continue
        if one.takes_writes and (one.name == "standby" or one.server.write_port or one.sources == {}):
            otherwise = "run SET GLOBAL read_only=1 there, until it is promoted"
            yield f"{one.name} takes writes: if it is the primary now, name it `writer`; else {otherwise}"
        if one.sources == {}:
            yield f"{one.name} replicates from no server: if the servers do not replicate, set cluster.replication: none"
        for source in (one.sources or {}).values():
            if not source.healthy:
                yield f"{one.name} does not replicate from {source.address}: {source.trouble or source.threads}"
            elif source.gtid == "No":
                yield f"{one.name} replicates without GTIDs (master_use_gtid), by which a run sees what it lacks"
        if writer.asked and one.variables.get("server_id") == writer.variables.get("server_id"):
            yield f"{one.name} has the same server id as writer ({one.variables.get('server_id')})"


def _semisync(answers: Sequence[Answers]) -> Iterator[str]:
    """What contradicts `replication: semisync`."""
    (writer,) = (one for one in answers if one.name == "writer")
    said = "the scenario says replication: semisync"
    if not writer.asked:
        yield f"{said}; whether that is on is not known, for writer could not be asked"
    elif not writer.on("rpl_semi_sync_master_enabled"):
        yield f"{said}, but it is off on writer (rpl_semi_sync_master_enabled is OFF): commits wait for no replica"
    elif writer.status.get("Rpl_semi_sync_master_clients", "0") == "0":
        yield f"{said}, but no replica acknowledges on writer (Rpl_semi_sync_master_clients is 0)"
    elif not writer.on("Rpl_semi_sync_master_status"):
        yield f"{said}, but just now commits on writer wait for no replica (Rpl_semi_sync_master_status is OFF)"
    replicas = [one for one in answers if one is not writer and one.asked and not same_server_as(one, writer)]
    acknowledge = any(one.on("rpl_semi_sync_slave_enabled") for one in replicas)
    for one in replicas:
        # One that is not to be promoted need not: if it did, it might be the only one that has the last writes.
        if not one.on("rpl_semi_sync_slave_enabled") and not (acknowledge and one.name != "standby"):
            yield f"{said}, but {one.name} acknowledges nothing (rpl_semi_sync_slave_enabled is OFF)"


def _statements(scenario: Scenario, answers: Sequence[Answers], needed: Needed) -> Iterator[str]:
    """The GRANTs. A replica gets those of its primary; executed there, one would be a transaction that the primary lacks."""
    alone = scenario.cluster.replication == "none"
    given: set[tuple[str, str, str]] = set()
    for one in answers:
        replica = not alone and one.name != "writer"
        lacking = [each for each in one.lacking if not (replica and (one.account, each.name, each.scope) in given)]
        if not lacking or not one.account:
            continue
        wanted = to_grant(lacking, needed[one.name])
        if replica:
            yield f"-- on {one.name}, and not in its binary log:"
            yield "SET SESSION sql_log_bin=0;"
        else:
            yield f"-- on {one.name}{'' if alone else '; its replicas get it from there'}:"
            given |= {(one.account, name, scope) for scope, names in wanted.items() for name in names}
        yield from [f"{statement};" for statement in grants(one.account, wanted)]


def _at(mistake: PlacedError) -> str:
    *keys, _ = mistake.place  # the last one is the program's number among the words
    return f"{'.'.join(map(str, keys))}: {mistake}"
