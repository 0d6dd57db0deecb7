"""``python -m trio_hs.testing``: servers that are killed and paused for real, and replicate over TCP."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

import trio_hs
from tests.support.patience import patience
from trio_hs.testing import Table
from trio_hs.testing.__main__ import main

TABLE = {
    "database": "cars",
    "name": "trucks",
    "columns": {"id": "INT NOT NULL AUTO_INCREMENT", "b": "VARBINARY(300) NULL", "f": "DOUBLE NULL"},
    "primary_key": ["id"],
}


class Process:
    """A server's process and its control connection."""

    def __init__(self, process: trio.Process, ready: dict[str, Any]) -> None:
        self.process = process
        self.host = ready["host"]
        self.ready = ready

    async def command(self, line: str) -> Any:
        """What a command gives; an error is a ValueError."""
        async with await trio.open_tcp_stream(self.host, self.ready["port_control"]) as stream:
            await stream.send_all(line.encode() + b"\n")
            data = b""
            while not data.endswith(b"\n"):
                piece = await stream.receive_some()
                assert piece, f"no answer to {line!r}"
                data += piece
        answer = json.loads(data)
        if "error" in answer:
            raise ValueError(answer["error"])
        return answer["ok"]

    def manager(self, **options: Any) -> Any:
        read, write = (("inet", self.host, self.ready[port]) for port in ("port_read", "port_write"))
        return trio_hs.open_manager([read], [write], encoding=None, **options)

    async def ids(self) -> list[int]:
        async with self.manager() as hs:
            return [int(row[0][1]) for row in await hs.find("cars", "trucks", ">", ["id"], [0], limit=1000)]


@pytest.fixture
def table_file(tmp_path: Path) -> Path:
    path = tmp_path / "tables.json"
    path.write_text(json.dumps([TABLE]))
    return path


@asynccontextmanager
async def running(table_file: Path, *options: str) -> AsyncIterator[Process]:
    """A server for the block. It is killed afterwards unless it has ended."""
    command = [sys.executable, "-m", "trio_hs.testing", "--table-file", str(table_file), *options]
    process = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        line = b""
        with trio.fail_after(patience(20)):
            while not line.endswith(b"\n"):
                line += await process.stdout.receive_some() or b"\n"
        yield Process(process, json.loads(line)["ready"])
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
            await process.stdout.aclose()


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 10) -> None:
    with trio.fail_after(patience(seconds)):
        while not await condition():  # noqa: ASYNC110  (another process is asked)
            await trio.sleep(0.02)


@pytest.mark.process
async def test_the_process_serves_and_ends_cleanly(table_file: Path, tmp_path: Path) -> None:
    for option in ("read", "write"):
        (tmp_path / option).write_text(f"the {option} secret\n")
    secrets = ("--read-secret-file", str(tmp_path / "read"), "--write-secret-file", str(tmp_path / "write"))
    for number in (signal.SIGTERM, signal.SIGINT):
        async with running(table_file, *secrets) as server:
            async with server.manager(read_secret="the read secret", write_secret="the write secret") as hs:
                assert await hs.insert("cars", "trucks", [("b", b"\0\xff"), ("f", 1.5)]) == 1
                assert await hs.get("cars", "trucks", ["b", "f"], 1) == [("b", b"\0\xff"), ("f", b"1.5")]
            server.process.send_signal(number)
            with trio.fail_after(patience(10)):
                assert await server.process.wait() == 0


@pytest.mark.process
async def test_a_killed_server_recovers_from_its_journal(table_file: Path, tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    async with running(table_file, "--journal", str(journal)) as server:
        async with server.manager() as hs:
            for number in range(1, 6):
                await hs.insert("cars", "trucks", [("b", bytes(range(256))), ("f", number / 7)])
            await hs.delete("cars", "trucks", "=", ["id"], [2])
        server.process.kill()
    with journal.open("ab") as file:
        file.write(b'{"position": [7, "emb')  # the transaction in which the server died
    async with running(table_file, "--journal", str(journal)) as server:
        assert await server.ids() == [1, 3, 4, 5]
        async with server.manager() as hs:
            assert await hs.get("cars", "trucks", ["b", "f"], 3) == [("b", bytes(range(256))), ("f", repr(3 / 7).encode())]
            assert await hs.insert("cars", "trucks", [("b", None), ("f", None)]) == 6
        assert (await server.command("status"))["position"] == [7, "embedded"]


@pytest.mark.process
async def test_replication_between_processes(table_file: Path, tmp_path: Path) -> None:
    journal = str(tmp_path / "replica")
    async with running(table_file, "--name", "a") as source:
        async with source.manager() as hs:
            await hs.insert("cars", "trucks", [("b", b"\0\x80"), ("f", 0.1)])
        follow = f"{source.host}:{source.ready['port_replication']}"
        async with running(table_file, "--name", "b", "--follow", follow, "--journal", journal) as replica:
            await until(lambda: _is(replica.ids, [1]))
            await replica.command("pause")
            async with source.manager() as hs:
                await hs.insert("cars", "trucks", [("b", None), ("f", None)])
            await trio.sleep(0.1)
            assert await replica.ids() == [1]
            await replica.command("resume")
            await until(lambda: _is(replica.ids, [1, 2]))
            await replica.command("lag 600")
            await source.command("synchronous 1")
            async with source.manager() as hs:
                await hs.insert("cars", "trucks", [("b", None), ("f", None)])  # acknowledged, so the replica has it
            assert await replica.ids() == [1, 2]
            source.process.kill()
            status = await replica.command("status")
            assert (status["position"][0], status["received"][0], status["read_only"]) == (2, 3, True)
            async with replica.manager() as hs:
                with pytest.raises(trio_hs.ReadOnlyError):
                    await hs.insert("cars", "trucks", [("b", None)])
            assert status["behind"] > 0
            await replica.command("detach")
            assert await replica.ids() == [1, 2, 3]
            assert (await replica.command("status"))["read_only"]
            await replica.command("promote")
            async with replica.manager() as hs:
                assert await hs.insert("cars", "trucks", [("b", None), ("f", None)]) == 4
            async with running(table_file, "--name", "a") as rejoined:
                await rejoined.command(f"follow {replica.host} {replica.ready['port_replication']}")
                await until(lambda: _is(rejoined.ids, [1, 2, 3, 4]))
        async with running(table_file, "--name", "b", "--journal", journal) as again:
            assert await again.ids() == [1, 2, 3, 4]


async def _is(what: Callable[[], Awaitable[list[int]]], expected: list[int]) -> bool:
    return await what() == expected


@pytest.mark.process
async def test_plain_writes_stay_here_and_loaded_rows_replicate(table_file: Path, tmp_path: Path) -> None:
    journal = str(tmp_path / "journal")
    rows = {"database": "cars", "name": "trucks"}
    async with running(table_file, "--unlogged", "--journal", journal) as source:
        follow = f"{source.host}:{source.ready['port_replication']}"
        async with running(table_file, "--name", "b", "--follow", follow) as replica:
            async with source.manager() as hs:
                await hs.insert("cars", "trucks", [("b", b"plain"), ("f", None)])
            await source.command(f"load {json.dumps({**rows, 'rows': [[7, 'é', '0.5'], [9, None, None]]})}")
            with pytest.raises(ValueError, match=r"\[9, None, None\] cannot be stored: storage engine error 121"):
                await source.command(f"load {json.dumps({**rows, 'rows': [[8, None, None], [9, None, None]]})}")
            await until(lambda: _is(replica.ids, [7, 9]))
            page = f"rows {json.dumps({**rows, 'after': None, 'limit': 2})}"
            assert await source.command(page) == [[1, "plain", None], [7, "é", "0.5"]]
            assert await replica.command(page.replace("null", "7")) == [[9, None, None]]
        source.process.kill()
    async with running(table_file, "--read-only", "--twin", "lorries=cars", "--journal", journal) as again:
        assert await again.ids() == [1, 7, 9]
        async with again.manager() as hs:
            assert await hs.get("lorries", "trucks", ["b"], 1) == [("b", b"plain")]
            with pytest.raises(trio_hs.ReadOnlyError):
                await hs.insert("lorries", "trucks", [("b", None)])


@pytest.mark.process
async def test_a_diverged_replica_says_so_and_can_be_rebuilt(table_file: Path, tmp_path: Path) -> None:
    journal = str(tmp_path / "journal")
    async with running(table_file, "--name", "a") as one:
        async with running(table_file, "--name", "b", "--journal", journal) as other:
            for server in (one, other):
                async with server.manager() as hs:
                    await hs.insert("cars", "trucks", [("b", server.ready["pid"]), ("f", None)])
            follow = f"follow {one.host} {one.ready['port_replication']}"
            await other.command(follow)

            async def refused() -> bool:
                return "needs a rebuild" in str((await other.command("status"))["replication_error"])

            await until(refused)
            await other.command(f"{follow} rebuild")

            async def rebuilt() -> bool:
                return bool((await other.command("status"))["position"] == [1, "a"])

            await until(rebuilt)
        async with running(table_file, "--name", "b", "--journal", journal) as again, again.manager() as hs:
            assert await hs.get("cars", "trucks", ["b"], 1) == [("b", b"%d" % one.ready["pid"])]


@pytest.mark.process
async def test_a_paused_process_answers_when_it_goes_on(table_file: Path) -> None:
    async with (
        running(table_file) as server,
        server.manager(timeout=patience(0.3), retry=trio_hs.RetryPolicy(attempts=1)) as hs,
    ):
        await hs.insert("cars", "trucks", [("b", None), ("f", None)])
        server.process.send_signal(signal.SIGSTOP)
        with pytest.raises(trio_hs.ConnectionError) as caught:
            await hs.insert("cars", "trucks", [("b", None), ("f", None)])
        assert caught.value.maybe_applied
        server.process.send_signal(signal.SIGCONT)
        await until(lambda: _is(server.ids, [1, 2]))


@pytest.mark.process
async def test_commands(table_file: Path) -> None:
    async with running(table_file) as server:
        other = {"database": "cars", "name": "vans", "columns": {"id": "INT NOT NULL"}, "primary_key": ["id"]}
        assert await server.command(f"create {json.dumps(other)}") is None
        async with server.manager() as hs:
            assert await hs.insert("cars", "vans", [("id", 1)]) is None
            await server.command("read-only on")
            with pytest.raises(trio_hs.ReadOnlyError):
                await hs.insert("cars", "vans", [("id", 2)])
            await server.command("read-only off")
            await hs.insert("cars", "vans", [("id", 2)])
        with pytest.raises(ValueError, match=r"there are two tables cars\.vans"):
            await server.command(f"create {json.dumps(other)}")
        await server.command("stop")
        with trio.fail_after(patience(10)):
            assert await server.process.wait() == 0


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--table-file", "missing.json"], "No such file"),
        (["--table-file", "bad.json"], "Expecting"),
        (["--table-file", "wrong.json"], "must hold a list of tables"),
        (["--journal", "wrong.json"], "is not a journal of these tables, at byte 0"),
        (["--port-read", "1", "--host", "203.0.113.1"], "assign requested address"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.json").write_text("{")
    (tmp_path / "wrong.json").write_text('{"a": 1}\n')
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    "arguments", [["--port-read", "x"], ["--port-write", "65536"], ["--follow", "nowhere"], ["--twin", "a="]]
)
def test_bad_options(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "is n" in capsys.readouterr().err


def test_the_table_file_describes_tables_as_python_does() -> None:
    assert Table(**TABLE).sql().startswith("CREATE TABLE `cars`.`trucks` (`id` INT NOT NULL AUTO_INCREMENT")  # type: ignore[arg-type]
