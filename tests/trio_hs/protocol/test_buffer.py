"""A buffer gives back what was written, and takes its size in memory."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_hs._protocol import Buffer
from trio_hs._protocol import _buffer as module


@pytest.mark.parametrize("many,room", [(3, 2), (3, 20), (10, 1 << 10), (1 << 22, 1 << 26)])
def test_a_buffer_holds_what_was_written(many: int, room: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MANY", many)
    monkeypatch.setattr(module, "ROOM", room)

    @given(st.lists(st.binary(max_size=9)))
    def check(pieces: list[bytes]) -> None:
        buffer = Buffer()
        for piece in pieces:
            buffer.write(memoryview(piece))
        assert buffer.size == len(b"".join(pieces))
        assert buffer.contents() == b"".join(pieces)

    check()


def test_the_contents_of_a_buffer_take_no_more_than_their_size() -> None:
    piece = bytes(1 << 16)
    tracemalloc.start()
    try:
        for times in (20, 200, 2000):  # 1, 13 and 131 MB
            before = tracemalloc.get_traced_memory()[0]
            buffer = Buffer()
            for _ in range(times):
                buffer.write(piece)
            contents = buffer.contents()
            assert tracemalloc.get_traced_memory()[0] - before < len(contents) + 10_000
            del buffer, contents
    finally:
        tracemalloc.stop()
