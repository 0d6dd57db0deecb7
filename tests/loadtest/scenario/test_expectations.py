"""What a scenario expects, and the mistakes in it."""

from __future__ import annotations

import pytest

from hs_drill.metrics import NOT_STARTED, NOT_THERE, UNANSWERED
from hs_drill.scenario._expect import ERROR_ALIASES, ERROR_CLASSES, ERROR_KINDS, is_kind
from hs_drill.scenario._mix import READS, STEPS, WRITES, Latency, Mix
from hs_drill.scenario._model import Scenario
from hs_drill.scenario._reader import parse_scenario
from hs_drill.store import READS as READ_CODES
from hs_drill.store import STEPS as STEP_CODES
from hs_drill.store import Operation
from tests.loadtest.support.scenarios import assert_mistake, mistakes
from trio_hs import exceptions

EXPECT = """\
name: x
mix: {get: 1, insert: 1}
expect:
  availability: 99.9%
  throughput: {before: 5000, during: 1000}
  latency:
    get: {p99: 5ms, p99.9: {during: 1s}}
    all: {max: 4s}
  errors: {ConnectionError: 5, the row is not there: 0}
  recovery: 2s
  lost: any
  applied_twice: 0
  staleness: 500ms
  monotonic_reads: true
"""


def test_expectations() -> None:
    expect = parse_scenario(EXPECT, "s.yaml").expect
    assert expect.availability.limits() == {"run": 0.999}
    assert expect.throughput.limits() == {"before": 5000, "during": 1000}
    assert expect.latency.get.limits()["p99"] == {"run": 0.005}
    assert expect.latency.get.limits()["p99.9"] == {"during": 1.0}
    assert expect.errors == {"ConnectionError": 5, "the row is not there": 0}
    assert (expect.recovery.steady, expect.recovery.first_success) == (2.0, None)
    assert (expect.lost, expect.applied_twice, expect.unexpected, expect.staleness) == ("any", 0, None, 0.5)
    scenario = parse_scenario(EXPECT, "s.yaml")
    assert Scenario.model_validate(scenario.model_dump(mode="json")) == scenario


@pytest.mark.parametrize(
    "before, after, expected",
    [
        ("99.9%", "99,9%", "4: expect.availability: must be a share such as 99.9% or 0.999, not '99,9%'"),
        ("99.9%", "101%", "4: expect.availability: must be a share such as 99.9% or 0.999, not '101%'"),
        ("99.9%", "99.9", "4: expect.availability: must be a share such as 99.9% or 0.999, not 99.9"),
        ("before: 5000", "befor: 5000", "5: expect.throughput.befor: unknown key; did you mean before?"),
        ("before: 5000", "before: -1", "5: expect.throughput.before: must be 0 or more, not -1"),
        ("p99: 5ms", "p98: 5ms", "7: expect.latency.get.p98: unknown key; did you mean p99?"),
        ("p99: 5ms", "p99: 5 parsecs", "7: expect.latency.get.p99: must be a duration such as 20s"),
        ("during: 1s", "while: 1s", "7: expect.latency.get.p99.9.while: unknown key; there are run, before, during, after"),
        ("    all:", "    gett:", "8: expect.latency.gett: unknown key; did you mean get?"),
        ("ConnectionError: 5", "ConectionError: 5", "9: expect.errors.ConectionError: no such kind of error; did you mean"),
        ("ConnectionError: 5", "ConnectionError: -1", "9: expect.errors.ConnectionError: must be 0 or more, not -1"),
        ("recovery: 2s", "recovery: {stedy: 2s}", "10: expect.recovery.stedy: unknown key; did you mean steady?"),
        ("lost: any", "lost: none", "11: expect.lost: must be a whole number, 0 or more, or any, not 'none'"),
        (
            "lost: any",
            "lost: no",
            "11: expect.lost: must be a whole number, 0 or more, or any, not false (no means false in YAML",
        ),
        ("ConnectionError: 5", "\n    404: 5", "10: expect.errors.404: no such kind of error; there are all, "),
        ("lost: any", "lost: -1", "11: expect.lost: must be a whole number, 0 or more, or any, not -1"),
        ("staleness: 500ms", "staleness: -1", "13: expect.staleness: must be 0 or more, not -1"),
        ("monotonic_reads: true", "monotonic_reads: 1", "14: expect.monotonic_reads: must be true or false, not 1"),
        ("  lost: any", "  losst: any", "11: expect.losst: unknown key; did you mean lost?"),
        ("name: x", "name: x\naudit: false", "12: expect.lost: needs the audit"),
        ("name: x", "name: x\naudit: {reads: 2}", "2: audit.reads: must be 1 or less, not 2"),
        ("name: x", "name: x\naudit: 7", "2: audit: must be true or false, not 7"),
        ("name: x", "name: x\naudit: {read: 1}", "2: audit.read: unknown key; did you mean reads?"),
        ("name: x", "name: x\ntable: {value_size: 17}", "2: table.value_size: must be 18 or more in an audited run"),
    ],
)
def test_each_mistake_in_expect_is_reported_with_its_line(before: str, after: str, expected: str) -> None:
    assert before in EXPECT
    found = mistakes(EXPECT.replace(before, after))
    assert any(line.startswith(f"s.yaml:{expected}") for line in found), found


UNJUDGED = """\
name: x
mix: {get: 50, incr: 50}
load: {duration: 10s, warm_up: 2s}
faults:
  - {fault: kill, target: reader-1, at: 3s}
  - {fault: latency, target: all readers, delay: 400ms, at: AT}
expect: EXPECT
"""


@pytest.mark.parametrize(
    "at, expect, mistake",
    [
        ("2s", "{recovery: 1s}", "6: faults.1.at: must be 3 s or more: expect.recovery compares with what was counted before"),
        ("2900ms", "{recovery: {steady: 1s}}", "6: faults.1.at: must be 3 s or more"),
        ("3s", "{recovery: 1s}", None),
        ("2s", "{recovery: {first_success: 1s}}", None),
        ("2s", "{errors: 0}", None),
    ],
)
def test_recovery_needs_time_counted_before_the_first_fault(at: str, expect: str, mistake: str | None) -> None:
    assert_mistake(UNJUDGED.replace("AT", at).replace("EXPECT", expect), mistake)


READS_EXPECTED = """\
name: x
cluster: {topology: write-through}
mix: MIX
audit: {reads: SHARE}
expect:
  lost: 0
  EXPECT
"""


@pytest.mark.parametrize("name, value", [("staleness", "10ms"), ("monotonic_reads", "true")])
@pytest.mark.parametrize(
    "mix, share, mistake",
    [
        ("{insert: 1}", 0.1, "is about reads, but the mix has none of get, find, get_many"),
        ("{update: 1, get: 0}", 1, "is about reads, but the mix has none of get, find, get_many"),
        ("{get: 50, update: 50}", 0, "is about reads, but none is kept: audit.reads must be more than 0"),
        ("{find: 50, update: 50}", 0.01, None),
        ("{get_many: 50, update: 50}", 1, None),
    ],
)
def test_expectations_of_reads_need_reads(mix: str, share: float, mistake: str | None, name: str, value: str) -> None:
    text = READS_EXPECTED.replace("MIX", mix).replace("SHARE", str(share))
    assert_mistake(text.replace("EXPECT", f"{name}: {value}"), mistake and f"7: expect.{name}: {mistake}")
    assert_mistake(text.replace("EXPECT", "errors: 0"), None)


@pytest.mark.parametrize(
    "latency, mistake",
    [
        ("{find: {p99: 5ms}}", "3: expect.latency.find: limits an operation that the mix does not have"),
        (
            "{get: {p50: 1ms}, delete: {max: {after: 1s}}}",
            "3: expect.latency.delete: limits an operation that the mix does not",
        ),
        ("{get: {p99: 5ms}, all: {max: 1s}}", None),
        ("{find: {}, all: {max: 1s}}", None),
    ],
)
def test_a_latency_of_an_operation_outside_the_mix_is_refused(latency: str, mistake: str | None) -> None:
    assert_mistake(f"name: x\nmix: {{get: 1, insert: 1, delete: 0}}\nexpect: {{latency: {latency}}}\n", mistake)


def test_a_run_with_writes_is_audited_by_default() -> None:
    for mix, audit, audited in [
        ("{get: 1, find: 1}", None, False),
        ("{get: 1, find: 1}", "true", True),
        *((f"{{insert: 1, {name}: 1}}", None, True) for name in ("incr", "decr", "update", "delete")),
        ("{insert: 1}", "false", False),
        ("{insert: 1}", "{reads: 0.5}", True),
        ("{get: 1}", "{reads: 0.5}", False),
    ]:
        text = f"name: x\nmix: {mix}\n" + (f"audit: {audit}\n" if audit else "")
        assert parse_scenario(text, "s.yaml").audited is audited


def test_every_operation_of_the_mix_reads_or_writes_and_has_a_code_and_limits() -> None:
    operations = list(Mix.model_fields)
    assert sorted(operations) == sorted((*READS, *WRITES))
    assert list(Latency.model_fields) == ["all", *operations]
    codes = {one.name.lower(): one for one in Operation if one < Operation.ERROR}
    assert sorted(codes) == sorted(operations)
    assert {name for name, code in codes.items() if code in READ_CODES} == set(READS)
    assert {name for name, code in codes.items() if code in STEP_CODES} == set(STEPS)


def test_kinds_of_error_match_the_client() -> None:
    classes = {name: value for name, value in vars(exceptions).items() if isinstance(value, type)}
    errors = {name for name, value in classes.items() if issubclass(value, Exception)}  # not typing.Any, a class on 3.11
    # An alias counts under the name of its class.
    assert set(ERROR_KINDS) - {NOT_THERE, NOT_STARTED, UNANSWERED} == errors - set(ERROR_ALIASES)
    for name in ERROR_CLASSES:
        for other in (*ERROR_CLASSES, *ERROR_ALIASES):
            assert is_kind(name, other) == issubclass(classes[name], classes[other]), (name, other)


@pytest.mark.parametrize(
    "cluster",
    [
        "kind: mariadb",
        "kind: external, replication: none, servers: [{name: writer, host: a, sql_port: 1}, \
{name: reader-1, host: b, sql_port: 1}]",
    ],
)
def test_a_fence_is_expected_of_servers_of_the_users_own(cluster: str) -> None:
    text = "name: x\nmix: {insert: 1}\nexpect:\n  fenced: true\n"
    assert_mistake(text, None)
    assert_mistake(
        f"{text}cluster: {{{cluster}}}\n", "4: expect.fenced: is for servers of your own that replicate: kind external"
    )
