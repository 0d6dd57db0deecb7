"""The client against real MariaDB: what the README shows, and that every value comes back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import trio_hs
from hs_drill._cluster import Cluster, ClusterError
from hs_drill.servers import execute_sql
from tests.support.patience import patience, until
from tests.trio_hs.support.real_servers import manager
from trio_hs import Filter, Manager

pytestmark = pytest.mark.mariadb

TRUCKS = (
    "CREATE TABLE cars.trucks (id INT NOT NULL PRIMARY KEY, company VARCHAR(40) NOT NULL, model VARCHAR(40) NOT NULL,"
    " KEY custom_index_name (id, company))"
)
THINGS = (
    "CREATE TABLE cars.things (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY,"
    " k VARCHAR(20) COLLATE utf8mb4_general_ci NULL, n INT NULL, b VARBINARY(600) NULL, UNIQUE KEY k (k), KEY n (n))"
)


@pytest.fixture
async def hs(cluster: Cluster) -> AsyncIterator[Manager]:
    await execute_sql(cluster.writer, "CREATE DATABASE cars", TRUCKS, THINGS)
    async with manager(cluster) as opened:
        yield opened
    await execute_sql(cluster.writer, "DROP DATABASE cars")


async def test_insert_and_get(hs: Manager) -> None:
    assert await hs.insert("cars", "trucks", [("id", "1"), ("company", "Scania"), ("model", "G400")]) is None
    row = await hs.get("cars", "trucks", ["id", "company", "model"], "1")
    assert dict(row) == {"id": "1", "company": "Scania", "model": "G400"}
    assert await hs.get("cars", "trucks", ["id", "company", "model"], "2") == []


async def test_find_on_a_composite_index(hs: Manager) -> None:
    for number in range(1, 21):
        await hs.insert("cars", "trucks", [("id", number), ("company", f"c{number}"), ("model", "m")])
    rows = await hs.find("cars", "trucks", ">=", ["id", "company", "model"], ["5", "c5"], "custom_index_name", 10)
    assert [dict(row) for row in rows] == [{"id": str(n), "company": f"c{n}", "model": "m"} for n in range(5, 15)]
    rows = await hs.find("cars", "trucks", "<", ["id"], ["5"], "custom_index_name", 2, 1)
    assert [dict(row) for row in rows] == [{"id": "3"}, {"id": "2"}]


async def test_incr_gives_the_original_and_adds_once(hs: Manager) -> None:
    await hs.insert("cars", "trucks", [("id", "1"), ("company", ""), ("model", "")])
    assert await hs.incr("cars", "trucks", "=", ["id"], ["1"], return_original=True) == ["1"]
    assert await hs.get("cars", "trucks", ["id"], "1") == []
    assert await hs.get("cars", "trucks", ["id"], "2") == [("id", "2")]
    assert await hs.decr("cars", "trucks", "=", ["id"], ["2"], ["2"]) == 1
    assert await hs.get("cars", "trucks", ["id"], "0") == [("id", "0")]


async def test_the_low_level(hs: Manager, cluster: Cluster) -> None:
    await hs.insert("cars", "trucks", [("id", "1"), ("company", "Scania"), ("model", "G400")])
    server = cluster.writer
    async with trio_hs.open_read_socket([("inet", server.host, server.read_port)], server.read_secret) as reader:
        index_id = await reader.get_index_id("cars", "trucks", ["id", "company", "model"])
        assert index_id == await reader.get_index_id("cars", "trucks", ["id", "company", "model"])
        assert await reader.find(index_id, "=", ["1"]) == [["1", "Scania", "G400"]]
        with pytest.raises(ValueError, match="there is no index_id 99"):
            await reader.find(99, "=", ["1"])
    async with trio_hs.open_write_socket([("inet", server.host, server.write_port)], server.write_secret) as writer:
        index_id = await writer.get_index_id("cars", "trucks", ["id", "company", "model"])
        await writer.insert(index_id, ["2", "Volvo", "FH"])
        assert await writer.find_modify(index_id, "=", ["2"], "U?", ["2", "Volvo", "FM"]) == [["2", "Volvo", "FH"]]
        assert await writer.find_modify(index_id, ">", ["0"], "D", limit=10) == 2
        assert await writer.find(index_id, ">", ["0"], 10) == []


async def test_with_one_of_several_servers_down_reads_go_on(hs: Manager, cluster: Cluster) -> None:
    await hs.insert("cars", "trucks", [("id", "1"), ("company", "Scania"), ("model", "G400")])
    server = cluster.writer
    nobody = trio.socket.socket()
    await nobody.bind(("127.0.0.1", 0))  # bound but not listening: refuses
    dead = ("inet", "127.0.0.1", nobody.getsockname()[1])
    alive = ("inet", server.host, server.read_port)
    with nobody:
        for servers in ([dead, alive], [alive, dead], [[dead], [alive]]):
            async with trio_hs.open_manager(servers, read_secret=server.read_secret) as both:
                for _ in range(20):
                    assert await both.get("cars", "trucks", ["id"], "1") == [("id", "1")]


async def test_update_delete_and_their_originals(hs: Manager) -> None:
    for number in (1, 2, 3):
        await hs.insert("cars", "things", [("id", number), ("k", f"k{number}"), ("n", number), ("b", None)])
    assert await hs.update("cars", "things", "=", ["n"], ["k2"], ["20"], "k") == 1
    assert await hs.update("cars", "things", "=", ["n"], ["nobody"], ["20"], "k") == 0
    assert await hs.update("cars", "things", ">=", ["n", "b"], ["2"], [7, b"\0\1"], None, 5, return_original=True) == [
        [("n", "20"), ("b", None)],
        [("n", "3"), ("b", None)],
    ]
    assert await hs.delete("cars", "things", ">", ["id", "b"], ["1"], None, 1, 1, return_original=True) == [
        [("id", "3"), ("b", "\0\1")]
    ]
    assert await hs.delete("cars", "things", "=", ["id"], ["9"]) == 0


async def test_in_and_filters(hs: Manager) -> None:
    for number in range(1, 8):
        await hs.insert("cars", "things", [("id", number), ("k", None), ("n", number % 3), ("b", None)])
    rows = await hs.find("cars", "things", "=", ["id"], [], in_=(0, [5, 99, 2]))
    assert rows == [[("id", "5")], [("id", "2")]]
    rows = await hs.find("cars", "things", ">=", ["id"], [1], limit=10, filters=[Filter("n", "=", 1)])
    assert rows == [[("id", "1")], [("id", "4")], [("id", "7")]]
    rows = await hs.find("cars", "things", ">=", ["id"], [1], limit=10, filters=[Filter("n", "!=", 0, stop=True)])
    assert rows == [[("id", "1")], [("id", "2")]]
    assert await hs.incr("cars", "things", "=", ["n"], [], [10], in_=(0, [1, 2])) == 2
    assert await hs.delete("cars", "things", ">=", ["id"], [1], limit=10, filters=[Filter("n", ">", 5)]) == 2


async def test_generated_ids(hs: Manager) -> None:
    assert await hs.insert("cars", "things", [("k", "a"), ("n", 1), ("b", None)]) == 1
    assert await hs.insert("cars", "things", [("id", 7), ("k", "b"), ("n", 1), ("b", None)]) is None
    assert await hs.insert("cars", "things", [("k", "c"), ("n", 1), ("b", None)]) == 8


async def test_every_byte_and_null_come_back(hs: Manager, cluster: Cluster) -> None:
    everything = bytes(range(256)) + b"\r\n\t\0\1" + b"\r"
    async with manager(cluster, encoding=None) as raw:
        table = raw.table("cars", "things", ["id", "k", "b"])
        await table.insert([1, None, everything])
        await table.insert([2, "", b""])
        await table.insert([3, "\0", b"\0"])
        assert [[value for _, value in row] for row in await table.find(">=", [0], 10)] == [
            [b"1", None, everything], [b"2", b"", b""], [b"3", b"\0", b"\0"],
        ]  # fmt: skip
    await hs.insert("cars", "things", [("id", 4), ("k", "hé😀\t\n"), ("b", None)])
    assert await hs.get("cars", "things", ["k"], 4) == [("k", "hé😀\t\n")]
    with pytest.raises(trio_hs.DecodingError):
        await hs.get("cars", "things", ["b"], 1)


#: MariaDB's character sets that Python knows and that leave ASCII as it is, what Python calls them, and a text.
ENCODINGS = {
    "ascii": ("ascii", ""), "big5": ("big5", "功許蓋"), "cp1250": ("cp1250", "šž"), "cp1251": ("cp1251", "жя"),
    "cp1256": ("cp1256", "ض"), "cp1257": ("cp1257", "ž"), "cp850": ("cp850", "éÿ"), "cp852": ("cp852", "šž"),
    "cp866": ("cp866", "жя"), "cp932": ("cp932", "ソ表能"), "eucjpms": ("euc_jp", "ソ表"), "euckr": ("euc_kr", "한글"),
    "gb2312": ("gb2312", "中文"), "gbk": ("gbk", "乗誠甛"), "greek": ("iso8859-7", "λω"), "hebrew": ("iso8859-8", "ש"),
    "koi8r": ("koi8-r", "жя"), "koi8u": ("koi8-u", "їє"), "latin1": ("cp1252", "é€"), "latin2": ("iso8859-2", "šž"),
    "latin5": ("iso8859-9", "ğş"), "latin7": ("iso8859-13", "ž"), "macce": ("mac-latin2", "ž"), "macroman": ("mac-roman", "é"),
    "sjis": ("shift_jis", "ソ表能"), "tis620": ("tis-620", "ไทย"), "ujis": ("euc_jp", "ソ表"), "utf8mb4": ("utf-8", "é😀"),
}  # fmt: skip


async def test_text_in_every_accepted_encoding_comes_back_and_numbers_find_their_rows(cluster: Cluster) -> None:
    """Some encodings have characters whose second byte is a backslash or a tilde."""
    columns = ", ".join(f"{charset} VARCHAR(300) CHARACTER SET {charset} NOT NULL DEFAULT ''" for charset in ENCODINGS)
    await execute_sql(cluster.writer, "CREATE DATABASE cars", f"CREATE TABLE cars.texts (id INT PRIMARY KEY, {columns})")
    ascii_text = "".join(map(chr, range(0x80)))
    try:
        await execute_sql(cluster.writer, "INSERT INTO cars.texts (id) VALUES (1), (2)")
        for charset, (encoding, characters) in ENCODINGS.items():
            text = ascii_text + characters + ascii_text[::-1] + characters
            async with manager(cluster, encoding=encoding) as hs:
                texts = hs.table("cars", "texts", ["id", charset])
                assert await texts.update("=", [2], [2, text]) == 1
                assert [await texts.get(number) for number in (0, 1, 2)] == [
                    [], [("id", "1"), (charset, "")], [("id", "2"), (charset, text)],
                ]  # fmt: skip
            query = f"SELECT HEX(CONVERT({charset} USING utf8mb4)) AS h FROM cars.texts WHERE id = 2"
            assert bytes.fromhex((await execute_sql(cluster.writer, query))[0]["h"]).decode() == text, charset
    finally:
        await execute_sql(cluster.writer, "DROP DATABASE cars")


async def test_the_servers_refusals_have_their_class_and_cost_no_connection(hs: Manager) -> None:
    await hs.insert("cars", "things", [("id", 1), ("k", "a"), ("n", 1), ("b", None)])
    await hs.get("cars", "things", ["id"], 1)
    before = repr(hs)
    refusals: list[tuple[type[Exception], Callable[[], Awaitable[object]]]] = [
        (trio_hs.DuplicateKeyError, lambda: hs.insert("cars", "things", [("id", 1)])),
        (trio_hs.TableNotFoundError, lambda: hs.get("cars", "nope", ["id"], 1)),
        (trio_hs.TableNotFoundError, lambda: hs.get("nope", "things", ["id"], 1)),
        (trio_hs.ColumnNotFoundError, lambda: hs.get("cars", "things", ["ID"], 1)),
        (trio_hs.IndexNotFoundError, lambda: hs.find("cars", "things", "=", ["id"], [1], "primary")),
        (trio_hs.OperationalError, lambda: hs.find("cars", "things", "=", ["id"], [1, 2])),
    ]
    for error, call in refusals:
        with pytest.raises(error, match=r"\d+(\.\d+){3}:\d+: (insert|get|find) \w+\.\w+: "):
            await call()
    assert repr(hs) == before


async def test_the_read_listener_refuses_writes(hs: Manager, cluster: Cluster) -> None:
    server = cluster.writer
    async with trio_hs.open_write_socket([("inet", server.host, server.read_port)], server.read_secret) as socket:
        index_id = await socket.get_index_id("cars", "things", ["id"])
        with pytest.raises(trio_hs.ReadOnlyError, match="listener for reads"):
            await socket.insert(index_id, [1])


@pytest.mark.parametrize("secret", ["wrong", None, "", "a\tb"])
async def test_a_wrong_secret_fails_at_once(hs: Manager, cluster: Cluster, secret: str | None) -> None:
    with trio.fail_after(patience(1)):
        async with manager(cluster, read_secret=secret, timeout=60) as wrong:
            with pytest.raises(trio_hs.AuthenticationError, match="wrong secret"):
                await wrong.get("cars", "trucks", ["id"], "1")


async def test_a_line_cut_before_a_q_is_harmless(hs: Manager) -> None:
    """The server hangs forever at a `Q` at the beginning of a line. Our lines never begin with one."""
    key = "Q" * 19
    await hs.insert("cars", "things", [("id", 1), ("k", key), ("b", b"Q" * 500 + b"/" * 100)])
    async with trio.open_nursery() as nursery:
        for _ in range(200):
            nursery.start_soon(hs.find, "cars", "things", "=", ["k"], [key], "k")


async def test_asking_for_a_missing_table_pins_its_name(hs: Manager, cluster: Cluster) -> None:
    """CREATE TABLE waits for connections that asked for the table before it existed, until they are closed."""
    create = "CREATE TABLE cars.later (id INT PRIMARY KEY)"
    async with manager(cluster) as early:
        for _ in range(3):
            with pytest.raises(trio_hs.TableNotFoundError):
                await early.get("cars", "later", ["id"], 1)
        with pytest.raises(ClusterError, match="1205"):
            await execute_sql(cluster.writer, "SET lock_wait_timeout=1", create)
    await execute_sql(cluster.writer, create, "INSERT INTO cars.later VALUES (1)")
    assert await hs.get("cars", "later", ["id"], 1) == [("id", "1")]


async def test_a_thousand_tasks_share_one_connection(hs: Manager) -> None:
    table = hs.table("cars", "things", ["id", "k"])
    for number in range(1, 51):
        await table.insert([number, f"k{number}"])
    calls = 0

    async def user(number: int) -> None:
        nonlocal calls
        for turn in range(10):
            key = (number + turn) % 50 + 1
            assert await table.get(key) == [("id", str(key)), ("k", f"k{key}")]
            calls += 1

    async with trio.open_nursery() as nursery:
        for number in range(1000):
            nursery.start_soon(user, number)
    assert calls == 10_000


async def test_insert_many_and_get_many(hs: Manager) -> None:
    rows = [[number, f"k{number}", None, b""] for number in range(1, 1001)]
    assert await hs.insert_many("cars", "things", ["id", "k", "n", "b"], rows) == [None] * 1000
    outcomes = await hs.insert_many("cars", "things", ["id", "k", "n", "b"], [[1, "x", 1, b""], [1001, "y", 1, b""]])
    assert isinstance(outcomes[0], trio_hs.DuplicateKeyError)
    assert outcomes[1] is None
    keys = [5, 2000, 1000, 5, 1]
    assert await hs.get_many("cars", "things", ["id", "n"], keys) == [
        [("id", str(key)), ("n", None)] if key <= 1000 else [] for key in keys
    ]


class Sizes(trio_hs.Instrument):
    """How many lines each request had."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def request_done(self, server: str, operation: str, table: str, requests: int, seconds: float, failed: bool) -> None:
        self.seen.append(requests)


@pytest.mark.parametrize("kind", ["VARBINARY(9)", "BINARY(3)", "VARCHAR(2) COLLATE utf8mb4_general_ci", "BIT(12)", "INT"])
@pytest.mark.parametrize("index", ["PRIMARY KEY (k, n)", "KEY (k), PRIMARY KEY (n)"])
async def test_get_many_finds_what_single_gets_find(cluster: Cluster, kind: str, index: str) -> None:
    """Keys with every byte, empty ones, ones that are cut or changed to fit, and ones that stand for several rows."""
    keys = [*[bytes([byte]) for byte in range(256)], b"", b"ab", b"abcd", b"a ", b"a\0", b"\1@", b"\t\n\1A", b"11", b"x" * 12]
    table = f"CREATE TABLE cars.many (k {kind} NOT NULL, n INT NOT NULL, {index})"
    await execute_sql(cluster.writer, "CREATE DATABASE cars", table)
    try:
        sizes = Sizes()
        async with manager(cluster, encoding=None, instruments=[sizes]) as hs:
            await hs.insert_many("cars", "many", ["k", "n"], [(key, number) for number, key in enumerate([*keys[3:], b"11"])])
            many = hs.table("cars", "many", ["k", "n"], None if index.startswith("PRIMARY") else "k")
            each = [await many.get(key) for key in keys]
            found = [(key, row) for key, row in zip(keys, each, strict=True) if row]
            assert len(found) > 16
            sizes.seen.clear()
            assert await many.get_many([key for key, _ in found * 2]) == [row for _, row in found * 2]
            assert set(sizes.seen) == {1}  # all by list
            assert await many.get_many(keys) == each
    finally:
        await execute_sql(cluster.writer, "DROP DATABASE cars")


async def test_a_table_is_altered_under_load(hs: Manager, cluster: Cluster) -> None:
    """Without `suspended` the ALTER would wait forever. With it, no caller sees an error."""
    await hs.insert("cars", "trucks", [("id", 1), ("company", "a"), ("model", "b")])
    stop = False
    calls = 0

    async def user() -> None:
        nonlocal calls
        while not stop:
            assert await hs.get("cars", "trucks", ["id"], 1) == [("id", "1")]
            assert await hs.update("cars", "trucks", "=", ["model"], [1], ["c"]) == 1
            calls += 1

    alter = "ALTER TABLE cars.trucks ADD COLUMN wheels INT NOT NULL DEFAULT 6"
    async with trio.open_nursery() as users:
        for _ in range(16):
            users.start_soon(user)
        await until(lambda: calls >= 16)
        with pytest.raises(ClusterError, match="1205"):
            await execute_sql(cluster.writer, "SET lock_wait_timeout=1", alter)
        async with hs.suspended():
            await wait_all_tasks_blocked()  # callers with a last answer run
            before = calls
            await execute_sql(cluster.writer, "SET lock_wait_timeout=60", alter)
            assert calls == before
        assert await hs.get("cars", "trucks", ["wheels"], 1) == [("wheels", "6")]
        stop = True


async def test_any_connection_on_the_writer_thread_keeps_a_table_pinned(hs: Manager, cluster: Cluster) -> None:
    """docs/server.md, "Locks": the thread of the write listener closes its tables only when it has no connection left."""
    server = cluster.writer
    alter = "ALTER TABLE cars.trucks COMMENT 'altered'"

    async def waits() -> None:
        with pytest.raises(ClusterError, match="1205"):
            await execute_sql(server, "SET lock_wait_timeout=1", alter)

    async def passes() -> None:
        await execute_sql(server, "SET lock_wait_timeout=60", alter)

    await hs.insert("cars", "trucks", [("id", 1), ("company", "a"), ("model", "b")])
    async with manager(cluster) as other:
        await other.update("cars", "things", "=", ["n"], [1], [1])
        async with hs.suspended():
            await waits()  # the other one has never touched this table
            async with other.suspended():
                await passes()
                # A connection that does not even authenticate keeps what another one has opened meanwhile.
                async with await trio.open_tcp_stream(server.host, server.write_port):
                    async with trio_hs.open_write_socket(
                        [("inet", server.host, server.write_port)], server.write_secret
                    ) as writer:
                        await writer.find(await writer.get_index_id("cars", "trucks", ["id"]), "=", ["1"])
                    await waits()
                await passes()
