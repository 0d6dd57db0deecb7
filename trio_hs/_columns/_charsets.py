"""The character sets of the server, and Python's codecs for them."""

from __future__ import annotations

import codecs
import reprlib

# MariaDB's latin1 is Windows-1252, with the C1 controls in the five places that Windows leaves empty (measured).
_LATIN1 = "".join(bytes((b,)).decode("cp1252" if b not in (0x81, 0x8D, 0x8F, 0x90, 0x9D) else "latin-1") for b in range(256))
_LATIN1_MAP = codecs.charmap_build(_LATIN1)

#: MariaDB's character sets, and the Python codecs that agree with them on every byte (measured;
#: tests/trio_hs/columns/test_declared.py asks a server again). ucs2 and utf8mb3 have the Basic Multilingual Plane only.
_CODECS = {
    "ascii": "ascii",
    "cp1250": "cp1250",
    "cp1251": "cp1251",
    "cp850": "cp850",
    "cp852": "cp852",
    "koi8r": "koi8-r",
    "latin1": "",
    "latin2": "iso8859-2",
    "latin5": "iso8859-9",
    "latin7": "iso8859-13",
    "macce": "mac-latin2",
    "macroman": "mac-roman",
    "ucs2": "utf-16-be",
    "utf16": "utf-16-be",
    "utf16le": "utf-16-le",
    "utf32": "utf-32-be",
    "utf8": "utf-8",
    "utf8mb3": "utf-8",
    "utf8mb4": "utf-8",
}
CHARSETS = tuple(_CODECS)
_BMP_ONLY = ("ucs2", "utf8", "utf8mb3")


class Charset:
    """A character set of the server. The server converts nothing, so a value must be in the character set of its column."""

    def __init__(self, name: str) -> None:
        if name not in _CODECS:
            raise ValueError(f"has the charset {name!r}; the known ones are {', '.join(CHARSETS)}")
        self.name = name
        self._codec = _CODECS[name]
        self._bmp_only = name in _BMP_ONLY

    def encode(self, text: str) -> bytes:
        try:
            if not self._codec:
                return codecs.charmap_encode(text, "strict", _LATIN1_MAP)[0]
            if not self._bmp_only or text.isascii() or max(text) <= "\uffff":
                return text.encode(self._codec)
        except UnicodeEncodeError:
            pass
        raise ValueError(f"is in {self.name}, which cannot write {reprlib.repr(text)}")

    def decode(self, data: bytes) -> str:
        return codecs.charmap_decode(data, "strict", _LATIN1)[0] if not self._codec else data.decode(self._codec)
