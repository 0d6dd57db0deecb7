"""The verdict: what a scenario expects, compared with what its run did and what the audit found. Pure.

An expectation passes, is missed, or is unknown. When a check of the audit is not applicable, an expectation that the scenario
states about it is unknown; a default one is not applicable, and counts for nothing.

The exit code is that of the gravest result:

- 3: the audit of the writes failed (`lost`, `applied_twice`, `unexpected`, `counters`, `replicas_agree`), two servers were seen
  to take writes at once (`split_brain`), or a former primary was not fenced (`fenced`);
- 1: any other expectation was missed, an operation failed where nothing is expected, or a process of the harness died;
- 5: SIGTERM, SIGHUP or Ctrl-C ended the run before its time;
- 4: an expectation could not be judged;
- 0: all passed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from hs_drill._counted import counted
from hs_drill._exit_codes import ExitCode
from hs_drill.audit import Audit
from hs_drill.metrics import EDGE, OTHER_ERRORS, PERCENTILES, Batch, FaultWindow, Outage, Timeline, percentile, rank
from hs_drill.scenario import Expect, Latency, is_kind, operation_words

from ._audit_expectations import FENCED, SPLIT_BRAIN, judge_audit
from ._engine_limit import Engines, EngineTotal
from ._judged import Judged, Result, unknown
from ._outage import judge_outage, outages_result
from ._recovery import OBSERVED_SECONDS, FaultRecovery, recoveries

__all__ = [
    "ENDED",
    "HARNESS",
    "Judgement",
    "judge",
]

FAILURES, HARNESS, ENDED = "failures", "harness", "ended"
UNSTATED = (FAILURES, HARNESS)
"""What fails a run although no scenario states it: failures where nothing is expected, and a process that died."""


@dataclass(frozen=True)
class Judgement:
    """All expectations of a run."""

    judged: Sequence[Judged]
    seconds: float = 0.0
    """How long the run was, without its warm-up."""
    counted: bool = True
    """Whether any operation was counted in that time."""
    engines: Mapping[str, EngineTotal] = field(default_factory=dict)
    """How busy and late the load engines were, by phase; empty when that is not known."""
    start: float = 0.0
    """When the counted part of the run began, in Unix time."""
    edges: int = 0
    """Operations that count for no phase: they were under way while a fault struck or healed."""
    outages: Mapping[str, Outage] = field(default_factory=dict)
    """The longest time without a success of each operation, and of all."""

    @property
    def exit_code(self) -> int:
        missed = [judged for judged in self.judged if judged.result is Result.MISS]
        if any(judged.audit for judged in missed):
            return ExitCode.AUDIT_FAILED
        if missed:
            return ExitCode.EXPECTATION_MISSED
        if any(judged.name == ENDED for judged in self.judged):
            return ExitCode.ENDED_EARLY
        return ExitCode.INCONCLUSIVE if any(judged.result is Result.UNKNOWN for judged in self.judged) else ExitCode.PASSED

    @property
    def verdict(self) -> str:
        """One line."""
        count = Counter(judged.result for judged in self.judged)
        missed = [judged for judged in self.judged if judged.result is Result.MISS]
        total = len(self.judged) - count[Result.NOT_APPLICABLE]
        match self.exit_code:
            case 0:
                return f"pass: all {total} expectations hold" if total else "pass: nothing was expected"
            case 1 if all(judged.name in UNSTATED for judged in missed):
                return f"fail: {missed[0].line}"
            case 1:
                return f"fail: {count[Result.MISS]} of {total} expectations missed"
            case 3 if (found := {judged.name for judged in missed if judged.audit}) <= {SPLIT_BRAIN, FENCED}:
                what = "two servers were open for writes at once" if SPLIT_BRAIN in found else "a former primary was not fenced"
                return f"fail: {what}; {count[Result.MISS]} of {total} missed"
            case 3:
                return f"fail: the audit found writes that are not as acknowledged; {count[Result.MISS]} of {total} missed"
            case 5:
                (line,) = (judged.line for judged in self.judged if judged.name == ENDED)
                return f"incomplete: {line}; nothing was missed until then"
            case _:
                return f"inconclusive: {count[Result.UNKNOWN]} of {total} expectations could not be judged"

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        judged = [{**asdict(one), "result": one.result.value} for one in self.judged]
        outages = outages_result(self.outages)
        return {"verdict": self.verdict, "exit_code": self.exit_code, "expectations": judged, "outages": outages}


def judge(
    expect: Expect,
    batches: Iterable[Batch],
    faults: Sequence[FaultWindow],
    audit: Audit | None,
    *,
    audited: bool,
    open_loop: bool = False,
    others: Mapping[str, Any] | None = None,
) -> Judgement:
    """Compare the expectations with what was measured.

    Args:
      batches: the engines' statistics, none longer than a second. They are iterated several times.
      faults: those that struck, in Unix time.
      audit: None leaves what an `audited` run expects of it unknown.
      open_loop: operations arrived at a rate.
      others: what other users of Locust did in the run, as `result.json` keeps it.
    """
    timeline = Timeline(batches, faults)
    engines = Engines(batches, timeline.phase_at, open_loop=open_loop)
    judged = [
        *_availability(expect, timeline),
        *judge_outage(expect.outage, timeline),
        *_throughput(expect, timeline),
        *_latency(expect.latency, timeline, batches, engines),
        *_errors(expect, timeline),
        *_failures(expect, timeline, others),
        *_recovery(expect, timeline),
    ]
    if audited:
        judged += judge_audit(expect, audit)
    return Judgement(
        judged,
        timeline.seconds,
        timeline.counted,
        engines.by_phase(),
        timeline.start,
        _at_edges(timeline),
        timeline.outages(),
    )


def _availability(expect: Expect, timeline: Timeline) -> Iterator[Judged]:
    for phase, limit in expect.availability.limits().items():
        done, _ = timeline.total(phase)
        ok, failed = done.ok.total(), done.failed.total()
        name = _name("availability", phase)
        if not ok + failed:
            yield unknown(name, limit, _nothing(phase, timeline))
            continue
        share = ok / (ok + failed)
        succeeded = f"{ok:,} of {counted(ok + failed, 'operation')} succeeded"
        line = f"{succeeded} {_phase(phase)}, {share:.4%}; at least {limit:.4%} expected"
        yield _judged(name, share >= limit, share, limit, line)


def _throughput(expect: Expect, timeline: Timeline) -> Iterator[Judged]:
    for phase, limit in expect.throughput.limits().items():
        rate = timeline.throughput(phase)
        name = _name("throughput", phase)
        if rate is None or not timeline.counted:
            yield unknown(name, limit, _nothing(phase, timeline))
            continue
        line = f"{counted(rate, 'operation')} succeeded per second {_phase(phase)}; at least {limit:,.0f} expected"
        yield _judged(name, rate >= limit, rate, limit, line)


def _latency(latency: Latency, timeline: Timeline, batches: Iterable[Batch], engines: Engines) -> Iterator[Judged]:
    for operation, percentiles in latency.limits().items():
        for percent, phases in percentiles.items():
            for phase, limit in phases.items():
                name = _name(f"latency.{operation}.{percent}", phase)
                done, _ = timeline.total(phase, operation)
                one, several = operation_words(operation)
                if not done.ok:
                    yield unknown(name, limit, f"no {one} succeeded {_phase(phase)}{_left_out(phase, timeline)}")
                    continue
                measured = percentile(done.ok, PERCENTILES[percent]) / 1e6
                line = (
                    f"{percent} of {done.ok.total():,} {several} {_phase(phase)} was {measured * 1e3:.3f} ms; "
                    f"at most {limit * 1e3:g} ms expected"
                )
                if measured > limit:
                    slow = _too_slow(batches, timeline, engines, phase, operation, limit)
                    if done.ok.total() - slow.servers >= rank(done.ok.total(), PERCENTILES[percent]):
                        line += f"; {_explained(slow, engines.total(phase))}"
                        yield Judged(name, Result.UNKNOWN, measured, limit, line)
                        continue
                yield _judged(name, measured <= limit, measured, limit, line)


class _TooSlow(NamedTuple):
    """How many operations took longer than a limit."""

    servers: int
    """Those that the load engine cannot have caused."""
    engine: int
    """Those that it may have caused."""


def _too_slow(
    batches: Iterable[Batch], timeline: Timeline, engines: Engines, phase: str, operation: str, limit: float
) -> _TooSlow:
    servers = engine = 0
    for batch in batches:
        for when, name, done in timeline.by_phase(batch):
            if phase in ("run", when) and operation in ("all", name):
                for latency, count in done.ok.items():
                    if latency / 1e6 > limit:
                        if engines.may_explain(batch, latency, limit * 1e6):
                            engine += count
                        else:
                            servers += count
    return _TooSlow(servers, engine)


def _explained(slow: _TooSlow, total: EngineTotal) -> str:
    """Why a limit that was exceeded is not a miss."""
    return (
        f"the load engine may be the cause: it was late, or had no time left, for {slow.engine:,} of the "
        f"{slow.engine + slow.servers:,} that took longer ({total.in_words()})"
    )


def _errors(expect: Expect, timeline: Timeline) -> Iterator[Judged]:
    if not expect.errors:
        return
    done, _ = timeline.total("run")
    kinds: Counter[str] = Counter()
    for message, count in done.errors.items():
        kinds[message.partition(":")[0]] += count
    for kind, limit in expect.errors.items():
        name = f"errors.{kind}"
        count = done.failed.total() if kind == "all" else sum(kinds[one] for one in kinds if is_kind(one, kind))
        line = f"{counted(count, 'error')}{'' if kind == 'all' else ' of this kind'}; at most {limit:,} expected"
        others = kinds[OTHER_ERRORS] if kind != "all" else 0
        if not timeline.counted:
            yield unknown(name, limit, _nothing("run", timeline))
        elif count <= limit < count + others:
            yield unknown(
                name, limit, f"{line}; the kind of {others:,} more is not known, because there were too many messages"
            )
        else:
            yield _judged(name, count <= limit, count, limit, line)


def _failures(expect: Expect, timeline: Timeline, others: Mapping[str, Any] | None) -> Iterator[Judged]:
    """Where nothing is expected, a failed operation fails the run, as in Locust. So does a failure of Locust's other users."""
    counts = [timeline.total("run")[0].failed.total(), 0, 0]
    if others is not None:
        counts[1] = sum(request["failures"] for request in others["requests"])
        counts[2] = sum(error["count"] for error in others["exceptions"])
    if expect == Expect() and any(counts):
        words = (
            ("operation", "operations"),
            ("request of another user", "requests of other users"),
            ("task of another user", "tasks of other users"),
        )
        failed = " and ".join(counted(count, *what) for count, what in zip(counts, words, strict=True) if count)
        yield Judged(FAILURES, Result.MISS, sum(counts), 0, f"{failed} failed, and nothing was expected")


def _recovery(expect: Expect, timeline: Timeline) -> Iterator[Judged]:
    limits = {"first_success": expect.recovery.first_success, "steady": expect.recovery.steady}
    measured = recoveries(timeline)
    for name, limit in limits.items():
        if limit is None:
            continue
        if not measured or not timeline.counted:
            why = "there was no fault to recover from" if timeline.counted else _nothing("run", timeline)
            yield unknown(f"recovery.{name}", limit, why)
            continue
        if name == "steady" and measured[0].incomparable:
            yield _incomparable(limit, max(measured, key=lambda one: one.failed_until))
            continue
        times = [(getattr(recovery, name), recovery) for recovery in measured]
        words = "every operation had succeeded again" if name == "first_success" else "the load was steady again"
        never = [recovery for time, recovery in times if time is None]
        known = [(time, recovery) for time, recovery in times if time is not None]
        worst, recovery = max(known, key=lambda pair: pair[0], default=(0.0, measured[0]))
        if never and worst <= limit:
            longest_first = sorted(never, key=lambda one: -one.observed)
            never_words = "not every operation succeeded again" if name == "first_success" else "the load was not steady again"
            found = [_never(f"recovery.{name}", limit, one, never_words) for one in longest_first]
            yield next((one for one in found if one.result is Result.MISS), found[0])
            continue
        first = f"first error after {recovery.first_error:.2f} s" if recovery.first_error is not None else "no error"
        line = f"{words} {worst:.2f} s after the start of {recovery.fault} ({first}; measured in steps of {timeline.slot:g} s)"
        line += f"; at most {limit:g} s expected"
        yield _judged(f"recovery.{name}", worst <= limit, worst, limit, line)


def _incomparable(limit: float, recovery: FaultRecovery) -> Judged:
    """Without a throughput to compare with, failing for too long is still a miss, but nothing is a pass."""
    if recovery.failed_until <= limit:
        return unknown("recovery.steady", limit, recovery.incomparable)
    line = f"operations still failed {recovery.failed_until:.2f} s after the start of {recovery.fault}"
    return Judged("recovery.steady", Result.MISS, None, limit, f"{line}; at most {limit:g} s expected")


def _never(name: str, limit: float, recovery: FaultRecovery, words: str) -> Judged:
    """There was no recovery in the time observed: a miss when that is longer than the limit, otherwise unknown."""
    if name == "recovery.first_success" and not recovery.counted:
        none = f"no operation ended in the {recovery.observed:.2f} s from the start of {recovery.fault} until {recovery.until}"
        return unknown(name, limit, f"{none}; at most {limit:g} s expected")
    line = (
        f"{words} in the {recovery.observed:.2f} s from the start of {recovery.fault} until {recovery.until}; "
        f"at most {limit:g} s expected"
    )
    missed = recovery.observed > limit + OBSERVED_SECONDS
    return Judged(name, Result.MISS if missed else Result.UNKNOWN, None, limit, line)


def _judged(name: str, good: bool, measured: float, limit: float, line: str) -> Judged:
    return Judged(name, Result.PASS if good else Result.MISS, measured, limit, line)


def _name(name: str, phase: str) -> str:
    return name if phase == "run" else f"{name}.{phase}"


def _phase(phase: str) -> str:
    return "over the run" if phase == "run" else f"{phase} the faults"


def _nothing(phase: str, timeline: Timeline) -> str:
    if not timeline.counted:
        return "no operation was counted"
    return f"no operation was counted {_phase(phase)}{_left_out(phase, timeline)}" if timeline.faults else "there was no fault"


def _at_edges(timeline: Timeline) -> int:
    edge, _ = timeline.total(EDGE)
    return edge.ok.total() + edge.failed.total()


def _left_out(phase: str, timeline: Timeline) -> str:
    """Why a phase may lack operations that the run had."""
    count = _at_edges(timeline)
    if phase == "run" or not count:
        return ""
    longest = max(until - since for since, until in (fault.certain for fault in timeline.faults))
    lasted = f", of which the longest was certainly on for {max(longest, 0.0):.2f} s" if phase == "during" else ""
    under_way = counted(count, "operation was", "operations were")
    no_phase = "counts for no phase" if count == 1 else "count for no phase"
    return f"{lasted}; {under_way} under way, or may have been, while one struck or healed, and {no_phase}"
