"""The requests of other users of Locust, such as an HTTP user in a second locustfile: in the terminal and in the report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from xml.etree.ElementTree import Element

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ._markup import el
from ._shapes import number_cell, row_heading, section, table

__all__ = ["other_requests_section", "print_other_requests"]

TITLE = "Requests of other users"
MAX_ERRORS = 20


def print_other_requests(others: Mapping[str, Any] | None, console: Console) -> None:
    """Print them; nothing if there are none. `others` is as `result.json` keeps it."""
    if others is None:
        return
    if others["requests"]:
        console.print(_table(others["requests"]))
    for line in _errors(others):
        console.print(Text(f"  {line}", style="red"))


def _table(requests: list[dict[str, Any]]) -> Table:
    shown = Table(title=TITLE, title_style="bold", title_justify="left", box=box.SIMPLE_HEAD)
    shown.add_column("request", overflow="fold")
    for heading in ["count", "failures", "req/s", *(f"{name} ms" for name in requests[0]["latencies"]), "max ms"]:
        shown.add_column(heading, justify="right")
    for one in requests:
        failures = Text(f"{one['failures']:,}", style="bold red" if one["failures"] else "")
        shown.add_row(Text(_name(one)), f"{one['count']:,}", failures, f"{one['rate']:,.1f}", *_latencies(one))
    return shown


def other_requests_section(others: Mapping[str, Any] | None) -> Element | None:
    """The report's section; None if there are none, as in every run that was kept before they were counted."""
    if others is None:
        return None
    requests = others["requests"]
    rows = [
        el(
            "tr",
            row_heading(_name(one)),
            number_cell(f"{one['count']:,}"),
            number_cell(f"{one['failures']:,}", some=one["failures"] > 0),
            number_cell(f"{one['rate']:,.1f}"),
            [number_cell(text) for text in _latencies(one)],
        )
        for one in requests
    ]
    headings = ["request", "#count", "#failures", "#req/s"]
    headings += [*(f"#{name} ms" for one in requests[:1] for name in one["latencies"]), "#max ms"]
    caption = "What users of another locustfile did, as Locust measured it. Nothing else in this report includes it."
    return section(
        TITLE,
        table(headings, rows, caption) if rows else None,
        el("ul", [el("li", line) for line in _errors(others)]) if any(_errors(others)) else None,
    )


def _name(request: Mapping[str, Any]) -> str:
    return f"{request['method']} {request['name']}".strip()


def _latencies(request: Mapping[str, Any]) -> list[str]:
    return [f"{ms:,.3f}" for ms in (*request["latencies"].values(), request["max"] or 0)]


def _errors(others: Mapping[str, Any]) -> Iterator[str]:
    """Why requests failed, and which exceptions ended tasks, a line each."""
    lines = [f"{one['count']:,} x {_name(one)}: {one['error']}" for one in others["errors"]]
    lines += [f"{one['count']:,} x a task ended with an exception: {one['error']}" for one in others["exceptions"]]
    yield from lines[:MAX_ERRORS]
    if len(lines) > MAX_ERRORS:
        yield f"and {len(lines) - MAX_ERRORS} more kinds of error"
