"""The order in which an index has its rows, and how a request says "behind this row": for scans. Pure.

Theory of operation:

1. The server compares the columns of an index, or the first of them, with values: ``>`` and ``>=`` go on in the order of the
   index, ``<`` and ``<=`` back, also where columns are descending (measured). So a scan goes on with ``>`` and the key of the
   last row, and the client never has to compare: it does not know collations.
2. Rows may have equal keys. InnoDB has them in the order of the primary key, also where that is descending (measured), but
   HandlerSocket compares the index's own columns alone. So ``>`` would leave out what remains of such a group. It is read by
   ``=`` and filters on the primary key; the server walks through the group from its beginning for that, each time. Backwards
   it is ``<=``, and filters that end the search behind the group, because ``=`` always goes forwards.
3. A filter is a condition on one column, and all must hold. "The key (a, b) is before (1, 2)" has an OR in it, so such a range
   is read in two runs: a is before 1; then a is 1 and b is before 2. Filters are tried in their order, and the first that does
   not hold decides whether the row is skipped or ends the search (measured). So the second run says: end behind a = 1, skip
   what is before it (rows that others have inserted there since), end when b is 2 or behind.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from .._protocol import NULL, Filter, FilterOperation, FindOperation, escape, unescape
from . import _types as types
from ._declaration import Column, Columns, KeyPart

__all__ = ["Keyset", "extreme", "keyset"]


@dataclass(frozen=True)
class Keyset:
    """The order of a scan.

    Attributes:
      name: of the index.
      parts: the columns of the index.
      ties: the columns that order rows of equal keys, if there may be such rows: those of the primary key that are not among
        the index's.
      backwards: whether the scan goes from the end of the index to its beginning.
    """

    name: str
    parts: tuple[KeyPart, ...]
    ties: tuple[KeyPart, ...]
    backwards: bool

    @property
    def first(self) -> FindOperation:
        """The operation that begins with given values."""
        return "<=" if self.backwards else ">="

    @property
    def behind(self) -> FindOperation:
        """The operation that begins behind given values."""
        return "<" if self.backwards else ">"

    @property
    def before(self) -> FindOperation:
        """The operation that goes away from given values, against the direction of the scan."""
        return ">" if self.backwards else "<"

    def _grows(self, part: KeyPart) -> bool:
        return part.descending == self.backwards

    def marks(self, tokens: Sequence[bytes]) -> list[bytes]:
        """The look-up values of a row's ``parts`` and ``ties``, as tokens, from the tokens that the server returned."""
        return [_looked_up(part, token) for part, token in zip((*self.parts, *self.ties), tokens, strict=True)]

    def runs(self, equal: Sequence[bytes], stop: Sequence[bytes]) -> list[list[Filter]]:
        """Filters for the runs, one behind the other, that make up the range in which the first columns of the index are
        ``equal`` and the next ones before ``stop``."""
        same = [Filter(part.column.name, "=", token, True) for part, token in zip(self.parts, equal, strict=False)]
        if not stop:
            return [same]
        found = []
        at_stop: list[Filter] = []
        for part, token in zip(self.parts[len(equal) :], stop, strict=False):
            name, grows = part.column.name, self._grows(part)
            found.append([*same, *at_stop, Filter(name, "<" if grows else ">", token, True)])
            at_stop += [Filter(name, "<=" if grows else ">=", token, True), Filter(name, "=", token)]
        return found

    def rest_of_group(self, marks: Sequence[bytes]) -> tuple[FindOperation, list[list[Filter]]]:
        """How to read what is behind a row among the rows of the same key: the operation, and the filters of one request after
        the other."""
        key, ties = marks[: len(self.parts)], marks[len(self.parts) :]
        group = [Filter(part.column.name, "=", token, True) for part, token in zip(self.parts, key, strict=True)]
        requests = []
        for number in reversed(range(len(ties))):
            onwards: FilterOperation = ">" if self._grows(self.ties[number]) else "<"
            conditions = [
                Filter(part.column.name, onwards if place == number else "=", token)
                for place, (part, token) in enumerate(zip(self.ties, ties, strict=True))
                if place <= number
            ]
            requests.append([*group, *conditions] if self.backwards else conditions)
        return ("<=" if self.backwards else "="), requests

    # ---- positions

    @property
    def _sign(self) -> bytes:
        names = [str(part.declared) for part in (*self.parts, *self.ties)]
        return zlib.crc32(repr((self.name, names, self.backwards)).encode()).to_bytes(4, "big")

    def position(self, marks: Sequence[bytes]) -> str:
        """The marks of a row as text for ``after=``: letters, digits, ``-`` and ``_``."""
        return base64.urlsafe_b64encode(self._sign + b"\t".join(marks)).rstrip(b"=").decode("ascii")

    def parse(self, position: object) -> list[bytes]:
        """The marks in a position. Raises ValueError for what is none of this order."""
        if not isinstance(position, str):
            raise TypeError(f"after must be the position of a scan, a str, or None, not a {type(position).__name__}")
        try:
            data = base64.b64decode(position.encode("ascii") + b"=" * (-len(position) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, UnicodeEncodeError):
            data = b""
        marks = data[4:].split(b"\t")
        columns = [part.column for part in (*self.parts, *self.ties)]
        if (
            data[:4] != self._sign
            or len(marks) != len(columns)
            or any(mark == NULL and not column.nullable for mark, column in zip(marks, columns, strict=True))
        ):
            direction = "backwards" if self.backwards else "forwards"
            raise ValueError(f"after is not the position of a scan {direction} through the index {self.name}")
        # It may have been in the hands of strangers, and must not be more than values.
        return [mark if mark == NULL else escape(unescape(mark)) for mark in marks]


def keyset(columns: Columns, index_name: str | None, *, backwards: bool, timestamps_in_utc: bool) -> Keyset:
    """The order of a scan through an index. Raises ValueError if no request could say "behind this row" in it."""
    parts, name = columns.key(index_name), index_name or "PRIMARY"
    where = f"scan: the index {name}"
    ties: tuple[KeyPart, ...] = ()
    if name not in columns.unique or any(part.column.nullable for part in parts if name != "PRIMARY"):
        if "PRIMARY" not in columns.indexes:
            raise ValueError(f"{where} may have rows of equal keys, and there is no primary key that tells them apart")
        whole = {part.column.name for part in parts if part.prefix is None}
        ties = tuple(part for part in columns.indexes["PRIMARY"] if part.column.name not in whole)
    for part in ties:
        if part.prefix is not None:
            raise ValueError(
                f"{where} may have rows of equal keys, and the primary key covers only a prefix of {part.column.name}"
            )
    for part in parts:
        if ties and backwards and part.prefix is not None:
            raise ValueError(
                f"{where} covers only a prefix of {part.column.name}, and is not unique: it can be scanned forwards only"
            )
    for column in (part.column for part in (*parts, *ties)):
        _require_exact(column, where, timestamps_in_utc)
    return Keyset(name, parts, ties, backwards)


def _require_exact(column: Column, where: str, timestamps_in_utc: bool) -> None:
    """Refuses a column whose values, as the server returns them, do not find the same place again."""
    if column.type == "float":
        raise ValueError(f"{where} has the float {column.name}, of which the server returns six digits, too few to go on from")
    if column.type == "enum" and "" in column.members:
        raise ValueError(f"{where} has the enum {column.name} with the member '', which looks like a value that is no member")
    if column.type == "timestamp" and not timestamps_in_utc:
        raise ValueError(
            f"{where} has the timestamp {column.name}, which the server returns in its time zone. In a zone with summer time "
            "one hour comes twice, and a scan could leave out rows; if the servers' zone has none, such as UTC, say "
            "timestamps_in_utc=True"
        )


def _looked_up(part: KeyPart, token: bytes) -> bytes:
    """The token of the look-up value for a token that the server returned. Raises DecodingError if it would find another place.

    That is a date that does not exist, which SQL stores under some settings. In a look-up the server may take it for the zero
    date (measured with 2024-02-31, and under NO_ZERO_IN_DATE with 2024-00-10), and a scan would begin anew, or leave out rows.
    """
    column = part.column
    if token == NULL:
        return token
    if isinstance(column._type, types.Date | types.DateTime) and token.strip(b"0-:. "):
        column.decode(token)
    if isinstance(column._type, types.Packed):  # text comes back, raw bytes go in
        return escape(column.encode_data(column.decode(token)))
    if part.prefix is None:
        return token
    if isinstance(column._type, types.Text):
        return escape(column._type.charset.encode(column.decode(token)[: part.prefix]))
    return escape(unescape(token)[: part.prefix])


# ---- the ends of an index


def extreme(part: KeyPart, *, lowest: bool) -> bytes:
    """The token of a value below, or above, which a column has no rows, or few.

    A scan without ``start`` begins there, after a look at what is beyond: the client does not know what comes first in the
    collation of a text.
    """
    column = part.column
    if lowest and column.nullable:
        return NULL
    return escape(_lowest(column) if lowest else _highest(part))


_PACKED = {"uuid": 16, "inet4": 4, "inet6": 16}


def _lowest(column: Column) -> bytes:
    kind = column._type
    if isinstance(kind, types.Integer):
        return b"%d" % kind.lowest
    if column.unsigned:
        return b"0"
    if column.type == "decimal":
        return b"-" + _nines(column)
    fixed = {"double": b"-1.7976931348623157e308", "time": b"-838:59:59", "year": b"0000"}
    if column.type in fixed:
        return fixed[column.type]
    if column.type == "bit":
        return bytes(((column.length or 1) + 7) // 8)
    return bytes(_PACKED.get(column.type, 0))  # also a date, an enum and a set begin with what the server makes of ''


def _highest(part: KeyPart) -> bytes:
    column, kind = part.column, part.column._type
    if isinstance(kind, types.Integer):
        return b"%d" % kind.highest
    if column.type == "decimal":
        return _nines(column)
    if isinstance(kind, types.DateTime) and kind.last is not None:
        return kind.last.isoformat(" ", "seconds").encode()
    if column.type in _LAST:
        return _LAST[column.type]
    if column.type == "bit":
        return column.encode_data((1 << (column.length or 1)) - 1)
    if column.type == "enum":
        return column.encode_data(column.members[-1])
    if column.type == "set":
        return column.encode_data(frozenset(column.members))
    if isinstance(kind, types.Text):
        return _last_text(kind) * min(part.prefix or column.length or 4, 4)
    return b"\xff" * (_PACKED.get(column.type) or min(part.prefix or column.length or 16, 16))


_LAST = {
    "double": b"1.7976931348623157e308",
    "date": b"9999-12-31",
    "datetime": b"9999-12-31 23:59:59",
    "time": b"838:59:59",
    "year": b"2155",
}


def _nines(column: Column) -> bytes:
    precision, scale = column.precision or 0, column.scale or 0
    return b"9" * (precision - scale) + (b"." + b"9" * scale if scale else b"")


def _last_text(kind: types.Text) -> bytes:
    """A character behind which no text begins that people write, or few, in the collations of its character set (measured).

    Repeated, because there are collations to which all characters beyond U+FFFF are equal: one of them would be in front of all
    texts that begin with an emoji.
    """
    for character in "\U0010ffff\uffff":
        try:
            return kind.charset.encode(character)
        except ValueError:
            continue
    return _LAST_BYTES.get(kind.charset.name, b"\xff")


_LAST_BYTES = {"ascii": b"\x7f", "koi8r": b"\xf1", "latin7": b"\xde"}
