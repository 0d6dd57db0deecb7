"""The versions of MariaDB that the embedded server can answer as, and where they differ."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Version:
    """What differs between versions (measured).

    Attributes:
      collation: the collation of a utf8mb4 column that declares none.
      last_timestamp: the last second that a TIMESTAMP can hold, in UTC, as the number YYYYMMDDhhmmss.
    """

    name: str
    collation: str
    last_timestamp: int


VERSIONS = {
    version.name: version
    for version in (
        Version("10.11", "utf8mb4_general_ci", 20380119031407),
        Version("11.8", "utf8mb4_uca1400_ai_ci", 21060207062815),
    )
}
DEFAULT_VERSION = "10.11"
NEWEST_VERSION = "11.8"


def find_version(name: str) -> Version:
    """The version of this name. Raises ValueError for another one."""
    if name not in VERSIONS:
        raise ValueError(f"version={name!r}: the embedded server answers as one of {', '.join(map(repr, VERSIONS))}")
    return VERSIONS[name]
