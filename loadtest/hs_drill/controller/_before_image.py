"""Keeps what the rows of a user's own table hold, before a run changes any of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import trio

import trio_hs
from hs_drill._cluster import ClusterError, Server
from hs_drill._counted import counted
from hs_drill.scenario import Scenario
from hs_drill.servers import Control, ExactRows, LiveTable, as_cluster_errors, exact_session, identity, read_live_table
from hs_drill.store import BeforeImageWriter, ImageHeader, RunDirectory
from hs_drill.workload import ExistingRows, Sample, insert_keys, rows_of

from ._existing import Existing, goes_by_sql
from ._restore_rights import require_restore_rights

__all__ = ["identity_of", "inserts", "keep_before_image", "own_keys", "replicas_of"]

CHUNK_ROWS = 500
"""Rows for each statement and block, unless they are large."""
CHUNK_BYTES = 8_000_000
TOLD_CHUNKS = 100
NOBODYS = -1
"""The number of a row that no run has inserted."""


def inserts(scenario: Scenario) -> bool:
    return any(one.do in ("insert", "delete") for one in scenario.operations)


def replicas_of(control: Control) -> list[Server]:
    """The servers that may replicate from the writer."""
    if control.cluster.replication == "none":
        return []
    return [server for server in control.cluster.replicas if server.name not in control.cluster.aliases]


async def identity_of(server: Server) -> str:
    """What identifies a server, by its own words. Raises `ClusterError`."""
    with as_cluster_errors(server):
        return await trio.to_thread.run_sync(identity, server)


async def _header(control: Control, existing: Existing, rows: ExistingRows, run: int) -> ImageHeader:
    live, scenario = existing.live, existing.scenario
    servers, created = {}, {}
    for server in control.cluster.servers:
        if server.sql_port is not None and server.name not in control.cluster.aliases:
            found = await identity_of(server)
            servers[found] = server.name
            there = await read_live_table(server, live.database, live.name)
            if there.unwritable:  # what puts rows back is executed there, too
                raise ClusterError(f"{live.shown} on {server.name}: {there.unwritable}. Nothing was written")
            created[found] = there.created
    logged = goes_by_sql(scenario)
    written = [*rows.written, *(live.on_update if logged and rows.written else ())]
    return ImageHeader(
        database=live.database,
        table=live.name,
        definition=live.definition,
        columns=list(dict.fromkeys([*live.primary, *written])),
        written=list(dict.fromkeys(written)),
        run=run,
        inserts=inserts(scenario),
        logged=logged,
        servers=servers,
        created=created,
        source=await identity_of(control.cluster.writer),
        rows=scenario.table.rows,
    )


async def keep_before_image(
    control: Control, existing: Existing, directory: RunDirectory, run: int, tell: Callable[[str], None]
) -> None:
    """Write every row that the run may change into its directory. Raises `ClusterError`, `RunDirectoryError`,
    `BeforeImageError` and OSError."""
    await trio.to_thread.run_sync(directory.keep_scenario)
    writer, live, scenario = control.cluster.writer, existing.live, existing.scenario
    rows = rows_of(scenario, existing.sample)
    assert isinstance(rows, ExistingRows)
    header = await _header(control, existing, rows, run)
    tell(f"keeping what {counted(scenario.table.rows, 'row')} of {live.shown} hold, for hs-drill restore")
    with as_cluster_errors(writer):
        await trio.to_thread.run_sync(partial(_keep, control, existing.sample, header, live, rows, directory, tell))
    columns = ", ".join(header.written).upper()
    changes = f"CHANGES {columns} OF UP TO {scenario.table.rows:,} ROWS" if rows.written else ""
    inserted = "INSERTS ROWS OF ITS OWN" if inserts(scenario) else ""
    what = " AND ".join(filter(None, [changes, inserted]))
    tell(f"THIS RUN {what} IN {live.shown} ON {writer.name.upper()} ({writer.host})")
    if not header.logged and replicas_of(control):
        tell(
            "its own writes do not replicate; but if somebody changes one of these rows by SQL, the row's event takes the "
            "run's values to the replicas"
        )
    tell(f"to put everything back: hs-drill restore {directory.path}")


def _keep(
    control: Control,
    sample: Sample,
    header: ImageHeader,
    live: LiveTable,
    rows: ExistingRows,
    directory: RunDirectory,
    tell: Callable[[str], None],
) -> None:
    require_restore_rights(control.cluster.writer, live, header)
    with exact_session(control.cluster.writer) as cursor:
        table = ExactRows(cursor, live, header.columns)
        if header.inserts:
            _require_no_inserted(table, live, rows, header.run)
        longest, kept = table.longest_statement(), 0
        with BeforeImageWriter(directory.before_image, header) as image:
            for number, keys in enumerate(_chunks(sample, live), 1):
                trio.from_thread.check_cancelled()  # the end of Locust does not wait for the other rows
                found = table.by_shown_keys(keys)
                if len(found) < len(keys):
                    gone = counted(len(keys) - len(found), "sampled row")
                    raise ClusterError(
                        f"{gone} of {live.shown} have gone meanwhile: a run that writes needs a table whose rows stay. "
                        "Nothing was written"
                    )
                table.require_settable(found, header.written, longest)
                image.add(found)
                kept += len(found)
                if number % TOLD_CHUNKS == 0:
                    trio.from_thread.run_sync(tell, f"{kept:,} of {header.rows:,} rows kept")


def _chunks(sample: Sample, live: LiveTable) -> Iterator[list[tuple[bytes | None, ...]]]:
    columns = [sample.values[name] for name in live.primary]
    count = max(min(CHUNK_ROWS, CHUNK_BYTES // max(live.row_bytes, 1)), 1)
    for start in range(0, len(columns[0]), count):
        yield list(zip(*(column[start : start + count] for column in columns), strict=True))


def _require_no_inserted(table: ExactRows, live: LiveTable, rows: ExistingRows, run: int) -> None:
    for keys in own_keys(table, live, rows, run):
        if keys:
            raise ClusterError(
                f"{live.shown} has rows with the keys that this run would insert; if an earlier run left them, put that one "
                "back first (hs-drill restore RUN). Nothing was written"
            )


def own_keys(table: ExactRows, live: LiveTable, rows: ExistingRows, run: int) -> Iterator[list[Sequence[bytes | None]]]:
    """The exact keys of the rows that the run has inserted, some at a time."""
    if rows.numbered is None:
        return
    own, column = insert_keys(run), live.columns[rows.numbered].declared
    by_number = column.is_integer
    pages = table.keys_between(rows.numbered, own[0], own[-1]) if by_number else table.every_key()
    at = rows.primary.index(rows.numbered)
    for page in pages:
        yield [key for key in page if _number(rows, column, key[at]) in own]


def _number(rows: ExistingRows, column: trio_hs.Column, data: bytes | None) -> int:
    try:
        number = None if data is None else rows.number_in(column.decode_data(data))
    except trio_hs.DecodingError:
        number = None
    return NOBODYS if number is None else number
