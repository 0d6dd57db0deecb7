"""docs/configuration.md: its examples run, on embedded servers with sockets, and its keys are the client's."""

from __future__ import annotations

import ast
import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trio

import trio_hs
from trio_hs._configuration import KEYS, URL_VARIABLE, VARIABLES
from trio_hs.testing import EmbeddedServer, Table, open_server

PAGE = Path(__file__).parents[2] / "docs/configuration.md"
TRUCKS = Table(
    "cars", "trucks", {"id": "INT NOT NULL", "model": "VARCHAR(40) NOT NULL", "mileage": "INT NOT NULL"}, primary_key=["id"]
)


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)


@dataclass
class Vault:
    """What the page's function asks."""

    asked: int = 0

    async def read(self, name: str) -> str:
        await trio.lowlevel.checkpoint()
        self.asked += name == "handlersocket/write"
        return "write-secret"


async def switch_over() -> None:
    await trio.lowlevel.checkpoint()


@asynccontextmanager
async def servers() -> AsyncIterator[dict[str, EmbeddedServer]]:
    names = ("reader1", "reader2", "primary", "standby")
    async with (
        open_server([TRUCKS], name="a", read_secret="read-secret", write_secret="write-secret") as one,
        open_server([TRUCKS], name="b", read_secret="read-secret", write_secret="write-secret") as other,
    ):
        for server in (one, other):
            await server.load("cars", "trucks", [(1, "G400", 0)])
            await server.listen(("127.0.0.1", 0), ("127.0.0.1", 0))
        yield dict(zip(names, (one, other, one, other), strict=True))


def address(name: str, server: EmbeddedServer) -> trio_hs.Server:
    return server.read_address if name.startswith("reader") else server.write_address


def placed(text: str, found: dict[str, EmbeddedServer], secrets: Path) -> str:
    """The text with the addresses and paths of the test in the place of the page's."""
    for name, server in found.items():
        at = address(name, server)
        text = re.sub(rf'\("inet", "{name}", \d+\)', f'("inet", "{at.host}", {at.port})', text)
        text = re.sub(rf"\b{name}(:\d+)?\b", f"{at.host}:{at.port}", text)
    return text.replace("/run/secrets", str(secrets))


async def registry(*lists: object) -> AsyncIterator[object]:
    for readers in lists:
        yield readers


async def test_the_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Those that open no manager get one."""
    printed: list[str] = []
    said: list[str] = []
    names: dict[str, Any] = {"trio_hs": trio_hs, "vault": Vault(), "switch_over": switch_over, "log": logging.getLogger()}
    names["print"] = lambda *values: printed.append(" ".join(map(str, values)))
    (tmp_path / "hs-read").write_text("read-secret\n")
    (tmp_path / "hs-write").write_text("write-secret\n")
    async with servers() as found:
        for name, value in re.findall(r"^    (TRIO_HS_\w+)=\"?(.*?)\"?$", PAGE.read_text(), re.MULTILINE):
            monkeypatch.setenv(name, placed(value, found, tmp_path))
        async with trio_hs.open_manager() as hs:
            for text in blocks("python"):
                source = placed(text, found, tmp_path)
                said += re.findall(r"print\(.*\)  # (.*)$", source, re.MULTILINE)
                code = compile(source, str(PAGE), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
                names["hs"] = hs
                pending = eval(code, names)
                if pending is not None:
                    await pending
            assert await hs.incr("cars", "trucks", "=", ["mileage"], [1], [1]) == 1
            assert await hs.get("cars", "trucks", ["id"], 1)
            names["hs"] = hs
            await names["follow"](registry([found["reader2"].read_address], [], [("inet", "127.0.0.1", 1)]))
            assert [server.server for server in hs.statistics().readers] == [str(found["reader2"].read_address)]
    assert printed == said
    assert names["vault"].asked == 1
    assert [message.partition(": ")[0] for message in caplog.messages].count("the servers stay as they are") == 2


def test_the_tables_have_every_key_and_variable() -> None:
    page = PAGE.read_text()
    keys = {
        key for row in re.findall(r"^\| (`[a-z_`, ]+) \|.*\|.*\|$", page, re.MULTILINE) for key in re.findall(r"`(\w+)`", row)
    }
    assert keys - {"reader1"} == set(KEYS)
    assert set(re.findall(r"TRIO_HS_\w+", page)) - {"TRIO_HS_", "TRIO_HS_SQL_USER"} <= {URL_VARIABLE, *VARIABLES}
