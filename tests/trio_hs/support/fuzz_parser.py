"""Broken answers for the parsers: ``python -m tests.trio_hs.support.fuzz_parser --runs 10000000 --seed 1``.

Every input is one or more real answers with random damage, or noise. The parsers must return values, or raise ProtocolError or
DecodingError. One input in ``THROUGH_A_CONNECTION`` goes through a connection, which must end every request with answers or
with a reason. The inputs depend on the seed alone, however many processes share them.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import sys
import time
from collections.abc import Sequence

import trio
from trio.testing import MockClock

from tests.trio_hs.support.fake import FakeConnection, MemoryTransport
from trio_hs import DecodingError, OperationalError, ProtocolError
from trio_hs._network import Connection, Request
from trio_hs._protocol import (
    Answers,
    Codec,
    Index,
    all_succeeded,
    check_answer,
    error_of,
    get_tail,
    parse_each,
    parse_number,
    parse_rows,
)
from trio_hs._protocol._values import BULK
from trio_hs.exceptions import operational_error

CHUNK = 50_000
THROUGH_A_CONNECTION = 100

#: As MariaDB 10.11 sends them.
REAL = [
    b"0\t1", b"0\t1\t0", b"0\t1\t119", b"0\t2", b"0\t3\t1\tScania\tG400", b"0\t2\t5\ta\t6\tb\t7\tc", b"0\t1\t", b"0\t1\t\0",
    b"0\t2\t\0\t\0\t\t", b"0\t1\t\x01I", b"0\t2\t1\x01@\x01A\x01O\t-123.45000", b"0\t1\t2024-02-29 01:02:03.000004",
    b"0\t1\th\xc3\xa9\xf0\x9f\x98\x80", b"0\t1\th\xe9", b"0\t1\t" + b"x" * 700, b"0\t1\t18446744073709551615", b"0\t0",
    b"1\t1\topen_table", b"1\t1\t121", b"1\t1\tlock_tables", b"2\t1\tcmd", b"2\t1\tstmtnum", b"2\t1\tkpnum", b"2\t1\treadonly",
    b"3\t1\tunauth", b"3\t1\tauthtype",
]  # fmt: skip
PIECES = [
    b"",
    b"\t",
    b"\n",
    b"\r\n",
    b"\0",
    b"\1",
    b"\1\x40",
    b"\1\x50",
    b"0\t",
    b"-1",
    b"\xff",
    b"9" * 30,
    b"0",
    b"\t\t",
    b" ",
    b"1\t",
]
CODECS = [Codec(encoding) for encoding in ("utf-8", "latin-1", "gb18030", "shift_jis", None)]
INDEX = Index("d", "t", ["a"])
INDEXES = {width: Index("d", "t", [f"c{number}" for number in range(width)]) for width in range(1, 10)}


def damaged(rng: random.Random) -> bytes:
    """One input."""
    data = rng.choice(REAL)
    while rng.random() < 0.25:
        data += b"\n" + rng.choice(REAL)
    for _ in range(rng.choice((0, 1, 1, 1, 2, 4))):
        at = rng.randrange(len(data) + 1)
        kind = rng.randrange(6)
        if kind == 0:
            data = data[:at] + rng.randbytes(1) + data[at + 1 :]
        elif kind == 1:
            data = data[:at] + rng.choice(PIECES) + data[at:]
        elif kind == 2:
            data = data[:at] + data[at + rng.randrange(1, 6) :]
        elif kind == 3:
            data = data[:at]
        elif kind == 4:
            data = data[:at] + data[max(0, at - 8) :]
        else:
            data = rng.randbytes(rng.randrange(12)) if rng.random() < 0.3 else data[:at] + rng.randbytes(4) + data[at:]
    return data


def parse(line: bytes, width: int, codec: Codec) -> None:
    """Everything that the client does with a line. Raises AssertionError or an unforeseen error if that goes wrong."""
    try:
        check_answer(line)
        error = error_of(line)
    except ProtocolError:
        error = None
    if error is not None:
        raised = operational_error(*error, context="x")
        assert isinstance(raised, OperationalError)
        assert str(raised)
        assert raised.code > 0
    index = INDEXES[width]
    rows: list[list[object]] | None = None
    try:
        rows = parse_rows(line, index, codec)
        assert error is None
        assert all(len(row) == width for row in rows)
    except (ProtocolError, DecodingError):
        pass
    # In bulk it must mean the same, and not affect its neighbours.
    neighbours = [index.row_head + b"\t".join([codec.encode("n")] * width)] * BULK
    assert all_succeeded([*neighbours, line, *neighbours]) == line.startswith(b"0\t")
    try:
        found = parse_each([*neighbours, line], index, codec)
    except (ProtocolError, DecodingError):
        assert rows is None
    else:
        assert rows is not None
        assert found == [*parse_each(neighbours, index, codec), [value for row in rows for value in row]]
    try:
        assert parse_number(line) >= 0
    except ProtocolError:
        pass


def cut(rng: random.Random, data: bytes) -> list[bytes]:
    """The data in the pieces in which it arrives: one, a few, or single bytes."""
    pieces = []
    most = rng.choice((1, 7, 10_000))
    while data:
        size = rng.randint(1, most)
        pieces.append(data[:size])
        data = data[size:]
    return pieces


def check(data: bytes, rng: random.Random) -> None:
    """One input through the parsers."""
    answers = Answers()
    lines = [line for piece in cut(rng, data) for line in answers.feed(piece)]
    *whole, rest = data.split(b"\n")
    assert lines == whole
    assert answers.incomplete == bool(rest)
    for line in (*lines, rest):
        parse(line, rng.randrange(1, 5), rng.choice(CODECS))


async def exchange(inputs: Sequence[bytes], rng: random.Random) -> None:
    """A connection with outstanding requests receives each input, and then the end of the stream."""
    for data in inputs:
        transport = MemoryTransport(1 << 20)
        peer = FakeConnection(transport)
        ended: list[Connection] = []
        connection = Connection(transport, "fuzz", timeout=3.0, on_closed=ended.append)
        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(connection.run)
                requests = [Request(rng.choice((1, 1, 3))) for _ in range(rng.randrange(4))]
                for request in requests:
                    connection.submit(request, INDEX, [get_tail(b"x")] * request.lines)
                for piece in cut(rng, data):
                    peer.say(piece)
                    if rng.random() < 0.5:
                        await trio.lowlevel.checkpoint()
                if rng.random() < 0.8:  # otherwise the connection's own timeout must end it
                    peer.end()
                for request in requests:
                    await request.wait()
                if connection.usable:
                    nursery.cancel_scope.cancel()
        assert ended == [connection]
        assert transport.closed
        for request in requests:
            assert (request.failure is None) == (len(request.answers) == request.lines)
            assert request.failure is None or isinstance(request.failure, ProtocolError | OSError)
            for line in request.answers:
                parse(line, 1, rng.choice(CODECS))
                request.error(line)


def fuzz(seed: int, chunk: int, runs: int) -> str | None:
    """Check the inputs of one chunk. Returns which one failed and how, or None."""
    rng = random.Random(f"{seed}/{chunk}")
    for_connections = []
    for number in range(runs):
        data = damaged(rng)
        if number % THROUGH_A_CONNECTION == 0:
            for_connections.append(data)
            continue
        try:
            check(data, rng)
        except Exception as error:
            return f"chunk {chunk}, input {number}, {data!r}: {error!r}"
    for start in range(0, len(for_connections), 100):
        some = for_connections[start : start + 100]
        try:
            trio.run(exchange, some, rng, clock=MockClock(autojump_threshold=0))
        except Exception as error:
            return f"chunk {chunk}, connections {start} to {start + len(some)}, {some!r}: {error!r}"
    return None


def _fuzz(job: tuple[int, int, int]) -> tuple[int, str | None]:
    return job[2], fuzz(*job)


def main() -> int:
    parser = argparse.ArgumentParser(description="Feed broken answers to the client's parsers.")
    parser.add_argument("--runs", type=int, default=10_000_000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(32))
    options = parser.parse_args()
    if options.runs < 1:
        parser.error("--runs must be at least 1")
    jobs = [
        (options.seed, number, min(CHUNK, options.runs - start)) for number, start in enumerate(range(0, options.runs, CHUNK))
    ]
    started, done, failures = time.monotonic(), 0, 0
    print(f"{options.runs} inputs, seed {options.seed}, {os.cpu_count()} processes", flush=True)
    with multiprocessing.Pool() as pool:
        for position, (runs, failure) in enumerate(pool.imap_unordered(_fuzz, jobs), 1):
            done += runs
            if failure is not None:
                failures += 1
                print(f"FAILED: {failure}", flush=True)
            if position % 10 == 0 or done == options.runs:
                print(f"{done} inputs, {failures} failures, {time.monotonic() - started:.0f} s", flush=True)
    return int(failures > 0)


if __name__ == "__main__":
    sys.exit(main())
