"""The report of `benchmarks.client`: the verdict on each claim, a table and a chart."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias
from xml.sax.saxutils import escape

from ._contenders import FLOOR, OURS, SQL, VALKEY

Result: TypeAlias = dict[str, Any]
#: A contender or a kind of them, its operation, and the number of tasks.
Which: TypeAlias = tuple[str, str, int]

MANAGER, TABLE, FLOOR_IN_TRIO = "trio_hs, Manager", "trio_hs, Table", "raw socket in trio"


@dataclass(frozen=True)
class Claim:
    """`ours` is at least `wanted` times `theirs` at its best; without `theirs`, `wanted` rows per second.

    A kind of contenders in `theirs` stands for the best of them, in its best mode and at its best pool size.
    """

    text: str
    wanted: float
    ours: Which
    theirs: Which | None = None


CLAIMS = (
    Claim("Manager.get, 1 task: the best SQL client", 1.3, (MANAGER, "get", 1), (SQL, "get", 1)),
    Claim("Manager.get, 64 tasks: the best SQL client", 4.2, (MANAGER, "get", 64), (SQL, "get", 64)),
    Claim("Table.get, 64 tasks: the best SQL client", 5, (TABLE, "get", 64), (SQL, "get", 64)),
    Claim("Table.get, 256 tasks: 64 tasks", 1, (TABLE, "get", 256), (TABLE, "get", 64)),
    Claim("Table.get, 256 tasks: a bare socket in trio", 0.45, (TABLE, "get", 256), (FLOOR_IN_TRIO, "get", 256)),
    Claim("get_many of 1,000: the best SQL client's IN", 2, (TABLE, "get_many", 1), (SQL, "get_many", 1)),
    Claim("insert, 64 tasks: the best SQL client", 6, (TABLE, "insert", 64), (SQL, "insert", 64)),
    Claim("incr, 64 tasks: the best SQL client", 6, (TABLE, "incr", 64), (SQL, "incr", 64)),
    Claim("insert_many of 1,000, rows per second", 60_000, (TABLE, "insert_many", 1)),
)


@dataclass(frozen=True)
class Verdict:
    """A claim, its measured value, and whether it holds; both are None when not all of it was measured.

    `best` is what it was measured against, with pool size and mode, where that was the best of several. `floors` are the values
    of bare sockets in our place, by name.
    """

    claim: Claim
    measured: float | None
    best: str = ""
    floors: Mapping[str, float] = field(default_factory=dict)

    @property
    def holds(self) -> bool | None:
        return None if self.measured is None else self.measured >= self.claim.wanted

    def __str__(self) -> str:
        if self.measured is None:
            return f"{self.claim.text}: not measured"
        digits = ",.0f" if self.claim.theirs is None else ".2f"
        figures = f"{self.measured:{digits}}, wanted {self.claim.wanted:,g}"
        aside = [self.best] if self.best else []
        aside += [f"{name}: {value:{digits}}" for name, value in self.floors.items()]
        verdict = "holds" if self.holds else "does not hold"
        brackets = f" ({'; '.join(aside)})" if aside else ""
        return f"{self.claim.text}: {figures}: {verdict}{brackets}"


def best(results: Sequence[Result], which: Which) -> Result | None:
    """In the mode and at the pool size with the highest median. That favours contenders with several; ours has one."""
    who, *what = which
    found = [
        result
        for result in results
        if who in (result["contender"], result["kind"]) and [result["operation"], result["tasks"]] == what
    ]
    return max(found, key=lambda result: float(result["rate"]), default=None)


def way(result: Result) -> str:
    """The pool size and the mode of a figure; empty for contenders that have only one of each."""
    if result["kind"] in (OURS, FLOOR):
        return ""
    return ", ".join(filter(None, (str(result["pool"]), result["mode"])))


def judge(results: Sequence[Result]) -> list[Verdict]:
    """The verdict on every claim."""
    verdicts = []
    for claim in CLAIMS:
        ours = best(results, claim.ours)
        theirs = best(results, claim.theirs) if claim.theirs else {"rate": 1.0, "kind": FLOOR}
        if ours is None or theirs is None:
            verdicts.append(Verdict(claim, None))
            continue
        floors, against = {}, ""
        if theirs["kind"] == SQL:
            against = f"{theirs['contender']} ({way(theirs)})"
        if theirs.get("contender") not in (claim.ours[0], FLOOR_IN_TRIO):
            names = dict.fromkeys(result["contender"] for result in results if result["kind"] == FLOOR)
            bare = {name: best(results, (name, *claim.ours[1:])) for name in names}
            floors = {name: result["rate"] / theirs["rate"] for name, result in bare.items() if result}
        verdicts.append(Verdict(claim, ours["rate"] / theirs["rate"], against, floors))
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


#: What each kind of contender does with 1,000 rows.
HOW = {
    "get_many": {OURS: "get_many", FLOOR: "one send", SQL: "WHERE id IN", VALKEY: "pipeline of HMGET"},
    "find_in": {OURS: "find with in_"},
    "insert_many": {OURS: "insert_many", FLOOR: "one send", SQL: "one statement", VALKEY: "pipeline of HSET"},
}


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
    if about["valkey"]:
        yield f"{about['valkey']}, which flushes each write before it answers."
    for label, why in about["left_out"].items():
        yield f"Left out: {label}, because {why}."
    yield ""
    yield "A rival's figure is that of its best pool size and mode, in brackets. CPU: µs per row, of client and server."
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
    for operation, words in HOW.items():
        for name in dict.fromkeys(result["contender"] for result in results if result["operation"] == operation):
            result = best(results, (name, operation, 1))
            assert result is not None
            how = words[result["kind"]]
            rows.append([name, how, _rate(result), f"{result['client_us']:.1f}", f"{result['server_us']:.1f}"])
    yield from _table(["", "how", "rows per second", "client CPU", "server CPU"], rows)
    yield ""
    yield "An SQL client inserts 1,000 rows by one statement: one transaction with one flush of the log, and one answer; one"
    yield "duplicate key refuses them all. `insert_many` sends a line for each row and has an outcome for each, and the server"
    yield "commits what it has read by then: the more it reads at once, the fewer flushes."


def _rate(result: Result | None) -> str:
    if result is None:
        return ""
    return f"{result['rate']:,.0f}{f' ({how})' if (how := way(result)) else ''}"


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
TITLE_TEXT = "trio_hs beside SQL clients and Valkey"
#: Room for the figure behind a bar, with its pool size and mode.
FIGURE = 250
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
            parts += _bar(result, y, (WIDTH - LABELS - FIGURE) * result["rate"] / longest)
        y += TITLE
    note = "Rows per second, more is better. Rivals at their best pool size and mode, in brackets."
    parts.append(f'<text class="note" x="0" y="{y}">{note}</text>')
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y + 10}" role="img">'
    return "\n".join([head, f"<title>{TITLE_TEXT}</title>", f"<style>{STYLE}</style>", *parts, "</svg>"]) + "\n"


def _bars(results: Sequence[Result], operation: str, tasks: int) -> list[Result]:
    names = dict.fromkeys(result["contender"] for result in results)
    found = [best(results, (name, operation, tasks)) for name in names]
    return sorted((result for result in found if result), key=lambda result: -result["rate"])


def _bar(result: Result, y: int, length: float) -> list[str]:
    name = result["contender"]
    kind = {OURS: "ours", FLOOR: "floor"}.get(result["kind"], "peer")
    return [
        f'<text x="{LABELS - 8}" y="{y}" text-anchor="end">{escape(name)}</text>',
        f'<rect class="{kind}" x="{LABELS}" y="{y - 12}" width="{max(length, 1):.1f}" height="15" rx="2"/>',
        f'<text class="note" x="{LABELS + length + 6:.1f}" y="{y}">{escape(_rate(result))}</text>',
    ]
