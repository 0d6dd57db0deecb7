"""A scenario with `driver: sql` and every operation, and what its client needs to know of the table."""

from __future__ import annotations

from hs_drill.engine._sql_statements import Layout
from hs_drill.scenario import Scenario, parse_scenario

SCENARIO = """\
name: by-sql
cluster: {kind: mariadb, readers: 1}
driver: sql
table: {rows: 50, groups: 5, value_size: 30}
load: {users: 8, duration: 2s, think_time: 20ms}
mix:
  get: 40
  find: {weight: 10, limit: 7}
  get_many: {weight: 10, count: 4}
  insert: 10
  incr: {weight: 10, step: 2}
  decr: {weight: 10, step: 3}
  update: 10
  delete: 5
audit: {reads: 1}
expect: {errors: 0, lost: 0, applied_twice: 0, replicas_agree: true}
"""

LAYOUT = Layout(["id"], {"grp": ["grp", "id"]})


def scenario() -> Scenario:
    return parse_scenario(SCENARIO, "s.yaml")
