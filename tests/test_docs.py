"""The documentation: that it builds without a warning, and that what it shows and claims is so."""

from __future__ import annotations

import ast
import html
import inspect
import re
import subprocess
import sys
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import trio

import trio_hs
import trio_hs.testing
from hs_drill._cluster import Cluster, Server
from hs_drill.controller._table import load_table
from hs_drill.scenario import Scenario
from hs_drill.servers import _mariadbd, check_replication, execute_sql, open_cluster
from hs_drill.servers._replication import wait_replicated
from tests.support.patience import patience
from trio_hs import exceptions
from trio_hs._dispatch import _many, _retry
from trio_hs._network import _connection, _pool

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]


@dataclass
class Block:
    """A fenced piece of a page."""

    language: str
    text: str
    line: int
    """Where its text begins; 1 is the page's first line."""


def blocks_of(page: Path, *languages: str) -> list[Block]:
    text = page.read_text()
    found = re.finditer(r"^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    blocks = [Block(match[1], match[2], text[: match.start(2)].count("\n") + 1) for match in found]
    return [block for block in blocks if block.language in languages]


def replaced(text: str, replacements: Mapping[str, str]) -> str:
    for old, new in replacements.items():
        text = text.replace(old, new)
    return text


# ---- the build


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages, built as `./dev docs` does it."""
    directory = tmp_path_factory.mktemp("docs")
    command = [sys.executable, "-m", "sphinx", "-q", "-N", "-E", "-W", "--keep-going", "-n", str(DOCS), str(directory)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=patience(110))
    assert result.returncode == 0, result.stderr
    return directory


def test_the_pages_build_without_a_warning(built: Path) -> None:
    for page in DOCS.glob("*.md"):
        assert (built / f"{page.stem}.html").exists()


def test_the_reference_has_every_public_name_and_no_other(built: Path) -> None:
    _, _, _, _, compressed = (built / "objects.inv").read_bytes().split(b"\n", 4)
    names = {line.split()[0] for line in zlib.decompress(compressed).decode().splitlines()}
    for module in (trio_hs, trio_hs.testing):
        beginning = f"{module.__name__}."
        documented = {name.removeprefix(beginning) for name in names if name.startswith(beginning)}
        assert {name for name in documented if "." not in name} == set(module.__all__) - {"__version__"}


@pytest.mark.parametrize(
    "mark, name",
    [
        ("async with", "trio_hs.open_manager"),
        ("async with", "trio_hs.Manager.suspended"),
        ("await", "trio_hs.Manager.get"),
        ("await", "trio_hs.WriteSocket.find_modify"),
        ("", "trio_hs.Manager.table"),
    ],
)
def test_the_reference_says_what_is_async(built: Path, mark: str, name: str) -> None:
    signature = re.search(rf'<dt [^>]*id="{re.escape(name)}">(.*?)\(', (built / "api.html").read_text(), re.DOTALL)
    assert signature
    text = " ".join(html.unescape(re.sub(r"<[^>]*>", "", signature[1])).split())
    assert text.removesuffix(name.removeprefix("trio_hs.").rpartition(".")[2]).removesuffix("trio_hs.").strip() == mark


# ---- what the pages claim


def test_the_error_table_is_the_codes() -> None:
    said: dict[str, str] = {}
    for line in (DOCS / "errors.md").read_text().splitlines():
        answers, name = ([*map(str.strip, line.split("|")), "", "", ""])[1:3]
        if name.startswith("`"):
            for answer in re.findall(r"`([^`]*)`", answers) or [answers]:
                assert answer not in said
                said[answer] = name.strip("`")
    assert said.pop("any other") == "OperationalError"
    assert said == {f"{code} {message}": kind.__name__ for (code, message), kind in exceptions._CLASSES.items()}
    public = {name for name in trio_hs.__all__ if inspect.isclass(kind := getattr(trio_hs, name)) and is_refusal(kind)}
    assert set(said.values()) == public


def is_refusal(kind: type) -> bool:
    return issubclass(kind, trio_hs.OperationalError) and kind is not trio_hs.OperationalError


def test_the_tests_that_the_delivery_table_names_exist() -> None:
    page = (DOCS / "delivery.md").read_text()
    rows = len(re.findall(r"^\| \d+ \|", page, re.MULTILINE))
    proofs = re.findall(r"^\d+\. (`[\w/]*test_.*?)(?=^\d|^$)", page, re.MULTILINE | re.DOTALL)
    assert len(proofs) == rows > 0
    named = re.compile(r"`([\w/]+\.py)::(\w+)`")
    assert all(named.search(proof) for proof in proofs)
    for file, test in named.findall(page):
        assert re.search(rf"^(async )?def {test}\(", (ROOT / "tests" / "trio_hs" / file).read_text(), re.MULTILINE)


def test_the_bounds_on_the_delivery_page_are_the_codes() -> None:
    """That calls keep them is held by `tests/trio_hs/dispatch/test_waiting.py`, in terms of the same constants."""
    page = (DOCS / "delivery.md").read_text()
    policy = trio_hs.RetryPolicy()
    pauses = sum(min(policy.backoff * 2**attempt, policy.max_backoff) for attempt in range(policy.attempts - 1))
    silence = 1 + 2 / _connection.TICKS
    for said in (
        f"tried {policy.attempts} times",
        f"{pauses:g} s in all at most",
        f"waits for `timeout` and {_pool.MARGIN:g} s in all",
        f"{silence:g} times `timeout` | {silence + 1:g} times `timeout` + {_pool.MARGIN:g} s",
        f"{_retry.MAX_DEATHS * silence + 1:g} times `timeout` + {_pool.MARGIN:g} s where a second one took it",
        f"| {silence:g} times `timeout` | {_retry.MAX_DEATHS * silence:g} times `timeout` |",
    ):
        assert said in page


def test_the_bounds_on_the_tuning_page_are_the_codes() -> None:
    page = (DOCS / "tuning.md").read_text()
    for said in (
        f"at most {_connection.MAX_OUTSTANDING} requests outstanding",
        f"each {_connection.UNIT_BYTES} bytes",
        f"After {_connection.MAX_OPENED:,} different indexes",
        f"`get_many` sends {_many.READ_KEYS} keys and `insert_many` {_many.WRITE_LINES:,} rows at a time, "
        f"{_many.CHUNKS_UNDER_WAY} such parts",
        f"`timeout` ({_pool.DEFAULT_TIMEOUT:g} s)",
    ):
        assert said in page


# ---- what the pages show


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_examples_compile(page: Path) -> None:
    for block in blocks_of(page, "python"):
        compiled(page, block)


def compiled(page: Path, block: Block, replacements: Mapping[str, str] | None = None) -> Any:
    """Its code, whose lines have the numbers that they have on the page. It may await at the top."""
    source = "\n" * (block.line - 1) + replaced(block.text, replacements or {})
    return compile(source, str(page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


class Show:
    """A `print` for examples: what a comment on its line says must be what it prints (up to a semicolon)."""

    def __init__(self, page: Path) -> None:
        self.lines = page.read_text().splitlines()
        self.due = {number for number, line in enumerate(self.lines, 1) if re.search(r"\bprint\(.*\)  # ", line)}

    def __call__(self, *values: object) -> None:
        frame = inspect.currentframe()
        assert frame is not None
        assert frame.f_back is not None
        number = frame.f_back.f_lineno
        shown = " ".join(map(str, values))
        _, _, said = self.lines[number - 1].partition(")  # ")
        if said:
            assert said == shown or said.startswith(f"{shown};"), f"line {number} prints {shown}"
            self.due.discard(number)


async def run_page(page: Path, server: Server, replacements: Mapping[str, str], on_sql: Callable[..., Any]) -> None:
    """Executes a page's SQL and Python, in their order: programs by themselves, snippets with an open `hs`."""
    show = Show(page)
    names: dict[str, Any] = {"print": show, "trio": trio, "trio_hs": trio_hs}
    read, write = [("inet", server.host, server.read_port)], [("inet", server.host, server.write_port)]
    async with trio_hs.open_manager(read, write, read_secret=server.read_secret, write_secret=server.write_secret) as hs:
        names["hs"] = hs
        for block in blocks_of(page, "sql", "python"):
            if block.language == "sql":
                await on_sql(block)
                continue
            code = compiled(page, block, replacements)
            if "trio.run(" in block.text:
                await trio.to_thread.run_sync(exec, code, {"print": show})
            elif code.co_flags & inspect.CO_COROUTINE:
                await eval(code, names)
            else:
                exec(code, names)
    assert not show.due, f"lines {sorted(show.due)} printed nothing"


def as_on(server: Server) -> dict[str, str]:
    """What the pages' addresses and secrets are on a server of ours."""
    return {
        "9998": str(server.read_port),
        "9999": str(server.write_port),
        "read-secret": server.read_secret,
        "write-secret": server.write_secret,
        "db1.example": "127.0.0.2",  # where nothing listens
        "db2.example": "127.0.0.1",
    }


@pytest.mark.mariadb
async def test_the_tutorial_runs_on_a_server_with_its_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    tutorial = DOCS / "tutorial.md"
    (settings,) = blocks_of(tutorial, "ini")
    original = _mariadbd.configuration

    def configuration(data: str, server: Server, *details: Any, **options: Any) -> str:
        ours = original(data, server, *details, **options).splitlines()
        kept = [line for line in ours if not line.startswith(("plugin-", "handlersocket_"))]
        return "\n".join([*kept, replaced(settings.text, as_on(server))])

    monkeypatch.setattr(_mariadbd, "configuration", configuration)
    async with open_cluster("mariadb", readers=0) as cluster:
        server = cluster.writer

        async def on_sql(block: Block) -> None:
            rows = await execute_sql(server, *block.text.strip().removesuffix(";").split(";\n"))
            if block.text.startswith("SHOW VARIABLES"):
                assert [row["Value"] for row in rows] == [str(server.read_port), str(server.write_port)]

        await run_page(tutorial, server, as_on(server), on_sql)
        verbose = await execute_sql(server, "SHOW VARIABLES LIKE 'handlersocket_verbose'")
        assert verbose[0]["Value"] == "0"


@pytest.mark.mariadb
async def test_the_twin_of_the_page_on_replication_makes_writes_replicate() -> None:
    own, twin = blocks_of(DOCS / "replication.md", "sql")
    table = load_table(Scenario.model_validate({"name": "page", "mix": {"get": 1}}))
    # Another database has the harness's twin: so the plugin for it is loaded.
    async with open_cluster("mariadb", readers=1, topology="write-through", database="other") as cluster:
        await execute_sql(cluster.writer, *own.text.strip().removesuffix(";").split(";\n"))
        await wait_replicated(cluster)
        for server in cluster.servers:
            text = replaced(twin.text, {"3306": str(server.sql_port)})
            await execute_sql(server, *text.strip().removesuffix(";").split(";\n"))
        found = await check_replication(replace(cluster, write_databases={"drill": "drill_wt"}), table, cluster.writer)
        assert found.replicates, list(found.lines())
        assert not (await check_replication(replace(cluster, write_databases={}), table, cluster.writer, 0.5)).replicates


@pytest.mark.mariadb
@pytest.mark.parametrize(
    "page", [ROOT / "README.md", DOCS / "pyhs.md", DOCS / "scanning.md", DOCS / "tuning.md"], ids=lambda page: page.name
)
async def test_the_examples_run(page: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    server = cluster.writer
    monkeypatch.setattr("trio_hs.manager.DEFAULT_READ_SERVERS", [("inet", server.host, server.read_port)])
    monkeypatch.setattr("trio_hs.manager.DEFAULT_WRITE_SERVERS", [("inet", server.host, server.write_port)])
    *_, table = blocks_of(DOCS / "tutorial.md", "sql")
    await execute_sql(server, *table.text.strip().removesuffix(";").split(";\n"))

    async def no_sql(block: Block) -> None:
        raise AssertionError(f"unexpected SQL: {block.text}")

    try:
        await run_page(page, server, {**as_on(server), "REQUESTS = 40_000": "REQUESTS = 2_000"}, no_sql)
    finally:
        with trio.CancelScope(shield=True):
            await execute_sql(server, "DROP DATABASE cars")
