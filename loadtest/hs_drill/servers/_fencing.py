"""What looks saw of each former primary after the promotion that replaced it. Pure.

A look is one moment, so what happened between two of them is not known. A server that is set up to replicate and takes writes
all the same is open, too: clients that still know it may write there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from ._control import Promotion
from ._primacy import Look

__all__ = ["Fencing", "FormerPrimary"]


@dataclass(frozen=True)
class FormerPrimary:
    """What was seen of a server after another one took its place, until it was promoted again. Times by the looks' clock."""

    server: str
    promoted: str
    """The server that took its place."""
    open: Sequence[tuple[float, float]]
    """Between which looks, one after the other, it took writes."""
    closed: Sequence[tuple[float, float]]
    """The same for looks at which it took none."""
    known: bool
    """Whether the last look said which of both it was."""


class _State(Enum):
    OPEN = "open"
    CLOSED = "closed"
    """It is read-only, or refuses connections."""
    SILENT = "silent"


@dataclass
class _Span:
    """Looks at one server, one after the other, that saw the same."""

    state: _State
    first: float
    """When the first one was answered."""
    asked: float
    """When the last one was asked."""
    last: float
    """When the last one was answered."""


class Fencing:
    """Follows all servers through one run's looks."""

    def __init__(self) -> None:
        self._spans: dict[str, list[_Span]] = {}

    def see(self, name: str, look: Look) -> None:
        """A look at a server. Looks at one server come in their order."""
        spans, state = self._spans.setdefault(name, []), _state(look)
        if spans and look.asked < spans[-1].asked:
            return  # a slow answer to an earlier question
        if spans and spans[-1].state is state:
            spans[-1].asked, spans[-1].last = look.asked, look.answered
        else:
            spans.append(_Span(state, look.answered, look.asked, look.answered))

    def former(self, first: str, promotions: Iterable[Promotion]) -> Iterator[FormerPrimary]:
        """What became of each former primary. `first`: the primary when the run began."""
        old, given = first, list(promotions)
        for number, promotion in enumerate(given):
            until = next((one.otherwise for one in given[number + 1 :] if one.server == old), None)
            if old != promotion.server:
                yield self._after(old, promotion, until)
            old = promotion.server

    def _after(self, old: str, promotion: Promotion, until: float | None) -> FormerPrimary:
        found: dict[_State, list[tuple[float, float]]] = {state: [] for state in _State}
        ended = _State.SILENT
        for span in self._spans.get(old, ()):
            # An answer to a question from before the promotion may be from before it.
            if span.asked < promotion.seen or (until is not None and span.first > until):
                continue
            ended = span.state
            since = max(span.first, promotion.seen)
            found[span.state].append((since, max(since, span.last if until is None else min(span.last, until))))
        return FormerPrimary(
            old,
            promotion.server,
            tuple(found[_State.OPEN]),
            tuple(found[_State.CLOSED]),
            known=ended is not _State.SILENT,
        )


def _state(look: Look) -> _State:
    if look.replication is not None:
        return _State.OPEN if look.replication.takes_writes else _State.CLOSED
    return _State.CLOSED if look.down else _State.SILENT
