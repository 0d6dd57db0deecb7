"""The names of trio_hs and trio_hs.testing: all are there, also those that are imported when they are first used."""

from __future__ import annotations

import subprocess
import sys

import pytest

import trio_hs
import trio_hs.testing


@pytest.mark.parametrize("package", [trio_hs, trio_hs.testing], ids=lambda package: package.__name__)
def test_every_public_name_is_there(package: object) -> None:
    for name in package.__all__:  # type: ignore[attr-defined]
        assert getattr(package, name) is not None
        assert name in dir(package)
    with pytest.raises(AttributeError, match="has no attribute 'no_such_name'"):
        package.no_such_name  # type: ignore[attr-defined]  # noqa: B018


@pytest.mark.process
def test_declarations_need_no_trio() -> None:
    code = """
import sys
import trio_hs, trio_hs.testing
trio_hs.Columns([trio_hs.Column("id", "int")], {"PRIMARY": ["id"]})
trio_hs.testing.Table("d", "t", {"id": "INT"})
assert "trio" not in sys.modules
assert trio_hs.manager.Manager is trio_hs.Manager  # a module, and a name from it
assert "trio" in sys.modules and "Manager" in vars(trio_hs)
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
