"""What a run owns on this machine (a directory, processes, ports, containers), and the guardian that removes it."""

from __future__ import annotations

from ._container_engine import Engine, in_words, open_engine, provide_image
from ._guardian import RUN_LABEL
from ._leftovers import OWNER_LABEL, clear_away, owner
from ._sandbox import HOST, Run, check_memory, check_temporary_directory, open_run, server_account, until_ended

__all__ = [
    "HOST",
    "OWNER_LABEL",
    "RUN_LABEL",
    "Engine",
    "Run",
    "check_memory",
    "check_temporary_directory",
    "clear_away",
    "in_words",
    "open_engine",
    "open_run",
    "owner",
    "provide_image",
    "server_account",
    "until_ended",
]
