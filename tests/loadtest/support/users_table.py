"""A table that a user has: columns of every kind, rows by SQL, and the command lines that work on it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from hs_drill._cluster import Cluster, Server
from hs_drill.servers._sql import execute_sql

DATABASE = "mine"
COLUMNS = """\
    region    CHAR(2) CHARACTER SET latin1 NOT NULL,
    id        BIGINT NOT NULL,
    small     TINYINT UNSIGNED NOT NULL,
    count     INT NOT NULL DEFAULT 0,
    price     DECIMAL(12,3) NOT NULL,
    ratio     FLOAT NOT NULL,
    exact     DOUBLE NULL,
    moment    DATETIME(6) NULL,
    stamp     TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,
    day       DATE NULL,
    span      TIME(3) NULL,
    season    YEAR NOT NULL,
    kind      ENUM('plain','it''s','größer') CHARACTER SET utf8mb4 NOT NULL,
    tags      SET('a','b','c') NOT NULL,
    doc       JSON NULL,
    raw       BLOB NULL,
    packed    VARBINARY(20) NOT NULL,
    flags     BIT(11) NOT NULL,
    ident     UUID NOT NULL,
    address   INET6 NULL,
    title     VARCHAR(60) CHARACTER SET utf8mb4 NOT NULL,
    remark    VARCHAR(40) CHARACTER SET latin1 NULL,
    body      TEXT CHARACTER SET utf8mb4 NULL,
    PRIMARY KEY (region, id),
    KEY by_kind (kind, price),
    KEY by_title (title)
"""
NAMES = [line.split()[0] for line in COLUMNS.splitlines() if "KEY" not in line]
VALUES: dict[str, Any] = {
    "region": {"values": {"choice": ["eu", "us", "ap"]}},
    "id": {"values": "sequence"},
    "small": {"values": {"between": [0, 255]}},
    "count": {"values": 0},
    "price": {"values": {"between": [1, 999]}},
    "ratio": {"values": {"between": [0, 1]}},
    "exact": {"values": {"between": [0, 1]}},
    "moment": {"values": "now"},
    "stamp": {"values": "now"},
    "day": {"values": "now"},
    "span": {"values": {"between": ["-12:00:00", "12:00:00"]}},
    "season": {"values": 2026},
    "kind": {"values": {"choice": ["plain", "größer"]}},
    "tags": {"values": {"choice": ["a,c", "b"]}},
    "doc": {"values": "{}", "null": 0.5},
    "raw": {"values": {"text": 20}},
    "packed": {"values": {"text": {"min": 0, "max": 20}}},
    "flags": {"values": {"between": [0, 2047]}},
    "ident": {"values": "uuid"},
    "address": {"values": "2001:db8::1"},
    "title": {"values": {"text": {"min": 1, "max": 60, "alphabet": "aé😀"}}},
    "remark": {"values": {"text": 10}},
    "body": {"values": {"text": {"min": 0, "max": 60, "alphabet": "ü𝄞"}}, "null": 0.1},
}
WRITTEN = ["small", "price", "ratio", "moment", "kind", "doc", "raw", "flags", "address", "title", "remark", "body"]
"""Columns that a run changes."""
_ROWS = """\
    ELT(1 + seq % 3, 'eu', 'us', 'ap'), seq, seq % 256, seq % 1000, seq / 7, seq / 3, seq / 9,
    IF(seq % 10, TIMESTAMPADD(MICROSECOND, seq * 1000003, '2024-02-28 23:59:59.999999'), NULL),
    TIMESTAMPADD(MINUTE, seq, '2024-01-01'), IF(seq % 7, DATE_ADD('1999-12-31', INTERVAL seq % 9000 DAY), NULL),
    SEC_TO_TIME(seq % 800000), 1901 + seq % 200, 1 + seq % 3, seq % 8,
    IF(seq % 5, JSON_OBJECT('n', seq, 's', CONCAT('😀', seq)), NULL), IF(seq % 4, UNHEX(SHA2(seq, 256)), NULL),
    LEFT(UNHEX(SHA1(seq)), seq % 21), seq % 2048, UUID(),
    IF(seq % 6, CONCAT('2001:db8::', HEX(seq % 65536)), NULL), CONCAT('title 😀 ñ ', seq),
    IF(seq % 3, CONVERT(CONCAT('façade ', seq) USING latin1), NULL), IF(seq % 2, REPEAT('ü𝄞', seq % 40), NULL)"""


async def make_table(cluster: Cluster, rows: int, *, name: str = "t", database: str = DATABASE) -> None:
    """The table, with rows of many values, on the writer."""
    await execute_sql(
        cluster.writer,
        f"DROP DATABASE IF EXISTS {database}",
        f"CREATE DATABASE {database}",
        f"CREATE TABLE {database}.{name} ({COLUMNS}) ENGINE=InnoDB",
        f"INSERT INTO {database}.{name} ({', '.join(NAMES)}) SELECT {_ROWS} FROM {database}.seq_1_to_{rows}",
    )


async def checksum(cluster: Cluster, table: str = f"{DATABASE}.t", server: Server | None = None) -> int:
    (row,) = await execute_sql(server or cluster.writer, f"CHECKSUM TABLE {table} EXTENDED")
    return int(row["Checksum"])


def servers_option(cluster: Cluster) -> str:
    """The writer, which is its own reader: one secret from the environment is for all servers."""
    server = cluster.writer
    address = f"{server.host}:{server.read_port}:{server.write_port}:{server.sql_port}"
    return f"writer={address},reader-1={address}"


def environment(cluster: Cluster) -> dict[str, str]:
    writer = cluster.writer
    return {
        "TRIO_HS_READ_SECRET": writer.read_secret,
        "TRIO_HS_WRITE_SECRET": writer.write_secret,
        "TRIO_HS_SQL_USER": writer.admin_user,
        "TRIO_HS_SQL_PASSWORD": writer.admin_password,
    }


def hs_drill(cluster: Cluster, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """A command, as users run it."""
    line = [sys.executable, "-m", "hs_drill", *map(str, arguments)]
    return subprocess.run(
        line, check=False, capture_output=True, text=True, env={**os.environ, **environment(cluster)}, stdin=subprocess.DEVNULL
    )
