"""Who is the primary of the user's own servers, as far as looks at each of them show it. Pure.

1. A look says what one server was at one moment between `asked` and `answered`. Looks at several servers come in any order.
2. A server that was read-only, and now takes writes and replicates from nobody, was promoted in between, whichever of the two
   changed first. Of two, the one that was promoted later is the primary.
3. A replica that took writes all along and replicates from nobody any more may have been detached only. It counts as promoted
   if that came after the former primary took no writes any more or was down, or if another server replicates from it now.
4. A server that has been the primary before, and is the only one that takes writes, is the primary again.
5. Every other change may be a sign of a promotion that nobody sees. It waits for its explanation, which a promotion script
   gives within a second. If it ends unexplained, the run is inconclusive for good.
6. Two servers take writes at once only between moments at which both certainly did.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto

from ._control import Promotion
from ._promotions import Replication, change
from ._semisync import SemisyncLook

__all__ = ["Look", "Primacy", "Role", "TwoPrimaries"]


GAP_SECONDS = 2.0
"""Between two looks that are further apart a server may have been something else."""


class Role(Enum):
    """What a server is at one moment."""

    PRIMARY = auto()
    """It takes writes, and is set up to replicate from nobody."""
    REPLICA = auto()
    """It is set up to replicate. If it takes writes all the same, it fetches and applies, as far as that is known."""
    READ_ONLY = auto()
    """Neither."""
    UNCLEAR = auto()
    """It takes writes, and is set up to replicate, and does not."""
    DOWN = auto()
    """It refuses connections."""
    UNKNOWN = auto()
    """It is silent, or cannot be asked."""


@dataclass(frozen=True)
class Look:
    """What one server said, or that it said nothing."""

    asked: float
    answered: float
    replication: Replication | None = None
    trouble: str = ""
    """Why it said nothing, in words."""
    down: bool = False
    semisync: SemisyncLook | None = None
    """What it said about its semi-synchronous replication; None if it was not asked, or has none."""

    @property
    def role(self) -> Role:
        """What the server was at some moment between `asked` and `answered`."""
        now = self.replication
        if now is None:
            return Role.DOWN if self.down else Role.UNKNOWN
        if not now.sources:
            return Role.PRIMARY if now.takes_writes else Role.READ_ONLY
        return Role.UNCLEAR if now.takes_writes and not now.follows else Role.REPLICA


@dataclass(frozen=True)
class TwoPrimaries:
    """Both servers took writes from `since` until `until`, by the looks' clock. None: they still do."""

    old: str
    new: str
    since: float
    until: float | None


@dataclass
class _Known:
    """What is known of one server."""

    before: Replication | None
    """As the run began; None if it could not be asked then."""
    otherwise: float
    """When it was last seen to be no primary, or the run began."""
    server_id: int
    was_read_only: bool
    """Whether it has been read-only since it was last the primary, or the run began. A promotion may open a replica first, and
    detach it a while later."""
    last: Look | None = None
    role: Role = Role.UNKNOWN
    """The last one that is known: not UNKNOWN, nor DOWN."""
    span: tuple[float, float] | None = None
    """From when to when it is certain that it took writes: after its first answer as a primary, before its last one."""
    demoted: float = 0.0
    """When it was first seen not to be the primary, since it was that last."""
    was_primary_at: float = 0.0
    """When it was last seen to be the primary."""
    odd: str = ""
    """A sign that waits for its explanation."""

    @property
    def seen_twice(self) -> bool:
        """Whether two looks in a row saw that it took writes and replicated from nobody."""
        return self.span is not None and self.span[0] <= self.span[1]


@dataclass
class _Both:
    """Two servers that take writes at once."""

    since: float
    until: float


@dataclass
class Primacy:
    """Follows who is the primary through one run's looks.

    Args:
      primary: the name of the server that is the primary when the run begins.
      before: how each server replicated then, also the primary; None if it could not be asked.
      begun: when it was certain that no other server was the primary, by the looks' clock.
      addresses: `host:port` of each server's SQL, as a replica may name its source.
      owner_says: the owner's command says who is the primary (`told`), so looks do not decide.
    """

    primary: str
    before: Mapping[str, Replication | None]
    begun: float
    addresses: Mapping[str, str] = field(default_factory=dict)
    owner_says: bool = False

    def __post_init__(self) -> None:
        self.promotions: list[Promotion] = []
        self.doubt = ""
        """Why it will never be known who was the primary during this run; the first reason."""
        self.finished: list[TwoPrimaries] = []
        """Those that are over; whoever reports them takes them out."""
        self._ever = {self.primary}
        self._opened: set[str] = set()
        """Those that looks saw become open for writes, where it is the owner's command that names the primary."""
        first = self.before[self.primary]
        self._origins = {first.server_id} if first else set[int]()
        self._both: dict[frozenset[str], _Both] = {}
        self._known = {
            name: _Known(
                before,
                self.begun,
                before.server_id if before else 0,
                before is not None and not before.takes_writes,
                role=Look(self.begun, self.begun, before).role if before else Role.UNKNOWN,
            )
            for name, before in self.before.items()
        }

    # ---- what is seen

    def see(self, name: str, look: Look) -> None:
        """A look at a server. Looks at one server come in their order."""
        known = self._known[name]
        if known.last is not None and look.asked < known.last.asked:
            return  # a slow answer to an earlier question
        now = look.replication
        if now is not None and (elsewhere := self._elsewhere(name, known, now, look.role)):
            self._doubt(f"{name} {elsewhere}", look)
            look = Look(look.asked, look.answered, None, f"{name} {elsewhere}")
            now = None
        known.last = look
        if look.role is not Role.PRIMARY:
            self._end_span(name)
        if now is not None:
            was, known.role = known.role, look.role
            if look.role is Role.PRIMARY:
                self._take_as_primary(name, known, was, look)
            elif look.role is not Role.UNCLEAR:
                known.otherwise = look.asked
            if look.role is not Role.PRIMARY and (was is Role.PRIMARY or not known.demoted):
                known.demoted = look.answered
            if look.role is Role.PRIMARY or not now.takes_writes:
                known.was_read_only = not now.takes_writes
        if not self.owner_says:
            self._settle()
        if now is not None:
            self._explain(name, known, now, look)

    def told(self, name: str, answered: float, otherwise: float) -> None:
        """The owner's command has named the primary. `otherwise`: when the command was last asked and named another one."""
        if name != self.primary:
            self._promote(name, answered, otherwise)

    def doubt_for_good(self, reason: str) -> None:
        """It will not be known who was the primary."""
        self.doubt = self.doubt or reason

    def _doubt(self, reason: str, look: Look) -> None:
        self.doubt_for_good(f"{reason} (seen {max(0.0, look.answered - self.begun):.0f} s after the load began)")

    def _elsewhere(self, name: str, known: _Known, now: Replication, role: Role) -> str:
        """That another server answers at its address, in words; "" if not."""
        before, known_ids = known.server_id, {other: one.server_id for other, one in self._known.items() if other != name}
        if not before or now.server_id == before:
            known.server_id = now.server_id
            return ""
        if same := [other for other, server_id in known_ids.items() if server_id == now.server_id]:
            return f"answers as {same[0]} now (server id {now.server_id}, and {before} before): its address leads there"
        if role is Role.PRIMARY:
            return f"takes writes and answers with the server id {now.server_id}, and with {before} before"
        known.server_id = now.server_id  # rebuilt, or another replica in its place
        return ""

    # ---- who is the primary

    def _take_as_primary(self, name: str, known: _Known, was: Role, look: Look) -> None:
        known.was_primary_at = look.asked
        known.demoted = 0.0
        if known.span is not None and look.asked - known.span[1] > GAP_SECONDS:
            self._end_span(name)
        known.span = (look.answered if known.span is None else known.span[0], look.asked)
        another = known.server_id != self._known[self.primary].server_id or not known.server_id  # one server may have two names
        if was not in (Role.PRIMARY, Role.UNKNOWN) and known.was_read_only and another:
            if self.owner_says:
                self._opened.add(name)
            else:
                self._promote(name, look.answered, known.otherwise)
        self._count_both(name)

    def _promote(self, name: str, seen: float, otherwise: float) -> None:
        last = self.promotions[-1] if self.promotions else None
        if last and last.server != name and last.seen > otherwise and self.role(last.server) is Role.PRIMARY:
            self.doubt_for_good(f"{last.server} and {name} were both promoted, and it is not known which of them was later")
        self.promotions.append(Promotion(name, seen, otherwise))
        self.primary = name
        self._ever.add(name)
        self._origins.add(self._known[name].server_id)
        self._count_both(name)

    def _settle(self) -> None:
        """The primary is none any more: another one that takes writes may be it now."""
        primary = self._known[self.primary]
        down = self.role(self.primary) is Role.DOWN
        demoted = primary.demoted if primary.role in (Role.REPLICA, Role.READ_ONLY) else 0.0
        others = {name: one for name, one in self._known.items() if name != self.primary and self.role(name) is Role.PRIMARY}
        for name, one in others.items():
            assert one.last is not None
            if name in self._ever:
                # It was the primary before. The one that replaced it may be dead only for a moment, and be it still.
                if demoted and one.last.asked >= demoted and len(others) == 1:
                    self._promote(name, one.last.answered, max(primary.was_primary_at, one.otherwise))
                    return
            elif one.before is not None and (
                self._followed(one) or ((down or demoted) and one.otherwise >= primary.was_primary_at and one.seen_twice)
            ):
                # It took writes before, and was not only detached: that came after the end of the former primary. Nor is it
                # only between two sources: it was seen twice.
                self._promote(name, one.last.answered, one.otherwise)
                return

    def _followed(self, one: _Known) -> bool:
        """Whether another server replicates from it now, and did not when the run began."""

        def ids(replication: Replication | None) -> set[int]:
            return {source.server_id for source in replication.sources.values()} if replication else set()

        return any(
            one.server_id in ids(other.last.replication) - ids(other.before) - {0}
            for other in self._known.values()
            if other is not one and other.last is not None
        )

    def role(self, name: str) -> Role:
        """What a server is by the last look at it."""
        last = self._known[name].last
        return Role.UNKNOWN if last is None else last.role

    # ---- two primaries

    def _count_both(self, name: str) -> None:
        """Only servers that have been the primary count: a replica that was only detached is none."""
        one = self._known[name]
        for other, known in self._known.items():
            if other == name or not {name, other} <= self._ever | self._opened or one.server_id == known.server_id:
                continue
            if one.span is None or known.span is None:
                continue
            since, until = max(one.span[0], known.span[0]), min(one.span[1], known.span[1])
            if since <= until:
                self._both[frozenset((name, other))] = _Both(since, until)

    def _end_span(self, name: str) -> None:
        self._known[name].span = None
        for pair in [pair for pair in self._both if name in pair]:
            both = self._both.pop(pair)
            self.finished.append(self._described(pair, both.since, both.until))

    def _described(self, pair: frozenset[str], since: float, until: float | None) -> TwoPrimaries:
        order = [*(promotion.server for promotion in self.promotions)]
        last = {name: number for number, name in enumerate(order)}
        old, new = sorted(pair, key=lambda name: (last.get(name, -1), name not in self._ever))
        return TwoPrimaries(old, new, since, until)

    @property
    def two_primaries(self) -> list[TwoPrimaries]:
        """Those that still are."""
        return [self._described(pair, both.since, None) for pair, both in self._both.items()]

    # ---- what may be a promotion that nobody sees

    def _explain(self, name: str, known: _Known, now: Replication, look: Look) -> None:
        if known.before is None:
            unseen = look.role in (Role.PRIMARY, Role.UNCLEAR) and name != self.primary
            odd = "could not be asked when the run began, and now replicates from no server" if unseen else ""
        else:
            odd = change(known.before, now, watching=True)
        if odd and not self._named(known, now, perhaps=True):
            self.doubt_for_good(known.odd or self._said(name, odd, look))  # what another one made of it, nobody saw
        elif odd and self._explained(name, known, now, look.role):
            known.odd = ""
        elif odd:
            known.odd = known.odd or self._said(name, odd, look)
        elif known.odd:
            self.doubt_for_good(known.odd)

    def _said(self, name: str, odd: str, look: Look) -> str:
        seconds = max(0.0, look.answered - self.begun)
        return f"{name} {odd}: it, or another server, may have been promoted (seen {seconds:.0f} s after the load began)"

    def _explained(self, name: str, known: _Known, now: Replication, role: Role) -> bool:
        """Whether the promotions that were seen explain a change."""
        match role:
            case Role.PRIMARY | Role.READ_ONLY:
                return known.server_id in self.origins  # not by name: a server may have two
            case Role.REPLICA:
                writable_before = name in self._ever or (known.before is not None and known.before.takes_writes)
                return bool(self.promotions) and self._named(known, now) and (writable_before or not now.takes_writes)
            case Role.UNCLEAR:
                # A former primary that was made a replica of the present one, and cannot follow it.
                return name in self._ever and bool(now.sources) and self._follows_primary(now)
        return False

    def _named(self, known: _Known, now: Replication, *, perhaps: bool = False) -> bool:
        """Whether each server that it replicates from is one of ours, or was its source as the run began. `perhaps`: of a
        source that has not answered yet this need not be known."""
        ids = {one.server_id for one in self._known.values() if one.server_id}
        before = known.before.sources.values() if known.before else ()
        ids |= {source.server_id for source in before if source.server_id}
        addresses = {*self.addresses.values(), *(source.address for source in before)}
        return all(
            source.server_id in ids if source.server_id else perhaps or source.address in addresses
            for source in now.sources.values()
        )

    def _follows_primary(self, now: Replication) -> bool:
        primary = self._known[self.primary]
        return all(
            source.server_id == primary.server_id if source.server_id else source.address == self.addresses.get(self.primary)
            for source in now.sources.values()
        )

    @property
    def origins(self) -> frozenset[int]:
        """The ids of the servers that have been the primary: their transactions are no sign of another one."""
        return frozenset(self._origins | {self._known[name].server_id for name in self._ever})

    @property
    def server_ids(self) -> frozenset[int]:
        """Of all servers, as far as they are known."""
        return frozenset(one.server_id for one in self._known.values() if one.server_id)

    @property
    def unexplained(self) -> str:
        """The first sign that waits for its explanation; "" if there is none."""
        return next((one.odd for one in self._known.values() if one.odd), "")

    def replication(self, name: str) -> Replication | None:
        """How a server replicates, by the last look at it; None if that said nothing."""
        last = self._known[name].last
        return last.replication if last else None

    def why_unknown(self) -> str:
        """Why it is not certain, by the last looks, that `primary` is the primary and the only one that was promoted last."""
        if self.doubt:
            return self.doubt
        primary = self._known[self.primary]
        role = self.role(self.primary)
        if role in (Role.UNKNOWN, Role.DOWN):
            trouble = primary.last.trouble if primary.last else "it was not asked"
            return f"cannot check whether {self.primary} is still the primary: {trouble}"
        if role is not Role.PRIMARY:
            return f"{self.primary} is not the primary any more: {_what(self.replication(self.primary))}"
        for name, known in self._known.items():
            if name == self.primary:
                continue
            if known.odd:
                return known.odd
            if known.last is None or self.role(name) is Role.UNKNOWN:
                trouble = known.last.trouble if known.last else "it was not asked"
                return f"whether {name} has been promoted is not known: {trouble}"
        return ""


def _what(now: Replication | None) -> str:
    sources = " and ".join(source.address for source in now.sources.values()) if now else ""
    return f"it replicates from {sources}" if sources else "it is read-only"
