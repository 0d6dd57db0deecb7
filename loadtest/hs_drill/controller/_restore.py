"""Puts back what a run has changed in a user's own table: `hs-drill restore`.

It changes only rows that are in the run's before-image, in columns that the run could write, and deletes only rows whose keys
the run made. It may be repeated, and cut off at any moment.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import trio

from hs_drill._cluster import ClusterError
from hs_drill._counted import counted
from hs_drill.scenario import Scenario
from hs_drill.servers import (
    Control,
    ExactRows,
    LiveTable,
    as_cluster_errors,
    exact_session,
    identity,
    read_live_table,
    unlogged,
)
from hs_drill.store import CONTROLLER, BeforeImage, BeforeImageError, ImageHeader, RunDirectory
from hs_drill.workload import ExistingRows, Sample, rows_of

from ._before_image import own_keys
from ._servers import open_scenario_servers

__all__ = ["Restored", "before_image_of", "restore"]


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


def before_image_of(directory: RunDirectory, scenario: Scenario) -> BeforeImage | str:
    """The before-image of a run, or why there is nothing to put back. Raises `BeforeImageError` and OSError."""
    if not scenario.table.existing:
        return "it created its own table: there is nothing to put back"
    if not scenario.writes:
        return "it only read: there is nothing to put back"
    path = directory.before_image
    image = BeforeImage(path) if path.exists() else None
    if image is not None and image.complete:
        return image
    if any(history != directory.history(CONTROLLER) for history in directory.histories()):  # an engine began
        raise BeforeImageError(
            f"{path}: is {'cut' if image else 'missing'}, but the run had begun to write: find the whole file"
        )
    return "it ended before it could write: there is nothing to put back"


async def restore(
    scenario: Scenario, image: BeforeImage, progress: Callable[[str], None], *, even_if_rebuilt: bool = False
) -> Restored:
    """Put everything back. Raises `ClusterError`, `BeforeImageError` and OSError."""
    header = image.header
    assert header is not None
    async with open_scenario_servers(scenario, progress, handlersocket_writes=False, load_accounts=False) as control:
        writer = control.cluster.writer
        live = await _same_table(control, header, even_if_rebuilt=even_if_rebuilt)
        columns = ", ".join(header.written) or "none"
        progress(
            f"putting back {counted(image.rows, 'row')} of {live.shown} on {writer.name} ({writer.host}); columns: {columns}"
        )
        logged = "and replicates" if header.logged else "as the run's writes did, past the binary log"
        progress(f"what is put back goes there by SQL, {logged}")
        restoring = _Restoring(control, live, header, scenario, progress)
        with as_cluster_errors(writer):
            await trio.to_thread.run_sync(partial(restoring.run, image), abandon_on_cancel=False)
    return restoring.restored


async def _same_table(control: Control, header: ImageHeader, *, even_if_rebuilt: bool) -> LiveTable:
    """The table. Raises `ClusterError` unless it is the run's, on a server of the run."""
    writer = control.cluster.writer
    live = await read_live_table(writer, header.database, header.table)  # refuses a server without a sql_port
    with as_cluster_errors(writer):
        found = await trio.to_thread.run_sync(identity, writer)
    if found not in header.servers:
        known = ", ".join(f"{name} was {one}" for one, name in header.servers.items())
        raise ClusterError(f"writer is {found}, which was no server of that run ({known}). Nothing was written")
    if live.definition != header.definition:
        raise ClusterError(
            f"{live.shown} is not as it was: then it was {_one_line(header.definition)}, and now it is "
            f"{_one_line(live.definition)}. Nothing was written"
        )
    if found == header.source and live.created != header.created and not even_if_rebuilt:
        raise ClusterError(
            f"{live.shown} was created or built anew since that run ({live.created}, then {header.created}). If it still "
            "holds the same rows, as after OPTIMIZE TABLE, say --even-if-rebuilt. Nothing was written"
        )
    return live


def _one_line(definition: str) -> str:
    return " ".join(definition.split())


class _Restoring:
    """In a thread, on one connection."""

    def __init__(
        self, control: Control, live: LiveTable, header: ImageHeader, scenario: Scenario, progress: Callable[[str], None]
    ) -> None:
        self._control, self._live, self._header = control, live, header
        rows = rows_of(scenario, Sample.none())
        assert isinstance(rows, ExistingRows)
        self._rows = rows
        self._progress = progress
        self.restored = Restored()

    def run(self, image: BeforeImage) -> None:
        with exact_session(self._control.cluster.writer) as cursor:
            if not self._header.logged:
                unlogged(cursor)
            table = ExactRows(cursor, self._live, self._header.columns)
            for number, block in enumerate(image.blocks(), 1):
                trio.from_thread.check_cancelled()  # Ctrl-C ends it between two transactions
                table.transaction(partial(self._put_back, table, block))
                if number % 100 == 0:
                    seen = self.restored.changed + self.restored.same + self.restored.gone
                    trio.from_thread.run_sync(self._progress, f"{seen:,} of {image.rows:,} rows looked at")
            if self._header.inserts:
                for keys in own_keys(table, self._live, self._rows, self._header.run):
                    table.transaction(partial(self._delete, table, keys))

    def _put_back(self, table: ExactRows, block: Sequence[Sequence[bytes | None]]) -> None:
        at = [self._header.columns.index(name) for name in self._header.written]
        found = {table.key_of(row): row for row in table.locked([table.key_of(row) for row in block])}
        there = [row for row in block if table.key_of(row) in found]
        changed = [row for row in there if any(found[table.key_of(row)][place] != row[place] for place in at)]
        if changed:
            trio.from_thread.run(self._require_primary)
        for row in changed:
            table.set(row, self._header.written)
        restored = self.restored
        restored.changed += len(changed)
        restored.same += len(there) - len(changed)
        restored.gone += len(block) - len(there)

    def _delete(self, table: ExactRows, keys: Sequence[Sequence[bytes | None]]) -> None:
        if keys:
            trio.from_thread.run(self._require_primary)
        self.restored.deleted += sum(table.delete(key) for key in keys)

    async def _require_primary(self) -> None:
        """Raise `ClusterError` if the writer is not the primary any more. `read_only` does not stop the account."""
        try:
            await self._control.require_primary()
        except ClusterError as error:
            raise ClusterError(f"{error}. What was put back until then stays so") from error
