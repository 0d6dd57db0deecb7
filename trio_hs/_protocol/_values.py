"""Values to the tokens of the protocol, and back."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator, KeysView, Mapping, Sequence, ValuesView
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, NoReturn, TypeAlias, TypeVar

from ..exceptions import DecodingError

#: The types of values that may be sent. Anything else is a TypeError.
Value: TypeAlias = str | bytes | bytearray | int | float | bool | Decimal | date | datetime | time | timedelta | None

T = TypeVar("T")
#: What a list of arguments may be: whatever has an order. Not a set, whose order is not the caller's, and not a dict.
Ordered: TypeAlias = Sequence[T] | KeysView[T] | ValuesView[T] | Iterator[T]

#: From this many values or answers on, it pays to handle all of them at once.
BULK = 16
#: A Decimal whose exponent is farther from 0 is refused: written out, it could fill the memory. Python's own bound for an int.
MAX_EXPONENT = 4300

NULL = b"\0"


def value_list(values: Iterable[T], what: str = "values", of: str = "values") -> list[T]:
    """The values as a new list. TypeError, naming ``what``, for what is no list ``of`` something."""
    if isinstance(values, (set, frozenset)):
        raise TypeError(f"{what} must be a list of {of}, not a {type(values).__name__}, which has no order")
    if isinstance(values, (str, bytes, bytearray, Mapping)) or not isinstance(values, Iterable):
        raise TypeError(f"{what} must be a list of {of}, not one {type(values).__name__}")
    return list(values)


def located(where: str, error: TypeError | ValueError) -> TypeError | ValueError:
    """The same error, with a message that begins with the place of the mistake."""
    # A UnicodeEncodeError becomes a ValueError: it cannot be made from a message alone.
    return (TypeError if isinstance(error, TypeError) else ValueError)(f"{where}: {error}")


_ESCAPE = re.compile(rb"[\x00-\x0f]")
_UNESCAPE = re.compile(rb"\x01([\x40-\x4f])")
_UNESCAPE_TEXT = re.compile("\x01([\x40-\x4f])")
_ESCAPES = {bytes((b,)): bytes((1, b + 0x40)) for b in range(0x10)}
_UNESCAPES = {bytes((b + 0x40,)): bytes((b,)) for b in range(0x10)}
_UNESCAPES_TEXT = {chr(b + 0x40): chr(b) for b in range(0x10)}

# In these encodings a printable text has no byte below 0x10, and every byte below 0x80 stands for itself. So most texts need no
# look at their bytes.
_TRANSPARENT = frozenset(("utf-8", "ascii", "iso8859-1"))

# An encoding has to leave these as they are: ASCII, and character codes of some encodings that do not.
_ASCII = bytes(range(0x80))
_PROBES = (*[bytes((byte,)) for byte in _ASCII], _ASCII, rb"\u0041 \x41 +AEE- ~{!!~}")


def escape(data: bytes) -> bytes:
    """``data`` as a token, with the bytes 0x00-0x0f in their two-byte form."""
    return _ESCAPE.sub(lambda match: _ESCAPES[match[0]], data)


def unescape(token: bytes) -> bytes:
    """The bytes that a token stands for. The caller handles the token of NULL."""
    if b"\x01" not in token:
        return token
    return _UNESCAPE.sub(lambda match: _UNESCAPES[match[1]], token)


def _unescape_text(token: str) -> str:
    return _UNESCAPE_TEXT.sub(lambda match: _UNESCAPES_TEXT[match[1]], token)


def _number_text(value: Value) -> str:
    """Numbers and times as MariaDB writes them. It would accept much else silently, and store something different."""
    if isinstance(value, int):  # bool too
        return str(int(value))
    if isinstance(value, float):
        if value != value or value in (float("inf"), float("-inf")):
            raise ValueError(f"{value!r} cannot be stored: MariaDB has no infinity and no NaN")
        return repr(float(value))
    if isinstance(value, Decimal):
        if not value.is_finite():
            raise ValueError(f"{value!r} cannot be stored: MariaDB has no infinity and no NaN")
        if abs(value.adjusted()) > MAX_EXPONENT:
            raise ValueError(f"a Decimal with the exponent {value.adjusted()} cannot be stored: MariaDB has 65 digits")
        return format(value, "f")
    if isinstance(value, datetime | time) and value.tzinfo is not None:
        raise ValueError(f"{value!r} has a time zone, which a column cannot hold; convert it and drop tzinfo")
    if isinstance(value, datetime):
        return value.isoformat(" ")
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return _time_text(value)
    several = "; each is the value of one column" if isinstance(value, (list, tuple)) else ""
    raise TypeError(
        f"cannot send a {type(value).__name__}{several}; "
        "values are str, bytes, int, float, Decimal, bool, None, date, datetime, time and timedelta"
    )


def _time_text(value: timedelta) -> str:
    """``[-]HHH:MM:SS[.ffffff]``, the literal of a TIME column, whose range is -838:59:59 to 838:59:59.999999."""
    if abs(value) >= timedelta(hours=839):
        raise ValueError(f"{value!r} is outside a TIME column's range of 838:59:59")
    microseconds = abs(value) // timedelta(microseconds=1)
    seconds, fraction = divmod(microseconds, 1_000_000)
    text = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return f"{'-' if value < timedelta(0) else ''}{text}{f'.{fraction:06}' if fraction else ''}"


def _leaves_ascii(encoding: str) -> bool:
    """Whether ASCII text is its own bytes in the encoding, whatever stands next to it."""
    try:
        return all(probe.decode("ascii").encode(encoding) == probe == probe.decode(encoding).encode() for probe in _PROBES)
    except (UnicodeError, LookupError):  # a LookupError: it is not a text encoding
        return False


class Codec:
    """Values to tokens and back, in one text encoding.

    With ``encoding=None`` values come back as bytes, and text goes out as UTF-8. The encoding has to be that of the
    columns, because the server converts nothing. But the server reads numbers and times as ASCII, and this class does not know
    which columns are text. So it refuses an encoding in which ASCII is not its own bytes: in UTF-16 the number 2 would be read
    as 0.
    """

    def __init__(self, encoding: str | None = "utf-8") -> None:
        if encoding is not None and not isinstance(encoding, str):
            raise TypeError(f"encoding must be the name of one, such as 'utf-8', or None, not {encoding!r}")
        self.encoding = encoding
        try:
            self._out = "utf-8" if encoding is None else codecs.lookup(encoding).name
        except LookupError:
            raise ValueError(
                f"encoding must be one that Python knows, such as 'utf-8' for MariaDB's utf8mb4, or None, not {encoding!r}"
            ) from None
        if encoding is not None and not _leaves_ascii(encoding):
            raise ValueError(
                f"encoding must be one in which ASCII text is its own bytes, such as 'utf-8' or 'cp1252', not {encoding!r}: "
                "the server reads numbers as ASCII, and only a table whose columns are declared (columns=...) knows which ones "
                "are text in ucs2, utf16 or utf32; encoding=None gives and takes bytes"
            )
        self._transparent = self._out in _TRANSPARENT

    def encode(self, value: Value) -> bytes:
        """The token of a value. Raises TypeError or ValueError for what cannot be one."""
        if type(value) is int:
            return b"%d" % value
        if isinstance(value, str):
            if self._transparent and value.isprintable():
                return value.encode(self._out)
            return escape(value.encode(self._out))
        if value is None:
            return NULL
        if isinstance(value, (bytes, bytearray)):
            return escape(bytes(value))
        return _number_text(value).encode()

    def encode_all(self, values: Ordered[Value], what: str = "values", columns: Sequence[str] = ()) -> list[bytes]:
        """The tokens of several values. TypeError and ValueError name ``what`` and the position of the wrong one, and its
        column if they are given."""
        if type(values) is not list and type(values) is not tuple:
            values = value_list(values, what)
        if len(values) >= BULK:
            return self.encode_list(values, what, columns).split(b"\t")
        try:
            return [self.encode(value) for value in values]
        except (TypeError, ValueError):
            self._blame(values, what, columns)

    def encode_list(self, values: Sequence[Value], what: str = "values", columns: Sequence[str] = ()) -> bytes:
        """The tokens of several values, joined by TABs. Fast for many values of one type."""
        if len(values) >= BULK:
            kinds = set(map(type, values))
            if kinds == {int}:
                return ((b"\t%d" * len(values)) % tuple(values))[1:]
            if kinds == {str} and self._transparent and "".join(values).isprintable():  # type: ignore[arg-type]
                return "\t".join(values).encode(self._out)  # type: ignore[arg-type]
        try:
            return b"\t".join([self.encode(value) for value in values])
        except (TypeError, ValueError):
            self._blame(values, what, columns)

    def _blame(self, values: Sequence[Value], what: str, columns: Sequence[str]) -> NoReturn:
        """Raises the error of the first value that cannot be sent, and says where it is."""
        for number, value in enumerate(values):
            try:
                self.encode(value)
            except (TypeError, ValueError) as error:
                column = f" (column {columns[number]})" if number < len(columns) else ""
                raise located(f"{what}[{number}]{column}", error) from None
        raise AssertionError(f"no value of {what} is wrong")

    def decode(self, answer: bytes) -> list[Any]:
        """The values in an answer, which comes without its header.

        Raises DecodingError when they are not text in the encoding.
        """
        if self.encoding is None:
            return [None if token == NULL else unescape(token) for token in answer.split(b"\t")]
        try:
            if self._transparent:
                # One decode for the whole answer: TAB and the escapes are the same characters in text and bytes.
                text = answer.decode(self._out)
                if "\0" in text or "\x01" in text:
                    return [None if t == "\0" else _unescape_text(t) for t in text.split("\t")]
                return text.split("\t")
            return [None if t == NULL else unescape(t).decode(self._out) for t in answer.split(b"\t")]
        except UnicodeDecodeError as error:
            raise DecodingError(
                f"a value is no {self.encoding} text: {error.reason} at byte {error.start} of the answer's values; "
                "the encoding must be that of the columns, and encoding=None gives bytes",
                answer,
            ) from error

    def plain_text(self, answers: bytes) -> str | None:
        """``answers`` as one text, if that gives each value in it as it is; None if each answer must be decoded separately."""
        if not self._transparent or self.encoding is None or b"\0" in answers or b"\x01" in answers:
            return None
        try:
            return answers.decode(self._out)
        except UnicodeDecodeError:
            return None
