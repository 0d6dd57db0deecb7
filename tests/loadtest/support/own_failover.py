"""A scenario on servers of the user's own, with commands and faults for them. Only tests that run nothing use it."""

from __future__ import annotations

OWN = """\
name: own
mix: {get: 1}
load: {duration: 200s}
cluster:
  kind: external
  servers:
    - {name: writer, host: db1, sql_port: 3306}
    - {name: reader-1, host: db2, sql_port: 3306}
  primary: {command: [./who-is-primary.sh], every: 500ms}
  commands:
    kill: {run: [ssh, "{host}", kill], heal: [ssh, "{host}", start], timeout: 5s}
    promote: {run: [./promote.sh, "{server}", "{primary}:{sql_port}"]}
faults:
  - {fault: kill, target: primary, at: 10s, for: 15s}
  - {fault: promote, target: reader-1, at: 12s}
  - {fault: command, name: drop the lease, run: [lease, drop], heal: [lease, take, "{primary}"], at: 40s, for: 10s}
  - {fault: command, name: flush, run: [flush], at: 60s}
  - {fault: external, at: 70s, for: 60s}
"""


def own(*changes: tuple[str, str]) -> str:
    """The scenario with texts replaced by others."""
    text = OWN
    for before, after in changes:
        assert before in text
        text = text.replace(before, after)
    return text
