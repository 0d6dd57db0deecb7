"""Rewrite the weights in trio_hs/testing/_uca1400.py from those of a server, which are read from stdin.

mariadb -N -e "SET NAMES utf8mb4; SELECT seq, HEX(WEIGHT_STRING(CONVERT(CHAR(seq USING utf32) USING utf8mb4)
  COLLATE utf8mb4_uca1400_ai_ci)) FROM seq_0_to_1114111" test | python scripts/uca_weights.py

With the weights of utf8mb4_unicode_ci and the argument 400, rewrites those in _uca400.py.
"""

from __future__ import annotations

import base64
import re
import sys
import unicodedata
import zlib
from collections.abc import Callable
from pathlib import Path

from trio_hs.testing import _uca400, _uca1400

WIDTH = 118


def signed(number: int) -> bytes:
    """The number as bytes of 7 bits each, the lowest first; the sign is in the first bit."""
    number = number * 2 if number >= 0 else -2 * number - 1
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes((*out, number))


def packed(
    weights: dict[int, tuple[int, ...]], implicit: Callable[[int], tuple[int, ...]] = _uca1400.implicit, end: int = 0x110000
) -> str:
    """What `_uca1400.unpacked` unpacks: the characters before `end` whose weights are not implicit."""
    gaps, lengths, differences = bytearray(), bytearray(), bytearray()
    previous, weight = 0, 0
    for code in sorted(weights):
        if code >= end or weights[code] == implicit(code):
            continue
        gaps += signed(code - previous)
        previous = code
        parts = unicodedata.normalize("NFKD", chr(code))
        if parts != chr(code) and weights[code] == tuple(each for part in parts for each in weights[ord(part)]):
            lengths.append(_uca1400.DECOMPOSED)
            continue
        lengths.append(len(weights[code]))
        for each in weights[code]:
            differences += signed(each - weight)
            weight = each
    return base64.b85encode(zlib.compress(signed(len(lengths)) + bytes(gaps + lengths + differences), 9)).decode()


def main() -> None:
    weights = {}
    for line in sys.stdin:
        code, _, text = line.rstrip("\n").partition("\t")
        weights[int(code)] = tuple(int(text[start : start + 4], 16) for start in range(0, len(text), 4))
    if sys.argv[1:] == ["400"]:
        module, data = Path(_uca400.__file__), packed(weights, _uca400.implicit, _uca400.END)
    else:
        module, data = Path(_uca1400.__file__), packed(weights)
    lines = "".join(f'    "{data[start : start + WIDTH]}"\n' for start in range(0, len(data), WIDTH))
    source, found = re.subn(r"(?<=^_PACKED = \(\n)(?s:.*)(?=^\)\n)", lambda _: lines, module.read_text(), flags=re.MULTILINE)
    assert found == 1
    module.write_text(source)


if __name__ == "__main__":
    main()
