"""Turns bytes from the server into answers, and answers into rows, numbers and errors."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, TypeVar

from .._counted import counted
from ..exceptions import ProtocolError
from ._buffer import Buffer
from ._index import Index
from ._values import BULK, Codec

#: An answer that grows beyond this is taken for garbage. The buffer that collects it is at most an eighth larger.
MAX_ANSWER_BYTES = 1 << 30

#: Longer answers are not joined to be looked at together.
LONG_ANSWER = 1 << 20

T = TypeVar("T")


class Answers:
    """Collects what arrives, and returns the lines that are complete.

    ``feed`` takes linear time, even for an answer of many megabytes that comes in small pieces. It copies the pieces into one
    buffer, which becomes the line without another copy. (Kept as they came, each small piece would hold the memory page that
    the kernel had filled for it: 68,000 of 64 bytes took 257 MB and as many memory maps as Linux allows a process.)
    """

    def __init__(self) -> None:
        self._buffer = Buffer()

    @property
    def incomplete(self) -> bool:
        """True in the middle of a line."""
        return self._buffer.size > 0

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that ``data`` completes, without their LF. Raises ProtocolError for one that does not end."""
        lines = data.split(b"\n")
        rest = lines.pop()
        if lines and self._buffer.size:
            self._buffer.write(lines[0])
            lines[0] = self._buffer.contents()
            self.clear()
        if rest:
            self._buffer.write(rest)
            if self._buffer.size > MAX_ANSWER_BYTES:
                self.clear()
                raise ProtocolError(f"an answer of more than {MAX_ANSWER_BYTES} bytes without an end")
        return lines

    def clear(self) -> None:
        """Drops what has arrived of a line."""
        self._buffer = Buffer()


_HEADER = re.compile(rb"([0-9]{1,9})\t([0-9]{1,9})(?:\t|\Z)")
_ERROR = re.compile(rb"[1-9][0-9]{0,8}\t[0-9]{1,9}(?:\t|\Z)")


def check_answer(line: bytes) -> None:
    """Raises ProtocolError unless the line can be an answer at all. Cheap, for every line that arrives."""
    if not (line.startswith(b"0\t") or _ERROR.match(line)):
        raise ProtocolError(f"not a HandlerSocket answer: a line of {counted(len(line), 'byte')}", line)


def error_of(line: bytes) -> tuple[int, str] | None:
    """None for a success, otherwise the error's code and name."""
    if line.startswith(b"0\t"):
        return None
    check_answer(line)
    code, _, *rest = line.split(b"\t", 2)
    return int(code), rest[0].decode("ascii", "backslashreplace") if rest else ""


def _payload(line: bytes) -> tuple[int, bytes | None]:
    """The number of columns and the values of a success; None instead of values when there are none."""
    header = _HEADER.match(line)
    if header is None or header[1] != b"0":
        raise ProtocolError(f"not a HandlerSocket answer: a line of {counted(len(line), 'byte')}", line)
    return int(header[2]), line[header.end() :] if line[header.end() - 1] == 0x09 else None


def parse_values(line: bytes, index: Index, codec: Codec) -> list[Any]:
    """The values in the rows of a find's success, row after row."""
    if not line.startswith(index.row_head) and not has_values(line, index):
        return []
    values = codec.decode(line[index.head_length :])
    if len(values) % index.width:
        raise wrong_length(line, len(values), index.width)
    return values


def has_values(line: bytes, index: Index) -> bool:
    """Whether a find's success has rows."""
    columns, payload = _payload(line)
    if columns != index.width:
        raise ProtocolError(f"an answer of {counted(columns, 'column')} to a request for {index.width}", line)
    return payload is not None


def wrong_length(line: bytes, values: int, width: int) -> ProtocolError:
    return ProtocolError(f"an answer of {counted(values, 'value')} in rows of {width}", line)


def parse_rows(line: bytes, index: Index, codec: Codec) -> list[list[Any]]:
    """The rows of a find's success, each a list of values."""
    return in_rows(parse_values(line, index, codec), index)


def in_rows(values: list[T], index: Index) -> list[list[T]]:
    """Flat values, as rows."""
    width = index.width
    return [values[start : start + width] for start in range(0, len(values), width)]


def all_succeeded(lines: Sequence[bytes]) -> bool:
    """Whether all answers are successes. Fast for many."""
    if len(lines) == 1:
        return lines[0].startswith(b"0\t")
    if sum(map(len, lines)) > LONG_ANSWER:
        return all(line.startswith(b"0\t") for line in lines)
    answers = b"\n".join(lines)
    return answers.startswith(b"0\t") and answers.count(b"\n0\t") == len(lines) - 1


def parse_each(lines: Sequence[bytes], index: Index, codec: Codec) -> list[list[Any]]:
    """``parse_values`` of each answer. Plain text is decoded at once for all of them."""
    text = codec.plain_text(b"\n".join(lines)) if len(lines) >= BULK else None
    if text is None:
        return [parse_values(line, index, codec) for line in lines]
    # 0, columns, and the values of one row.
    length, width = index.width + 2, str(index.width)
    return [
        tokens[2:] if len(tokens) == length and tokens[1] == width and tokens[0] == "0" else parse_values(line, index, codec)
        for line, tokens in zip(lines, [answer.split("\t") for answer in text.split("\n")], strict=True)
    ]


def parse_number(line: bytes) -> int:
    """The number in a success: the rows of a modification, or the generated id of an insert (0 without one)."""
    if line == b"0\t1":
        return 0
    if line == b"0\t1\t1":
        return 1
    columns, payload = _payload(line)
    if payload is None:
        return 0
    if columns != 1 or not re.fullmatch(rb"[0-9]{1,20}", payload):
        raise ProtocolError("no count in the answer to a write", line)
    return int(payload)
