"""What `hs-drill cluster check` says of a user's own servers, by what they might answer. No server is asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from hs_drill._cluster import Server
from hs_drill.cli._own_servers import exit_code, privileges_on
from hs_drill.cli._rehearsal import Rehearsal, rehearsal
from hs_drill.scenario import Scenario
from hs_drill.servers import Answers, Privilege, SeenRouter, SeenSource
from hs_drill.servers._one_server import Led
from hs_drill.servers._router import NEEDS_PORT, Behind

SERVERS = [
    {"name": "writer", "host": "db1", "sql_port": 3306},
    {"name": "standby", "host": "db2", "sql_port": 3306},
    {"name": "reader-1", "host": "db3", "sql_port": 3306},
]
OPEN = {"read_only": "OFF"}
ROW = {
    "version": "10.11.19-MariaDB-log",
    "port": "3306",
    "read_only": "ON",
    "log_bin": "ON",
    "binlog_format": "ROW",
    "log_slave_updates": "ON",
    "sync_binlog": "1",
    "innodb_flush_log_at_trx_commit": "1",
    "gtid_strict_mode": "ON",
    "gtid_domain_id": "0",
    "gtid_current_pos": "0-1-7",
    "rpl_semi_sync_master_enabled": "OFF",
    "rpl_semi_sync_slave_enabled": "OFF",
}
WAITS = {
    "rpl_semi_sync_master_enabled": "ON",
    "rpl_semi_sync_master_wait_point": "AFTER_SYNC",
    "rpl_semi_sync_master_timeout": "10000",
    "rpl_semi_sync_master_wait_no_slave": "ON",
}
WAITING = {"Rpl_semi_sync_master_status": "ON", "Rpl_semi_sync_master_clients": "2"}
ACKNOWLEDGES = {"rpl_semi_sync_slave_enabled": "ON"}
FROM_WRITER = SeenSource("db1:3306", "Yes", "Yes", 1, "Slave_Pos", 0)


def scenario(driver: str = "handlersocket", **cluster: Any) -> Scenario:
    given = {"kind": "external", "servers": SERVERS, **cluster}
    return Scenario.model_validate({"name": "x", "mix": {"get": 1, "insert": 1}, "driver": driver, "cluster": given})


def answers(number: int, variables: Mapping[str, str] | None = None, **changed: Any) -> Answers:
    """What the writer (1), the standby (2) or the reader (3) says."""
    one = Server(str(SERVERS[number - 1]["name"]), f"db{number}", 9998, 9999 if number < 3 else 0, "", "", sql_port=3306)
    said = {**ROW, "hostname": f"db{number}", "server_id": str(number), **(OPEN if number == 1 else {}), **(variables or {})}
    sources = {} if number == 1 else {"": FROM_WRITER}
    whole: dict[str, Any] = {"account": f"few@db{number}", "variables": said, "sources": sources, **changed}
    return Answers(one, **whole)


GOOD = [answers(1), answers(2), answers(3)]


def found(*said: Answers, of: Scenario | None = None) -> Rehearsal:
    of = of or scenario()
    given = [next((one for one in said if one.name == usual.name), usual) for usual in GOOD]
    return rehearsal(of, given, {one.name: privileges_on(one.server, of) for one in given})


def lacking(number: int, *names: str) -> Answers:
    needed = privileges_on(GOOD[number - 1].server, scenario())
    few = tuple(one for one in needed if one.name in names)
    assert len(few) == len(names)
    return answers(number, account="few@%", lacking=few, **({"sources": None} if "SLAVE MONITOR" in names else {}))


def test_of_good_servers_nothing_is_missing_and_all_is_told() -> None:
    result = found()
    assert (result.missing, result.statements, result.unreachable, exit_code(result)) == ([], [], False, 0)
    assert dict(result.servers)["writer"] == (
        "db1:3306, MariaDB 10.11.19, server id 1\n"
        "takes writes; replicates from no server\n"
        "binary log ROW; sync_binlog 1, innodb_flush_log_at_trx_commit 1\n"
        "GTID at 0-1-7, domain 0, strict mode on\n"
        "semi-sync: off"
    )
    assert (
        "\nread-only (read_only is ON); replicates from writer (db1:3306, server id 1; by GTID (Slave_Pos), 0 s behind)\n"
        in dict(result.servers)["standby"]
    )
    assert result.promotions == [
        ("primary now", "writer"),
        ("watched", "by SQL, every 0.25 s"),
        ("clients follow", "to standby; not to reader-1, whose write_port is not given"),
    ]


def test_a_router_is_told_with_what_it_leads_to() -> None:
    ports = {"read_port": 8, "write_port": 9, "sql_port": 33}
    routed = scenario(router={"host": "ha", **ports})
    router = Server("router", "ha", 8, 9, "", "", sql_port=33)
    writer = Behind(Led({"writer": 20}))
    seen = SeenRouter(router, {"read": "", "write": ""}, writer, writer)
    said = {one.name: privileges_on(one.server, routed) for one in GOOD}
    result = rehearsal(routed, GOOD, said, router=seen)
    assert (result.missing, result.unasked, result.unreachable) == ([], [], False)
    assert dict(result.servers)["router"] == (
        "HandlerSocket for reads at ha:8: answers\n"
        "HandlerSocket for writes at ha:9: answers; led to writer in 20 of 20 connections\n"
        "SQL at ha:33: writes were led to writer in 20 of 20 connections"
    )
    assert dict(result.promotions)["clients follow"] == (
        "the router, and nobody but it knows which server acknowledges a write"
    )
    (network,) = [what for names, what in result.faults if names.startswith("partition")]
    assert network == "yes, without a command: a proxy between clients and the router makes them (target: router)"

    standby = Behind(Led({"standby": 20}), read_only=True)
    wrong = replace(seen, listeners={"read": "refuses the secret", "write": ""}, writes=standby)
    result = rehearsal(routed, GOOD, said, router=wrong)
    assert result.missing == [
        "router: the listener for reads at ha:8 refuses the secret",
        "router: writes at ha:9 were led to standby in 20 of 20 connections (standby is read-only), and not to writer: let the "
        "router lead to the primary, and name that `writer`",
    ]
    assert (result.unreachable, exit_code(result)) == (True, 2)

    blind = replace(seen, writes=NEEDS_PORT)
    assert rehearsal(routed, GOOD, said, router=blind).unasked == [
        "not checked: which server router passes writes to (that takes the writer's sql_port)"
    ]


def test_faults_are_told_with_what_they_need() -> None:
    commands = {
        "kill": {"run": ["true", "{host}", "a b"], "heal": ["/bin/no such", "x"]},
        "promote": {"run": ["true", "{server}"]},
    }
    result = found(of=scenario(commands=commands))
    faults = dict(result.faults)
    network = "partition, latency, bandwidth, reset, half-open, blackhole, drop-replies, idle-timeout, flapping"
    assert faults[network] == "yes, without a command: a proxy between clients and servers makes them"
    assert faults["kill"] == "yes, by true '{host}' 'a b'; heals by '/bin/no such' x"
    assert faults["promote"] == "yes, by true '{server}'"
    need = "need a command of yours each, in cluster.commands, such as stop: "
    assert faults["stop, restart, pause, switch-over, rejoin, stop-replication"] == (
        f'{need}{{run: [PROGRAM, "{{host}}"], heal: [PROGRAM, "{{host}}"]}}'
    )
    assert faults["lag, writer-lock, row-lock, alter-table, stop-listener"] == "no: not on servers of your own"
    assert faults["external"] == "yes: somebody else fails over"
    (missing,) = result.missing
    assert missing.startswith("cluster.commands.kill.heal: there is no /bin/no such; ")
    assert exit_code(result) == 1


def test_without_replication_nothing_can_be_promoted() -> None:
    servers = [{**SERVERS[0]}, {**SERVERS[2], "write_port": 9999}]
    alone = scenario(replication="none", servers=servers)
    said = [answers(1), answers(3, OPEN, sources={})]
    result = rehearsal(alone, said, {one.name: privileges_on(one.server, alone) for one in said})
    assert result.missing == []
    assert result.promotions == [("watched", "no: cluster.replication is none, so nothing can be promoted")]
    faults = dict(result.faults)
    assert faults["promote"] == faults["rejoin"] == "no: cluster.replication is none"
    assert "external" not in faults


def test_missing_privileges_are_told_once_with_statements_that_replicate() -> None:
    result = found(
        lacking(1, "PROCESS", "SLAVE MONITOR", "INSERT"), lacking(2, "PROCESS"), lacking(3, "SLAVE MONITOR", "SELECT")
    )
    assert result.missing == [
        "the account few@% lacks PROCESS ON *.* at writer, standby: needed to see that HandlerSocket and SQL are one server",
        "the account few@% lacks SLAVE MONITOR ON *.* at writer, reader-1: needed to see what it replicates from, and so "
        "who is the primary",
        "the account few@% lacks INSERT ON `drill`.* at writer: needed to load the rows",
        "the account few@% lacks SELECT ON `drill`.* at reader-1: needed to read the rows back",
        "promotions would not be seen at writer, reader-1, whose sources are not known, and an audit would be inconclusive",
    ]
    assert result.statements == [
        "-- on writer; its replicas get it from there:",
        "GRANT PROCESS, SLAVE MONITOR ON *.* TO `few`@`%`;",
        "GRANT SELECT, INSERT ON `drill`.* TO `few`@`%`;",
    ]
    assert (result.unreachable, exit_code(result)) == (False, 1)
    assert dict(result.faults)["external"] == "only in part: see promotions"


def test_a_replica_that_lacks_what_its_primary_has_gets_it_outside_its_binary_log() -> None:
    """Else it would have a transaction that no other server has, as after a promotion."""
    assert found(lacking(1, "INSERT"), lacking(3, "PROCESS", "SELECT")).statements == [
        "-- on writer; its replicas get it from there:",
        "GRANT SELECT, INSERT ON `drill`.* TO `few`@`%`;",
        "-- on reader-1, and not in its binary log:",
        "SET SESSION sql_log_bin=0;",
        "GRANT PROCESS ON *.* TO `few`@`%`;",
    ]


def test_a_lost_connection_is_told_as_such_and_no_grant_is_made_up() -> None:
    lost = "the connection to SQL at db3:3306 was lost when it was asked for the privilege SELECT (2013: Lost connection)"
    result = found(answers(3, trouble=lost, sources=None))
    assert result.missing == [
        f"reader-1: {lost}; which privileges the account has is not known",
        "promotions would not be seen at reader-1, whose sources are not known, and an audit would be inconclusive",
    ]
    assert (result.statements, result.unreachable, exit_code(result)) == ([], True, 2)
    assert dict(result.servers)["reader-1"].startswith(f"{lost}\ndb3:3306, MariaDB 10.11.19, server id 3\nread-only")


def test_what_was_denied_before_the_connection_was_lost_stays_known() -> None:
    denied = (Privilege("PROCESS", "to see"),)
    (line, privilege, _) = found(answers(3, trouble="it was lost", lacking=denied, sources=None)).missing
    assert line == "reader-1: it was lost; which privileges the account has is not known beyond PROCESS, which it lacks"
    assert privilege == "the account few@db3 lacks PROCESS ON *.* at reader-1: needed to see"


def test_other_errors_and_listeners_are_told_as_they_are() -> None:
    unknown = {"the privilege INSERT": "SQL error 1290: read-only"}
    result = found(answers(1, unknown=unknown, listeners={"read": "", "write": "refuses the secret"}))
    assert result.missing == [
        "writer: the privilege INSERT could not be asked for (SQL error 1290: read-only)",
        "writer: HandlerSocket's listener for writes at db1:9999 refuses the secret",
    ]
    assert dict(result.servers)["writer"].endswith(
        "\nHandlerSocket for reads at db1:9998: answers\nHandlerSocket for writes at db1:9999: refuses the secret"
    )
    assert exit_code(result) == 2


SEMISYNC = "the scenario says replication: semisync"


@pytest.mark.parametrize(
    "variables, status, wrong",
    [
        (WAITS, WAITING, []),
        ({}, {}, ["it is off on writer (rpl_semi_sync_master_enabled is OFF): commits wait for no replica"]),
        (
            WAITS,
            {**WAITING, "Rpl_semi_sync_master_clients": "0"},
            ["no replica acknowledges on writer (Rpl_semi_sync_master_clients is 0)"],
        ),
        (
            WAITS,
            {**WAITING, "Rpl_semi_sync_master_status": "OFF"},
            ["just now commits on writer wait for no replica (Rpl_semi_sync_master_status is OFF)"],
        ),
    ],
)
def test_semi_sync_that_does_not_wait_contradicts_the_scenario(
    variables: dict[str, str], status: dict[str, str], wrong: list[str]
) -> None:
    replicas = [answers(number, ACKNOWLEDGES) for number in (2, 3)]
    writer = answers(1, variables, status=status)
    assert found(writer, *replicas, of=scenario(replication="semisync")).missing == [f"{SEMISYNC}, but {one}" for one in wrong]
    assert found(writer, *replicas).missing == [], "the scenario does not count on it"


def test_semi_sync_is_told_with_its_wait_point_and_clients() -> None:
    def told(variables: Mapping[str, str], status: Mapping[str, str]) -> str:
        return dict(found(answers(1, variables, status=status)).servers)["writer"].splitlines()[-1]

    waits = "semi-sync: a commit waits for a replica (AFTER_SYNC), at most 10 s"
    assert told(WAITS, WAITING) == f"{waits}; 2 connected"
    assert told({**WAITS, "rpl_semi_sync_master_wait_no_slave": "OFF"}, {**WAITING, "Rpl_semi_sync_master_clients": "0"}) == (
        f"{waits}, and not at all while none is connected; 0 connected"
    )
    assert told(WAITS, {}) == f"{waits}; 0 connected; just now none waits (Rpl_semi_sync_master_status is OFF)"
    assert told(ACKNOWLEDGES, {}) == "semi-sync: off", "a primary acknowledges to nobody"


def test_a_replica_tells_whether_it_acknowledges() -> None:
    def told(status: Mapping[str, str]) -> str:
        return dict(found(answers(1), answers(2, ACKNOWLEDGES, status=status)).servers)["standby"].splitlines()[-1]

    assert told({"Rpl_semi_sync_slave_status": "ON"}) == "semi-sync: acknowledges what it fetches"
    assert told({}).endswith("would acknowledge, but does not just now (Rpl_semi_sync_slave_status is OFF)")


@pytest.mark.parametrize("acknowledging, named", [([2, 3], []), ([2], []), ([3], ["standby"]), ([], ["standby", "reader-1"])])
def test_a_standby_that_does_not_acknowledge_is_named_and_a_reader_if_none_does(
    acknowledging: list[int], named: list[str]
) -> None:
    replicas = [answers(number, ACKNOWLEDGES if number in acknowledging else {}) for number in (2, 3)]
    said = [answers(1, WAITS, status=WAITING), *replicas]
    assert found(*said, of=scenario(replication="semisync")).missing == [
        f"{SEMISYNC}, but {name} acknowledges nothing (rpl_semi_sync_slave_enabled is OFF)" for name in named
    ]


def test_semi_sync_of_servers_that_could_not_be_asked_is_not_known() -> None:
    lost = [Answers(one.server, trouble="silent") for one in GOOD]
    assert f"{SEMISYNC}; whether that is on is not known, for writer could not be asked" in (
        found(*lost, of=scenario(replication="semisync")).missing
    )


@pytest.mark.parametrize(
    "said, line",
    [
        (answers(1, {"read_only": "ON"}), "writer is read-only, so it is not the primary: name the primary `writer`"),
        (answers(1, sources={"": FROM_WRITER}), "writer replicates from another server, so it is not the primary: name the"),
        (answers(1, {"log_bin": "OFF"}), "writer has no binary log (log_bin is off): nothing replicates from it"),
        (answers(2, OPEN), "standby takes writes: if it is the primary now, name it `writer`; else run SET GLOBAL"),
        (answers(3, sources={}), "reader-1 replicates from no server: if the servers do not replicate, set"),
        (
            answers(3, sources={"": SeenSource("db1:3306", "Yes", "No", 1, "Slave_Pos", None, "SQL thread No; error 1032")}),
            "reader-1 does not replicate from db1:3306: SQL thread No; error 1032",
        ),
        (
            answers(3, sources={"": SeenSource("db1:3306", "Yes", "Yes", 1, "No", 0)}),
            "reader-1 replicates without GTIDs (master_use_gtid), by which a run sees what it lacks",
        ),
        (answers(3, {"server_id": "1"}), "reader-1 has the same server id as writer (1)"),
        (
            answers(3, sources={"": SeenSource("db9:3306", "Yes", "Yes", 9, "Slave_Pos", 0)}),
            "reader-1 replicates from db9:3306, which is not named here: a promotion there goes unnoticed",
        ),
    ],
)
def test_servers_that_are_not_what_the_scenario_says(said: Answers, line: str) -> None:
    assert any(one.startswith(line) for one in found(said).missing), found(said).missing


def test_a_reader_that_clients_never_write_to_may_take_writes_while_it_replicates() -> None:
    assert found(answers(3, OPEN)).missing == []


@pytest.mark.parametrize("topology, twins", [("plain", []), ("write-through", ["writer", "standby"])])
def test_the_twin_is_looked_for_wherever_clients_may_write(topology: str, twins: list[str]) -> None:
    of = scenario(topology=topology)
    assert [one.name for one in GOOD if "drill_wt" in [each.database for each in privileges_on(one.server, of)]] == twins


def test_a_second_name_of_the_writer_is_no_server_of_its_own() -> None:
    same = answers(1)
    reader = Answers(GOOD[2].server, variables=same.variables, sources={})
    result = found(reader)
    assert result.missing == []
    assert result.promotions[0] == ("primary now", "writer")
    assert result.promotions[2] == ("clients follow", "to standby")
    assert "server id 1, also named writer\n" in dict(result.servers)["reader-1"]


def test_a_server_without_sql_is_not_watched_even_if_a_command_decides() -> None:
    blind = Answers(Server("reader-1", "db3", 9998, 0, "", ""), trouble="its sql_port is not known")
    result = found(blind)
    assert result.missing == [
        "promotions would not be seen at reader-1, whose sql_port is not known, and an audit would be inconclusive"
    ]
    assert result.promotions[1] == ("watched", "only in part: see what is missing")
    assert (result.unreachable, exit_code(result)) == (False, 1)
    told = found(blind, of=scenario(primary={"command": ["true", "now"], "every": "500ms"}))
    assert told.missing == result.missing, "at the end of the run it has to say what it is"
    assert told.promotions[2] == ("decided", "by a command of yours, every 0.5 s: true now")
    seldom = found(*GOOD, of=scenario(primary={"command": ["true"], "every": "5s"}))
    assert seldom.promotions[1:3] == [
        ("watched", "by SQL, every 1 s"),
        ("decided", "by a command of yours, every 5 s: true"),
    ]
    servers = dict(found(blind, answers(2, sources={"": SeenSource("db3:3306", "Yes", "Yes", 3, "Slave_Pos", 0)})).servers)
    promote = {"promote": {"run": ["true"]}, "kill": {"run": ["true"], "heal": ["true"]}}
    faults = dict(found(blind, of=scenario(commands=promote)).faults)
    nobody = "not at reader-1, where nobody could see whether it worked (that needs SQL)"
    assert (faults["promote"], faults["kill"]) == (f"yes, by true; {nobody}", "yes, by true; heals by true")
    assert "replicates from a server (db3:3306, server id 3;" in servers["standby"], "it may be the one that says nothing"


def test_the_account_of_driver_sql_gets_its_own_grants() -> None:
    by_sql = scenario(driver="sql")
    needed = {one.name: privileges_on(one.server, by_sql) for one in GOOD}
    update = (Privilege("UPDATE", "for the load", "drill", "t"),)
    denied, lost = answers(1, account="app@%", lacking=update), Answers(GOOD[1].server, trouble="silent")
    result = rehearsal(by_sql, GOOD, needed, [denied, lost], {"writer": update, "standby": ()})
    assert result.missing == [
        "the account of driver: sql: standby: silent; which privileges the account has is not known",
        "the account app@% lacks UPDATE ON `drill`.* at writer: needed for the load",
    ]
    assert result.statements == ["-- on writer; its replicas get it from there:", "GRANT UPDATE ON `drill`.* TO `app`@`%`;"]
    assert exit_code(result) == 2
    assert result.promotions[2] == ("clients follow", "to standby, reader-1")
    assert result.unasked == [
        "whether read_only applies to the load's account, and what that may write on servers that are read-only now"
    ]


def test_what_only_the_beginning_of_a_run_asks_for_is_told_as_such() -> None:
    """The rights to change a table that exists depend on its columns."""
    table = {"existing": True, "name": "users", "database": "app", "primary": ["id"], "columns": {"id": {}, "n": {}}}
    own = {"kind": "external", "servers": SERVERS}
    mine = {"name": "x", "mix": {"change": {"do": "update", "set": ["n"], "weight": 1}}, "cluster": own}
    writing = Scenario.model_validate({**mine, "table": {**table, "writes": "allowed"}})
    assert [line.split(" (")[0] for line in found(of=writing).unasked] == [
        "what `writes: allowed` needs on a table that exists"
    ]
    needed = [one.name for one in privileges_on(GOOD[0].server, writing)]
    assert needed == ["PROCESS", "SLAVE MONITOR", "SELECT"], "the run loads nothing, and writes no marker row"
    assert found().unasked == []
