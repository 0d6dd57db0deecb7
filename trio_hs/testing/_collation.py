"""Collations: they turn text into a ``str`` that sorts and compares as MariaDB's collation does.

So a comparison costs one comparison of strings. The weights come from a server's ``WEIGHT_STRING``. This file has rules that
give the same weights (docs/testing.md names the few exceptions).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import NamedTuple

from . import _uca400, _uca1400
from ._versions import Version

# general_ci knows the letters of an old Unicode, and treats later ones as if they had no case.
_OLD = unicodedata.ucd_3_2_0
# The ranges in which it ignores accents: Latin, Greek and Cyrillic.
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


class _Weights(dict[int, int | str]):
    """A table for ``str.translate`` that computes weights when they are first needed."""

    def __init__(self, weight: Callable[[int], int | str]) -> None:
        self._weight = weight

    def __missing__(self, code: int) -> int | str:
        weight = self[code] = self._weight(code)
        return weight


_GENERAL = _Weights(_general_weight)

# Subtracted from the weights, so that the weight of the space is a space, which ``_pad`` looks for.
_UCA_BASE = 0x209 - ord(" ")


def _by_uca(weights: Callable[[int], tuple[int, ...]]) -> _Weights:
    """A table of a character's weights: any number of them."""
    return _Weights(lambda code: "".join(chr(weight - _UCA_BASE) for weight in weights(code)))


_UCA1400, _UCA400 = _by_uca(_uca1400.weights), _by_uca(_uca400.weights)

_SWEDISH = str.maketrans(
    "abcdefghijklmnopqrstuvwxyzÀÁÂÃàáâãÄÆäæÅåÇçÈÉÊËèéêëÌÍÎÏìíîïÐðÑñÒÓÔÕòóôõÖöøÙÚÛùúûÜÝüýþ",
    "ABCDEFGHIJKLMNOPQRSTUVWXYZAAAAAAAA\\\\\\\\[[CCEEEEEEEEIIIIIIIIDDNNOOOOOOOO]]ØUUUUUUYYYYÞ",
)


def _general(text: str) -> str:
    return text.upper() if text.isascii() else text.translate(_GENERAL)


def _uca(text: str) -> str:
    return text.translate(_UCA1400)


def _unicode(text: str) -> str:
    return text.translate(_UCA400)


def _swedish(text: str) -> str:
    return text.translate(_SWEDISH)


_ASCII = str.maketrans("abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ")


def _ascii(text: str) -> str:
    return text.translate(_ASCII)


def _identity(text: str) -> str:
    return text


# Trailing spaces do not count, as if the shorter string were padded with endless spaces. So a run of spaces is ranked by what
# follows: a character below the space (the longer run is greater), the end of the string, or a character above the space (the
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
      charset: the Python name of the column's character set; None for bytes.
      width: the most bytes of a character.
      weigh: turns text into a string of weights, in which a space stands for the weight of the space.
      pads: whether trailing spaces are ignored.
    """

    name: str
    charset: str | None
    width: int
    weigh: Callable[[str], str]
    pads: bool = True

    def key(self, text: str) -> str:
        """A string that sorts and compares as the text does. It is never empty, so that ``""`` is free for NULL."""
        return _pad(self.weigh(text)) if self.pads else "\0" + text


BINARY = Collation("binary", None, 1, _identity, pads=False)
UTF8MB4_BIN = Collation("utf8mb4_bin", "utf-8", 4, _identity)

COLLATIONS = {
    collation.name: collation
    for collation in (
        Collation("utf8mb4_general_ci", "utf-8", 4, _general),
        Collation("utf8mb4_uca1400_ai_ci", "utf-8", 4, _uca),
        Collation("utf8mb4_unicode_ci", "utf-8", 4, _unicode),
        UTF8MB4_BIN,
        Collation("latin1_swedish_ci", "latin-1", 1, _swedish),
        Collation("latin1_bin", "latin-1", 1, _identity),
        # The server lets any byte into an ASCII column.
        Collation("ascii_general_ci", "latin-1", 1, _ascii),
        Collation("ascii_bin", "latin-1", 1, _identity),
        BINARY,
    )
}
#: The default collation of each character set but utf8mb4, whose default depends on the version.
DEFAULTS = {
    "latin1": "latin1_swedish_ci",
    "ascii": "ascii_general_ci",
    "binary": "binary",
}


def find_collation(charset: str | None, collation: str | None, version: Version) -> Collation:
    """The collation that a declaration names. Raises ValueError if it is not emulated."""
    defaults = {**DEFAULTS, "utf8mb4": version.collation}
    name = (collation or defaults.get((charset or "utf8mb4").lower(), charset or "")).lower()
    if name not in COLLATIONS:
        raise ValueError(f"no collation {name!r} here; there are {', '.join(COLLATIONS)}")
    if charset is not None and not name.startswith(charset.lower()):
        raise ValueError(f"the collation {name} does not belong to the character set {charset}")
    return COLLATIONS[name]
