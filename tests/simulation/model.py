"""The values that the servers may hold, according to the outcomes that callers got. Judges every answer, and the final rows.

An outcome is *done* (acknowledged), *failed* (provably not applied) or *in doubt*. A write in doubt may be applied late, after
later writes that were acknowledged.
"""

from __future__ import annotations

from collections.abc import Iterable

from .topology import GROUPS, STRIDE


class Row:
    """One row of ``items``. One task at a time writes it, any task reads it. The value None means that there is no row."""

    def __init__(self, key: int) -> None:
        self.key = key
        self.version = 0
        self.possible: set[str | None] = {None}  # on the primary
        self._late: set[str | None] = set()
        self._ever: set[str] = set()  # all values that a replica may show, however far behind it is
        self._seen: set[str] = set()

    def next_value(self) -> str:
        """A value for a write that begins now. From now on a read may return it."""
        self.version += 1
        value = f"{self.key}.{self.version}"
        self._ever.add(value)
        return value

    def done(self, value: str | None, *, repeated: bool = False) -> None:
        if repeated:
            self._late.add(value)
        self.possible = {value, *self._late}

    def doubted(self, value: str | None) -> None:
        self._late.add(value)
        self.possible.add(value)

    def failed(self, value: str | None) -> bool:
        """The write had no effect. Returns False if a read has returned its value."""
        if value is None:
            return True
        self._ever.discard(value)
        return value not in self._seen

    def lost(self) -> None:
        """Acknowledged writes may be lost: any earlier value may be back."""
        self._late |= {None, *self._ever}
        self.possible |= self._late

    def see(self, value: str) -> bool:
        """A read returned the value. Returns False if no write can have left it."""
        self._seen.add(value)
        return value in self._ever


class Counter:
    """One row of ``counters``, which any task changes at any time. It is always there."""

    def __init__(self, key: int) -> None:
        self.key = key
        self.start = key * STRIDE + STRIDE // 2
        self._sure = {1: 0, -1: 0}  # acknowledged, by sign
        self._unsure = {1: 0, -1: 0}  # under way or in doubt

    def begin(self, delta: int) -> None:
        self._unsure[1 if delta > 0 else -1] += delta

    def done(self, delta: int) -> None:
        self.failed(delta)
        self._sure[1 if delta > 0 else -1] += delta

    def failed(self, delta: int) -> None:
        self._unsure[1 if delta > 0 else -1] -= delta

    def lost(self) -> None:
        for sign in (1, -1):
            self._unsure[sign] += self._sure[sign]
            self._sure[sign] = 0

    def bounds(self) -> tuple[int, int]:
        """The lowest and the highest value that the primary may hold."""
        sure = self.start + self._sure[1] + self._sure[-1]
        return sure + self._unsure[-1], sure + self._unsure[1]

    def may_be_read(self, value: int) -> bool:
        """Whether a replica may show it, however far behind it is."""
        low = self.start + self._sure[-1] + self._unsure[-1]
        high = self.start + self._sure[1] + self._unsure[1]
        return low <= value <= high


class Model:
    """All rows, and what went wrong.

    Attributes:
      violations: of the invariants, in the order found.
      losses: how often acknowledged writes may have been lost, as far as the topology allows it.
    """

    def __init__(self, counters: int) -> None:
        self.rows: dict[int, Row] = {}
        self.counters = {key: Counter(key) for key in range(1, counters + 1)}
        self.violations: list[str] = []
        self.losses = 0

    def violated(self, what: str) -> None:
        self.violations.append(what)

    def new_row(self, key: int) -> Row:
        row = self.rows[key] = Row(key)
        return row

    def lose(self) -> None:
        """A disk or a primary is gone, with writes that no replica had."""
        self.losses += 1
        for row in self.rows.values():
            row.lost()
        for counter in self.counters.values():
            counter.lost()

    def check_read(self, key: int, row: Iterable[tuple[str, object]]) -> None:
        """Judges a row that a read of ``key`` gave: is it that row, and did any write leave this value?"""
        for field, value in row:
            if field == "id":
                right = str(value) == str(key)
            elif field == "grp":
                right = str(value) == str(key % GROUPS)
            elif field == "v":
                right = isinstance(value, str) and key in self.rows and self.rows[key].see(value)
            else:
                right = key in self.counters and self.counters[key].may_be_read(int(str(value)))
            if not right:
                self.violated(f"a read of row {key} gave {field}={value!r}")
