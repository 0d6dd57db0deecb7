"""Injects faults into the user's own servers by commands of the user's own, and heals them in the same way.

A command has done its work only when that was seen, within its time limit: see `_effects`. What heals is known to the healer, a
process of its own, from before the command is started until its healing was seen.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from itertools import count

import trio

from hs_drill._cluster import ClusterError
from hs_drill.sandbox import Healer, open_healer

from ._commands import Command, Output, fill, run, secrets_of
from ._control import Control, Promotion
from ._effects import EFFECTS, Effect

__all__ = ["ByCommand", "Injection", "open_commands"]

POLL_SECONDS = 0.1
LEAST_SECONDS = 2.0
"""For how long an effect is looked for at least, however much of its time the command has taken."""
NOTED_SECONDS = 5.0
"""How long a promotion that a command has made may take to be noted."""


class ByCommand:
    """The commands for one run's servers.

    Args:
      control: the servers.
      commands: by the name of the fault, such as `kill`, or by the key of a fault that is a command of its own.
      healer: has what heals; needed if a command has.
      output: keeps what the commands print.
    """

    def __init__(self, control: Control, commands: Mapping[str, Command], healer: Healer | None, output: Output) -> None:
        self.output = output
        self._control = control
        self._commands = commands
        self._healer = healer
        self._marks = count(1)
        self._marked = secrets.token_hex(8)
        """Begins all marks. Not our process id, which may be reused: what a command left in the background keeps its mark."""
        self._left: dict[str, tuple[Command, str | None, str]] = {}
        """What the healer has, by its id: the command, the server, and what it heals."""
        self._promoting: set[str] = set()
        self._promoted: list[Promotion] = []

    def injection(self, key: str, what: str, server: str | None) -> Injection:
        """One injection of a fault, and its healing. `what` names it for the user. Without a server, only the command's exit
        code tells whether it has struck. Raises `ClusterError` if there is no command for it."""
        if key not in self._commands:
            raise ClusterError(f"there is no command for it: name one as cluster.commands.{key}")
        return Injection(self, self._commands[key], key, what, server)

    def limit(self, key: str) -> float:
        """The most seconds that such an injection, or its healing, takes, about; 0 if there is no such command."""
        return self._commands[key].timeout + 2 * LEAST_SECONDS if key in self._commands else 0.0

    def ordered(self, promotion: Promotion) -> bool:
        """Whether a promotion that was seen is the work of one of the commands, not of somebody else."""
        return promotion.server in self._promoting or promotion in self._promoted

    def values(self, name: str | None) -> dict[str, str]:
        """What the placeholders in a command stand for now."""
        primary = {"primary": self._control.primary}
        if name is None:
            return primary
        server = self._control.server(name)
        ports = {"read_port": server.read_port, "write_port": server.write_port, "sql_port": server.sql_port}
        known = {port: str(number) for port, number in ports.items() if number}
        return {**primary, "server": name, "host": server.host, **known}

    def effect(self, key: str, name: str) -> Effect:
        """What such a fault changes on the server."""
        return EFFECTS[key](self._control.server(name), self._control.server(self._control.primary))

    def add(self, command: Command, name: str | None, what: str) -> str | None:
        """Have the command's fault healed if we are killed. Returns the healer's id for it; None if nothing heals it."""
        if not command.heal:
            return None
        entry = self._add(command, name, what)
        self._left[entry] = command, name, what
        return entry

    def _add(self, command: Command, name: str | None, what: str, entry: str = "") -> str:
        assert self._healer is not None
        output = self.output.path and self.output.path.with_name("healed.txt")
        argv = fill(command.heal, self.values(name))
        return self._healer.add(argv, f"heal {what}", command.timeout, output, entry)

    def primary_changed(self) -> None:
        """Another server is the primary now, so `{primary}` stands for that one in what the healer has."""
        for entry, what in self._left.items():
            with suppress(ClusterError):  # the healer is gone
                self._add(*what, entry)

    def done(self, entry: str) -> None:
        """The fault with this id has healed."""
        assert self._healer is not None
        del self._left[entry]
        self._healer.done(entry)

    async def run(self, argv: list[str], timeout: float, what: str, *, heals: bool) -> None:
        """Run a command. Raises `ClusterError`.

        `heals`: something heals what it does, or it is what heals, so it is killed when we are killed, or cancelled and not
        shielded. Any other goes on until its end, within its time: half a promotion, or a restart that has only stopped the
        server, would stay.
        """
        mark = f"{self._marked}-{next(self._marks)}"
        if not heals:
            with trio.CancelScope(shield=True):
                await run(argv, timeout, self.output, what, mark)
            await trio.lowlevel.checkpoint_if_cancelled()
            return
        assert self._healer is not None
        with self._healer.running(mark) as started:
            await run(argv, timeout, self.output, what, mark, started)

    async def promote(self, name: str, step: Callable[[], Awaitable[None]]) -> str:
        """Take a step that makes the server the primary, and wait a moment until that is noted. Returns a note for the user."""
        known = len(self._control.promotions)
        self._promoting.add(name)
        try:
            await step()
            if (
                trio.current_effective_deadline() == -math.inf
            ):  # the watch ends with us, and looks once more when all has healed
                return ""
            with trio.move_on_after(NOTED_SECONDS):
                while True:
                    promotion = await self._control.wait_promotion(known)
                    known += 1
                    if promotion.server == name:
                        self._promoted.append(promotion)
                        return ""
        finally:
            self._promoting.discard(name)
        return f"the watch on the primary has not noticed it within {NOTED_SECONDS:g} s"


class Injection:
    """One injection of a fault by a command, and its healing.

    Attributes:
      note: details for the user.
    """

    def __init__(self, by: ByCommand, command: Command, key: str, what: str, server: str | None) -> None:
        self.note = ""
        self._by = by
        self._command = command
        self._key = key
        self._what = what
        self._server = server
        self._effect: Effect | None = None
        self._begun = False
        self._entry: str | None = None

    async def strike(self) -> None:
        """Run the command, and wait until its effect is seen. Raises `ClusterError` with one line for the user."""
        self._effect = None if self._server is None else self._by.effect(self._key, self._server)
        if self._effect is None:
            await self._strike()
            return
        await self._effect.begin()
        if not self._effect.promotes:
            await self._strike()
        else:
            self.note = await self._by.promote(self._effect.server.name, self._strike)

    async def _strike(self) -> None:
        command, effect = self._command, self._effect
        argv = fill(command.run, self._by.values(self._server))
        self._entry = self._by.add(command, self._server, self._what)
        self._begun = True
        deadline = trio.current_time() + command.timeout
        # What nothing heals goes on until its end, within its time, and so does the look for its effect.
        with trio.CancelScope(shield=not command.heal):
            trouble = await self._run(argv, deadline, effect)
        if trouble is not None:
            raise trouble

    async def _run(self, argv: list[str], deadline: float, effect: Effect | None) -> ClusterError | None:
        command, trouble = self._command, None
        async with trio.open_nursery() as nursery:
            if effect is not None:
                nursery.start_soon(effect.watch)
            try:
                await self._by.run(argv, command.timeout, self._what, heals=bool(command.heal))
                if effect is not None:
                    await _until(effect.unseen, deadline, f"{argv[0]} changed nothing")
            except ClusterError as error:
                trouble = error
            nursery.cancel_scope.cancel()
        return trouble

    async def heal(self) -> None:
        """Run the command that heals, unless the fault was never begun, and wait until it is seen to have healed. It may be
        called again if it fails. Raises `ClusterError` with one line for the user.

        Cancellation does not end it: a command that restores data must not be killed half way and run again. It takes about
        its time limit at most.
        """
        if not self._begun:
            return
        with trio.CancelScope(shield=True):
            if self._effect is None or not await self._effect.moot():
                await self._heal(self._effect)
        self._begun = False
        if self._entry is not None:
            self._by.done(self._entry)

    async def _heal(self, effect: Effect | None) -> None:
        command = self._command
        argv = fill(command.heal, self._by.values(self._server))
        deadline = trio.current_time() + command.timeout
        await self._by.run(argv, command.timeout, f"heal {self._what}", heals=True)
        if effect is not None:
            await _until(effect.unhealed, deadline, f"{argv[0]} changed nothing")


async def _until(unseen: Callable[[], Awaitable[str]], deadline: float, what: str) -> None:
    """Look until there is nothing unseen any more. Raises `ClusterError`, with what was seen instead."""
    deadline = max(deadline, trio.current_time() + LEAST_SECONDS)
    while True:
        try:
            missing = await unseen()
        except ClusterError as error:
            missing = str(error)
        if not missing:
            return
        if trio.current_time() >= deadline:
            raise ClusterError(f"{what}: {missing}")
        await trio.sleep(POLL_SECONDS)


@asynccontextmanager
async def open_commands(control: Control, commands: Mapping[str, Command]) -> AsyncIterator[None]:
    """Within the block, `control.by_command` has these commands. What is left to heal at its end is healed."""
    async with AsyncExitStack() as stack:
        if commands:
            hidden = secrets_of(control.cluster.servers)
            heals = any(command.heal for command in commands.values())
            healer = await stack.enter_async_context(open_healer(hidden)) if heals else None
            control.by_command = ByCommand(control, commands, healer, Output(hidden))
        yield
