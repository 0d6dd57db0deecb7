"""The rows of the drill's own table: an integer key, a group, a counter, and a payload that names its write."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hs_drill.scenario import VERSION_WIDTH, Scenario

from ._payloads import fillers, group_of
from ._readers import shown
from ._rows import As, Keys, Maker, Observer, RowState, Wrong
from ._versions import DAMAGED, NO_COUNT, UNNUMBERED, UNSEEN, first_insert_key, payload_of, version_of

if TYPE_CHECKING:
    import trio_hs

__all__ = ["DrillRows"]

COLUMNS = ("id", "grp", "n", "payload")


class DrillRows:
    """Rows of the table that a scenario has if it declares no columns. See `Rows`.

    Loaded rows have the filler of their number. Written payloads have the fillers in turn, whatever their row and version:
    makers of one object share the turn. A version other than `INITIAL` (0) says that a row is written, also without an audit.
    """

    columns: tuple[str, ...] = COLUMNS
    primary: tuple[str, ...] = ("id",)
    counters: tuple[str, ...] = ("n",)
    extras: tuple[str, ...] = ()
    plain = True
    columns_declared: trio_hs.Columns | None = None

    def __init__(self, scenario: Scenario) -> None:
        self._spec = scenario.table
        self._audited = scenario.audited
        self._fillers = fillers(scenario)
        self._payload = self._payloads()
        self.version_column: str | None = "payload" if scenario.audited else None
        self.columns_sql: Mapping[str, str] = {
            "id": "BIGINT NOT NULL",
            "grp": "INT NOT NULL",
            "n": "BIGINT NOT NULL DEFAULT 0",
            "payload": f"VARCHAR({max(self._spec.value_size.largest, 1)}) CHARACTER SET latin1 NOT NULL",
        }
        self.indexes: Mapping[str, Sequence[str]] = {"grp": ["grp", "id"]}
        self.foreign = self._foreign()
        self.no_marker = f"{self.foreign} OR id > 0"

    def _foreign(self) -> str:
        """By their keys, or by what is in `grp` or `payload`. A run's keys are those of loaded and inserted rows, and the
        negative one of the replication check's marker."""
        conditions = [
            f"id BETWEEN {self._spec.rows + 1} AND {first_insert_key(0, 0) - 1}",
            "id < 1 AND NOT (grp = 0 AND n = 0 AND payload = 'marker')",
            f"id > 0 AND grp <> id % {self._spec.groups}",
        ]
        if self._audited:  # `v`, 16 characters, a dot
            conditions.append(f"id > 0 AND payload NOT LIKE 'v{'_' * (VERSION_WIDTH - 2)}.%'")
        return " OR ".join(f"({one})" for one in conditions)

    # ---- what is written

    def key(self, number: int) -> tuple[int]:
        return (number,)

    def keys(self, as_: As | None = None) -> Keys:
        if as_ is None:
            return lambda number: [number]
        send = as_("id")
        return lambda number: [send(number)]

    def row(self, number: int, version: int) -> list[Any]:
        return [number, group_of(number, self._spec), 0, self._payload(number, version)]

    def _payloads(self) -> Callable[[int, int], str]:
        texts, groups, following = self._fillers, self._spec.groups, itertools.cycle(self._fillers).__next__
        most = len(texts)
        if not self._audited:
            return lambda number, version: following() if version else texts[number % most]

        def payload(number: int, version: int) -> str:
            return payload_of(version, number, number % groups, following() if version else texts[number % most])

        return payload

    def maker(self, columns: Sequence[str], as_: As | None = None) -> Maker:
        groups, payload = self._spec.groups, self._payload
        if as_ is None and tuple(columns) == COLUMNS:  # an insert
            return lambda number, version: [number, number % groups, 0, payload(number, version)]
        every: dict[str, Callable[[int, int], Any]] = {
            "id": lambda number, version: number,
            "grp": lambda number, version: number % groups,
            "n": lambda number, version: 0,
            "payload": payload,
        }
        makes = [_sent(every[name], as_(name)) if as_ else every[name] for name in columns]
        if len(makes) == 1:
            (only,) = makes
            return lambda number, version: [only(number, version)]
        return lambda number, version: [make(number, version) for make in makes]

    # ---- what is read

    def number(self, key: Sequence[Any]) -> int | None:
        try:
            (value,) = key
            return int(value)
        except (TypeError, ValueError):
            return None

    def observer(self, columns: Sequence[str]) -> Observer:
        at = {name: position for position, name in enumerate(columns)}
        key_at, group_at, n_at, payload_at = (at.get(name) for name in COLUMNS)
        groups = self._spec.groups

        def observe(number: int | None, values: Sequence[Any]) -> tuple[int, int, int]:
            # Check against the key that was asked for: another row in its place is not what was written there.
            try:
                if number is None:
                    if key_at is None:
                        return UNNUMBERED, UNSEEN, NO_COUNT
                    number = int(values[key_at])
                n = NO_COUNT if n_at is None else int(values[n_at])
                if payload_at is None:
                    return number, UNSEEN, n
                group = number % groups if group_at is None else int(values[group_at])
                return number, version_of(number, group, values[payload_at]), n
            except (TypeError, ValueError):  # not a number
                return UNNUMBERED if number is None else number, DAMAGED, NO_COUNT

        return observe

    def state(self, values: Sequence[Any]) -> RowState:
        number, group, n, payload = values
        number = int(number or 0)
        version = version_of(number, int(group or 0), payload)
        wrong = () if version != DAMAGED else (Wrong("payload", shown(payload), "a payload with the checksum of its row"),)
        return RowState(number, version, (int(n or 0),), (), wrong, None if version < 0 else version)

    def fingerprint(self, column: str, number: int, version: int) -> int:
        raise KeyError(f"no operation alone sets {column}")

    def marker(self) -> list[Any]:
        return [-1 - secrets.randbelow(2**62), 0, 0, "marker"]


def _sent(make: Callable[[int, int], Any], send: Callable[[Any], Any]) -> Callable[[int, int], Any]:
    return lambda number, version: send(make(number, version))
