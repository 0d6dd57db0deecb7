"""Classes of users in Python, as both worlds see them: Locust's process, which divides the users between the classes, and the
engine, which runs them."""

from __future__ import annotations

from ._declared import WaitTime, between, constant, constant_throughput, full_name, task, tasks_of
from ._mistakes import mistakes_in_class, mistakes_in_file, place_of, shown_path

__all__ = [
    "WaitTime",
    "between",
    "constant",
    "constant_throughput",
    "full_name",
    "mistakes_in_class",
    "mistakes_in_file",
    "place_of",
    "shown_path",
    "task",
    "tasks_of",
]
