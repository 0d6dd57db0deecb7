"""Retries: which failed attempts are followed by another one, and when."""

from __future__ import annotations

import math
import random
from collections.abc import Collection, Iterable
from dataclasses import dataclass

import trio

from .._network import Patience, Pool, Request, turned_away
from .._protocol import shown
from ..exceptions import ConnectionError

#: Some requests kill the server (docs/server.md). A request is not sent again after this many connections died under it.
MAX_DEATHS = 2

#: The writes that a policy may allow to be repeated. Not an increment: applied twice, it stays wrong. Not insert_many: its
#: caller repeats it by the outcome of each row.
REPEATABLE_WRITES = frozenset(("insert", "update", "delete"))


@dataclass(frozen=True)
class RetryPolicy:
    """How long a Manager goes on when servers fail.

    Reads are repeated, on another server where there is one. A write is repeated only if it provably did not reach a server.
    The first repetition is immediate when another server is usable. The others wait ``backoff`` seconds, doubling up to
    ``max_backoff``, each wait shortened at random by up to a half. An operation is not tried again after two connections died
    under it, whatever the policy says: some requests kill the server. Without a ``deadline`` an operation waits for a usable
    server for the servers' timeout plus 0.25 s, over all its attempts.

    Attributes:
      attempts: how often an operation is tried, the first time included. Above 1, an attempt does not count if the server had
        closed the connection before anything was sent: servers close idle connections, all of them at once.
      backoff: seconds before a repetition.
      max_backoff: the longest of these waits, in seconds.
      deadline: seconds after which an operation is not tried again, whatever attempts are left. It replaces the bound on
        waiting for a usable server. It does not cut an attempt short; ``trio.fail_after`` does.
      hedge_after: seconds after which a read without an answer is also sent to another server; the first answer wins. None
        turns this off. Set it above the usual latency, because every read that is slower is sent twice.
      repeat_writes: the operations that are repeated although they may have been applied: any of ``insert``, ``update``
        and ``delete``. You accept that the first attempt may be applied late, after the second one and after what others
        wrote since, and that a ``delete`` counts only what the last attempt deleted. With ``return_original`` nothing is
        repeated. When an attempt is refused after one whose outcome is unknown (a repeated ``insert`` finds the key taken,
        perhaps by itself), the ConnectionError of the unknown one is raised, from the refusal.
    """

    attempts: int = 5
    backoff: float = 0.05
    max_backoff: float = 1.0
    deadline: float | None = None
    hedge_after: float | None = None
    repeat_writes: Collection[str] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.attempts, int):
            raise TypeError(f"attempts must be an int, not {self.attempts!r}")
        for name, or_none in (("backoff", ""), ("max_backoff", ""), ("deadline", " or None"), ("hedge_after", " or None")):
            seconds = getattr(self, name)
            if seconds is None and or_none:
                continue
            if not isinstance(seconds, int | float):
                raise TypeError(f"{name} must be a number of seconds{or_none}, not {seconds!r}")
            try:
                if not math.isnan(float(seconds)):
                    continue
            except OverflowError:  # an int that is no time
                pass
            raise ValueError(f"{name} must be a number of seconds{or_none}, not {shown(seconds)}")
        if self.attempts < 1:
            raise ValueError(f"attempts must be at least 1, not {shown(self.attempts)}")
        if self.backoff < 0 or self.max_backoff < self.backoff:
            raise ValueError("backoff must not be negative, and max_backoff not less than backoff")
        if self.hedge_after is not None and not self.hedge_after > 0:
            raise ValueError(f"hedge_after must be a positive number of seconds, or None, not {self.hedge_after!r}")
        if isinstance(self.repeat_writes, str) or not isinstance(self.repeat_writes, Iterable):
            raise TypeError(f"repeat_writes must be a collection of names of operations, not {self.repeat_writes!r}")
        repeat_writes = tuple(self.repeat_writes)  # a copy, so that what was checked cannot change
        for name in repeat_writes:
            if not isinstance(name, str) or name not in REPEATABLE_WRITES:
                raise ValueError(f"repeat_writes may hold {' '.join(sorted(REPEATABLE_WRITES))}, not {name!r}")
        object.__setattr__(self, "repeat_writes", repeat_writes)

    def pause(self, attempt: int) -> float:
        """Seconds to wait after the given failed attempt (1 is the first)."""
        if not isinstance(attempt, int):
            raise TypeError(f"attempt must be an int, 1 for the first, not {attempt!r}")
        return float(min(self.backoff * 2 ** min(attempt - 1, 30), self.max_backoff)) * (1 - random.random() / 2)


def policy_of(retry: RetryPolicy | None) -> RetryPolicy:
    """What ``open_manager(retry=)`` means. Raises TypeError for what is no policy."""
    if retry is not None and not isinstance(retry, RetryPolicy):
        raise TypeError(f"retry must be a trio_hs.RetryPolicy or None, not {retry!r}")
    return retry or RetryPolicy()


class Attempts:
    """The failed attempts of one operation, and whether another one may follow.

    Attributes:
      number: the current attempt; 1 is the first.
      doubt: the error of the last attempt that may have been executed, or None.
    """

    def __init__(self, policy: RetryPolicy, pool: Pool, started: float) -> None:
        self.number = 1
        self.doubt: ConnectionError | None = None
        self._policy = policy
        self._pool = pool
        self._give_up_at = math.inf if policy.deadline is None else started + policy.deadline
        self._deaths = 0
        self._hang_ups = 0
        self._spared = False

    def pause_after_refusal(self, request: Request | None, patience: Patience, *, changes: bool) -> float | None:
        """Seconds to wait before the next attempt when a server refused the operation; None if that is final.

        Two refusals are not final. That of a server that takes no requests now, perhaps because it is shutting down: another
        server may take them, or this one a moment later. And that of a secret which rotates (``request`` is None then): server
        and secret do not change at the same moment.
        """
        self._spared = False
        if self.number >= self._policy.attempts:
            return None
        if request is None:
            pause = self._policy.pause(self.number)
            late = patience.exhausted or trio.current_time() + pause > self._give_up_at
            return pause if self._pool.secrets_rotate and not late else None
        if not turned_away(request, changes=changes):
            return None
        elsewhere = self._pool.refused(request)
        pause = 0.0 if elsewhere else self._policy.pause(self.number)
        if (changes and not elsewhere) or trio.current_time() + pause > self._give_up_at:
            return None
        return pause

    def pause_after_failure(
        self, request: Request | None, error: ConnectionError, patience: Patience, *, repeat: bool, partial: bool
    ) -> float | None:
        """Seconds to wait before the next attempt when no answer came; None if there is to be none.

        ``request`` is None when no server was usable. ``repeat`` and ``partial`` are those of ``Dispatcher._perform``.
        """
        policy = self._policy
        self._deaths += 0 if request is None else request.deaths
        if error.maybe_applied:
            self.doubt = error
        pause = 0.0 if self.number == 1 and self._pool.choose() is not None else policy.pause(self.number)
        late = trio.current_time() + pause > self._give_up_at
        # Some of several lines may have been answered, and the rest never sent. That leaves no doubt, but must not be repeated.
        begun = partial and request is not None and request.sent_lines > 0
        unsafe = self._deaths >= MAX_DEATHS or begun or (self.doubt is not None and not repeat)
        # Servers close idle connections, all of them at once. A request that found its connection closed does not count.
        self._spared = request is not None and request.hung_up and self._hang_ups < self._pool.size and policy.attempts > 1
        out_of_attempts = self.number >= policy.attempts and not self._spared
        if unsafe or late or patience.exhausted or self._pool.closed or out_of_attempts:
            return None
        return pause

    def begin_next(self) -> None:
        """Counts the next attempt. The last one does not count if it only found its connection closed."""
        self._hang_ups += self._spared
        self.number += not self._spared
