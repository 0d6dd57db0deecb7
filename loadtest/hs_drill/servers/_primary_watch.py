"""Asks the user's own servers, again and again, which of them is the primary. What follows from it decides `_primacy.py`.

Each server has a task and a connection of its own, so that one that hangs hides no promotion of another.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Sequence
from functools import partial

import trio

from hs_drill._cluster import ClusterError, Server

from ._control import Control, bounded
from ._fencing import Fencing
from ._primacy import Look, Primacy, Role, TwoPrimaries
from ._primary_command import WhoIsPrimary, asked_owner
from ._promotions import ANSWER_SECONDS, Promotions, Replication, lacks
from ._semisync import STATUS, Lapse, Semisync, semisync_in
from ._sql import Asking, asking, refused, run_all
from ._writable import NOT_READ_ONLY, SOURCES, denied_sources, sources_in, why_not_writable

__all__ = ["EVERY_SECONDS", "PrimaryWatch", "looks_every", "watch_as_told", "why_writer_unknown"]

LOOK_SECONDS = 1.0
"""A server that has not answered by then is silent."""
EVERY_SECONDS = 0.25
MOST_SECONDS = 1.0
"""Between two looks by SQL, however seldom the owner wants them: `GAP_SECONDS` apart, none would show two primaries."""
OWNER_FAILS_SECONDS = 10.0
"""For how long the owner's command may fail while the load runs: what it asks may be failing over, too."""
COMPARE_SECONDS = 2.0
"""Between two looks at the transactions of all servers."""

_STATE = (
    "SELECT @@global.read_only AS r, @@global.gtid_slave_pos AS p, @@global.gtid_binlog_state AS own, @@global.server_id AS id"
)


class PrimaryWatch:
    """Follows who is the primary during the runs on the user's own servers.

    Args:
      control: gets what is seen.
      servers: those that are distinct, the writer first.
      promotions: what was known of them at the start, and closes its gates once a promotion was seen.
    """

    def __init__(
        self,
        control: Control,
        servers: Sequence[Server],
        promotions: Promotions,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._control = control
        self._servers = servers
        self._promotions = promotions
        self._ask_owner: WhoIsPrimary | None = None
        self._every = EVERY_SECONDS
        self._clock = clock
        self._told: list[TwoPrimaries] = []
        self._lapsed: set[tuple[str, float]] = set()
        self._fencing, self._semisync = Fencing(), Semisync()
        self._first = control.primary
        """The primary when the run began."""
        self._queries = (_STATE, SOURCES, *((STATUS,) if control.cluster.replication == "semisync" else ()))
        self._suspected: tuple[str, str] | None = None
        """What `_lacking` has said of a server that was not seen as the primary yet."""
        self._last_owner = clock()
        self._primacy = self._new(clock())

    def _new(self, begun: float) -> Primacy:
        return Primacy(
            self._control.primary,
            {server.name: self._promotions.before(server.name) for server in self._servers},
            begun,
            {server.name: f"{server.host}:{server.sql_port}" for server in self._servers},
            owner_says=self._ask_owner is not None,
        )

    def use(self, ask_owner: WhoIsPrimary | None, every: float) -> None:
        """Look `every` so many seconds from now on, and by SQL as `looks_every` says. `ask_owner`: the owner's command, which
        decides."""
        self._ask_owner = ask_owner
        self._every = every
        self._primacy = self._new(self._clock())

    def begin(self, begun: float) -> None:
        """A run begins. At `begun` nothing had changed since the servers were opened."""
        if not (self._primacy.promotions or self._primacy.doubt):
            self._primacy = self._new(begun)
            self._fencing, self._semisync = Fencing(), Semisync()
            self._first = self._control.primary
            self._last_owner = begun

    async def watch(self) -> None:
        """Watch until cancelled."""
        async with trio.open_nursery() as nursery:
            for server in self._servers:
                if server.sql_port is not None:
                    nursery.start_soon(self._watch_server, server)
            nursery.start_soon(self._compare_for_ever)
            if self._ask_owner is not None:
                nursery.start_soon(self._watch_owner)

    async def _watch_server(self, server: Server) -> None:
        options = {"connect_timeout": LOOK_SECONDS, "read_timeout": LOOK_SECONDS, "write_timeout": LOOK_SECONDS}
        async with asking(server, **options) as ask:
            while True:
                begun = trio.current_time()
                self._see(server, await self._look_at(server, ask, LOOK_SECONDS))
                await trio.sleep_until(begun + looks_every(self._every))

    @property
    def waits_for_explanation(self) -> str:
        """A change that may be the sign of a promotion, in words; "" if there is none, or if it has been explained."""
        return self._primacy.unexplained

    async def look(self) -> None:
        """Look at every server now, and again at those that are not silent: one look does not show which of two came later."""
        servers = self._servers
        for _ in range(2):
            await run_all(*(partial(self._look_once, server) for server in servers))
            servers = [server for server in servers if self._primacy.role(server.name) is not Role.UNKNOWN]
            if self._ask_owner is not None and (trouble := await self._hear_owner(self._ask_owner)):
                self._doubt(trouble)

    async def _look_once(self, server: Server) -> None:
        async with asking(server) as ask:
            self._see(server, await self._look_at(server, ask, ANSWER_SECONDS))

    async def _look_at(self, server: Server, ask: Asking, seconds: float) -> Look:
        asked = self._clock()
        if server.sql_port is None:
            trouble = f"{server.name} cannot be asked whether it replicates, because its sql_port is not known"
            return Look(asked, self._clock(), None, trouble)
        try:
            with bounded(f"asking {server.name} whether it replicates", seconds), denied_sources(server):
                (state,), sources, *status = await ask.each(*self._queries)
        except ClusterError as error:
            down = refused(error) and await trio.to_thread.run_sync(_refuses, server, abandon_on_cancel=True)
            return Look(asked, self._clock(), None, str(error), down)
        replication = Replication(
            sources_in(sources),
            str(state["r"]).upper() in NOT_READ_ONLY,
            str(state["p"]),
            str(state["own"]),
            self._promotions.writer_id,
            int(state["id"]),
        )
        answered = self._clock()
        semisync = semisync_in(status[0], asked, answered) if status else None
        return Look(asked, answered, replication, semisync=semisync)

    # ---- what was seen

    def _see(self, server: Server, look: Look) -> None:
        self._primacy.see(server.name, look)
        self._fencing.see(server.name, look)
        self._semisync.see(server.name, look.semisync if look.role is Role.PRIMARY else None)
        self._report()

    def _report(self) -> None:
        primacy, control = self._primacy, self._control
        for promotion in primacy.promotions[len(control.promotions) :]:
            control.note_promotion(promotion)
        while primacy.finished:
            two = primacy.finished.pop(0)
            self._tell(two)
            control.on_two_primaries(two.old, two.new, two.since, two.until)
        for two in primacy.two_primaries:
            self._tell(two)
        while self._semisync.finished:
            control.on_seen(self._tell_lapse(self._semisync.finished.pop(0)))
        for lapse in self._semisync.lapses:
            self._tell_lapse(lapse)
        if primacy.doubt:
            self._promotions.notice(primacy.doubt)
        elif primacy.promotions:
            first = primacy.promotions[0]
            self._promotions.notice(f"{first.server} was promoted {first.seen - primacy.begun:.0f} s after the load began")

    def _tell(self, two: TwoPrimaries) -> None:
        if not any((one.old, one.new, one.since) == (two.old, two.new, two.since) for one in self._told):
            self._told.append(two)
            seconds = two.since - self._primacy.begun
            self._control.on_notice(
                f"two primaries: {two.old} and {two.new} are both open for writes (seen at {seconds:.1f} s)"
            )

    def _tell_lapse(self, lapse: Lapse) -> Lapse:
        if (lapse.server, lapse.since) not in self._lapsed:
            self._lapsed.add((lapse.server, lapse.since))
            seconds = max(0.0, lapse.since - self._primacy.begun)
            self._control.on_notice(f"commits on {lapse.server} have waited for no replica (seen after {seconds:.1f} s)")
        return lapse

    def end(self) -> None:
        """Report the two primaries and the lapses that there still are, and what became of each former primary."""
        for two in self._primacy.two_primaries:
            self._control.on_two_primaries(two.old, two.new, two.since, None)
        for lapse in self._semisync.lapses:
            self._control.on_seen(lapse)
        for former in self._fencing.former(self._first, self._primacy.promotions):
            self._control.on_seen(former)

    # ---- the owner's command

    async def _watch_owner(self) -> None:
        assert self._ask_owner is not None
        heard = trio.current_time()
        while not self._primacy.doubt:
            begun = trio.current_time()
            trouble = await self._hear_owner(self._ask_owner)
            if not trouble:
                heard = begun
            elif begun - heard > OWNER_FAILS_SECONDS:
                self._doubt(trouble)
            await trio.sleep_until(begun + self._every)

    async def _hear_owner(self, ask: WhoIsPrimary) -> str:
        """Returns why the command has failed; "" if it has not."""
        asked = self._clock()
        try:
            name = await ask()
        except ClusterError as error:
            return str(error)
        name = "writer" if name in self._control.cluster.aliases else name
        if name and name not in (server.name for server in self._servers):
            names = ", ".join(server.name for server in self._servers)
            self._doubt(f"cluster.primary.command printed {name!r}, which is no server of the scenario ({names})")
        elif name:
            self._primacy.told(name, self._clock(), self._last_owner)
            self._last_owner = asked
            self._report()
        return ""

    def _doubt(self, reason: str) -> None:
        if not self._primacy.doubt:
            self._primacy.doubt_for_good(reason)
            self._control.on_notice(reason)
            self._report()

    # ---- transactions that came from elsewhere

    async def _compare_for_ever(self) -> None:
        while True:
            await trio.sleep(COMPARE_SECONDS)
            if (lacking := await self._lacking()) and not self._primacy.doubt:
                _, gtid = lacking
                origin = int(gtid.split("-")[1])
                # The watch may have yet to see the promotion of a server of ours.
                if origin in self._primacy.server_ids and lacking != self._suspected:
                    self._suspected = lacking
                else:
                    self._doubt(self._words(*lacking))

    def _words(self, name: str, gtid: str) -> str:
        has = f"{name} has the transaction {gtid}, which {self._control.primary} does not have"
        return f"{has}: another server may have been promoted"

    async def _lacking(self) -> tuple[str, str] | None:
        """A server, and a transaction that it has, the primary lacks, and no server made that was seen as the primary."""
        primary = self._control.primary
        explained = self._primacy.origins if self._primacy.promotions else frozenset[int]()
        looks = {server.name: self._primacy.replication(server.name) for server in self._servers}
        logged = await self._promotions.logged(self._control.server(primary))  # asked last, for it gets what they have
        for name, now in looks.items():
            before = self._promotions.before(name)
            if logged is None or now is None or name == primary or primary != self._control.primary:
                continue
            if gtid := lacks(logged, now, before, explained):
                return name, gtid
        return None

    # ---- the end of a run

    async def why_unknown(self) -> str:
        """Why it is not certain that `control.primary` took the last writes; "" if it is."""
        await self.look()
        if not self._primacy.promotions:
            return await self._why_writer_unknown()
        if reason := self._primacy.why_unknown():
            return reason
        lacking = await self._lacking()
        return self._words(*lacking) if lacking else ""

    async def _why_writer_unknown(self) -> str:
        return await why_writer_unknown(self._control.cluster.writer, self._promotions, self._primacy.doubt)


def looks_every(every: float) -> float:
    """Seconds from one look by SQL to the next, if the owner wants one `every` so many seconds."""
    return min(every, MOST_SECONDS)


def watch_as_told(control: Control, command: Sequence[str], every: float) -> None:
    """Look at the primary `every` so many seconds, and have the owner's `command` say which server it is, if there is one.

    Raises `ClusterError` if there is no watch on these servers.
    """
    if control.primary_watch is None:
        raise ClusterError("cluster.primary is for servers of which one is the primary, and the others replicate from it")
    control.primary_watch.use(asked_owner(control, command), every)


async def why_writer_unknown(writer: Server, promotions: Promotions, doubt: str = "") -> str:
    """Why another server than the writer may be the primary, as SQL shows it now; "" if none is.

    `doubt` is why, as far as it is known already: only what the writer says of itself is more certain.
    """
    if writer.sql_port is None:
        return doubt or "cannot check whether writer is still the primary: its sql_port is not known"
    try:
        reason = await why_not_writable(writer)
    except ClusterError as error:
        return doubt or f"cannot check whether writer is still the primary: {error}"
    if reason:
        return f"writer is not the primary any more: {reason}"
    return doubt or await promotions.suspicion()


def _refuses(server: Server) -> bool:
    """Whether it refuses connections for HandlerSocket, too: a server that is down does."""
    for _, port, _ in server.listeners:
        try:
            socket.create_connection((server.host, port), LOOK_SECONDS).close()
        except ConnectionRefusedError:
            continue
        except OSError:
            pass
        return False
    return True
