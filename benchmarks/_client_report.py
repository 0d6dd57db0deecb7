"""The report of `benchmarks.client`: the verdict on each claim, a table and a chart."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias
from xml.sax.saxutils import escape

Result: TypeAlias = dict[str, Any]
#: A contender, its operation, and the number of tasks.
Which: TypeAlias = tuple[str, str, int]

MANAGER, TABLE = "trio_hs, Manager", "trio_hs, Table"
#: The upper bounds for any client on this machine: a bare socket, in a blocking thread and in a trio task.
FLOORS = ("raw socket", "raw socket in trio")


@dataclass(frozen=True)
class Claim:
    """`ours` is at least `wanted` times `theirs` at its best pool size; without `theirs`, `wanted` rows per second."""

    text: str
    wanted: float
    ours: Which
    theirs: Which | None = None


CLAIMS = (
    Claim("Manager.get, 1 task: asyncmy with one connection", 2, (MANAGER, "get", 1), ("asyncmy", "get", 1)),
    Claim("Manager.get, 64 tasks: asyncmy", 3, (MANAGER, "get", 64), ("asyncmy", "get", 64)),
    Claim("Table.get, 64 tasks: asyncmy", 5, (TABLE, "get", 64), ("asyncmy", "get", 64)),
    Claim("Table.get, 256 tasks: 64 tasks", 1, (TABLE, "get", 256), (TABLE, "get", 64)),
    Claim("get_many of 1,000: asyncmy's IN", 1.5, (TABLE, "get_many", 1), ("asyncmy", "get_many", 1)),
    Claim("get_many of 1,000: mysqlclient's IN", 1.5, (TABLE, "get_many", 1), ("mysqlclient", "get_many", 1)),
    Claim("insert, 64 tasks: asyncmy", 4, (TABLE, "insert", 64), ("asyncmy", "insert", 64)),
    Claim("incr, 64 tasks: asyncmy", 4, (TABLE, "incr", 64), ("asyncmy", "incr", 64)),
    Claim("insert_many of 1,000, rows per second", 60_000, (TABLE, "insert_many", 1)),
)


@dataclass(frozen=True)
class Verdict:
    """A claim, its measured value, and whether it holds; both are None when not all of it was measured.

    `floors` are the values of bare sockets in our place, by name.
    """

    claim: Claim
    measured: float | None
    floors: Mapping[str, float] = field(default_factory=dict)

    @property
    def holds(self) -> bool | None:
        return None if self.measured is None else self.measured >= self.claim.wanted

    def __str__(self) -> str:
        if self.measured is None:
            return f"{self.claim.text}: not measured"
        digits = ",.0f" if self.claim.theirs is None else ".2f"
        figures = f"{self.measured:{digits}}, wanted {self.claim.wanted:,g}"
        floors = "; ".join(f"{name}: {value:{digits}}" for name, value in self.floors.items())
        return f"{self.claim.text}: {figures}: {'holds' if self.holds else 'does not hold'}{f' ({floors})' if floors else ''}"


def best(results: Sequence[Result], which: Which) -> Result | None:
    """At the pool size with the highest median. That favours contenders with several pool sizes; ours has one."""
    found = [result for result in results if (result["contender"], result["operation"], result["tasks"]) == which]
    return max(found, key=lambda result: float(result["rate"]), default=None)


def judge(results: Sequence[Result]) -> list[Verdict]:
    """The verdict on every claim."""
    verdicts = []
    for claim in CLAIMS:
        ours = best(results, claim.ours)
        theirs = best(results, claim.theirs) if claim.theirs else {"rate": 1.0}
        if ours is None or theirs is None:
            verdicts.append(Verdict(claim, None))
            continue
        floors = {}
        if theirs.get("contender") != claim.ours[0]:
            bare = {name: best(results, (name, *claim.ours[1:])) for name in FLOORS}
            floors = {name: result["rate"] / theirs["rate"] for name, result in bare.items() if result}
        verdicts.append(Verdict(claim, ours["rate"] / theirs["rate"], floors))
    return verdicts


def write_report(report: dict[str, Any], folder: Path) -> list[Verdict]:
    """Write `client.json`, `client.md` and `client.svg` into the folder, created if missing; return the verdicts."""
    verdicts = judge(report["results"])
    folder.mkdir(parents=True, exist_ok=True)
    data = {**report, "claims": [str(verdict) for verdict in verdicts]}
    (folder / "client.json").write_text(json.dumps(data, indent=1) + "\n")
    (folder / "client.md").write_text("\n".join(markdown(report, verdicts)) + "\n")
    (folder / "client.svg").write_text(svg(report["results"]))
    return verdicts


# ---- the table --------------------------------------------------------------------------------------------------------


def markdown(report: dict[str, Any], verdicts: Sequence[Verdict]) -> Iterator[str]:
    """The lines of `client.md`."""
    about, settings, results = report["environment"], report["settings"], report["results"]
    yield "# trio_hs beside other clients"
    yield ""
    libraries = ", ".join(f"{name} {version}" for name, version in about["libraries"].items())
    variables = ", ".join(f"{name}={value}" for name, value in about["server_variables"].items())
    yield f"`./dev bench client`, {about['time']}: medians of {settings['rounds']} rounds of {settings['seconds']:g} s each."
    yield f"{about['cpu']}, {about['cores']} cores shared with the server; Linux {about['kernel']}; Python {about['python']};"
    yield f"MariaDB {about['server']} ({variables}; sql_log_bin={about['sql_log_bin']}); {libraries}."
    yield f"Load average before the run: {', '.join(map(str, about['load_average_before']))}."
    yield ""
    yield "A SQL client's figure is that of its best pool size, in brackets. CPU: µs per row, of client and server."
    for operation, title in (("get", "Reads by primary key"), ("insert", "Inserts"), ("incr", "Increments")):
        yield from _by_tasks(title, [result for result in results if result["operation"] == operation])
    yield from _in_batches([result for result in results if result["operation"] in ("get_many", "find_in", "insert_many")])
    yield from ("", "## What is claimed", "")
    yield from (f"- {verdict}" for verdict in verdicts)


def _by_tasks(title: str, results: list[Result]) -> Iterator[str]:
    tasks = sorted({result["tasks"] for result in results})
    shown = 64 if 64 in tasks else max(tasks, default=0)
    yield from ("", f"## {title}, rows per second", "")
    header = ["", *(f"{number} task{'s' * (number > 1)}" for number in tasks), f"client CPU, {shown}", f"server CPU, {shown}"]
    rows = []
    for name in dict.fromkeys(result["contender"] for result in results):
        found = [best(results, (name, results[0]["operation"], number)) for number in tasks]
        at = best(results, (name, results[0]["operation"], shown))
        assert at is not None
        rows.append([name, *map(_rate, found), f"{at['client_us']:.1f}", f"{at['server_us']:.1f}"])
    yield from _table(header, rows)


def _in_batches(results: list[Result]) -> Iterator[str]:
    yield from ("", "## Batches of 1,000, one task, rows per second", "")
    rows = []
    for operation, ours, theirs in (
        ("get_many", "get_many", "WHERE id IN"),
        ("find_in", "find with in_", ""),
        ("insert_many", "insert_many", "executemany"),
    ):
        for result in results:
            if result["operation"] == operation:
                how = {"trio_hs": ours, FLOORS[0]: "one send"}.get(result["contender"].partition(",")[0], theirs)
                rows.append(
                    [result["contender"], how, _rate(result), f"{result['client_us']:.1f}", f"{result['server_us']:.1f}"]
                )
    yield from _table(["", "how", "rows per second", "client CPU", "server CPU"], rows)
    yield ""
    yield "`executemany` makes one statement of 1,000 rows: one transaction with one flush of the log, and one answer; one"
    yield "duplicate key refuses them all. `insert_many` sends a line for each row and has an outcome for each, and the server"
    yield "commits what it has read by then: the more it reads at once, the fewer flushes."


def _rate(result: Result | None) -> str:
    if result is None:
        return ""
    pool = (
        ""
        if result["contender"].startswith("trio_hs") or result["tasks"] == 1 or result["pool"] == 1
        else f" ({result['pool']})"
    )
    return f"{result['rate']:,.0f}{pool}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(header)} |"
    yield f"| --- |{' ---: |' * (len(header) - 1)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"


# ---- the chart --------------------------------------------------------------------------------------------------------

PANELS = (
    ("get, 64 tasks", "get", 64),
    ("get_many / WHERE IN, 1,000 keys", "get_many", 1),
    ("insert, 64 tasks", "insert", 64),
    ("incr, 64 tasks", "incr", 64),
)
WIDTH, LABELS, LINE, TITLE = 760, 150, 20, 34
#: A separate image follows the reader's system, not the page's theme, so it contains both colour schemes.
STYLE = """
text { font: 12px system-ui, sans-serif; fill: #1f2328 }
.title { font-weight: 600 } .note { fill: #59636e }
.ours { fill: #0a7d56 } .peer { fill: #8c959f } .floor { fill: #c8cdd3 }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } .note { fill: #9198a1 } .ours { fill: #3fb98a } .peer { fill: #6e7681 } .floor { fill: #3d444d }
}
"""


def svg(results: Sequence[Result]) -> str:
    """Bars of rows per second: a panel with its own scale for each measured operation."""
    parts: list[str] = []
    y = 18
    for title, operation, tasks in PANELS:
        bars = _bars(results, operation, tasks)
        if not bars:
            continue
        parts.append(f'<text class="title" x="0" y="{y}">{escape(title)}</text>')
        longest = max(result["rate"] for result in bars)
        for result in bars:
            y += LINE
            parts += _bar(result, y, (WIDTH - LABELS - 90) * result["rate"] / longest)
        y += TITLE
    parts.append(
        f'<text class="note" x="0" y="{y}">Rows per second, more is better. SQL clients at their best pool size.</text>'
    )
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y + 10}" role="img">'
    return "\n".join([head, "<title>trio_hs beside SQL clients</title>", f"<style>{STYLE}</style>", *parts, "</svg>"]) + "\n"


def _bars(results: Sequence[Result], operation: str, tasks: int) -> list[Result]:
    names = dict.fromkeys(result["contender"] for result in results)
    found = [best(results, (name, operation, tasks)) for name in names]
    return sorted((result for result in found if result), key=lambda result: -result["rate"])


def _bar(result: Result, y: int, length: float) -> list[str]:
    name = result["contender"]
    kind = "ours" if name.startswith("trio_hs") else "floor" if name in FLOORS else "peer"
    return [
        f'<text x="{LABELS - 8}" y="{y}" text-anchor="end">{escape(name)}</text>',
        f'<rect class="{kind}" x="{LABELS}" y="{y - 12}" width="{max(length, 1):.1f}" height="15" rx="2"/>',
        f'<text class="note" x="{LABELS + length + 6:.1f}" y="{y}">{result["rate"]:,.0f}</text>',
    ]
