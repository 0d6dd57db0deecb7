"""Values to the tokens of the protocol, and back."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Generator, Iterable, Iterator, KeysView, Mapping, Sequence, ValuesView
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, NoReturn, TypeAlias, TypeVar

from .._counted import counted
from ..exceptions import DecodingError
from ._buffer import Buffer

#: The types of values that may be sent. Anything else is a TypeError.
Value: TypeAlias = str | bytes | bytearray | int | float | bool | Decimal | date | datetime | time | timedelta | None

T = TypeVar("T")
#: What a list of arguments may be: whatever has an order. Not a set, whose order is not the caller's, and not a dict.
Ordered: TypeAlias = Sequence[T] | KeysView[T] | ValuesView[T] | Iterator[T]

#: Lists of arguments that are used as they are. Others are copied into a list.
SEQUENCES: frozenset[type] = frozenset((list, tuple, range))

#: From this many values or answers on, it pays to handle all of them at once.
BULK = 16
#: `Codec.encode` refuses a longer text or bytes: `_slices` encodes it piece by piece. No key is nearly as long.
LONG_VALUE = 1 << 16
#: Nor are several values encoded in one go that have more characters or bytes together. It shows after each FEW_VALUES of them.
LONG_LIST = 1 << 18
FEW_VALUES = 16
#: A Decimal whose exponent is farther from 0 is refused: written out, it could fill the memory. Python's own bound for an int.
MAX_EXPONENT = 4300

NULL = b"\0"


@dataclass(frozen=True, slots=True)
class EncodedList:
    """Values that are encoded already: ``count`` tokens, joined by TABs. Takes the place of a list of values in a request."""

    tokens: bytes
    count: int


class LongValue(ValueError):
    """A value, or several together, is too long to be encoded in one go, while all other tasks wait."""

    def __init__(self, size: int, where: str = "") -> None:
        super().__init__(f"{where}{size} characters or bytes are more than the {LONG_VALUE} that a value can have here")
        self.size = size


def value_list(values: Iterable[T], what: str = "values", of: str = "values") -> list[T]:
    """The values as a new list. TypeError, naming ``what``, for what is no list ``of`` something."""
    if isinstance(values, (set, frozenset)):
        raise TypeError(f"{what} must be a list of {of}, not a {type(values).__name__}, which has no order")
    if isinstance(values, (str, bytes, bytearray, Mapping)) or not isinstance(values, Iterable):
        raise TypeError(f"{what} must be a list of {of}, not one {type(values).__name__}")
    return list(values)


def shown(value: object) -> str:
    """``value`` as error messages show it. Python does not write out an int of thousands of digits."""
    try:
        return repr(value)
    except ValueError:
        return "an int of thousands of digits" if isinstance(value, int) else f"a {type(value).__name__}"


def joined(encode: Callable[[Any], bytes], values: Sequence[Any]) -> bytes:
    """The tokens that ``encode`` makes of values, joined by TABs. Raises LongValue if several are too long together."""
    if len(values) <= FEW_VALUES:
        return b"\t".join(map(encode, values))
    parts: list[bytes] = []
    size = 0
    for start in range(0, len(values), FEW_VALUES):
        if size > LONG_LIST:
            raise LongValue(size)
        parts.append(b"\t".join(map(encode, values[start : start + FEW_VALUES])))
        size += len(parts[-1])
    return b"\t".join(parts)


def located(where: str, error: TypeError | ValueError) -> TypeError | ValueError:
    """The same error, with a message that begins with the place of the mistake."""
    # A UnicodeEncodeError becomes a ValueError: it cannot be made from a message alone.
    return (TypeError if isinstance(error, TypeError) else ValueError)(f"{where}: {error}")


def place(what: str, number: int, columns: Sequence[str] = ()) -> str:
    """Where a value is, for error messages: the argument that it is in, its position there, and its column if it has one."""
    return f"{what}[{number}] (column {columns[number]})" if number < len(columns) else f"{what}[{number}]"


_ESCAPE = re.compile(rb"[\x00-\x0f]")
_UNESCAPE = re.compile(rb"\x01([\x40-\x4f])")
_UNESCAPE_TEXT = re.compile("\x01([\x40-\x4f])")
_ESCAPES = {bytes((b,)): bytes((1, b + 0x40)) for b in range(0x10)}
_UNESCAPES = {bytes((b + 0x40,)): bytes((b,)) for b in range(0x10)}
_UNESCAPES_TEXT = {chr(b + 0x40): chr(b) for b in range(0x10)}
#: The bytes that must be escaped.
ESCAPED = bytes(range(0x10))

# The regular expressions call Python for each match, and `replace` reads the bytes once for each of the 16. Measured: to
# escape, it is faster from MANY matches or bytes on (1 MB of random bytes: 3 ms, not 18 ms), and from SOME_BYTES on it pays to
# count the matches. Back, it is faster where every eighth byte begins an escape, and for the few escapes
# that text and zeros consist of.
_SOME_BYTES, _MANY_BYTES, _MANY_ESCAPES = 128, 1024, 16
# 0x01, which begins an escape, is the first to be escaped, and the last to be made of one.
_ESCAPE_ORDER = sorted(_ESCAPES.items(), key=lambda pair: pair[0] != b"\x01")
_UNESCAPE_ORDER = [(escaped, byte) for byte, escaped in reversed(_ESCAPE_ORDER)]
_USUAL = [(_ESCAPES[byte], byte) for byte in (b"\n", b"\t", b"\r", b"\0")]
_USUAL_TEXT = [(escaped.decode(), byte.decode()) for escaped, byte in _USUAL]

# In these encodings a printable text has no byte below 0x10, and every byte below 0x80 stands for itself. So most texts need no
# look at their bytes.
_TRANSPARENT = frozenset(("utf-8", "ascii", "iso8859-1"))

# An encoding has to leave these as they are: ASCII, and character codes of some encodings that do not.
_ASCII = bytes(range(0x80))
_PROBES = (*[bytes((byte,)) for byte in _ASCII], _ASCII, rb"\u0041 \x41 +AEE- ~{!!~}")


def escape(data: bytes) -> bytes:
    """``data`` as a token, with the bytes 0x00-0x0f in their two-byte form."""
    size = len(data)
    if size >= _SOME_BYTES:
        escapes = size - len(data.translate(None, ESCAPED))
        if not escapes:
            return data
        if escapes >= _MANY_ESCAPES or size >= _MANY_BYTES:
            for byte, escaped in _ESCAPE_ORDER:
                data = data.replace(byte, escaped)
            return data
    return _ESCAPE.sub(lambda match: _ESCAPES[match[0]], data)


def unescape(token: bytes) -> bytes:
    """The bytes that a token stands for. The caller handles the token of NULL."""
    if b"\x01" not in token:
        return token
    if len(token) >= _MANY_BYTES:
        dense = token.count(b"\x01") * 8 > len(token)
        for escaped, byte in _UNESCAPE_ORDER if dense else _USUAL:
            token = token.replace(escaped, byte)
        if dense or b"\x01" not in token:
            return token
    return _UNESCAPE.sub(lambda match: _UNESCAPES[match[1]], token)


def unescape_pieces(pieces: Iterable[bytes]) -> Generator[None, None, bytes]:
    """The bytes that a long token stands for. Yields after each of its pieces."""
    out = Buffer()
    for piece in pieces:
        out.write(unescape(piece))
        yield
    return out.contents()


def _unescape_text(token: str) -> str:
    if len(token) >= _MANY_BYTES:
        for escaped, character in _USUAL_TEXT:
            token = token.replace(escaped, character)
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

    Attributes:
      transparent: whether text without control characters, encoded, is its own token.
      slice_bytes: how much of an answer may be decoded in one go (see `_slices`).
    """

    slice_bytes = 1 << 16

    def __init__(self, encoding: str | None = "utf-8") -> None:
        if encoding is not None and not isinstance(encoding, str):
            raise TypeError(f"encoding must be the name of one, such as 'utf-8', or None, not {encoding!r}")
        self.encoding = encoding
        try:
            self._out = "utf-8" if encoding is None else codecs.lookup(encoding).name
        except (LookupError, ValueError):  # a ValueError: no name at all
            raise ValueError(
                f"encoding must be one that Python knows, such as 'utf-8' for MariaDB's utf8mb4, or None, not {encoding!r}"
            ) from None
        if encoding is not None and not _leaves_ascii(encoding):
            raise ValueError(
                f"encoding must be one in which ASCII text is its own bytes, such as 'utf-8' or 'cp1252', not {encoding!r}: "
                "the server reads numbers as ASCII, and only a table whose columns are declared (columns=...) knows which ones "
                "are text in ucs2, utf16 or utf32; encoding=None gives and takes bytes"
            )
        self.transparent = self._out in _TRANSPARENT
        self.slice_bytes = self.slice_bytes  # in the object: it is read for each answer, and is found sooner there

    def encode(self, value: Value) -> bytes:
        """The token of a value. Raises TypeError or ValueError for what cannot be one, and LongValue for what is too long."""
        if type(value) is int:
            return b"%d" % value
        if type(value) is str or isinstance(value, str):
            if len(value) > LONG_VALUE:
                raise LongValue(len(value))
            if self.transparent and value.isprintable():
                return value.encode(self._out)
            return escape(value.encode(self._out))
        if value is None:
            return NULL
        if isinstance(value, (bytes, bytearray)):
            if len(value) > LONG_VALUE:
                raise LongValue(len(value))
            return escape(bytes(value))
        return _number_text(value).encode()

    def encode_all(
        self, values: Ordered[Value], what: str = "values", columns: Sequence[str] = (), *, long_values: bool = False
    ) -> list[bytes]:
        """The tokens of several values. TypeError and ValueError name ``what`` and the position of the wrong one, and its
        column if they are given.

        With ``long_values`` it raises LongValue as it is: the caller encodes the values in slices then.
        """
        if type(values) is not list and type(values) is not tuple:
            values = value_list(values, what)
        tokens = []
        try:
            if len(values) >= BULK:
                return self.encode_list(values, what, columns).split(b"\t")
            for value in values:  # few of them, for which a list comprehension would take longer
                tokens.append(b"%d" % value if type(value) is int else self.encode(value))
            return tokens
        except LongValue:
            if long_values:
                raise
            self._blame(values, what, columns)
        except (TypeError, ValueError):
            self._blame(values, what, columns)

    def encode_list(self, values: Sequence[Value], what: str = "values", columns: Sequence[str] = (), first: int = 0) -> bytes:
        """The tokens of several values, joined by TABs. Fast for many values of one type.

        Errors say what the values are, and count them from ``first`` on. Raises LongValue for what should be encoded in slices.
        """
        try:
            if len(values) >= BULK:
                kinds = set(map(type, values))
                if kinds == {int}:
                    return ((b"\t%d" * len(values)) % tuple(values))[1:]
                if kinds == {str} and self.transparent:
                    size = sum(map(len, values))  # type: ignore[arg-type]
                    if size > LONG_LIST and len(values) > FEW_VALUES:
                        raise LongValue(size)
                    if size <= LONG_LIST and "".join(values).isprintable():  # type: ignore[arg-type]
                        return "\t".join(values).encode(self._out)  # type: ignore[arg-type]
            return joined(self.encode, values)
        except LongValue:
            raise
        except (TypeError, ValueError):
            self._blame(values, what, columns, first)

    def _blame(self, values: Sequence[Value], what: str, columns: Sequence[str], first: int = 0) -> NoReturn:
        """Raises the error of the first value that cannot be sent, and says where it is."""
        for number, value in enumerate(values, first):
            try:
                self.encode(value)
            except (TypeError, ValueError) as error:
                raise located(place(what, number, columns), error) from None
        raise ValueError(f"{what}: {counted(len(values), 'value')} are too many")  # only all of them together are too long

    def decode(self, answer: bytes, column: int = 0) -> list[Any]:
        """The values in an answer, or in a part of it that begins in the given column. It comes without its header.

        Raises DecodingError when they are not text in the encoding.
        """
        if self.encoding is None:
            return [None if token == NULL else unescape(token) for token in answer.split(b"\t")]
        try:
            if self.transparent:
                # One decode for the whole answer: TAB and the escapes are the same characters in text and bytes.
                text = answer.decode(self._out)
                if "\0" in text or "\x01" in text:
                    return [None if t == "\0" else _unescape_text(t) for t in text.split("\t")]
                return text.split("\t")
            return [None if t == NULL else unescape(t).decode(self._out) for t in answer.split(b"\t")]
        except UnicodeDecodeError as error:
            raise self._not_text(error, answer) from error

    def decode_long(self, pieces: Iterable[bytes], column: int = 0) -> Generator[None, None, Any]:
        """The value of one long token, which comes in pieces. Yields after each of them."""
        if self.encoding is not None and self.transparent:
            texts = []
            for piece in pieces:
                texts += self.decode(piece)
                yield
            return "".join(texts)
        data = yield from unescape_pieces(pieces)
        if self.encoding is None:
            return data
        try:
            return data.decode(self._out)
        except UnicodeDecodeError as error:
            raise self._not_text(error, data) from error

    def _not_text(self, error: UnicodeDecodeError, data: bytes) -> DecodingError:
        return DecodingError(
            f"a value is no {self.encoding} text: {error.reason} at byte {error.start} of the answer's values; "
            "the encoding must be that of the columns, and encoding=None gives bytes",
            data,
        )

    def encode_part(self, part: Any) -> bytes:
        """A part of the token of a long value: of a str, if the encoding is transparent, or of bytes."""
        return escape(part.encode(self._out) if isinstance(part, str) else bytes(part))

    def encode_text(self, text: str) -> bytes:
        """The bytes of a text of any length, before they are escaped."""
        return text.encode(self._out)

    def plain_text(self, answers: bytes) -> str | None:
        """``answers`` as one text, if that gives each value in it as it is; None if each answer must be decoded separately."""
        if not self.transparent or self.encoding is None or b"\0" in answers or b"\x01" in answers:
            return None
        try:
            return answers.decode(self._out)
        except UnicodeDecodeError:
            return None
