"""What a search for capacity says: in one sentence, as JSON, and as a table. Pure, but for printing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hs_drill._counted import counted
from hs_drill._exit_codes import ExitCode
from hs_drill.report import ACHIEVED, rate_in_words

from ._capacity_search import End, Finding, Outcome, Range, Step
from ._capacity_slo import Objective

__all__ = ["limit_of", "print_steps", "progress_of", "result_of"]

FORMAT = 1
"""Of `result_of`. Raise it when a key goes or changes its meaning."""
ALL_OF_IT = 0.9
"""From this share of a core on, a thread had no time left; and so for all cores."""
OFTEN = 0.2
"""A server's thread that waited for a core for this share of the time would have done more elsewhere."""
WAITED = 0.05
"""From this share of the time on it is told that an engine waited for a core."""
CODES = {
    End.FOUND: ExitCode.PASSED,
    End.HIGHEST_HOLDS: ExitCode.PASSED,
    End.LOWEST_MISSES: ExitCode.EXPECTATION_MISSED,
    End.ENGINE: ExitCode.INCONCLUSIVE,
    End.UNFINISHED: ExitCode.ENDED_EARLY,
}
SIGNS = {Outcome.HOLDS: "✓ holds", Outcome.MISSED: "✗ missed", Outcome.ENGINE: "? engine"}


def result_of(
    finding: Finding, all_steps: Sequence[Step], range_: Range, objectives: Sequence[Objective], cut: str = "", code: int = 0
) -> dict[str, Any]:
    """The content of `result.json`, without what only the command knows. docs/capacity.md describes it.

    Args:
      all_steps: also those that do not count.
      cut: why the search did not come to its end, in words; empty if it did.
      code: the exit code then.
    """
    meet = " and ".join(one.text for one in objectives)
    counting = {id(step) for step in finding.steps}
    return {
        "format": FORMAT,
        "exit_code": int(code if cut else CODES[finding.end]),
        "result": f"capacity: {_sentence(finding, range_, meet, cut)}",
        "end": End.UNFINISHED.value if cut else finding.end.value,
        "holds": finding.holds,
        "fails": finding.fails,
        "certain": [finding.below, finding.above],
        "why": [] if finding.decisive is None else list(finding.decisive.why),
        "limit": "" if finding.decisive is None else limit_of(finding.decisive),
        "objectives": [_objective(one) for one in objectives],
        "environment": all_steps[0].details.get("environment", {}) if all_steps else {},
        "range": {"from": range_.lowest, "to": range_.highest, "precision": range_.precision},
        "steps": [_step(step, counts=id(step) in counting) for step in all_steps],
    }


def _objective(objective: Objective) -> dict[str, Any]:
    return {
        "text": objective.text,
        "figure": objective.figure,
        "operation": objective.operation,
        "percentile": objective.percentile,
        "limit": objective.limit * (1000 if objective.percentile else 100),
    }


def _step(step: Step, *, counts: bool) -> dict[str, Any]:
    return {
        "rate": step.rate,
        "engines": step.engines,
        "outcome": step.outcome.value,
        "counts": counts,
        "why": list(step.why),
        **{name: value for name, value in step.details.items() if name != "environment"},
    }


def _sentence(finding: Finding, range_: Range, meet: str, cut: str) -> str:
    holds, fails = (None if rate is None else rate_in_words(rate) for rate in (finding.holds, finding.fails))
    sought = f"between {rate_in_words(range_.lowest)} and {rate_in_words(range_.highest)}"
    if cut:
        known = [f"{holds} meets {meet}"] if holds else []
        known += [f"{fails} does not"] if fails else []
        taken = counted(len(finding.steps), "step")
        return f"not found {sought}: {cut} after {taken}" + (f"; until then {', '.join(known)}" if known else "")
    if finding.end is End.HIGHEST_HOLDS:
        return f"not found {sought}: even {holds} meets {meet}"
    assert finding.decisive is not None
    why, limit = " and ".join(finding.decisive.why), limit_of(finding.decisive)
    if finding.end is End.ENGINE:
        least = f"at least {holds}, which meets {meet}" if holds else f"not found {sought}"
        was = "was the limit" if (finding.decisive.details.get("engine") or {}).get("was_limit") else "may be why"
        return f"{least}; what the servers carry beyond is not known: at {fails} {why}, and the load engine {was}: {limit}"
    met = f"{holds} meets {meet}, and {fails} does not" if holds else f"not found {sought}: not even {fails} meets {meet}"
    return f"{met}{_disagreement(finding)}: {why}{limit and f'; {limit}'}"


def _disagreement(finding: Finding) -> str:
    low, high = finding.below, finding.above
    if (low, high) == (finding.holds, finding.fails):
        return ""
    since = "up" if low is None else f"from {rate_in_words(low)}"
    until = "on" if high is None else f"to {rate_in_words(high)}"
    return f" (steps {since} {until} do not agree)"


def limit_of(step: Step) -> str:
    """Who had no time left in a step, as far as that is known; empty if it is not known."""
    engine, servers = step.details.get("engine") or {}, step.details.get("servers_cpu") or {}
    if step.outcome is Outcome.ENGINE:
        return _engine_limit(engine, step.engines)
    if not servers:
        return ""
    name, busiest = max(servers.items(), key=lambda one: one[1]["thread"])
    if busiest["thread"] >= ALL_OF_IT:
        return f"a thread of {name} took {busiest['thread']:.0%} of a core"
    of_servers, cores = sum(one["cores"] for one in servers.values()), step.details.get("environment", {}).get("cores", 0.0)
    of_engines = engine.get("cpu", 0.0) * step.engines
    waiting, longest = max(servers.items(), key=lambda one: one[1]["waited"])
    if longest["waited"] >= OFTEN:
        return f"{waiting} waited for a core {longest['waited']:.0%} of the time, so this machine was the limit"
    if of_servers + of_engines >= cores * ALL_OF_IT > 0:
        return (
            f"servers and load engine together took {of_servers:.1f} + {of_engines:.1f} of {cores:g} cores, so the servers may "
            "carry more if the engine runs elsewhere"
        )
    return f"CPU time was not the limit: the busiest thread of a server took {busiest['thread']:.0%} of a core"


def _engine_limit(engine: Mapping[str, Any], engines: int) -> str:
    if not engine:
        return "how busy the load engine was is not known"
    words = f"{counted(engines, 'engine')}, the busiest took {engine['cpu']:.0%} of a core"
    if engine["waited_for_cpu"] >= WAITED:
        words += f" and waited for one {engine['waited_for_cpu']:.0%} of the time"
    return f"{words}, and had no time left in {engine['no_time_left_seconds']:.1f} of {engine['seconds']:.1f} s"


def progress_of(step: Step, objectives: Sequence[Objective]) -> str:
    """One line about a step that has ended."""
    figures = [f"{one.figure} {_figure(one, step)}" for one in objectives]
    return "  ".join([SIGNS[step.outcome], f"at {rate_in_words(step.rate)}", *figures, step.details.get("run", "")]).rstrip()


def print_steps(steps: Sequence[Step], objectives: Sequence[Objective], out: Console) -> None:
    """A table of them, by rate."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False)
    several = any(step.engines > 1 for step in steps)
    right = ["offered", "achieved", *(one.figure for one in objectives), "engine", *(["engines"] if several else [])]
    for heading in right:
        table.add_column(heading, justify="right")
    for heading in ("", "run"):
        table.add_column(heading, overflow="fold")
    for step in sorted(steps, key=lambda one: one.rate):
        achieved = step.details.get("figures", {}).get(ACHIEVED)
        cells = [
            rate_in_words(step.rate),
            "-" if achieved is None else rate_in_words(achieved),
            *(_figure(one, step) for one in objectives),
            _busy(step),
            *([str(step.engines)] if several else []),
            SIGNS[step.outcome],
            str(step.details.get("run", "")).rpartition("/")[2],
        ]
        table.add_row(*map(Text, cells))
    out.print(table)


def _figure(objective: Objective, step: Step) -> str:
    value = step.details.get("figures", {}).get(objective.figure)
    if value is None:
        return "-"
    return f"{value:,.3f} ms" if objective.percentile else f"{value:.4g} %"


def _busy(step: Step) -> str:
    engine = step.details.get("engine")
    return "-" if not engine else f"{engine['cpu'] + engine['waited_for_cpu']:.0%}"
