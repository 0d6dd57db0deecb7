"""Decides whether a small history of one row is linearizable by trying every order: slow, and simple enough to be trusted."""

from __future__ import annotations

from collections.abc import Sequence

from hs_drill.audit._register import Read, Write
from hs_drill.store import Outcome

__all__ = ["some_order_explains"]


def some_order_explains(before: int, writes: Sequence[Write], reads: Sequence[Read]) -> bool:
    """Whether the operations could have happened one after the other. A write of unknown outcome may be left out; one that
    failed did not happen."""
    happened = [write for write in writes if write.outcome is not Outcome.FAIL]
    return _continue(before, [*happened, *reads])


def _continue(state: int, left: Sequence[Write | Read]) -> bool:
    """Whether the operations that are left can go on from this state."""
    if all(isinstance(one, Write) and one.outcome is Outcome.INFO for one in left):
        return True
    for one in left:
        # Nothing may be put before an operation that had ended when it began.
        if any(other.end < one.start for other in left):
            continue
        if isinstance(one, Read) and one.state != state:
            continue
        if _continue(one.state, [other for other in left if other is not one]):
            return True
    return False
