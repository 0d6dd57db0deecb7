"""What the conformance suite sends: raw requests for real MariaDB and for the embedded server alike.

A :class:`Group` has tables of its own and a list of steps, each the bytes for one of its two connections (``R`` to the
listener for reads, ``W`` to that for writes). Never here: what kills a server or stops its workers (docs/server.md).
Longer than other modules because most of it is data.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from trio_hs._protocol import escape
from trio_hs.testing import Table

DATABASE = "conformance"

Step = tuple[str, bytes]


@dataclass(frozen=True)
class Group:
    name: str
    tables: Sequence[Table]
    steps: Sequence[Step] = field(repr=False)


def tokens(*values: object) -> bytes:
    """Values as tokens: None is NULL, text is UTF-8."""
    out = []
    for value in values:
        if value is None:
            out.append(b"\0")
        else:
            out.append(escape(value if isinstance(value, bytes) else str(value).encode()))
    return b"\t".join(out)


def opened(number: int, table: str, index: str, columns: str, filters: str | None = None) -> list[Step]:
    """The index opened on both connections."""
    line = f"P\t{number}\t{DATABASE}\t{table}\t{index}\t{columns}".encode() + (
        b"" if filters is None else b"\t" + filters.encode()
    )
    return [("R", line + b"\n"), ("W", line + b"\n")]


def inserts(number: int, *rows: Sequence[object]) -> list[Step]:
    return [("W", b"%d\t+\t%d\t%b\n" % (number, len(row), tokens(*row))) for row in rows]


def everything(number: int, *key: object) -> Step:
    return ("R", b"%d\t>=\t%d\t%b\t1000\t0\n" % (number, len(key), tokens(*key)))


# ---- requests of every shape ------------------------------------------------------------------------------------------

SHAPES = Table(
    DATABASE,
    "shapes",
    {
        "id": "INT NOT NULL AUTO_INCREMENT",
        "k": "VARCHAR(10) NOT NULL DEFAULT 'dk'",
        "n": "INT NULL",
        "u": "INT UNSIGNED NOT NULL DEFAULT 7",
        "dt": "DATE NULL",
        "de": "DECIMAL(10,2) NULL DEFAULT 1.5",
        "tx": "TEXT NULL",
    },
    primary_key=["id"],
    unique={"k": ["k"]},
    indexes={"kn": ["n", "u"]},
)

BAD_LINES = [
    b"", b"\r", b"Z", b"p\t5", b"PP\t5", b" 5\t=\t1\t1", b"-1\t=\t1\t1", b"P 0 d t", b"GET / HTTP/1.1\r", b"\0\0\0",
    b"\x16\x03\x01\x02", b"A\t2\tx", b"A", b"A\t", b"P", b"P\t0", b"P\t0\tconformance", b"P\t0\tconformance\tSHAPES\tPRIMARY\tid",
    b"P\t0\tCONFORMANCE\tshapes\tPRIMARY\tid", b"P\t0\tconformance\t\tPRIMARY\tid",
    b"P\t0\tconformance\tshapes\tprimary\tid", b"P\t0\tconformance\tshapes\tnone\tid", b"P\t0\tconformance\tshapes\t9\tid",
    b"P\t0\tconformance\tshapes\t3\tid", b"P\t0\tconformance\tshapes\tK\tid",
    b"P\t0\tconformance\tshapes\tPRIMARY\tID", b"P\t0\tconformance\tshapes\tPRIMARY\tid,", b"P\t0\tconformance\tshapes\tPRIMARY\tid,,k",
    b"P\t0\tconformance\tshapes\tPRIMARY\tid\tnone", b"P\t0\tconformance\tshapes\tPRIMARY\tDB_ROW_ID",
    b"P\t0\tconformance\tshapes\tPRIMARY\tid, k",
    b"P\t0\tconformance\tshapes\tPRIMARY\tid,k\tn,k,tx",
]  # fmt: skip

GOOD_OPENS = [
    b"P\t5\tconformance\tshapes", b"P\t6\tconformance\tshapes\tPRIMARY", b"P\t7\tconformance\tshapes\t\tid",
    b"P\t8\tconformance\tshapes\t0\tid", b"P\t9\tconformance\tshapes\t1\tid", b"P\t10\tconformance\tshapes\t2\tid,id,k,id",
    b"P\t11\tconformance\tshapes\tPRIMARY\tid\t\textra\ttokens", b"P\t12\tconformance\0x\tshapes\0y\tkn\0z\tid\0,k",
    b"P\tx\tconformance\tshapes\tPRIMARY\tid,k,n\tn,k,tx", b"P\t-1\tconformance\tshapes\tkn\tid,n,u\tn,k,tx,dt",
    b"P\t\tconformance\tshapes\tPRIMARY\tid,k,n\tn,k,tx",
    b"P\t13\tconformance\tshapes\t1x\tid",
    b"5\t=\t1\t1", b"6\t=\t1\t1", b"6\t=\t1\t99", b"7\t=\t1\t2", b"8\t=\t1\t2", b"9\t=\t1\tb", b"10\t>\t1\t5\t9\t0", b"11\t=\t1\t1",
    b"12\t>=\t1\t0\t9\t0", b"13\t=\t1\ta",
]  # fmt: skip

#: On index 0: PRIMARY, columns id,k,n, filters n,k,tx. On index 1: kn, columns id,n,u, filters n,k,tx,dt.
FINDS = [
    b"2\t=\t1\t1", b"4\t=\t1\t1", b"999\t=\t1\t1", b"0", b"0\t", b"0\t\t1\t1", b"0\t==\t1\t1", b"0\t!=\t1\t1", b"0\t<>\t1\t1", b"0\tI\t1\t1",
    b"0\t++\t1\t1", b"0\tS\t1\t1", b"0\tS", b"0\t=", b"0\t=\t", b"0\t=\t0", b"0\t=\tx\t1", b"0\t=\t2\t1\t2", b"0\t=\t32\t1", b"0\t=\t33\t1",
    b"0\t=\t99999\t1", b"0\tX\t33\t1", b"0\t+\t33\t1", b"0\t+\t0", b"0\t+", b"999\t=\t33\t1", b"2\t=\t33\t1",
    b"0\t=\t1\t1", b"0\t=\t1", b"0\t=\t1\t", b"0\t=\t1\t1\r", b"00\t=\t1\t1", b"0x\t=\t1\t1", b"0\t=\t1\t1\t", b"0\t=\t1\t1\t\t",
    b"0\t=\t1\t1\t\t\t", b"0\t=\t1\t1\t1\t0", b"0\t=\t1\t1\t0\t0", b"0\t=\t1\t1\t1\t1", b"0\t=\t1\t1\t1\t0\t", b"0\t=\t1\t1\t1\t0\t\t",
    b"0\t=\t1\t1\tD", b"0\t=\t1\t1\t1\t0\t\tD", b"0\t>\t1\t0\t-1\t0", b"0\t>\t1\t0\t1x0\t0", b"0\t>\t1\t0\t4294967296\t0",
    b"0\t>\t1\t0\t4294967295\t0", b"0\t>\t1\t0\t4294967295\t1", b"0\t>\t1\t0\t4294967295\t3", b"0\t>\t1\t0\t4294967290\t8",
    b"0\t>\t1\t0\t10\t2", b"0\t>\t1\t0\t2\t2", b"0\t>\t1\t0\t2\t99",
    b"0\t>=\t1\t2\t10\t0", b"0\t>\t1\t2\t10\t0", b"0\t<=\t1\t2\t10\t0", b"0\t<\t1\t2\t10\t0", b"0\t<\t1\t2\t10\t1", b"0\t<\t1\t1\t10\t0",
    b"0\t>\t1\t99\t10\t0", b"0\t<\t1\t99\t10\t0", b"0\t=\t1\tabc", b"0\t=\t1\t\0", b"0\t>\t1\t\0\t10\t0", b"0\t=\t1\t 1", b"0\t=\t1\t1abc",
    b"0\t=\t1\t\1Q\t", b"0\t=\t1\t1\1", b"0\t=\t1\t1\1\x20", b"0\t=\t2\t1\t1",
    b"1\t=\t1\t10\t10\t0", b"1\t=\t2\t10\t1\t10\t0", b"1\t=\t1\t\0\t10\t0", b"1\t>\t1\t\0\t10\t0", b"1\t>=\t1\t\0\t10\t0", b"1\t<\t1\t20\t10\t0",
    b"1\t<=\t1\t20\t10\t0", b"1\t<=\t1\t\0\t10\t0", b"1\t<\t1\t\0\t10\t0", b"1\t>\t1\t10\t10\t0", b"1\t>=\t1\t10\t10\t0", b"1\t>\t2\t10\t1\t10\t0",
    b"1\t>=\t2\t10\t2\t10\t0", b"1\t<\t2\t10\t2\t10\t0", b"1\t<=\t2\t10\t2\t10\t0", b"1\t=\t3\t1\t1\t1", b"1\t=\t2\t\0\t7\t10\t0",
    b"1\t=\t2\t10\t\0\t10\t0", b"1\t=\t2\t10\t-5\t10\t0",
    # IN
    b"0\t=\t1\t\t10\t0\t@\t0\t3\t1\t77\t2", b"0\t=\t1\t\t2\t0\t@\t0\t3\t1\t77\t2", b"0\t=\t1\t\t10\t1\t@\t0\t3\t1\t3\t2", b"0\t=\t1\t\t0\t0\t@\t0\t2\t3\t2",
    b"0\t=\t1\t\t10\t0\t@\t0\t3\t1\t1\t1", b"0\t=\t1\t\t10\t0\t@\t0\t0\t1", b"0\t=\t1\t\t10\t0\t@", b"0\t=\t1\t\t10\t0\t@\t0", b"0\t=\t1\t\t10\t0\t@\t0\t3\t1",
    b"0\t=\t1\t1\t10\t0\t@\t1\t3\t7\t8\t9", b"0\t=\t1\t1\t10\t0\t@\t5\t2\t7\t8", b"0\t>\t1\t\t10\t0\t@\t0\t3\t1\t2\t3", b"0\t<\t1\t\t10\t0\t@\t0\t3\t1\t2\t3",
    b"0\t>=\t1\t\t10\t0\t@\t0\t2\t99\t1", b"0\t=\t1\t\t10\t0\t@\t0\t2\t\0\t1", b"1\t=\t1\t\t10\t0\t@\t0\t3\t10\t20\t\0", b"1\t=\t2\t10\t\t10\t0\t@\t1\t3\t1\t2\t3",
    b"1\t=\t2\t\t2\t10\t0\t@\t0\t2\t10\t20", b"0\t=\t1\t\t@\t0\t1\t1", b"0\t=\t1\t\t10\t0\t@@\t0\t1\t1", b"0\t=\t1\t\t10\t0\t@\tx\tx1\t1",
    b"0\t=\t1\t\t10\t0\t@\t0\t2\t1\t2\tF\t=\t0\t10", b"0\t=\t1\t\t10\t0\t@\t0\t2\t1\t2\tW\t=\t0\t20", b"0\t=\t1\t\t10\t0\t@\t0\t1\t1\t",
    # filters
    *(b"0\t>=\t1\t0\t10\t0\t%b\t%b\t0\t%b" % (kind, op, value) for kind in (b"F", b"W")
      for op in (b"=", b"!=", b"<", b"<=", b">", b">=") for value in (b"10", b"\0", b"15", b"x", b"")),
    *(b"0\t>=\t1\t0\t10\t0\tF\t%b\t1\t%b" % (op, value) for op in (b"=", b"!=", b"<", b">=") for value in (b"B", b"b ", b"", b"\0", b"\xff", b"aaaaaaaaaaaaaaaaa")),
    *(b"0\t>=\t1\t0\t10\t0\tF\t%b\t0\t10" % op for op in (b"", b"~", b"x=", b"<>", b"===", b"==", b"=<", b"!")),
    b"0\t>=\t1\t0\t10\t0\tFF\t=\t0\t1", b"0\t>=\t1\t0\t10\t0\tF\t=\t9\t1", b"0\t>=\t1\t0\t10\t0\tF\t=\t2\t1", b"0\t>=\t1\t0\t10\t0\tF\t=\t2\t\0",
    b"0\t>=\t1\t0\t10\t0\tF\t!=\t2\t\0", b"0\t>=\t1\t0\t10\t0\tF", b"0\t>=\t1\t0\t10\t0\tF\t=", b"0\t>=\t1\t0\t10\t0\tF\t=\t0",
    b"0\t>=\t1\t0\t10\t0\tF\t=\tx\t10", b"0\t>=\t1\t0\t10\t0\tF\t>\t0\t5\tF\t<\t0\t25", b"0\t>=\t1\t0\t10\t1\tF\t>\t0\t5\tW\t<\t0\t25",
    b"0\t>=\t1\t0\t2\t1\tF\t!=\t1\ta", b"1\t>=\t1\t\0\t10\t0\tF\t=\t3\t2024-02-29", b"1\t>=\t1\t\0\t10\t0\tF\t>\t3\tbad", b"1\t>=\t1\t\0\t10\t0\tF\t<\t3\t2025-01-01",
    b"0\t>=\t1\t0\t10\t0\tX", b"0\t>=\t1\t0\t10\t0\tu", b"0\t>=\t1\t0\t10\t0\tUPDATE\t1", b"0\t>=\t1\t0\t10\t0\t\tU",
]  # fmt: skip

#: Changes, on the same indexes; the reader's listener refuses them.
CHANGES = [
    b"0\t+\t3\t50\tfifty\t50", b"0\t+\t3\t50\tfifty2\t50", b"0\t+\t3\t51\tfifty\t50", b"0\t+\t3\t0\tzero\t\0", b"0\t+\t3\t\0\tnull\t1",
    b"0\t+\t3\t\tempty\t1", b"0\t+\t3\tx\ttext\t1", b"0\t+\t1\t60", b"0\t+\t2\t61\t\0", b"0\t+\t4\t62\tfour\t1\textra", b"0\t+\t3\t63", b"0\t+\t3\t-5\tneg\t1",
    b"0\t+\t3\t100\thundred\t1", b"0\t+\t3\t0\tnext\t1", b"1\t+\t3\t0\t1\t2", b"1\t+\t3\t0\t1\t2", b"6\t+\t1\t5", b"3\t+\t1\tonly",
    b"0\t+\t3\t0\tAA\t1", b"0\t+\t3\t0\taa\t1", b"0\t+\t3\t0\taa \t1",
    b"0\t=\t1\t1\t1\t0\tU\t1\ta2\t11", b"0\t=\t1\t1\t1\t0\tU\t1\ta2\t11", b"0\t=\t1\t99\t1\t0\tU\t1\ta2\t11", b"0\t=\t1\t1\t1\t0\tU?\t1\ta3\t12",
    b"0\t=\t1\t99\t1\t0\tU?\t1\ta3\t12", b"0\t=\t1\t1\t1\t0\tU\t1\ta4", b"0\t=\t1\t1\t1\t0\tU\t1", b"0\t=\t1\t1\t1\t0\tU\t1\ta\t10\textra",
    b"0\t=\t1\t1\t0\t0\tU!\t1\ta\t10", b"0\t=\t1\t1\t\t\tUPDATE\t1\ta\t10", b"0\t=\t1\t1\t1\t0\tU\t\0\t\0\t\0", b"0\t=\t1\t1\t1\t0\tU\t1\tb\t1",
    b"0\t=\t1\t1\t1\t0\tu\t1\tb\t1", b"0\t=\t1\t1\t1\t0\tX", b"0\t>=\t1\t1\t5\t0\tU\t60\tsixty\t1", b"0\t=\t1\t2\t1\t0\tU\t2\tB\t20",
    b"0\t=\t1\t2\t1\t0\tU\t200\ttwo\t20", b"0\t=\t1\t200\t1\t0\tU\t2\tb\t20", b"0\t+\t3\t0\tafter200\t1",
    b"2\t=\t1\t10\t9\t0\t+\t1\t1", b"2\t=\t1\t\0\t9\t0\t+\t1\t1", b"2\t>=\t1\t10\t9\t0\t+?\t5\t5", b"2\t>=\t1\t10\t9\t0\t-\t5\t5", b"2\t>=\t1\t10\t9\t0\t-?\t5\t500",
    b"2\t>=\t1\t10\t9\t0\t-\t5\t500", b"2\t>=\t1\t10\t9\t0\t-\t\0\t5", b"2\t>=\t1\t10\t9\t0\t+\t\tabc", b"2\t>=\t1\t10\t9\t0\t+\t1.9\t 2", b"2\t>=\t1\t10\t9\t0\t+\t+3\t-2",
    b"2\t>=\t1\t10\t9\t0\t+\t2x5\t1e3", b"2\t>=\t1\t10\t9\t0\t+\t99999999999999999999\t1", b"2\t>=\t1\t10\t9\t0\t-\t2147483647\t0",
    b"3\t=\t1\tb\t1\t0\t+\t5", b"3\t=\t1\t5\t1\t0\t+\t5", b"3\t=\t1\t10\t1\t0\t-\t10", b"3\t=\t1\t0\t1\t0\t-\t1",
    b"1\t>\t1\t0\t100\t0\t+\t0\t10\t0", b"1\t>=\t1\t\0\t100\t0\tU\t5\t5\t5", b"0\t=\t1\t\t9\t0\t@\t0\t3\t1\t77\t2\tU?\t1\tx\t1", b"0\t=\t1\t\t9\t0\t@\t0\t3\t3\t77\t2\tD?",
    b"0\t>=\t1\t0\t9\t1\tF\t=\t0\t1\tD?", b"0\t>=\t1\t0\t9\t1\tD", b"0\t<\t1\t1000\t2\t0\tD?", b"0\t=\t1\t1\t1\t0\tD\tignored\tvalues", b"0\t=\t1\t1\t1\t0\tD", b"0\t=\t1\t1\t1\t0\tD?",
    b"6\t>\t1\t0\t9\t0\tU", b"6\t>\t1\t0\t9\t0\tU?", b"6\t>\t1\t0\t9\t0\t+", b"6\t>\t1\t0\t1\t0\tD?",
    b"0\t=\t9\t1\tX", b"0\t=\t9\t1\t1\t0\tX", b"0\t=\t0\t1\t0\tU", b"0\t=\t0\t1\t0\tX",
]  # fmt: skip


def shapes() -> Group:
    lines = [line + b"\n" for line in BAD_LINES + GOOD_OPENS]
    steps: list[Step] = [
        *opened(0, "shapes", "PRIMARY", "id,k,n,dt"),
        *inserts(0, (1, "a", 10, "2024-02-29"), (2, "b", 20, None), (3, "c", None, None)),
        *(("R", line) for line in lines),
        *opened(0, "shapes", "PRIMARY", "id,k,n", "n,k,tx"),
        *opened(1, "shapes", "kn", "id,n,u", "n,k,tx,dt"),
        *opened(2, "shapes", "kn", "n,u"),
        *opened(3, "shapes", "k", "k"),
        *opened(6, "shapes", "PRIMARY", ""),
        *inserts(1, (4, 10, 1), (5, 10, 2)),
        *(("R", line + b"\n") for line in FINDS),
        *(("W", line + b"\n") for line in FINDS if b"UPDATE" not in line and not line.startswith(b"0\t+")),
        *(("R", line + b"\n") for line in CHANGES),
    ]
    everything_there = [everything(0, -100), ("R", b"1\t>=\t1\t\0\t1000\t0\n")]
    for line in CHANGES:
        steps += [("W", line + b"\n"), *everything_there]
    return Group("shapes", [SHAPES], steps)


# ---- what each type makes of a value ----------------------------------------------------------------------------------

NUMBERS = [
    0, 1, -1, 42, "+5", " 5", "\t5", "5 ", "1e3", "1E3", "1e-1", "5.5", "5.4", "-5.5", "-0.4", "2.5", ".5", "5.", ".", "-", "+", "", "0x10", "1abc", "abc", "1 2",
    127, 128, -128, -129, 255, 256, 32767, 32768, -32769, 65535, 65536, 8388607, 8388608, 16777215, 16777216, 16777217, 2147483647, 2147483648, -2147483648,
    -2147483649, 4294967295, 4294967296, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 2**64 - 1, 2**64, "1e19", "1e20", "1e400", "-1e400", "9" * 70, "0" * 70 + "7", "1e5000000000", "-" + "9" * 70, "-18446744073709551616", "-18446744073709551615", "-1e19", "-1e20",
    "1.005", "-123.45", "99999.999", "123456.5", "0.000001", "1e-7", "1e15", "1e14", "123456789012345678", "1.1", "3.4e38", "3.5e38", "1.7976931348623157e308", "0.1", "100000", "1234567", "1e-14", "1e-15", "1e-16", "1.5e-15",
    "9" * 500, "-" + "9" * 500, "0" * 500 + "7", "1." + "3" * 500, "12345678901234567890123456789012345.678901234567890123456789012345", "0." + "0" * 28 + "15", "nan", "inf", "-0", "-0.0", "-0.001", "1..2", "--1", "1e", "1e+", "0005", "1,5", None,
]  # fmt: skip

TEXTS = [
    "", "a", "A", "abc", "ABC", "abc ", "abc  ", " abc", "a b", "a  b", "a\tb", "ab\t", "é", "e", "E", "É", "été", "ete", "ß", "s", "ss", "ñ", "Å", "å", "æ", "ø", "o",
    "z", "Z", "_", "^", "[", "{", "~", "ж", "Ж", "й", "и", "я", "日本", "😀", "😁", "\ufffd", "α", "Ά", "abcdefghijkl", "toolong", "тыква", "10", "20x", "-3", "ten",
    b"\xff", b"a\xffb", b"\xe9", b"\xc3", b"\xe2\x82", b"\xf0\x9f\x98", b"\xed\xa0\x80", b"\xc0\x80", b"\xf5\x80\x80\x80", b"a\0b", b"\0", b"\r", b"\n\t\x01", b"a\0", None,
]  # fmt: skip

DATES = [
    "2024-02-29", "2023-02-29", "2024-2-9", "20240209", "240209", "2024-02-09 01:02:03", "2024-02-09T01:02:03", "2024-02-09 1:2:3", "2024-02-09 01:02:03.123456", "2024-02-09 01:02:03.1",
    "2024-02-09 01:02:03.9999999", "20240209010203", "240209010203", "2024-00-10", "2024-01-00", "0000-00-00", "2024-13-01", "2024-12-32", "2024-04-31", "70-01-01", "69-12-31", "00-01-01", "9999-12-31",
    "9999-12-31 23:59:59", "10000-01-01", "1000-01-01", "0001-01-01", "1969-12-31 23:59:59", "1970-01-01 00:00:00", "1970-01-01 00:00:01", "2038-01-19 03:14:07", "2038-01-19 03:14:08", "2038-01-19 03:14:08.5", "2106-02-07 06:28:15", "2106-02-07 06:28:16", "2106-02-07 06:28:16.25", "1969-12-31 23:59:59.5", "1970-01-01 00:00:00.5", "2024-00-10 00:00:00.5", "2024/02/09", "2024.02.09", "2024-02-09 25:00:00",
    "2024-02-09 23:60:00", "2024-02-09x", "2024-02-09 junk", "bad", "", "0", "1", "2024", "20240230", "24029", "2402091", "202402091", "2024020910", "20240209101", "2024020901020", "202402090102034", "20240209010203.5", "240209-1", "20240209x", "20240209 x", "2024-02-09T", "2024-2", "2024-", "20240209T010203", "2024-02-09  01:02:03", "2024--02--09", "2024-02-091", "2024 02 09", "2024-02-09 01", "2024-02-09 01:02", " 2024-02-09", "-2024-02-09", "2024-02-09 01:02:03abc", None,
]  # fmt: skip

TIMES = [
    "01:02:03", "-12:34:56", "1:2:3", "01:02", "10203", "010203", "203", "3", "900:00:00", "-900:00:00", "838:59:59", "838:59:59.999999", "839:00:00", "1 01:02:03", "34 22:59:59", "01:60:00", "01:02:60", "01:02:03.45", "01:02:03.4567891",
    "2024-02-09 01:02:03", "2024-02-30 01:02:03", "1" * 20, "-" + "1" * 20, "-4294967295", "-4294967296", "4294967295", "4294967296", "1111111111", "99999999999", "-99999999999", "99999999999:0:0", "4294967296:0", "1 99999:0", "bad", "", "0", "-1", "10:", "5x", "1 2", "12:34:56 junk", "-00:00:01", "99999999", "8385959", "8386000", "1000000", "1:2:3:4", "1 2:3", "1 2:3:4.5", "2 3", "1:", "-", ":", "12:3x", "1.5", "240209010203", "20240209010203", "2024-02-09", "1 ", "-1 1:1:1", "3.5", "00:00:00.000001", None,
]  # fmt: skip

NUMBERS_OF_MEMBERS = [
    "01", "00003", "000003", "+3", "+ 3", "-0", "-1", "-2", " 3", "\v3", "3 ", " 3 ", "3;", "3.0", "15", "39", "255", "256", "000000000000000000003", "0000000000000000000003", "18446744073709551615", "18446744073709551616",
    "-18446744073709551615", "-18446744073709551616", "-9223372036854775809", "1,3", "x ,y", "x, y", " ", "y", "", None,
]  # fmt: skip

TYPES: list[tuple[str, str, Sequence[object]]] = [
    *((name.lower().replace(" ", "_"), name, NUMBERS) for name in (
        "TINYINT", "TINYINT UNSIGNED", "SMALLINT", "SMALLINT UNSIGNED", "MEDIUMINT", "MEDIUMINT UNSIGNED", "INT", "INT UNSIGNED", "BIGINT", "BIGINT UNSIGNED",
        "FLOAT", "DOUBLE", "FLOAT UNSIGNED", "YEAR")),
    ("zerofill", "INT(6) ZEROFILL", NUMBERS),
    ("dec_5_2", "DECIMAL(5,2)", NUMBERS),
    ("dec_20_5", "DECIMAL(20,5)", NUMBERS),
    ("dec_unsigned", "DECIMAL(10,0) UNSIGNED", NUMBERS),
    ("dec_65", "DECIMAL(65,30)", NUMBERS),
    ("varchar_ci", "VARCHAR(5)", TEXTS),
    ("varchar_general", "VARCHAR(5) COLLATE utf8mb4_general_ci", TEXTS),
    ("varchar_uca", "VARCHAR(5) COLLATE utf8mb4_uca1400_ai_ci", TEXTS),
    ("varchar_unicode", "VARCHAR(5) COLLATE utf8mb4_unicode_ci", TEXTS),
    ("varchar_bin", "VARCHAR(5) COLLATE utf8mb4_bin", TEXTS),
    ("varchar_latin1", "VARCHAR(5) CHARACTER SET latin1", TEXTS),
    ("varchar_latin1_bin", "VARCHAR(5) CHARACTER SET latin1 COLLATE latin1_bin", TEXTS),
    ("varchar_ascii", "VARCHAR(5) CHARACTER SET ascii", TEXTS),
    ("char_ci", "CHAR(5)", TEXTS),
    ("char_bin", "CHAR(5) COLLATE utf8mb4_bin", TEXTS),
    ("varbinary", "VARBINARY(5)", TEXTS),
    ("binary", "BINARY(5)", TEXTS),
    ("date", "DATE", DATES),
    ("datetime", "DATETIME", DATES),
    ("datetime6", "DATETIME(6)", DATES),
    ("datetime3", "DATETIME(3)", DATES),
    ("timestamp", "TIMESTAMP", DATES),
    ("timestamp6", "TIMESTAMP(6)", DATES),
    ("time", "TIME", TIMES),
    ("time3", "TIME(3)", TIMES),
    ("enum", "ENUM('a', 'bb ', 'C', 'é', '3')", [*TEXTS, *range(7), *NUMBERS_OF_MEMBERS, "BB ", "e"]),
    ("set", "SET('x', 'y ', 'z')", ["x", "x,z", "z,x", "X", "x,,z", "x,q", "q", *range(9), *NUMBERS_OF_MEMBERS, "x ", "x ,z", None]),
    ("bit1", "BIT(1)", [b"\0", b"\1", b"", "0", "1", b"\0\1", b"\1\0", None]),
    ("bit12", "BIT(12)", [b"\0", b"\1", b"", b"\x0a\x01", b"\xff\xff", b"\0\0\0\5", "ab", None]),
    ("tinytext", "TINYTEXT", ["é" * 127, "é" * 128, "a" * 256, *TEXTS]),
    ("tinyblob", "TINYBLOB", [bytes(range(256)), *TEXTS]),
    ("json", "JSON", ['{"a": 1}', "notjson", None]),
]  # fmt: skip

_ADDENDS = (b"1", b"-1", b"1.9", b"100", b"9223372036854775807", b"x")


def of_type(name: str, sql: str, values: Sequence[object]) -> Group:
    """Every value stored, read in order, sought, filtered by, updated and counted up and down in a column of the type."""
    blob = sql in ("TINYTEXT", "TINYBLOB", "JSON")
    part = "v(4)" if blob else "v"
    table = Table(
        DATABASE,
        f"type_{name}",
        {"id": "INT NOT NULL", "v": f"{sql} NULL", "w": f"{sql} NOT NULL"},
        primary_key=["id"],
        indexes={"v": [part]},
    )
    steps = opened(0, table.name, "PRIMARY", "id,v") + opened(1, table.name, "v", "v,id", "v,w")
    steps += inserts(0, *enumerate(values))
    steps += [everything(0, 0), everything(1, None)]
    for value in values:
        sought = tokens(value)
        steps += [("R", b"1\t%b\t1\t%b\t1000\t0\n" % (operation, sought)) for operation in (b"=", b">", b"<=")]
        if not blob:
            steps += [("R", b"0\t>=\t1\t0\t1000\t0\tF\t%b\t0\t%b\n" % (b"=", sought)) for _ in (0,)]
            steps.append(("R", b"1\t>=\t1\t\0\t1000\t0\tF\t<\t0\t%b\n" % sought))
    steps += opened(2, table.name, "PRIMARY", "v,w", "w")
    steps += [("R", b"2\t>=\t1\t0\t1000\t0\n")]
    for number, addend in enumerate(_ADDENDS):
        operation = b"-" if number % 2 else b"+"
        steps += [("W", b"2\t>=\t1\t0\t1000\t0\t%b?\t%b\t%b\n" % (operation, addend, addend)), everything(1, None)]
    some = [value for value in values[:20] if value is not None]
    for number, value in enumerate(some):
        steps += [("W", b"2\t=\t1\t%d\t1\t0\tU\t%b\n" % (number, tokens(value, some[-number - 1])))]
    steps += [("W", b"2\t=\t1\t0\t1\t0\tU\t\0\t\0\n"), ("R", b"2\t>=\t1\t0\t1000\t0\n")]
    return Group(name, [table], steps)


# ---- indexes ----------------------------------------------------------------------------------------------------------

KEYS = Table(
    DATABASE,
    "keys",
    {"a": "VARCHAR(20) NOT NULL", "b": "INT NULL", "c": "VARCHAR(20) NULL", "d": "BLOB NULL", "e": "INT NOT NULL DEFAULT 3"},
    primary_key=["a", "e"],
    unique={"uc": ["c"], "ub": ["b", "e"], "ue": ["e"], "ux": ["a(2)", "e"]},
    indexes={"p": ["a(3)", "b"], "blob": ["d(4)"], "down": ["b DESC", "e"], "cb": ["c", "b"]},
)
NO_KEY = Table(
    DATABASE, "no_key", {"a": "INT NULL", "b": "INT NULL DEFAULT 5", "c": "VARCHAR(5) DEFAULT 'q'"}, indexes={"a": ["a"]}
)
UNIQUE_ONLY = Table(
    DATABASE, "unique_only", {"a": "INT NULL", "b": "INT NOT NULL", "c": "ENUM('x','y') NOT NULL", "d": "TIMESTAMP NULL"},
    unique={"a": ["a"], "b": ["b"]}, indexes={"c": ["c"]},
)  # fmt: skip


def keys() -> Group:
    steps: list[Step] = []
    for number in range(9):
        steps += opened(number, "keys", str(number), "a,b,c,d,e")
    rows = [
        ("alpha", 1, "x", b"\0\1\2\3\4", 1), ("alpine", 1, "y", b"\0\1\2\3\5", 2), ("Alps", 2, None, None, 3), ("beta", None, None, b"", 4),
        ("béta", None, "z", b"\xff", 5), ("be", 3, "X", b"a", 6), ("al", 3, "w", b"abcd", 7), ("ALPHA ", -1, "w ", b"abcde", 8),
        ("al\t", 4, "v", b"abc", 9), ("a l", 5, "u", b"abcd", 10), ("", 0, "", b"\0", 11), ("alpha", 9, "t", None, 1), ("gamma", 1, "s", None, 1),
    ]  # fmt: skip
    steps += inserts(0, *rows)
    for number in range(9):
        for key in (
            ("al",),
            ("alp",),
            ("ALPHA",),
            ("beta",),
            (None,),
            ("",),
            (1,),
            (2,),
            (3,),
            ("abcdef",),
            (b"\0\1\2\3\4\5",),
            ("b",),
            ("w",),
        ):
            for operation in (b"=", b">", b">=", b"<", b"<="):
                steps.append(("R", b"%d\t%b\t1\t%b\t100\t0\n" % (number, operation, tokens(*key))))
        for pair in (("alp", 1), ("al", 7), ("alpha", 1), (1, 2), (None, 4), (3, 6), ("x", 1), (2, 3), (None, None)):
            for operation in (b"=", b">", b">=", b"<", b"<="):
                steps.append(("R", b"%d\t%b\t2\t%b\t100\t0\n" % (number, operation, tokens(*pair))))
    steps += [
        ("W", b"%d\t>=\t1\t\0\t3\t1\tU?\t%b\n" % (number, tokens("new", 50 + number, None, "d", 20 + number)))
        for number in range(9)
    ]
    steps += [everything(0, ""), everything(2, None), ("W", b"6\t>=\t1\t\0\t100\t0\tD?\n"), everything(0, "")]
    return Group("keys", [KEYS, NO_KEY, UNIQUE_ONLY], steps + without_primary_key())


def without_primary_key() -> list[Step]:
    """Tables without a primary key, the second one with unique keys."""
    steps: list[Step] = []
    for table in ("no_key", "unique_only"):
        for name in ("PRIMARY", "", "0", "1", "2", "3", "a", "b", "c"):
            steps += opened(20, table, name, "a,b,c")
    steps += opened(10, "no_key", "a", "a,b,c") + opened(11, "no_key", "a", "a")
    steps += inserts(10, (1, 9, "z"), (1, 8, "y"), (None, 7, "x"), (0, 6, None), (1, 5, "w"), (2, None, "v"))
    steps += inserts(11, (1,), (None,), (5,))
    steps += [
        ("R", b"10\t%b\t1\t%b\t100\t0\n" % (op, key))
        for op in (b"=", b">", b">=", b"<", b"<=")
        for key in (b"1", b"\0", b"0", b"2")
    ]
    steps += [("W", b"10\t=\t1\t1\t2\t1\tU?\t1\t0\tn\n"), ("W", b"10\t=\t1\t1\t1\t0\tD?\n"), ("R", b"10\t>=\t1\t\0\t100\t0\n")]
    steps += (
        opened(12, "unique_only", "a", "a,b,c,d")
        + opened(13, "unique_only", "b", "a,b,c,d")
        + opened(14, "unique_only", "c", "a,b,c,d")
        + opened(15, "unique_only", "c", "b")
    )
    steps += inserts(
        12, (1, 5, "x", None), (None, 4, "y", ""), (None, 3, "x", None), (1, 2, "x", None), (7, 5, "x", None), (8, 1, "q", None)
    )
    steps += inserts(15, (10,), (9,))
    steps += [
        ("R", b"%d\t%b\t1\t%b\t100\t0\n" % (n, op, key))
        for n in (12, 13, 14)
        for op in (b"=", b">", b"<=")
        for key in (b"1", b"\0", b"3", b"x")
    ]
    return steps


# ---- generated ids and pipelines --------------------------------------------------------------------------------------

IDS = Table(
    DATABASE,
    "ids",
    {"id": "TINYINT UNSIGNED NOT NULL AUTO_INCREMENT", "k": "INT NOT NULL"},
    primary_key=["id"],
    unique={"k": ["k"]},
)


def ids() -> Group:
    insert = b"0\t+\t1\t%d\n"
    steps = opened(0, "ids", "PRIMARY", "k") + opened(1, "ids", "PRIMARY", "id,k")
    steps += [
        ("W", insert % 1),
        ("W", insert % 1),
        ("W", insert % 2),
        ("W", b"".join(insert % k for k in (3, 4, 5, 6, 7))),
        ("W", insert % 8),
    ]
    steps += [("W", b"".join(insert % k for k in (9, 1, 10))), ("W", insert % 11), everything(1, 0)]
    steps += [
        (
            "W",
            b"".join(b"1\t+\t2\t%d\t%d\n" % (i, 1000 + i + 100 * n) for n, i in enumerate((0, 0, 0, 30, 0, 29, 0, 33, 0, 0))),
        ),
        ("W", insert % 3000),
        everything(1, 0),
    ]
    steps += inserts(1, (50, 50), (40, 40), (0, 41), (None, 42), ("", 43), ("x", 44), ("-1", 45), (51, 1), (0, 46))
    steps += [
        ("W", b"1\t=\t1\t1\t1\t0\tU\t100\t1\n"),
        ("W", insert % 60),
        ("W", b"1\t=\t1\t100\t1\t0\tD\n"),
        ("W", insert % 61),
        everything(1, 0),
    ]
    steps += inserts(1, (253, 70), (0, 71), (0, 72), (0, 73), (254, 74))
    steps += [("W", b"1\t=\t1\t253\n0\tX\n\n" + insert % 81), everything(1, 0)]
    return Group("ids", [IDS], steps)


def pipelines() -> Group:
    table = Table(DATABASE, "pipeline", {"id": "INT NOT NULL", "n": "INT NOT NULL"}, primary_key=["id"])
    batch = b"".join(
        b"0\t+\t2\t%d\t%d\n0\t>=\t1\t%d\t3\t0\n0\t=\t1\t%d\t1\t0\t+?\t0\t1\n" % (i % 7, i, i - 1, i % 7) for i in range(60)
    )
    steps = [
        *opened(0, table.name, "PRIMARY", "id,n"),
        ("W", batch),
        everything(0, 0),
        ("W", b"0\t>=\t1\t0\t9\t0\tD\n" * 2 + batch),
        everything(0, 0),
    ]
    return Group("pipelines", [table], steps)


# ---- chance -----------------------------------------------------------------------------------------------------------

CHANCE = Table(
    DATABASE,
    "chance",
    {
        "id": "INT NOT NULL AUTO_INCREMENT",
        "k": "VARCHAR(6) NULL",
        "n": "INT NULL",
        "u": "SMALLINT UNSIGNED NOT NULL DEFAULT 9",
        "b": "VARBINARY(6) NULL",
    },
    primary_key=["id"],
    unique={"k": ["k", "n"]},
    indexes={"n": ["n"], "un": ["u", "k(2)"], "b": ["b(3)", "u"]},
)
_WORDS = ["", "a", "A", "b", "ab", "aB ", "é", "e", "abcdefgh", "z", "\t", "日", "10", " a", None]
_OPERATIONS = [b"=", b"=", b">", b">=", b"<", b"<="]


def chance(seed: int, requests: int) -> Group:
    """Random requests, mostly sensible, on a table of their own; the same for the same seed."""
    rng = random.Random(seed)
    table = Table(DATABASE, f"chance_{seed}", CHANCE.columns, CHANCE.primary_key, CHANCE.unique, CHANCE.indexes)
    widths = [1, 2, 1, 2, 2]
    steps: list[Step] = []
    for number in range(5):
        steps += opened(number, table.name, str(number), "id,k,n,u,b", "k,n,u,b")
    steps += [(rng.choice("RWW"), line) for line in _random_lines(rng, widths, requests)]
    return Group(f"chance {seed}", [table], [step for line in steps for step in (line, everything(0, -99))][: 4 * requests])


def _random_value(rng: random.Random) -> object:
    return rng.choice([rng.choice(_WORDS), rng.randint(-3, 12), rng.randint(-3, 12), rng.choice([99, -99, 70000, 2**31])])


def _random_row(rng: random.Random) -> bytes:
    number = rng.choice([0, 0, rng.randint(1, 30)])
    return tokens(number, rng.choice(_WORDS), rng.choice([None, *range(-2, 6)]), rng.randint(-1, 9), rng.choice(_WORDS))


def _random_lines(rng: random.Random, widths: Sequence[int], requests: int) -> Iterator[bytes]:
    for _ in range(requests):
        number = rng.randrange(5)
        if rng.random() < 0.35:
            yield b"%d\t+\t5\t%b\n" % (number, _random_row(rng))
            continue
        width = rng.randint(1, widths[number])
        line = b"%d\t%b\t%d\t%b" % (number, rng.choice(_OPERATIONS), width, tokens(*(_random_value(rng) for _ in range(width))))
        line += b"\t%d\t%d" % (rng.choice([0, 1, 2, 5, 50]), rng.choice([0, 0, 0, 1, 2]))
        if rng.random() < 0.2:
            choices = [value for value in (_random_value(rng) for _ in range(rng.randint(1, 5))) if value is not None]
            line += b"\t@\t%d\t%d\t%b" % (rng.randrange(width + 1), max(1, len(choices)), tokens(*choices))
        for _ in range(rng.choice([0, 0, 0, 1, 2])):
            operation = rng.choice([b"=", b"!=", b"<", b"<=", b">", b">="])
            line += b"\t%b\t%b\t%d\t%b" % (rng.choice([b"F", b"W"]), operation, rng.randrange(4), tokens(_random_value(rng)))
        chosen = rng.random()
        if chosen < 0.12:
            line += (
                b"\t"
                + rng.choice([b"+", b"-", b"+?", b"-?"])
                + b"\t"
                + tokens(0, "", *(rng.choice([1, -1, 2, None]) for _ in range(2)), 0)
            )
        elif chosen < 0.2:
            line += b"\t" + rng.choice([b"U", b"U?"]) + b"\t" + _random_row(rng)
        elif chosen < 0.24:
            line += b"\t" + rng.choice([b"D", b"D?"])
        yield line + b"\n"


def groups() -> list[Group]:
    return [shapes(), keys(), ids(), pipelines(), *(of_type(*described) for described in TYPES), chance(1, 800), chance(2, 800)]
