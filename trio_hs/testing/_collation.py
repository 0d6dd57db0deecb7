"""Collations: text to a ``str`` that sorts and equals as MariaDB's collation does.

A comparison then costs one comparison of strings. The weights were taken from a server with ``WEIGHT_STRING``: this file
holds the rules that give the same ones (docs/testing.md names the few characters for which they do not).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import NamedTuple

# general_ci knows the letters of an old Unicode and no case of younger ones.
_OLD = unicodedata.ucd_3_2_0
# The ranges in which it takes a letter without its accents: Latin, Greek and Cyrillic.
_ACCENTED = ((0x00C0, 0x0250), (0x0370, 0x0482), (0x04C0, 0x0500), (0x1E00, 0x2000))
_SHARP_S, _SHORT_I, _SMALL_SHORT_I = 0xDF, 0x419, 0x439
_BEYOND_BMP = 0xFFFD


def _general_weight(code: int) -> int:
    """The weight of a character in ``utf8mb4_general_ci``."""
    if code > 0xFFFF:
        return _BEYOND_BMP
    if code == _SHARP_S:
        return ord("S")
    letter = chr(code)
    if _OLD.category(letter) == "Cn":
        return code
    if " " in _OLD.decomposition(letter) and code not in (_SHORT_I, _SMALL_SHORT_I):
        base = _OLD.normalize("NFD", letter)[0]
        if base.isalpha() and any(first <= code < end for first, end in _ACCENTED):
            letter = base
    upper = letter.upper()
    return ord(letter) if len(upper) != 1 or _OLD.category(upper) == "Cn" else ord(upper)


class _Weights(dict[int, int]):
    """A table for ``str.translate`` that fills itself."""

    def __init__(self, weight: Callable[[int], int]) -> None:
        self._weight = weight

    def __missing__(self, code: int) -> int:
        weight = self[code] = self._weight(code)
        return weight


_GENERAL = _Weights(_general_weight)

_SWEDISH = str.maketrans(
    "abcdefghijklmnopqrstuvwxyzÀÁÂÃàáâãÄÆäæÅåÇçÈÉÊËèéêëÌÍÎÏìíîïÐðÑñÒÓÔÕòóôõÖöøÙÚÛùúûÜÝüýþ",
    "ABCDEFGHIJKLMNOPQRSTUVWXYZAAAAAAAA\\\\\\\\[[CCEEEEEEEEIIIIIIIIDDNNOOOOOOOO]]ØUUUUUUYYYYÞ",
)


def _general(text: str) -> str:
    return text.upper() if text.isascii() else text.translate(_GENERAL)


def _swedish(text: str) -> str:
    return text.translate(_SWEDISH)


_ASCII = str.maketrans("abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ")


def _ascii(text: str) -> str:
    return text.translate(_ASCII)


def _identity(text: str) -> str:
    return text


# Trailing spaces do not count: the shorter string is as if filled up with spaces for ever. So a run of spaces is ranked by
# what ends it: something below the space (the longer run is greater), the end of the string, or something above it (the
# longer run is less).
_SPACES = re.compile(" +")
_LONGEST = 0x10FFFE


def _rank(match: re.Match[str]) -> str:
    length = match.end() - match.start()
    return f" \0{chr(length)}" if match.string[match.end()] < " " else f" \2{chr(_LONGEST - length)}"


def _pad(weights: str) -> str:
    weights = weights.rstrip(" ")
    return (_SPACES.sub(_rank, weights) if " " in weights else weights) + " \1"


class Collation(NamedTuple):
    """How text is stored and compared.

    Attributes:
      charset: the column's character set, as Python calls it; None for bytes.
      width: the most bytes that a character takes.
      weigh: text to a string of one weight per character.
      pads: trailing spaces do not count.
    """

    name: str
    charset: str | None
    width: int
    weigh: Callable[[str], str]
    pads: bool = True

    def key(self, text: str) -> str:
        """What sorts and equals as the text does; never empty, so that ``""`` is free for NULL."""
        return _pad(self.weigh(text)) if self.pads else "\0" + text


BINARY = Collation("binary", None, 1, _identity, pads=False)
UTF8MB4_BIN = Collation("utf8mb4_bin", "utf-8", 4, _identity)

COLLATIONS = {
    collation.name: collation
    for collation in (
        Collation("utf8mb4_general_ci", "utf-8", 4, _general),
        UTF8MB4_BIN,
        Collation("latin1_swedish_ci", "latin-1", 1, _swedish),
        Collation("latin1_bin", "latin-1", 1, _identity),
        # The server lets any byte into an ASCII column.
        Collation("ascii_general_ci", "latin-1", 1, _ascii),
        Collation("ascii_bin", "latin-1", 1, _identity),
        BINARY,
    )
}
#: Each character set's own collation.
DEFAULTS = {
    "utf8mb4": "utf8mb4_general_ci",
    "latin1": "latin1_swedish_ci",
    "ascii": "ascii_general_ci",
    "binary": "binary",
}


def find_collation(charset: str | None, collation: str | None) -> Collation:
    """The collation that a declaration names. Raises ValueError for one that is not emulated."""
    name = (collation or DEFAULTS.get((charset or "utf8mb4").lower(), charset or "")).lower()
    if name not in COLLATIONS:
        raise ValueError(f"no collation {name!r} here; there are {', '.join(COLLATIONS)}")
    if charset is not None and not name.startswith(charset.lower()):
        raise ValueError(f"the collation {name} does not belong to the character set {charset}")
    return COLLATIONS[name]
