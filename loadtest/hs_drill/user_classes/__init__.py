"""Classes of users in Python, as both worlds see them: Locust's process, which divides the users between the classes, and the
engine, which runs them."""

from __future__ import annotations

from ._declared import TAGS, InterruptTaskSet, expanded, full_name, tag, task, tasks_of
from ._file_mistakes import mistakes_in_file
from ._mistakes import mistakes_in_class
from ._places import place_of, shown_path
from ._waits import WaitTime, between, constant, constant_pacing, constant_throughput, poisson

__all__ = [
    "TAGS",
    "InterruptTaskSet",
    "WaitTime",
    "between",
    "constant",
    "constant_pacing",
    "constant_throughput",
    "expanded",
    "full_name",
    "mistakes_in_class",
    "mistakes_in_file",
    "place_of",
    "poisson",
    "shown_path",
    "tag",
    "task",
    "tasks_of",
]
