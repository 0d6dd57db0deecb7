"""What the conformance suite sends to tables declared with the ordinary attributes of SQL."""

from __future__ import annotations

from tests.trio_hs.support.requests import DATABASE, Group, Step, everything, inserts, opened, tokens
from trio_hs.testing import Table

FILLED = Table(
    DATABASE,
    "filled",
    {
        "id": "INT NOT NULL PRIMARY KEY COMMENT 'the key, not ''UNIQUE'' (only)'",
        "stamp": "TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP",
        "stamp_null": "TIMESTAMP NULL DEFAULT CURRENT_TIMESTAMP()",
        "changed": "DATETIME(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6)",
        "changed_null": "DATETIME DEFAULT NOW() ON UPDATE NOW()",
        "changed_only": "DATETIME NOT NULL DEFAULT '2020-01-02 03:04:05' ON UPDATE CURRENT_TIMESTAMP",
        "zero": "TIMESTAMP NOT NULL DEFAULT 0 ON UPDATE NOW()",
        "day": "DATE NOT NULL DEFAULT CURRENT_DATE",
        "clock": "TIME NOT NULL DEFAULT CURRENT_TIME",
        "today": "DATE NOT NULL DEFAULT (CURDATE())",
        "code": "CHAR(36) NOT NULL DEFAULT UUID()",
        "who": "VARCHAR(20) NOT NULL DEFAULT CURRENT_USER()",
        "hidden": "INT NOT NULL DEFAULT 5 INVISIBLE",
        "checked": "INT DEFAULT 7 CHECK (checked > 3 and (checked < 99))",
        "named": "INT CHECK (named > 3)",
        "comment": 'VARCHAR(9) NOT NULL DEFAULT \'a\'\'b\' COMMENT "say ""x"""',
        "double": 'VARCHAR(9) DEFAULT "d""q"',
        "yes": "INT NOT NULL DEFAULT TRUE",
        "no": "BOOLEAN NOT NULL DEFAULT FALSE",
        "bytes": "VARBINARY(9) NOT NULL DEFAULT x'4142'",
        "bits": "BIT(8) NOT NULL DEFAULT b'101'",
        "of_bits": "INT NOT NULL DEFAULT b'101'",
        "decimal_of_bits": "DECIMAL(3) NOT NULL DEFAULT b'101'",
        "bits_of_number": "BIT(9) NOT NULL DEFAULT 300",
        "bits_of_text": "BIT(8) NOT NULL DEFAULT '5'",
        "escapes": r"VARCHAR(20) NOT NULL DEFAULT 'a\0\b\n\r\t\Z\%\_\\\'\"\q'",
        "hex": "INT NOT NULL DEFAULT 0x41",
        "hex_text": "VARCHAR(9) NOT NULL DEFAULT 0x41",
        "dated": "DATE NOT NULL DEFAULT DATE '2020-01-02'",
        "timed": "DATETIME NOT NULL DEFAULT TIMESTAMP '2020-01-02 03:04:05'",
        "wrapped": "INT NOT NULL DEFAULT (3)",
        "wrapped_text": "VARCHAR(9) NOT NULL DEFAULT ('y')",
        "marked": "VARCHAR(9) NOT NULL DEFAULT _utf8mb4'z'",
        "national": "VARCHAR(9) NOT NULL DEFAULT N'n'",
        "plus": "INT SIGNED NOT NULL DEFAULT +4",
        "quoted": "INT NOT NULL DEFAULT '6'",
        "precise": "DOUBLE PRECISION DEFAULT 1.5",
        "one": "INT UNIQUE",
        "other": "VARCHAR(9) NOT NULL DEFAULT 'o' UNIQUE KEY",
    },
    unique={"pair": ["hidden", "checked"]},
    indexes={"by_changed": ["changed"]},
)
COUNTED = Table(DATABASE, "counted", {"n": "BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY", "k": "INT NOT NULL UNIQUE"})


def attributes() -> Group:
    """Inserts that leave columns out, changes of rows with ON UPDATE and CHECK, and the indexes declared at columns."""
    steps: list[Step] = [*opened(0, "filled", "PRIMARY", ",".join(FILLED.columns)), *opened(1, "filled", "PRIMARY", "id")]
    steps += [*inserts(1, (1,), (2,)), everything(0, 0)]  # the second has the same unique keys
    steps += opened(2, "filled", "PRIMARY", "id,checked,named,one,other,hidden")
    steps += [*inserts(2, (3, 1, 1, 1, "x", 9), (4, None, None, None, "y", 9), (5, 1, 1, 1, "z", 8)), everything(0, 0)]
    steps += opened(3, "filled", "PRIMARY", "named")
    steps += [("W", b"3\t=\t1\t%b\t1\t0\t%b\t%b\n" % (tokens(key), how, tokens(2))) for key in (1, 3) for how in (b"U", b"+")]
    steps.append(everything(0, 0))
    for number, index in enumerate(("PRIMARY", "one", "other", "pair", "by_changed", "0", "1", "2", "3", "4", "5"), 4):
        steps += opened(number, "filled", index, "id,one,other")
        steps += [everything(number, ""), ("R", b"%d\t=\t1\t%b\t9\t0\n" % (number, tokens("x")))]
    steps += [*opened(20, "counted", "PRIMARY", "n,k"), *opened(21, "counted", "k", "k")]
    steps += [*inserts(21, (7,), (7,), (8,)), *inserts(20, (0, 9), (50, 10)), *inserts(21, (11,)), everything(20, 0)]
    return Group("attributes", [FILLED, COUNTED], steps)
