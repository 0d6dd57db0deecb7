"""Puts back what a run has changed in a user's own table: `hs-drill restore`.

It changes only rows that are in the run's before-image, in columns that the run could write, and deletes only rows whose keys
the run made. It may be repeated, and cut off at any moment.

What undoes a run by SQL replicates as its writes did. HandlerSocket's writes are in no binary log, but what undoes them goes
there, as statements: replicas may have got the run's values in another way (see `_differences`), and a statement harms none
that has not.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial

import trio

from hs_drill._cluster import ClusterError, Server
from hs_drill._counted import counted
from hs_drill.scenario import Scenario
from hs_drill.servers import (
    Control,
    Exact,
    ExactRows,
    LiveTable,
    TableLock,
    as_cluster_errors,
    exact_session,
    leave_checks,
    log_statements,
    read_live_table,
)
from hs_drill.store import BeforeImage, BeforeImageError, HeldError, ImageHeader, RunDirectory
from hs_drill.workload import ExistingRows, Sample, rows_of

from ._before_image import identity_of, own_keys, replicas_of
from ._differences import APPLY_SECONDS, ReplicaDifferences, look_at_replicas, still_different
from ._restore_servers import open_for_restore

__all__ = ["Restored", "before_image_of", "no_run_in", "restore"]


@dataclass
class Restored:
    """What was put back."""

    changed: int = 0
    """Rows that held something else."""
    same: int = 0
    gone: int = 0
    """Rows that are not there any more. No run deletes them."""
    deleted: int = 0
    """Rows that the run had inserted."""
    refused: int = 0
    """Rows that the server did not let us put back or delete."""
    refusal: str = ""
    """Why it refused the first of these."""
    missing: int = 0
    """Rows that the before-image has lost."""
    again: int = 0
    """Rows of the writer that were not as before any more when everything had been put back."""
    replicas: ReplicaDifferences = field(default_factory=ReplicaDifferences)

    @property
    def finished(self) -> bool:
        """Whether there is nothing left that another attempt could put back."""
        return not (self.refused or self.missing or self.again or self.replicas.rows or self.replicas.unknown)


@contextmanager
def no_run_in(directory: RunDirectory) -> Iterator[None]:
    """Hold the directory for a block. Raises `ClusterError` if its run, or another restore, is still at work."""
    try:
        hold = directory.hold()
    except HeldError:
        raise ClusterError(
            f"{directory.path}: the run has not ended, or is being restored by another process: wait for it, or end it. "
            "Nothing was put back"
        ) from None
    try:
        yield
    finally:
        hold.release()


def before_image_of(directory: RunDirectory, scenario: Scenario, *, incomplete: bool = False) -> BeforeImage | str:
    """The before-image of a run, or why there is nothing to put back. Raises `BeforeImageError` and OSError.

    `incomplete`: take one that is not whole, too, of a run that may have written.
    """
    if not scenario.table.existing:
        return "it created its own table: there is nothing to put back"
    if not scenario.writes:
        return "it only read: there is nothing to put back"
    path = directory.before_image
    image = BeforeImage(path) if path.exists() else None
    if image is not None and not image.flaw:
        return image
    if not directory.may_have_written():
        return "it ended before it could write: there is nothing to put back"
    what = f"{path}: {image.flaw if image is not None else 'is missing'}, but the run may have written. Find the whole file"
    if image is None or image.header is None:
        raise BeforeImageError(f"{what}: without it nothing can be put back")
    if incomplete:
        return image
    inserts = ", and deletes what the run inserted" if image.header.inserts else ""
    raise BeforeImageError(
        f"{what}, or say --incomplete: that puts back {image.rows:,} of the {counted(image.header.rows, 'row')} that the run "
        f"may have changed{inserts}. Nothing was put back"
    )


async def restore(
    scenario: Scenario,
    image: BeforeImage,
    progress: Callable[[str], None],
    *,
    even_if_rebuilt: bool = False,
    on_replicas_too: bool = False,
    server_is: str | None = None,
) -> Restored:
    """Put everything back. Raises `ClusterError`, `BeforeImageError` and OSError.

    `on_replicas_too`: also rows that only a replica holds otherwise. `server_is`: what identified the writer in the run, if it
    has another name now.
    """
    header = image.header
    assert header is not None
    async with (
        open_for_restore(scenario, progress) as (control, down),
        TableLock(control.cluster.writer, header.database, header.table),
    ):
        writer = control.cluster.writer
        live = await _same_table(control, header, progress, even_if_rebuilt=even_if_rebuilt, server_is=server_is)
        columns = ", ".join(header.written) or "none"
        progress(
            f"putting back {counted(image.rows, 'row')} of {live.shown} on {writer.name} ({writer.host}); columns: {columns}"
        )
        if on_replicas_too:
            await control.wait_replicated(APPLY_SECONDS)
        restoring = _Restoring(control, live, header, scenario, progress, on_replicas_too=on_replicas_too)
        try:
            with as_cluster_errors(writer):
                await trio.to_thread.run_sync(partial(restoring.run, image), abandon_on_cancel=False)
        except ClusterError as error:
            if not restoring.restored.changed and not restoring.restored.deleted:
                raise
            raise ClusterError(f"{error}. What was put back until then stays so: restore again") from error
        progress("looking whether every row is as it was")
        restored = restoring.restored
        restored.missing = header.rows - image.rows
        restored.again = max(await still_different(writer, live, image, restoring.rows) - restored.refused, 0)
        restored.replicas = await look_at_replicas(control, live, image)
        restored.replicas.unknown += [f"whether {name} holds values of the run is unknown: {down[name]}" for name in down]
    return restored


async def _same_table(
    control: Control,
    header: ImageHeader,
    progress: Callable[[str], None],
    *,
    even_if_rebuilt: bool,
    server_is: str | None,
) -> LiveTable:
    """The table. Raises `ClusterError` unless it is the run's, on a server of the run."""
    writer = control.cluster.writer
    live = await read_live_table(writer, header.database, header.table)  # refuses a server without a sql_port
    found = server_is or await identity_of(writer)
    if found not in header.servers:
        known = ", ".join(f"{name} was {one}" for one, name in header.servers.items())
        raise ClusterError(
            f"writer is {found}, which was no server of that run ({known}). If it is one of them under another name, say "
            f"which: --server-is {shlex.quote(header.source)}. Nothing was written"
        )
    if live.definition != header.definition:
        raise ClusterError(
            f"{live.shown} is not as it was: then it was {_one_line(header.definition)}, and now it is "
            f"{_one_line(live.definition)}. Nothing was written"
        )
    for server in [writer, *(one for one in replicas_of(control) if one.sql_port is not None)]:
        there = live if server == writer else await read_live_table(server, header.database, header.table)
        if there.unwritable:  # a replica executes what puts rows back, too
            raise ClusterError(f"{live.shown} on {server.name}: {there.unwritable}. Nothing was written")
    created = header.created[found]
    if live.created != created and not even_if_rebuilt:
        raise ClusterError(
            f"{live.shown} was created or built anew since that run ({live.created}, then {created}). If it still "
            "holds the same rows, as after OPTIMIZE TABLE, say --even-if-rebuilt. Nothing was written"
        )
    if found != header.source:
        progress(
            f"writer is {found}, {header.servers[found]} of that run, and the run wrote to {header.servers[header.source]} "
            f"({header.source}): what that server holds is put back only where it replicates from this one"
        )
    return live


def _one_line(definition: str) -> str:
    return " ".join(definition.split())


class _Restoring:
    """In a thread, on one connection."""

    def __init__(
        self,
        control: Control,
        live: LiveTable,
        header: ImageHeader,
        scenario: Scenario,
        progress: Callable[[str], None],
        *,
        on_replicas_too: bool,
    ) -> None:
        self._control, self._live, self._header = control, live, header
        self._replicas: dict[Server, ExactRows] = {}
        self._others = [one for one in replicas_of(control) if one.sql_port is not None] if on_replicas_too else []
        rows = rows_of(scenario, Sample.none())
        assert isinstance(rows, ExistingRows)
        self.rows = rows
        self._progress = progress
        self.restored = Restored()

    def run(self, image: BeforeImage) -> None:
        with exact_session(self._control.cluster.writer, many=True) as cursor, ExitStack() as stack:
            for server in self._others:
                with as_cluster_errors(server):
                    session = stack.enter_context(exact_session(server))
                self._replicas[server] = ExactRows(session, self._live, self._header.columns)
            if self._others or not self._header.logged:
                log_statements(cursor, self._live.database)
            leave_checks(cursor)
            table = ExactRows(cursor, self._live, self._header.columns)
            for number, block in enumerate(image.blocks(), 1):
                trio.from_thread.check_cancelled()  # Ctrl-C ends it between two transactions
                table.transaction(partial(self._put_back, table, block))
                if number % 100 == 0:
                    seen = self.restored.changed + self.restored.same + self.restored.gone
                    trio.from_thread.run_sync(self._progress, f"{seen:,} of {image.rows:,} rows looked at")
            if self._header.inserts:
                for keys in own_keys(table, self._live, self.rows, self._header.run):
                    table.transaction(partial(self._delete, table, keys))
            self.restored.refused, self.restored.refusal = table.refused, table.refusal

    def _put_back(self, table: ExactRows, block: Sequence[Exact]) -> None:
        columns = self._header.written
        found = table.by_keys(block, lock=True)
        changed = table.differing(block, found, columns)
        wrong = {table.key_of(row) for row in changed}
        for server, replica in self._replicas.items():
            with as_cluster_errors(server):
                wrong |= {table.key_of(row) for row in replica.differing(block, replica.by_keys(block), columns)}
        wrong &= found.keys()
        if wrong:
            trio.from_thread.run(self._control.require_primary)  # `read_only` does not stop the account
        done = table.put_back([row for row in block if table.key_of(row) in wrong], columns)
        put_back = {table.key_of(row) for row in done}
        restored = self.restored
        restored.changed += sum(table.key_of(row) in put_back for row in changed)
        restored.same += len(found) - len(changed)
        restored.gone += len(block) - len(found)

    def _delete(self, table: ExactRows, keys: Sequence[Sequence[bytes | None]]) -> None:
        if keys:
            trio.from_thread.run(self._control.require_primary)
        self.restored.deleted += table.delete(keys)
