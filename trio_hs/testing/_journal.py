"""The journal of a server process: it records every transaction before the answer, so that a killed server can come back.

It is written to the operating system, not flushed to the disk. So it survives the process, like MariaDB with
``innodb_flush_log_at_trx_commit=2``.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from ._replication import Log, Position, Transaction
from ._table import Change, Database
from ._wire import decode, encode, pack_changes, pack_transaction, unpack_changes, unpack_position, unpack_transaction

#: Rows per line of a copy.
_COPY_ROWS = 500


class Journal:
    """One file. Call ``replay`` first, which reads it. Then ``append``, ``keep`` and ``begin`` write to it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None

    def replay(self, database: Database, log: Log) -> None:
        """Brings the tables to the end of the journal. Raises OSError, and ValueError if the file is not a journal of these
        tables.

        An incomplete last line is a transaction that was never answered. It is removed.
        """
        self._file = self._path.open("a+b")
        self._file.seek(0)
        whole = 0
        for line in self._file:
            if not line.endswith(b"\n"):
                break
            try:
                self._replay_line(line, database, log)
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(f"{self._path} is not a journal of these tables, at byte {whole}: {error}") from None
            whole += len(line)
        self._file.truncate(whole)

    def _replay_line(self, line: bytes, database: Database, log: Log) -> None:
        message = decode(line)
        if "rows" in message:
            database.apply(unpack_changes(message["rows"]))
        elif "local" in message:
            database.apply(unpack_changes(message["local"]))
        elif "copy" in message:
            log.restart(unpack_position(message["copy"]))
        else:
            transaction = unpack_transaction(message)
            database.apply(transaction.changes)
            log.append(transaction)

    def append(self, transaction: Transaction) -> None:
        """Adds a transaction."""
        self._write(encode(pack_transaction(transaction)))

    def keep(self, changes: Sequence[Change]) -> None:
        """Adds changes that are in no transaction, and that replicas do not get."""
        self._write(encode({"local": pack_changes(changes)}))

    def begin(self, position: Position, rows: Sequence[Change]) -> None:
        """Starts a new journal with a copy of the tables."""
        fresh = self._path.with_name(self._path.name + ".new")
        self.close()
        self._file = fresh.open("wb")
        for start in range(0, len(rows), _COPY_ROWS):
            self._write(encode({"rows": pack_changes(rows[start : start + _COPY_ROWS])}))
        self._write(encode({"copy": list(position)}))
        os.replace(fresh, self._path)

    def _write(self, line: bytes) -> None:
        assert self._file is not None
        self._file.write(line)
        self._file.flush()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
