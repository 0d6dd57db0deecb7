"""The report of a kept run, parsed."""

from __future__ import annotations

from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

from hs_drill.report._page import write_report
from hs_drill.store import RunDirectory
from hs_drill.verdict._judge_run import judge_run
from tests.loadtest.support.kept_runs import HandMade


class Page(HTMLParser):
    """A parsed report."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str, str]] = []
        self.rows: list[list[str]] = []
        self.text = ""
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.lasttag in ("td", "th") and self.rows:
            self.rows[-1][-1] += data

    def row(self, *beginning: str) -> list[str]:
        return next(row for row in self.rows if row[: len(beginning)] == list(beginning))


def report_of(directory: RunDirectory) -> Path:
    return write_report(directory, judge_run(directory))


def page_of(made: HandMade, tmp_path: Path) -> Page:
    return Page(report_of(made.keep(tmp_path)))
