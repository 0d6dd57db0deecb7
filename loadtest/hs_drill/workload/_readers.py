"""What a server gives for a value of a declared column, as Python's value."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from hs_drill._sql_text import literal
from hs_drill.scenario import BINARIES, TEXTS

if TYPE_CHECKING:
    import trio_hs

__all__ = ["reader", "shown"]

_AS_TEXT = (*TEXTS, "json", "enum")
_AS_BYTES = (*BINARIES, "bit")
_MOST_SHOWN = 100


def reader(column: trio_hs.Column) -> Callable[[Any], Any]:
    """The function from what a server gives to the value.

    HandlerSocket gives bytes in the column's character set. SQL's driver gives text, bytes, numbers and times. An embedded
    server gives bytes as text of the same code points. What is no value of the column stays as it is, and equals none.
    """
    decode = column.decode_data
    text_stays, of_bytes = column.type in _AS_TEXT, column.type in _AS_BYTES

    def whole_number(given: Any) -> Any:
        try:
            return int(given)
        except (TypeError, ValueError):
            return given

    if column.is_integer:
        return whole_number

    def value_in(given: Any) -> Any:
        if isinstance(given, str):
            if text_stays:
                return given
            if column.type == "set":
                return frozenset(given.split(",")) if given else frozenset()
            data = given.encode("latin-1", "replace") if of_bytes else given.encode()
        elif isinstance(given, bytes | bytearray):
            data = bytes(given)
        else:
            return given
        try:
            return decode(data)
        except Exception:  # trio_hs.DecodingError, of a package that Locust's processes must not import
            return given

    return value_in


def shown(value: object) -> str:
    """A value for people, on one line: as in SQL."""
    match value:
        case frozenset():
            value = ",".join(sorted(value))
        case bytes() if value.isascii() and (readable := value.decode()).isprintable():
            value = readable
    text = literal(value).replace(".000000'", "'")
    if not text.isprintable():
        text = "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)
    return text if len(text) <= _MOST_SHOWN else f"{text[: _MOST_SHOWN - 3]}..."
