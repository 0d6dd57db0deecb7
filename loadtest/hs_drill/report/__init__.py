"""A kept run for people and programs: HTML page, terminal, JUnit."""

from __future__ import annotations

from . import _words as words
from ._capacity import ACHIEVED, render_search
from ._junit import junit
from ._kept_run import KeptRun
from ._markup import el, to_html
from ._other_requests import print_other_requests
from ._page import render, write_report
from ._terminal import WIDTH, PlainConsole, print_no_verdict, print_summary, print_verdict, progress_line
from ._words import RESULTS, quantity, rate_in_words

__all__ = [
    "ACHIEVED",
    "RESULTS",
    "WIDTH",
    "KeptRun",
    "PlainConsole",
    "el",
    "junit",
    "print_no_verdict",
    "print_other_requests",
    "print_summary",
    "print_verdict",
    "progress_line",
    "quantity",
    "rate_in_words",
    "render",
    "render_search",
    "to_html",
    "words",
    "write_report",
]
