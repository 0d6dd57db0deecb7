"""The typed program of tests/typed_usage.py: it uses every public name and method, runs, and passes pyright --strict."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import trio_hs
from tests import typed_usage
from tests.support.patience import patience
from trio_hs import Server
from trio_hs.testing import Table, open_server

PROGRAM = Path(typed_usage.__file__)
TABLE = Table(
    "cars",
    "trucks",
    {"id": "INT NOT NULL AUTO_INCREMENT", "n": "INT NOT NULL", "model": "VARCHAR(40) NULL"},
    primary_key=["id"],
    indexes={"by_model": ["model(10)", "id"]},
)
CLASSES = [
    trio_hs.Columns, trio_hs.DeclaredTable, trio_hs.Instrument, trio_hs.Manager, trio_hs.ReadSocket, trio_hs.RetryPolicy,
    trio_hs.Table, trio_hs.WriteSocket,
]  # fmt: skip


@pytest.mark.parametrize("servers", ["a list", "groups"])
async def test_the_program_runs(servers: str, capsys: pytest.CaptureFixture[str]) -> None:
    async with open_server([TABLE]) as server:
        await server.listen(("127.0.0.1", 0), ("127.0.0.1", 0))
        read, write = server.read_address, server.write_address
        if servers == "a list":
            await typed_usage.main([read], [("inet", write.host, write.port)])
        else:
            await typed_usage.main([[read], [read]], [(Server("inet", write.host, write.port),)])
    assert re.fullmatch(r"trio_hs \S+ made \d+ requests\n", capsys.readouterr().out)


def test_the_program_uses_every_public_name_and_method() -> None:
    source = PROGRAM.read_text()
    words = set(re.findall(r"\w+", source))
    methods = {
        name for kind in CLASSES for name, found in inspect.getmembers(kind) if callable(found) and not name.startswith("_")
    }
    # These are seen as what a call returns.
    results = {"Statistics", "ServerStatistics", "Ping", "Pings", "ReadSocket", "WriteSocket"}
    assert not {*trio_hs.__all__, *methods} - results - words


def test_the_program_has_no_cast_and_no_ignore() -> None:
    assert not re.search(r"cast\(|type: *ignore|pyright: *ignore", PROGRAM.read_text())


@pytest.mark.process
def test_the_program_passes_pyright_in_strict_mode() -> None:
    assert PROGRAM.read_text().startswith("# pyright: strict\n")
    # With --outputjson it does not ask the network for a newer version of itself.
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable, str(PROGRAM)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=patience(120), check=False, cwd=PROGRAM.parents[1])
    assert result.returncode == 0, result.stdout + result.stderr
    assert json.loads(result.stdout)["summary"]["filesAnalyzed"] == 1
