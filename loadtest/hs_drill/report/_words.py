"""Expectations, measured values, loads and exit codes in words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from hs_drill._counted import counted
from hs_drill._exit_codes import ExitCode
from hs_drill.metrics import ALL
from hs_drill.scenario import Expect, Load, Scenario, ValueSize, operation_words
from hs_drill.verdict import audit_expectations

__all__ = [
    "EXIT_CODES",
    "RESULTS",
    "exit_code_of",
    "expectation_of",
    "expectations",
    "load",
    "longest_outage",
    "outages",
    "place_of",
    "quantity",
    "rate_in_words",
    "row_of",
    "sizes",
]

EXIT_CODES: dict[int, str] = {
    ExitCode.PASSED: "every expectation holds",
    ExitCode.EXPECTATION_MISSED: (
        "an expectation was missed, an operation or another request failed where nothing is expected, or the harness failed"
    ),
    ExitCode.BAD_ARGUMENTS: "the arguments or the scenario were wrong",
    ExitCode.AUDIT_FAILED: "the audit found writes that are not as acknowledged",
    ExitCode.INCONCLUSIVE: "something could not be judged",
    ExitCode.ENDED_EARLY: "SIGTERM, SIGHUP or Ctrl-C ended the run before its time",
}
OUTAGE_SECONDS = 1.0
"""Shorter times without a success are not told."""
SERVERS = {"split_brain": "two servers were open for writes at once", "fenced": "a former primary was not fenced"}
"""What an audit finds about servers."""
RESULTS = {
    "pass": ("✓", "pass"),
    "miss": ("✗", "miss"),
    "unknown": ("?", "unknown"),
    "not applicable": ("∅", "not applicable"),
}
"""A sign and a word for each result, so that none needs colour."""

EXPECTED_AS = {"stale_reads": "staleness", "replicas": "replicas_agree"}
"""Checks of the audit whose expectation has another name."""


def expectation_of(check: str, judged: Iterable[Mapping[str, Any]]) -> str | None:
    """The result of the expectation about a check of the audit; None when nothing was expected of it."""
    results = {one["name"]: str(one["result"]) for one in judged}
    return results.get(EXPECTED_AS.get(check, check))


def exit_code_of(code: int, judged: Iterable[Mapping[str, Any]]) -> str:
    """The meaning of a run's exit code."""
    of_audit = [one["name"] for one in judged if one["result"] == "miss" and one["audit"]]
    of_servers = [words for name, words in SERVERS.items() if name in of_audit]
    if code == ExitCode.AUDIT_FAILED and of_servers:
        of_writes = [EXIT_CODES[code]] if len(of_audit) > len(of_servers) else []
        return ", and ".join([*of_writes, *of_servers])
    return EXIT_CODES[code]


def row_of(finding: Mapping[str, Any]) -> str:
    """The row that a finding is about."""
    return f"key {finding.get('primary') or finding['key']}"  # old results know numbers only


def place_of(finding: Mapping[str, Any]) -> str:
    """When a finding happened, and which faults were on then."""
    if finding["time"] is None:
        return "at an unknown time"
    during = f"during {', '.join(finding['faults'])}" if finding["faults"] else finding["after"] or "while no fault was on"
    return f"at {finding['time']:.3f} s, {during}"


def longest_outage(found: Mapping[str, Mapping[str, Any]]) -> float | None:
    """Seconds of the longest time without a success that `outages` tells; None if it tells none."""
    told = _told_outages(found)
    return max(one["seconds"] for one in told.values()) if told else None


def outages(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """When nothing succeeded, by operation, the longest time first. Times count from the start of the load."""
    lines = []
    for name, one in sorted(_told_outages(found).items(), key=lambda pair: -pair[1]["seconds"]):
        what = "" if name == ALL else f": {name}"
        during = f", during {', '.join(one['faults'])}" if one["faults"] else ""
        if one["never"]:
            lines.append(f"nothing ever succeeded{what}")
        else:
            lines.append(f"nothing succeeded for {one['seconds']:.2f} s{what}, from {one['start']:.2f} s on{during}")
    return lines


def _told_outages(found: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Without what is short, of rare operations, or said by that of all operations."""
    whole = found.get(ALL)
    told = {name: one for name, one in found.items() if one["shows"] and (one["never"] or one["seconds"] >= OUTAGE_SECONDS)}
    if whole is None or ALL not in told:
        return told
    return {name: one for name, one in told.items() if name == ALL or not _is_part(one, whole)}


def _is_part(one: Mapping[str, Any], whole: Mapping[str, Any]) -> bool:
    around = one["start"] <= whole["start"] and one["end"] >= whole["end"]
    return bool(around and one["never"] == whole["never"] and one["seconds"] - whole["seconds"] < OUTAGE_SECONDS)


def quantity(name: str, value: float | None) -> str:
    """A measured value or limit of the expectation `name`, with its unit; a dash for None."""
    if value is None:
        return "-"
    match name.partition(".")[0]:
        case "availability":
            return f"{_cut(value * 100):.8g} %"
        case "throughput":
            return f"{value:,.0f}/s"
        case "latency":
            return f"{value * 1e3:,.3f}".rstrip("0").rstrip(".") + " ms"
        case "recovery" | "staleness" | "outage":
            return f"{value:.3f}".rstrip("0").rstrip(".") + " s"
    return f"{value:,.0f}"


def _cut(percent: float) -> float:
    """To five decimal places, never rounded up: 99.9999996 % is not 100 %."""
    return int(percent * 1e5 + 1e-6) / 1e5


def rate_in_words(rate: float) -> str:
    """Operations per second."""
    return f"{rate:,.0f}/s" if rate >= 100 else f"{rate:.3g}/s"


def sizes(value: ValueSize) -> str:
    """The length of values, or its range."""
    same = value.smallest == value.largest
    return f"{value.largest:,}" if same else f"{value.smallest:,} to {value.largest:,}"


def load(load: Load) -> str:
    """Users or a rate, and for how long."""
    waits = ""
    if load.pacing is not None:
        waits = f", an operation every {load.pacing:g} s each"
    elif load.think_time is not None:
        low, high = load.think_time.min, load.think_time.max
        waits = f", {high:g} s between two operations" if low == high else f", {low:g} to {high:g} s between two operations"
    lasts = f"for {load.lasts:g} s, in {counted(len(load.stages), 'stage')}" if load.stages else f"for {load.lasts:g} s"
    if load.open:
        _, rate = max(load.course(), key=lambda point: point[1])
        arrive = "at random" if load.arrivals == "poisson" else "evenly"
        operations = counted(rate, "operation a second that arrives", "operations a second that arrive")
        return f"{'up to ' if load.stages else ''}{operations} {arrive}, {lasts}"
    return f"{counted(load.locust_users, 'user')}, {load.locust_spawn_rate:g} more each second, {lasts}{waits}"


def expectations(scenario: Scenario) -> list[tuple[str, str]]:
    """Every expectation that the verdict will judge: its name there, and what it means."""
    return [*_measured(scenario.expect), *(audit_expectations(scenario.expect) if scenario.audited else ())]


def _measured(expect: Expect) -> Iterator[tuple[str, str]]:
    for phase, limit in expect.availability.limits().items():
        name = "availability"
        yield _in(name, phase), f"at least {quantity(name, limit)} of the operations succeed {_when(phase)}"
    if expect.outage is not None:
        yield "outage", f"no operation that succeeds often goes {expect.outage:g} s without a success"
    for phase, limit in expect.throughput.limits().items():
        yield (
            _in("throughput", phase),
            f"at least {counted(limit, 'operation succeeds', 'operations succeed')} per second {_when(phase)}",
        )
    for operation, percentiles in expect.latency.limits().items():
        for percent, phases in percentiles.items():
            one, several = operation_words(operation)
            part = f"every {one} takes" if percent == "max" else f"{percent[1:]} % of the {several} take"
            for phase, limit in phases.items():
                yield _in(f"latency.{operation}.{percent}", phase), f"{part} at most {limit * 1e3:g} ms {_when(phase)}"
    for kind, count in expect.errors.items():
        yield f"errors.{kind}", f"at most {counted(count, 'error')}{'' if kind == 'all' else ' of this kind'}"
    if expect.recovery.first_success is not None:
        limit = expect.recovery.first_success
        yield "recovery.first_success", f"{limit:g} s after a fault began, every operation has succeeded again"
    if expect.recovery.steady is not None:
        yield (
            "recovery.steady",
            f"{expect.recovery.steady:g} s after a fault began, nothing fails and a quarter of the throughput is back",
        )


def _in(name: str, phase: str) -> str:
    return name if phase == "run" else f"{name}.{phase}"


def _when(phase: str) -> str:
    return {"run": "over the run", "before": "before the first fault", "during": "while a fault is on"}.get(
        phase, "after a fault, while none is on"
    )
