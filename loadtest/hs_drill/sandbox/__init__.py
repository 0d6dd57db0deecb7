"""What a run owns on this machine: a directory, processes, ports, containers. A guardian removes it, however the run ends.

And a healer: it heals servers of the user's own if the run is killed."""

from __future__ import annotations

from ._container_engine import ContainerEngine, error_text, open_container_engine
from ._guardian import RUN_LABEL
from ._healer import MARK_VARIABLE
from ._healing import Healer, open_healer
from ._image import has_image, provide_image
from ._leftovers import OWNER_LABEL, owner, remove_leftovers
from ._sandbox import (
    HOST,
    Sandbox,
    check_memory,
    check_temporary_directory,
    open_sandbox,
    remove_leftover_directories,
    server_account,
    until_ended,
)

__all__ = [
    "HOST",
    "MARK_VARIABLE",
    "OWNER_LABEL",
    "RUN_LABEL",
    "ContainerEngine",
    "Healer",
    "Sandbox",
    "check_memory",
    "check_temporary_directory",
    "error_text",
    "has_image",
    "open_container_engine",
    "open_healer",
    "open_sandbox",
    "owner",
    "provide_image",
    "remove_leftover_directories",
    "remove_leftovers",
    "server_account",
    "until_ended",
]
