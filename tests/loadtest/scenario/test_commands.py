"""Commands of the user's own, on servers of the user's own: what a scenario may say of them, and how a mistake is reported."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from hs_drill.scenario import (
    BY_COMMAND,
    Scenario,
    ScenarioError,
    faults,
    kind_of,
    load_scenario,
    missing_programs,
    parse_scenario,
    require_programs,
    targets_of,
    timeline,
    to_be_promoted,
    with_cluster,
)
from hs_drill.scenario._commands import filled, placeholders
from hs_drill.scenario._faults import FAULTS
from hs_drill.store import RunDirectory
from tests.loadtest.support.locust_process import ROOT
from tests.loadtest.support.own_failover import OWN, own
from tests.loadtest.support.scenarios import assert_mistake


def test_commands_are_lists_with_a_timeout() -> None:
    cluster = parse_scenario(OWN, "s.yaml").cluster
    kill, promote = cluster.commands["kill"], cluster.commands["promote"]
    assert (kill.run, kill.heal, kill.timeout) == (["ssh", "{host}", "kill"], ["ssh", "{host}", "start"], 5.0)
    assert (promote.heal, promote.timeout) == (None, 30.0)
    assert cluster.primary is not None
    assert cluster.primary.every == 0.5


def test_the_example_of_the_docs_is_valid() -> None:
    page = (ROOT / "docs/scenarios.md").read_text()
    example = page.partition("### Commands for faults")[2].partition("```yaml\n")[2].partition("```")[0]
    scenario = parse_scenario(f"name: x\nmix: {{get: 1}}\nload: {{duration: 200s}}\n{example}", "s.yaml")
    assert list(scenario.cluster.commands) == ["kill", "promote"]


def test_a_program_with_a_slash_is_relative_to_the_scenarios_file(tmp_path: Path) -> None:
    text = own(("[lease, drop]", "[bin/lease, ./drop]"), ("[flush]", "[/bin/flush]"))
    file = tmp_path / "s.yaml"
    file.write_text(text)
    scenario = load_scenario(file)
    assert scenario.cluster.commands["promote"].run[0] == f"{tmp_path}/promote.sh"
    assert scenario.cluster.primary is not None
    assert scenario.cluster.primary.command == [f"{tmp_path}/who-is-primary.sh"]
    assert [fault.run for fault in scenario.faults if isinstance(fault, faults.Command)] == [
        [f"{tmp_path}/bin/lease", "./drop"],  # only of a program it is known that it is a file
        ["/bin/flush"],
    ]
    assert scenario.cluster.commands["kill"].run[0] == "ssh", "from PATH"


def test_without_a_file_such_a_program_is_relative_to_the_working_directory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path / "{server}"  # braces of the folder are not placeholders
    folder.mkdir()
    monkeypatch.chdir(folder)
    given = {
        "name": "x",
        "mix": {"get": 1},
        "cluster": {"kind": "external", "primary": {"command": ["./who"]}},
    }
    primary = Scenario.model_validate(given).cluster.primary
    assert primary is not None
    assert [filled(text, {}) for text in primary.command or ()] == [f"{folder}/who"]


def test_a_kept_run_has_the_same_scenario(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    file = tmp_path / "files/s.yaml"
    file.write_text(own(("sql_port: 3306}", "sql_port: 3306, sql_password: hush-hush}")))
    scenario = load_scenario(file)
    directory = RunDirectory.create(scenario, tmp_path / "runs")
    kept = directory.scenario()
    assert (kept.cluster.commands, kept.cluster.primary, kept.faults) == (
        scenario.cluster.commands,
        scenario.cluster.primary,
        scenario.faults,
    )
    assert "hush-hush" not in (directory.path / "scenario.yaml").read_text()
    assert Scenario.model_validate(scenario.model_dump(mode="json")) == scenario, "as workers get it"


@pytest.mark.parametrize(
    "text, found, value",
    [
        ("ssh", [], "ssh"),
        ("{server}", ["server"], "S"),
        ("a{server}b{primary}{server}", ["server", "primary", "server"], "aSbPS"),
        ("{{server}} {{{server}}}", ["server"], "{server} {S}"),
        ("", [], ""),
    ],
)
def test_placeholders_are_filled_in(text: str, found: list[str], value: str) -> None:
    assert placeholders(text) == found
    assert filled(text, {"server": "S", "primary": "P"}) == value


@pytest.mark.parametrize(
    "before, after, mistake",
    [
        # commands
        ("kill: {run: [ssh, ", "kil: {run: [ssh, ", "11: cluster.commands.kil: no such command; did you mean kill?"),
        ("kill: {run:", "lag: {run:", "11: cluster.commands.lag: there is no command for lag: say `fault: command`"),
        (
            'promote: {run: [./promote.sh, "{server}", "{primary}:{sql_port}"]}',
            "promote: {}",
            "12: cluster.commands.promote.run: is missing",
        ),
        (", timeout: 5s}", ", timeouts: 5s}", "11: cluster.commands.kill.timeouts: unknown key; did you mean timeout?"),
        ("timeout: 5s", "timeout: 0", "11: cluster.commands.kill.timeout: must be more than 0, not 0"),
        (', heal: [ssh, "{host}", start]', "", "11: cluster.commands.kill.heal: is missing; add the command that undoes it"),
        (
            '"{primary}:{sql_port}"]',
            '"{primary}:{sql_port}"], heal: [x]',
            "12: cluster.commands.promote.heal: promote happens at once and has nothing to heal: leave it out",
        ),
        ('[ssh, "{host}", kill]', "[]", "11: cluster.commands.kill.run: must be a list of a program and its arguments"),
        ('[ssh, "{host}", kill]', '["", kill]', "11: cluster.commands.kill.run.0: must name a program"),
        (
            '[ssh, "{host}", kill]',
            "ssh db1 'kill it'",
            "11: cluster.commands.kill.run: must be a list of the program and its arguments, for no shell reads it: "
            "[ssh, db1, kill it]",
        ),
        (
            '[ssh, "{host}", kill]',
            "[ssh, {host}, kill]",
            '11: cluster.commands.kill.run.1: a placeholder needs quotes, "{host}"',
        ),
        ('[ssh, "{host}", kill]', "[ssh, -p, 22]", "11: cluster.commands.kill.run.2: must be text, not 22; put it in quotes"),
        (
            '"{host}", kill',
            '"{hosts}", kill',
            "11: cluster.commands.kill.run.1: there is no placeholder {hosts}; did you mean host?",
        ),
        ('"{host}", kill', '"{}", kill', "11: cluster.commands.kill.run.1: there is no placeholder {}; there are {server}, "),
        ('"{host}", start', '"{host", start', "11: cluster.commands.kill.heal.1: has a single {: write {{"),
        ('"{host}", start', '"host}", start', "11: cluster.commands.kill.heal.1: has a single }: write }}"),
        ('"{host}", start', '"\\0", start', "11: cluster.commands.kill.heal.1: has a NUL character"),
        ("[./who-is-primary.sh]", '[who, "{server}"]', "9: cluster.primary.command.1: {server} is not possible here"),
        ("every: 500ms", "every: 1ms", "9: cluster.primary.every: must be 0.05 or more, not "),
        # what belongs to a server
        (
            "host: db2, sql_port: 3306",
            "host: db2",
            "12: cluster.commands.promote.run.2: needs the sql_port of reader-1, which promote reader-1 may strike",
        ),
        (
            '"{host}", start',
            '"{write_port}", start',
            "11: cluster.commands.kill.heal.1: needs the write_port of reader-1, which kill primary may strike",
        ),
        # faults
        (
            "kill: {run:",
            "stop: {run:",
            "14: faults.0.fault: external servers do kill by a command of yours: write it below cluster.commands as `kill: "
            '{run: [PROGRAM, "{host}"], heal: [PROGRAM, "{host}"]}`',
        ),
        (
            "{fault: kill, target: primary, at: 10s, for: 15s}",
            "{fault: rejoin, target: writer, at: 10s}",
            "14: faults.0.fault: external servers do rejoin by a command of yours: write it below cluster.commands as `rejoin: "
            '{run: [PROGRAM, "{host}"]}`',
        ),
        (
            "{fault: kill, target: primary, at: 10s, for: 15s}",
            "{fault: lag, target: reader-1, at: 10s, seconds: 1}",
            "14: faults.0.fault: external servers cannot do lag: only faults of the network, those with a command in "
            "cluster.commands (kill, stop, restart, pause, promote, switch-over, rejoin, stop-replication), and "
            "`fault: command`",
        ),
        (
            "name: drop the lease, ",
            "",
            "16: faults.2.name: is missing; add it",
        ),
        ("drop the lease", '" lease"', "16: faults.2.name: must be one line without spaces at its ends"),
        ("drop the lease", '"a\\nb"', "16: faults.2.name: must be one line"),
        ("[lease, drop]", '[lease, "{host}"]', "16: faults.2.run.1: {host} is not possible here: the command is of no server"),
        (
            ', heal: [lease, take, "{primary}"]',
            "",
            "16: faults.2: command happens at once and has nothing to heal: leave `for` out, or add `heal`",
        ),
        (
            "{fault: external, ",
            "{fault: external, target: primary, ",
            "18: faults.4.target: external has no target: leave it out",
        ),
        (
            "{fault: command, name: flush",
            "{fault: command, target: writer, name: flush",
            "17: faults.3.target: command has no target",
        ),
        (", at: 70s, for: 60s}", ", at: 70s}", "18: faults.4.for: is missing; add it"),
        (
            "{fault: external, at",
            "{fault: extrenal, at",
            "18: faults.4.fault: no such fault: the text 'extrenal'; did you mean external?",
        ),
        (
            ", at: 70s, for: 60s}",
            ", at: 70s, for: 60s, run: [x]}",
            "18: faults.4.run: unknown key; there are at, for, every, fault",
        ),
    ],
)
def test_a_mistake_is_reported_with_its_place(before: str, after: str, mistake: str) -> None:
    assert_mistake(own((before, after)), mistake)


SWITCH = """\
name: own
mix: {get: 1}
cluster:
  kind: external
  replication: REPLICATION
  commands: {switch-over: {run: [x]}, stop: {run: [x], heal: [x]}}
faults:
  - {fault: switch-over, target: reader-1, at: 1sOPTION}
  - {fault: stop, target: reader-1, at: 2sDRAIN}
"""


@pytest.mark.parametrize(
    "replication, option, drain, mistake",
    [
        ("async", "", "", None),  # how it switches over is the command's affair
        ("semisync", "", "", None),
        ("none", "", "", "8: faults.0.fault: switch-over needs servers that replicate"),
        (
            "async",
            ", suspend: true",
            "",
            "8: faults.0.suspend: is for servers that the run starts; on external ones",
        ),
        ("async", "", ", drain: true", "9: faults.1.drain: is for servers that the run starts; on external ones"),
    ],
)
def test_how_a_command_does_it_is_not_said_by_the_fault(replication: str, option: str, drain: str, mistake: str | None) -> None:
    text = SWITCH.replace("REPLICATION", replication).replace("OPTION", option).replace("DRAIN", drain)
    assert_mistake(text, mistake)


@pytest.mark.parametrize(
    "target, server, needed",
    [
        ("writer", "reader-1", False),
        ("reader-1", "reader-1", True),
        ("one reader", "reader-1", True),
        ("all readers", "reader-1", True),
        ("all readers", "writer", False),
        ("primary", "writer", True),
        ("primary", "reader-1", False),  # clients never write to it, unless ...
        ("primary", "reader-1, write_port: 9999", True),  # ... it has a port for writes
    ],
)
def test_a_port_is_needed_only_of_servers_that_may_be_struck(target: str, server: str, needed: bool) -> None:
    servers = {"writer": "host: a, sql_port: 1", "reader-1": "host: b, sql_port: 1"}
    name, _, more = server.partition(", ")
    servers[name] = servers[name].partition(",")[0] + (f", {more}" if more else "")
    text = f"""\
name: own
mix: {{get: 1}}
cluster:
  kind: external
  servers: [{{name: writer, {servers["writer"]}}}, {{name: reader-1, {servers["reader-1"]}}}]
  commands: {{restart: {{run: [x, "{{sql_port}}"]}}}}
faults: [{{fault: restart, target: {target}, at: 1s}}]
"""
    what = f"6: cluster.commands.restart.run.1: needs the sql_port of {name}, which restart {target} may strike"
    assert_mistake(text, what if needed else None)


@pytest.mark.parametrize("argument", ["hush-hush", "-phush-hush", "--password=hush-hush"])
def test_a_secret_is_no_argument(argument: str) -> None:
    text = own(("db1, sql_port: 3306}", "db1, sql_port: 3306, sql_password: hush-hush}"), ("[lease, drop]", "[lease]"))
    parse_scenario(text.replace('"{host}", kill', '"{host}", not-hush-hush, kill'), "s.yaml")
    text = text.replace('"{host}", kill', f'"{{host}}", {argument}, kill')
    mistake = "11: cluster.commands.kill.run.2: holds the sql_password of writer, and a run keeps its commands"
    assert_mistake(text, mistake)


@pytest.mark.parametrize("kind", ["auto", "mariadb", "docker", "embedded"])
@pytest.mark.parametrize(
    "keys, fault, mistake",
    [
        ("primary: {every: 1s}", "", "3: cluster.primary: is only for servers of your own: kind must be external, not "),
        ("commands: {promote: {run: [x]}}", "", "3: cluster.commands: is only for servers of your own"),
        ("readers: 2", "{fault: external, at: 1s, for: 2s}", "4: faults.0.fault: external is for servers of your own"),
        ("readers: 2", "{fault: command, name: x, run: [x], at: 1s}", "4: faults.0.fault: command is for servers of your own"),
    ],
)
def test_on_servers_that_the_run_starts_there_are_none(kind: str, keys: str, fault: str, mistake: str) -> None:
    assert_mistake(f"name: x\nmix: {{get: 1}}\ncluster: {{kind: {kind}, {keys}}}\nfaults: [{fault}]\n", mistake)


def test_on_other_servers_the_same_scenario_does_without_its_commands() -> None:
    text = "\n".join(line for line in OWN.splitlines() if "command, name" not in line and "external, at" not in line)
    scenario = with_cluster(parse_scenario(text, "s.yaml"), None, {"kind": "mariadb"})
    assert (scenario.cluster.commands, scenario.cluster.primary, scenario.cluster.servers) == ({}, None, [])
    assert list(map(str, scenario.faults)) == ["kill primary", "promote reader-1"]
    with pytest.raises(ScenarioError, match=r"with the options given, faults\.2\.fault: command is for servers of your own"):
        with_cluster(parse_scenario(OWN, "s.yaml"), None, {"kind": "mariadb"})
    other = with_cluster(parse_scenario(OWN, "s.yaml"), "writer=a:1:2:3,reader-1=b:1::3", {})
    assert list(other.cluster.commands) == ["kill", "promote"]
    with pytest.raises(ScenarioError, match=r"cluster\.commands\.promote\.run\.2: needs the sql_port of reader-1"):
        with_cluster(parse_scenario(OWN, "s.yaml"), "writer=a:1:2:3,reader-1=b:1", {})


# ---- faults without a target


def test_a_fault_without_a_target_is_shown_by_what_it_is() -> None:
    planned = parse_scenario(OWN, "s.yaml").faults
    assert list(map(str, planned)) == [
        "kill primary",
        "promote reader-1",
        "command drop the lease",
        "command flush",
        "external failover",
    ]
    names = ["writer", "reader-1"]
    struck = [targets_of(fault, names, "writer", random.Random(1)) for fault in planned]
    assert struck == [["writer"], ["reader-1"], ["drop the lease"], ["flush"], ["failover"]]
    assert [kind_of(str(fault)) for fault in planned[2:]] == [faults.Command, faults.Command, faults.External]
    assert to_be_promoted(planned[2:], names) == []


def test_a_command_lasts_if_it_heals() -> None:
    planned = parse_scenario(OWN, "s.yaml").faults
    assert [fault.lasts for fault in planned] == [True, False, True, False, True]
    moments = [(one.at, one.number, one.heals) for one in timeline(planned[2:], 200)]
    assert moments == [(40, 0, False), (50, 0, True), (60, 1, False), (70, 2, False), (130, 2, True)]
    (open_end,) = parse_scenario(
        "name: x\nmix: {get: 1}\ncluster: {kind: external}\nfaults: [{fault: command, name: x, run: [x], heal: [y], at: 1s}]",
        "s.yaml",
    ).faults
    assert [moment.heals for moment in timeline([open_end], 20)] == [False], "without `for` it heals at the end"


@pytest.mark.parametrize(
    "one, other, clashes",
    [
        ("command, name: x, run: [x], heal: [x]", "command, name: x, run: [x], heal: [x]", "command x"),
        ("command, name: x, run: [x], heal: [x]", "command, name: y, run: [x], heal: [x]", None),
        ("command, name: x, run: [x]", "command, name: x, run: [x]", None),
        ("external", "external", "external failover"),
        ("external", "command, name: x, run: [x], heal: [x]", None),
    ],
)
def test_the_same_fault_without_a_target_is_not_on_twice(one: str, other: str, clashes: str | None) -> None:
    lasts = [", for: 5s" if "heal" in text or text == "external" else "" for text in (one, other)]
    text = f"""\
name: x
mix: {{get: 1}}
cluster: {{kind: external, commands: {{promote: {{run: [x]}}}}}}
faults:
  - {{fault: {one}, at: 1s{lasts[0]}}}
  - {{fault: {other}, at: 3s{lasts[1]}}}
  - {{fault: promote, target: reader-1, at: 4s}}
"""
    assert_mistake(text, clashes and f"6: faults.1.at: faults.0 is {clashes} already, 3 s after the start: let one heal")
    assert parse_scenario(text.replace("at: 3s", "at: 6s"), "s.yaml")


def test_eight_faults_are_done_by_command() -> None:
    assert BY_COMMAND == ("kill", "stop", "restart", "pause", "promote", "switch-over", "rejoin", "stop-replication")
    assert {name for name, kind in FAULTS.items() if kind.untargeted} == {"command", "external"}
    assert {name for name in BY_COMMAND if FAULTS[name].lasts} == {"kill", "stop", "pause", "stop-replication"}


# ---- programs


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A scenario's folder, in which all programs of OWN are."""
    (tmp_path / "path").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    for name in ("who-is-primary.sh", "promote.sh", "path/ssh", "path/lease", "path/flush"):
        (tmp_path / name).touch(0o755)
    return tmp_path


def missing(folder: Path, text: str = OWN) -> list[str]:
    file = folder / "s.yaml"
    file.write_text(text)
    try:
        require_programs(load_scenario(file), file)
    except ScenarioError as error:
        return str(error).replace(str(folder), "DIR").splitlines()
    return []


def test_programs_that_are_there_are_fine(folder: Path) -> None:
    assert missing(folder) == []
    assert missing(folder, "name: x\nmix: {get: 1}\n") == []


def test_a_missing_program_is_reported_with_its_place(folder: Path) -> None:
    (folder / "promote.sh").unlink()
    (folder / "path/ssh").chmod(0o644)
    (folder / "who-is-primary.sh").chmod(0o644)
    (folder / "path/lease").unlink()
    (folder / "path/lease").mkdir()
    why = "a program with a slash is relative to the folder of the scenario's file"
    assert missing(folder, own(("[flush]", "[./path]"))) == [
        "DIR/s.yaml:9: cluster.primary.command.0: DIR/who-is-primary.sh is not executable: chmod +x DIR/who-is-primary.sh",
        "DIR/s.yaml:11: cluster.commands.kill.run.0: there is no program ssh in PATH",
        "DIR/s.yaml:11: cluster.commands.kill.heal.0: there is no program ssh in PATH",
        f"DIR/s.yaml:12: cluster.commands.promote.run.0: there is no DIR/promote.sh; {why}",
        "DIR/s.yaml:16: faults.2.run.0: there is no program lease in PATH",
        "DIR/s.yaml:16: faults.2.heal.0: there is no program lease in PATH",
        "DIR/s.yaml:17: faults.3.run.0: DIR/path is not a program",
    ]


def test_a_program_of_each_server_must_be_there(folder: Path) -> None:
    text = own(("  promote:", '  restart: {run: ["./{primary}/restart-{server}-{write_port}"]}\n    promote:'))
    for name in ("writer", "reader-1"):
        (folder / name).mkdir()
        (folder / name / "restart-writer-9999").touch(0o755)
    assert missing(folder, text) == [], "reader-1 has no port for writes, and no fault of this scenario restarts it"
    (folder / "reader-1/restart-writer-9999").unlink()
    (only,) = missing(folder, text)
    assert only.startswith("DIR/s.yaml:12: cluster.commands.restart.run.0: there is no DIR/reader-1/restart-writer-9999;")


def test_reading_a_scenario_needs_no_programs(folder: Path) -> None:
    (folder / "promote.sh").unlink()
    file = folder / "s.yaml"
    file.write_text(OWN)
    (one,) = missing_programs(load_scenario(file))
    assert one.place == ("cluster", "commands", "promote", "run", 0)
