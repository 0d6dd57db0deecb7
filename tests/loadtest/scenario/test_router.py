"""The router between clients and servers of the user's own: what a scenario may say of it, and how a mistake is reported."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hs_drill._cluster import Cluster, ClusterError, Server
from hs_drill.scenario import Scenario, parse_scenario, with_cluster
from hs_drill.scenario._router import RouterSpec
from hs_drill.store import RunDirectory
from tests.loadtest.support.scenarios import assert_mistake

ROUTED = """\
name: routed
mix: {get: 1, insert: 1}
driver: handlersocket
cluster:
  kind: external
  servers:
    - {name: writer, host: db1, sql_port: 3306}
    - {name: standby, host: db2, sql_port: 3306}
    - {name: reader-1, host: db3, sql_port: 3306}
  router: {host: ha, read_port: 9998, write_port: 9999, sql_port: 3306}
  commands: {kill: {run: [k, "{host}"], heal: [h]}}
faults:
  - {fault: partition, target: router, at: 1s, for: 1s}
  - {fault: kill, target: primary, at: 1s, for: 1s}
"""


def routed(*changes: tuple[str, str]) -> str:
    text = ROUTED
    for before, after in changes:
        assert before in text
        text = text.replace(before, after)
    return text


def test_a_scenario_names_a_router_beside_its_servers(tmp_path: Path) -> None:
    scenario = parse_scenario(ROUTED, "s.yaml")
    router = scenario.cluster.router
    assert router == RouterSpec(host="ha", read_port=9998, write_port=9999, sql_port=3306)
    assert Scenario.model_validate(scenario.model_dump(mode="json")) == scenario, "as workers get it"
    assert RunDirectory.create(scenario, tmp_path / "runs").scenario().cluster.router == router


def test_other_kinds_of_servers_have_no_router() -> None:
    without = routed(("  - {fault: partition, target: router, at: 1s, for: 1s}\n", ""))
    assert with_cluster(parse_scenario(without, "s.yaml"), None, {"kind": "mariadb"}).cluster.router is None


@pytest.mark.parametrize(
    "changes, mistake",
    [
        ([], None),
        ([("driver: handlersocket", "driver: sql")], None),
        ([("driver: handlersocket", "driver: sql"), ("read_port: 9998, write_port: 9999, ", "")], None),
        ([(", sql_port: 3306}\n  commands", "}\n  commands")], None),
        ([("host: ha", "host: '[::1]'")], None),
        # a port that the load needs
        (
            [("driver: handlersocket", "driver: sql"), (", sql_port: 3306}\n  commands", "}\n  commands")],
            "10: cluster.router.sql_port: is missing; driver: sql reads and writes there",
        ),
        (
            [(" read_port: 9998,", "")],
            "10: cluster.router.read_port: is missing; driver: handlersocket reads there",
        ),
        (
            [(" write_port: 9999,", "")],
            "10: cluster.router.write_port: is missing; driver: handlersocket writes there",
        ),
        # reads that nobody can send to the primary
        (
            [("get: 1", "get: {from: primary, weight: 1}")],
            "2: mix.get.from: cannot be primary behind a router, for clients do not know where it leads",
        ),
        # what is no router
        (
            [("host: ha", "host: db1")],
            "10: cluster.router.read_port: db1, port 9998, is the read_port of writer, so no router: name the router's own "
            "address, or leave `router` out",
        ),
        (
            [("host: ha, read_port: 9998, write_port: 9999", "host: db3, read_port: 8, write_port: 9")],
            "10: cluster.router.sql_port: db3, port 3306, is the sql_port of reader-1, so no router",
        ),
        (
            [("host: ha, read_port: 9998, write_port: 9999", "host: db3, read_port: 8, write_port: 9999, x: 1")],
            "10: cluster.rou",
        ),
        ([("write_port: 9999,", "write_port: 9998,")], "10: cluster.router.read_port: is 9998, as write_port is"),
        ([("host: ha,", "")], "10: cluster.router.host: is missing"),
        ([("host: ha", "host: 'ha:3306'")], "10: cluster.router.host: must be a name or address"),
        ([("write_port: 9999,", "write_prot: 9999,")], "10: cluster.router.write_prot: unknown key; did you mean write_port?"),
        # what it may be struck by
        ([("target: router, at", "target: client->router, at")], None),
        (
            [("target: router, at", "target: primary, at")],
            "13: faults.0.target: must be router, for clients reach no server but through it: partition strikes the network in "
            "front of the router, not 'primary'",
        ),
        (
            [("kill, target: primary", "kill, target: router")],
            "14: faults.1.target: must be a server: kill does not strike a router. A command of yours can do that",
        ),
        (
            [("  router: {host: ha, read_port: 9998, write_port: 9999, sql_port: 3306}\n", "")],
            "12: faults.0.target: must be a server: this scenario names no router (cluster.router)",
        ),
    ],
)
def test_mistakes_are_told_with_their_place(changes: list[tuple[str, str]], mistake: str | None) -> None:
    assert_mistake(routed(*changes), mistake)


def test_it_is_for_servers_of_ones_own() -> None:
    text = "name: x\nmix: {get: 1}\ncluster:\n  kind: mariadb\n  router: {host: ha, read_port: 9}\n"
    assert_mistake(text, "5: cluster.router: is only for servers of your own: kind must be external, not mariadb")


# ---- as clients reach it

WRITER = Server("writer", "db1", 9998, 9999, "r", "w", 3306, None, "admin", "a", "app", "l")
READER = replace(WRITER, name="reader-1", host="db2", write_port=0, write_secret="other")
SPEC = RouterSpec(host="ha", read_port=8, write_port=9, sql_port=33)


def test_it_passes_on_the_servers_secrets_and_accounts() -> None:
    router = SPEC.resolved([READER, WRITER])
    assert router == Server("router", "ha", 8, 9, "r", "w", 33, None, "admin", "a", "app", "l")
    only_sql = RouterSpec(host="ha", sql_port=33).resolved([WRITER, replace(READER, read_secret="another")])
    assert only_sql.listeners == ()


@pytest.mark.parametrize("key", ["read_secret", "write_secret"])
def test_servers_with_different_secrets_cannot_be_reached_through_one_port(key: str) -> None:
    given: dict[str, Any] = {"name": "standby", key: "another"}
    standby = replace(WRITER, **given)
    with pytest.raises(ClusterError, match=rf"^router: writer and standby have different secrets \({key}\)"):
        SPEC.resolved([WRITER, standby, READER])


def test_it_survives_serialization() -> None:
    cluster = Cluster("external", "", "", (WRITER, READER), router=SPEC.resolved([WRITER, READER]))
    assert Cluster.from_dict(cluster.to_dict()) == cluster
    old = {key: value for key, value in cluster.to_dict().items() if key != "router"}
    assert Cluster.from_dict(old).router is None
