"""All checkers of an audit, and what they have found in the buckets that they examined."""

from __future__ import annotations

from ._checker import Check, Checker, Context
from ._counters import AppliedTwice, Counters
from ._fenced import Fenced
from ._lags import Lags
from ._linearizable import Linearizable
from ._reads import MonotonicReads, StaleReads
from ._resurrection import NoResurrection
from ._row_histories import Bucket, LeftOut, RowMaker
from ._row_history import RowHistory
from ._sessions import MonotonicWrites, ReadYourWrites, WritesFollowReads
from ._split_brain import SplitBrain
from ._writes import Lost, Recovered, Unexpected

__all__ = ["CHECKERS", "Examination"]

CHECKERS: tuple[type[Checker], ...] = (
    Lost,
    Recovered,
    Unexpected,
    AppliedTwice,
    Counters,
    NoResurrection,
    Linearizable,
    StaleReads,
    MonotonicReads,
    ReadYourWrites,
    MonotonicWrites,
    WritesFollowReads,
)


class Examination:
    """Examines buckets, in any order. What several examinations have found can be merged, with the same result as that of one.

    It can be pickled, since other processes examine a share of the buckets.
    """

    def __init__(self, context: Context, rows: RowMaker) -> None:
        self._rows = rows
        used = [*CHECKERS, *((SplitBrain,) if context.two_primaries else ()), *((Fenced,) if context.former else ())]
        self._checkers: dict[str, Checker] = {checker.name: checker(context) for checker in used}
        self._crashed: dict[str, Check] = {}
        self._left_out = LeftOut()

    def examine(self, bucket: Bucket, file: int) -> None:
        """Examine a bucket, given the descriptor of the file. Raises what making its rows raises."""
        for row in self._rows.rows_in(bucket, file, self._left_out):
            self._check_row(row)

    def _check_row(self, row: RowHistory) -> None:
        for name, checker in self._checkers.items():
            if name not in self._crashed:
                try:
                    checker.check_row(row)
                except Exception as error:
                    self._crashed[name] = checker.crashed(error)

    @property
    def lags(self) -> Lags:
        """How far reads were behind."""
        (lags,) = (checker.lags for checker in self._checkers.values() if isinstance(checker, StaleReads))
        return lags

    def merge(self, other: Examination) -> None:
        """Take over what another one of the same run has found in other buckets."""
        for name, checker in self._checkers.items():
            checker.merge(other._checkers[name])
        self._crashed = other._crashed | self._crashed
        self._left_out.merge(other._left_out)

    def fail(self, error: Exception) -> None:
        """Some buckets were not examined: let no check be true."""
        self._crashed.update((name, checker.crashed(error)) for name, checker in self._checkers.items())

    def checks(self) -> dict[str, Check]:
        """The results. To be called once, at the end."""
        for checker in self._checkers.values():
            checker.add_left_out(self._left_out)
        return {name: self._crashed.get(name) or checker.result() for name, checker in self._checkers.items()}
