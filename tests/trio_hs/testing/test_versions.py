"""The embedded server answers as the version that its user names."""

from __future__ import annotations

from contextlib import nullcontext

import pytest

from trio_hs import open_manager
from trio_hs.testing import Table, open_server
from trio_hs.testing.__main__ import main

NAMES = Table(
    "d",
    "names",
    {"name": "VARCHAR(20) NOT NULL", "at": "TIMESTAMP(1) NULL", "fixed": "VARCHAR(20) COLLATE utf8mb4_general_ci NOT NULL"},
    primary_key=["name"],
    unique={"fixed": ["fixed"]},
)


async def found(version: str, stored: str, sought: str, index: str | None = None) -> bool:
    """Whether a server of the version, with one row of this name, finds another name."""
    async with (
        open_server([NAMES], version=version) as server,
        open_manager([server.read_address], [server.write_address], connect=server.connect) as hs,
    ):
        await hs.insert("d", "names", [("name", stored), ("at", None), ("fixed", stored)])
        return bool(await hs.find("d", "names", "=", ["name"], [sought], index))


@pytest.mark.parametrize(
    "stored, sought, in_10_11, in_11_8",
    [
        ("ABC", "abc", True, True),
        ("abc ", "abc", True, True),
        ("été", "ete", True, True),
        ("\0", "", False, True),
        ("ß", "ss", False, True),
        ("ß", "s", True, False),
        ("æ", "ae", False, True),
        ("😀", "😁", True, False),
        ("o\u0308", "ö", False, True),
        ("a", "b", False, False),
    ],
)
async def test_the_default_collation(stored: str, sought: str, in_10_11: bool, in_11_8: bool) -> None:
    assert await found("10.11", stored, sought) is in_10_11
    assert await found("11.8", stored, sought) is in_11_8
    for version in ("10.11", "11.8"):
        assert await found(version, stored, sought, "fixed") is in_10_11


@pytest.mark.parametrize(
    "version, last, first_beyond",
    [
        ("10.11", "2038-01-19 03:14:07.9", "2038-01-19 03:14:08.0"),
        ("11.8", "2106-02-07 06:28:15.9", "2106-02-07 06:28:16.0"),
    ],
)
async def test_the_range_of_timestamps(version: str, last: str, first_beyond: str) -> None:
    async with (
        open_server([NAMES], version=version) as server,
        open_manager([server.read_address], [server.write_address], connect=server.connect) as hs,
    ):
        for name in (last, first_beyond):
            await hs.insert("d", "names", [("name", name), ("at", name), ("fixed", name)])
        assert await hs.get("d", "names", ["at"], last) == [("at", last)]
        assert await hs.get("d", "names", ["at"], first_beyond) == [("at", "0000-00-00 00:00:00.0")]


@pytest.mark.parametrize("version, last", [("10.11", "2038-01-19 03:14:07"), ("11.8", "2106-02-07 06:28:15")])
async def test_the_range_of_default_timestamps(version: str, last: str) -> None:
    """As MariaDB's CREATE TABLE (measured)."""
    for default, fits in ((last, True), ("2106-02-07 06:28:15.5", version == "11.8"), ("2040-01-02", version == "11.8")):
        stamps = Table(
            "d", "stamps", {"id": "INT NOT NULL", "at": f"TIMESTAMP NOT NULL DEFAULT '{default}'"}, primary_key=["id"]
        )
        refused = rf"^table d\.stamps, column at: DEFAULT '{default}' does not fit the type$"
        with nullcontext() if fits else pytest.raises(ValueError, match=refused):
            async with open_server([stamps], version=version):
                pass


async def test_it_answers_as_10_11_unless_told_otherwise() -> None:
    async with open_server([]) as server:
        assert server.version == "10.11"


@pytest.mark.parametrize("version", ["11.4", "11", "", "10.11.19", 11.8, None])
async def test_another_version_is_an_error(version: object) -> None:
    with pytest.raises(ValueError, match=r"the embedded server answers as one of '10\.11', '11\.8'") as caught:
        async with open_server([], version=version):  # type: ignore[arg-type]
            pass
    assert str(caught.value).startswith(f"version={version!r}: ")


def test_another_version_of_the_process_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--server-version", "11.4"])
    assert ended.value.code == 2
    # Python 3.12.8 and newer show the choices without quotes.
    assert capsys.readouterr().err.replace("'", "").rstrip().endswith("invalid choice: 11.4 (choose from 10.11, 11.8)")
