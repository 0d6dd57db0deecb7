"""The expectations of a run as JUnit XML, which CI systems show: a test case for each.

A miss is a failure. Unknown is an error, not skipped: most systems show skipped as green, but an inconclusive run is not a
pass. Not applicable is skipped: the scenario does not state it, and nothing could have violated it.
"""

from __future__ import annotations

from typing import Any
from xml.etree.ElementTree import Element

from ._kept_run import KeptRun
from ._markup import el, to_xml

__all__ = ["junit"]


def junit(run: KeptRun) -> str:
    """The document, as text."""
    judged = run.result["expectations"]
    count = {
        "tests": len(judged),
        "failures": sum(one["result"] == "miss" for one in judged),
        "errors": sum(one["result"] == "unknown" for one in judged),
        "skipped": sum(one["result"] == "not applicable" for one in judged),
        "time": f"{run.run_totals.seconds:.3f}",
    }
    started = run.environment.get("started")
    suite = el(
        "testsuite",
        el("properties", [el("property", name=name, value=str(value)) for name, value in run.environment.items()]),
        [_case(run.scenario.name, one) for one in judged],
        name=run.scenario.name,
        timestamp=None if started is None else started[:19],
        **count,
    )
    return to_xml(el("testsuites", suite, name="trio-hs", **count))


def _case(scenario: str, judged: dict[str, Any]) -> Element:
    line = judged["line"]
    match judged["result"]:
        case "pass":
            outcome = el("system-out", line)
        case "miss":
            outcome = el("failure", line, message=line, type="missed")
        case "not applicable":
            outcome = el("skipped", message=line)
        case _:
            outcome = el("error", line, message=line, type="unknown")
    return el("testcase", outcome, classname=scenario, name=judged["name"])
