"""Everything that a run's histories and final state say about one row."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import NamedTuple

from hs_drill.store import NO_COUNT, Operation, Outcome, WrongRow
from hs_drill.workload import ABSENT, DAMAGED

from ._counter_history import CounterHistory, MiscountedRead
from ._register import ENDLESS, Read, Register, Write
from ._session_order import SessionOrder, session_order
from ._table import AuditedTable

__all__ = ["RowCounter", "RowExtra", "RowHistory"]


class RowCounter:
    """One counter of a row. `ends` are the least and the greatest number that its type holds, if that is known."""

    def __init__(self, column: str, ends: tuple[int, int] | None = None) -> None:
        self.column = column
        self._ends = ends
        self.base: int | None = 0
        """What it was before the first step; None when a delete or a second insert makes that uncertain."""
        self.usual: tuple[int, ...] = ()
        """What it may have been before the first step."""
        self.final: int | None = None
        """What it is at the end, if there is a final state and the row is there."""
        self.step_times = array("q")
        """Amount, start and end of every step, in 24 bytes. The amount of a decrement is negative, the end of a step of unknown
        outcome is `ENDLESS`."""
        self.last_step = 0
        """When the last step ended, or its user gave it up."""
        self._steps: tuple[Counter[int], Counter[int]] | None = None
        self._history: CounterHistory | None = None

    @property
    def steps(self) -> Counter[int]:
        """Acknowledged steps: amount -> how many. Not one by one, because all steps of a run may fall on one row."""
        return self._summed_up[0]

    @property
    def unknown_steps(self) -> Counter[int]:
        """The same for steps of unknown outcome."""
        return self._summed_up[1]

    @property
    def _summed_up(self) -> tuple[Counter[int], Counter[int]]:
        if not self.step_times:
            return _NO_STEPS
        if self._steps is None:
            ends = Counter(zip(self.step_times[::3], map(ENDLESS.__eq__, self.step_times[2::3]), strict=True))
            self._steps = Counter(), Counter()
            for (amount, unknown), count in ends.items():
                self._steps[unknown][amount] = count
        return self._steps

    def is_clipped(self, least: int, most: int) -> bool:
        """Whether its steps, which lead to between `least` and `most`, went beyond its type: the server stays at the end."""
        return self._ends is not None and (least > self._ends[1] or most < self._ends[0])

    @property
    def history(self) -> CounterHistory | None:
        """None when `base` is."""
        if self._history is None and self.base is not None:
            fields = iter(self.step_times)
            steps = zip(fields, fields, fields, strict=True)
            self._history = CounterHistory(self.base, steps) if self.step_times else _unchanged(self.base)
        return self._history


@lru_cache(1000)
def _unchanged(base: int) -> CounterHistory:
    """The history of most counters."""
    return CounterHistory(base, ())


_NO_STEPS: tuple[Counter[int], Counter[int]] = (Counter(), Counter())


class RowExtra(NamedTuple):
    """A column of a row that some updates set and others do not. Its states are fingerprints of its values."""

    column: str
    register: Register
    final: int
    """Its state at the end."""
    written: list[tuple[Write, Write]]
    """The row's writes that set it, each as a write of the row and as one of the column."""

    @property
    def lost(self) -> list[Write]:
        """The acknowledged writes of the row that certainly came after the value at the end was written."""
        lost = set(self.register.successors(self.final))
        return [of_row for of_row, of_column in self.written if of_column in lost]


def _version(row: tuple[int, ...] | None, wrong: WrongRow | None) -> int:
    if row is None:
        return ABSENT
    return row[0] if wrong is None or wrong.shown is None else wrong.shown


@dataclass
class RowHistory:
    """Everything about one row. The operations of each worker are in the order of their ends."""

    key: int
    table: AuditedTable
    counters: list[RowCounter]
    before: tuple[int, ...] | None
    """(version, counters, extras) before the run; None when there was no row."""
    final: tuple[int, ...] | None
    """The same at the end, if there is a final state; None when there was no row."""
    wrong_before: WrongRow | None = None
    """What was wrong with it before the run, if that was kept."""
    wrong: WrongRow | None = None
    """What is wrong with it at the end, if that was kept."""
    writes: list[Write] = field(default_factory=list)
    reads: list[Read] = field(default_factory=list)

    @cached_property
    def register(self) -> Register:
        return Register(_version(self.before, self.wrong_before), self.writes)

    def acknowledged(self) -> Iterator[tuple[int, int, Write | str]]:
        """Start and end of every acknowledged write, and what it was: of steps in words."""
        for write in self.register.acknowledged:
            yield write.start, write.end, write
        for counter in self.counters:
            fields = iter(counter.step_times)
            for step, start, end in zip(fields, fields, fields, strict=True):
                if end != ENDLESS:
                    yield start, end, f"{'an increment' if step > 0 else 'a decrement'} of {counter.column}"

    @cached_property
    def reads_in_order(self) -> list[Read]:
        """By their starts."""
        return sorted(self.reads)

    @cached_property
    def sessions(self) -> SessionOrder | None:
        """See `session_order`."""
        return session_order(self.register, self.reads_in_order if len(self.reads) > 1 else self.reads)

    @property
    def final_state(self) -> int:
        return self.final[0] if self.final else ABSENT

    @property
    def final_version(self) -> int:
        """`final_state`, or the version that a damaged row names all the same."""
        return _version(self.final, self.wrong)

    def was_damaged(self, columns: Iterable[str]) -> bool:
        """Whether these columns were wrong before the run, as far as that was kept."""
        if self.before is None or self.before[0] > DAMAGED:
            return False
        return self.wrong_before is None or {column for column, *_ in self.wrong_before.columns}.issuperset(columns)

    def set_counters(self) -> None:
        """Note what each counter was before and is at the end. To be called once, after the last write was added."""
        initial, before, final = self.table.initial(self.key), self.before, self._known_final
        certain = self._counted_from_the_start()
        for place, counter in enumerate(self.counters):
            counter.final = None if final is None else final[1 + place]
            first = initial[place] if before is None else before[1 + place]
            counter.base = first if certain else None
            counter.usual = (first,) if certain else (initial[place], first)

    def _counted_from_the_start(self) -> bool:
        """Whether no delete and no second insert makes it uncertain what the counters began with."""
        inserts, failed, insert = 0, Outcome.FAIL, Operation.INSERT
        for write in self.writes:
            if write.outcome is not failed:
                if write.state == ABSENT:
                    return False
                inserts += write.operation.do is insert
        return inserts <= (0 if self.before else 1)

    @property
    def _known_final(self) -> tuple[int, ...] | None:
        """What it holds at the end, unless nobody ever wrote the row: then that is the fault, and not what it holds."""
        return self.final if self.before is not None or self.writes else None

    @cached_property
    def extras(self) -> list[RowExtra]:
        """The extras of a row that is there at the end."""
        final = self._known_final
        if final is None:
            return []
        first = 1 + len(self.counters)
        return [self._extra(column, first + place, final) for place, column in enumerate(self.table.extras)]

    def _extra(self, column: str, place: int, final: Sequence[int]) -> RowExtra:
        written = [(write, write._replace(state=self._left_in(column, write))) for write in self.writes if write.sets(column)]
        before = self.before[place] if self.before else ABSENT
        return RowExtra(column, Register(before, [of_column for _, of_column in written]), final[place], written)

    def _left_in(self, column: str, write: Write) -> int:
        return ABSENT if write.state == ABSENT else self.table.fingerprint(column, self.key, write.state)

    @cached_property
    def miscounted_reads(self) -> list[tuple[RowCounter, MiscountedRead]]:
        """The reads that saw a counter which the primary cannot have held then, in the order of `reads`."""
        if not self.reads:
            return []
        found, histories = [], [counter.history for counter in self.counters]
        for read in self.reads:
            if read.n != NO_COUNT and (history := histories[read.counter]) is not None:
                seen, counter = history.check(read), self.counters[read.counter]
                if seen is not None and not counter.is_clipped(seen.low, seen.high):
                    found.append((counter, seen))
        return found
