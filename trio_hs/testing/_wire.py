"""Transactions as lines of JSON, for the journal and for replication between processes.

Values are numbers, None and bytes. Bytes travel as text of the same code points (Latin-1), so every value comes back.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ._replication import Position, Transaction
from ._table import Change, Row


def encode(message: dict[str, Any]) -> bytes:
    """The line for a message."""
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


def decode(line: bytes) -> dict[str, Any]:
    """The message in a line. Raises ValueError if there is none."""
    message = json.loads(line)
    if not isinstance(message, dict):
        raise ValueError(f"no message: {line[:80]!r}")
    return message


def _pack_row(row: Row | None) -> list[Any] | None:
    return None if row is None else [value.decode("latin-1") if isinstance(value, bytes) else value for value in row]


def _unpack_row(values: list[Any] | None) -> Row | None:
    return None if values is None else tuple(value.encode("latin-1") if isinstance(value, str) else value for value in values)


def pack_changes(changes: Sequence[Change]) -> list[Any]:
    return [[*table, _pack_row(before), _pack_row(after)] for table, before, after in changes]


def unpack_changes(packed: list[Any]) -> list[Change]:
    return [Change((database, name), _unpack_row(before), _unpack_row(after)) for database, name, before, after in packed]


def pack_transaction(transaction: Transaction) -> dict[str, Any]:
    return {"position": list(transaction.position), "changes": pack_changes(transaction.changes)}


def unpack_transaction(message: dict[str, Any]) -> Transaction:
    return Transaction(unpack_position(message["position"]), unpack_changes(message["changes"]))


def unpack_position(packed: Any) -> Position:
    number, origin = packed
    return Position(int(number), str(origin))
