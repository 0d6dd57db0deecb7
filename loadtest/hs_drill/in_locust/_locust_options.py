"""Checks of Locust's own options and of the web UI's form, before anything starts.

Locust finds their mistakes only when the servers are up and the users should start, and answers with a traceback; or, in the
form, takes -5 users and runs none.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping
from typing import Any

__all__ = ["add_locusts_options", "mistake_in", "mistake_in_form"]

_USERS = "must be a whole number from 1 on"
_SPAWN_RATE = "must be a number of users a second above 0"


def add_locusts_options(parser: Any) -> None:
    """Add the options that `mistake_in` looks at, as text, to Locust's empty parser."""
    parser.add_argument("-u", "--users", dest="num_users", env_var="LOCUST_USERS")
    parser.add_argument("-r", "--spawn-rate", env_var="LOCUST_SPAWN_RATE")


def mistake_in(arguments: argparse.Namespace) -> str:
    """What is wrong with the options, in one line; "" if nothing is."""
    if arguments.num_users is not None and not _is_whole(arguments.num_users):
        return f"-u/--users {_USERS}, not {arguments.num_users!r}"
    if arguments.spawn_rate is not None and not _is_rate(arguments.spawn_rate):
        return f"-r/--spawn-rate {_SPAWN_RATE}, not {arguments.spawn_rate!r}"
    return ""


def mistake_in_form(form: Mapping[str, str]) -> str:
    """What is wrong with the numbers in the web UI's form, in one line; "" if nothing is."""
    if not _is_whole(users := form.get("user_count", "1")):
        return f"the number of users {_USERS}, not {users!r}"
    if not _is_rate(rate := form.get("spawn_rate", "1")):
        return f"the spawn rate {_SPAWN_RATE}, not {rate!r}"
    return ""


def _is_whole(text: str) -> bool:
    try:
        return int(text) >= 1
    except ValueError:
        return False


def _is_rate(text: str) -> bool:
    try:
        return float(text) > 0 and math.isfinite(float(text))
    except ValueError:
        return False
