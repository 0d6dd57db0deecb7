"""The before-image of a user's table as a file: what a disk that is full, or failing, makes of it."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import pytest

from hs_drill._cluster import Server
from hs_drill.servers import as_cluster_errors
from hs_drill.store import BeforeImage, BeforeImageError, BeforeImageWriter, ImageHeader, _before_image
from hs_drill.store._blocks import Blocks

WRITER = Server("writer", "127.0.0.1", 1, 2, "r", "w")
BLOCKS = [[[b"%d" % (block * 10 + row), os.urandom(2000)] for row in range(10)] for block in range(4)]
HEADER = ImageHeader(
    database="d", table="t", definition="", columns=["id", "name"], written=["name"], run=1, inserts=False, logged=False,
    servers={}, created={}, source="", rows=40,
)  # fmt: skip


def keep(path: Path) -> None:
    """As a run does it, which also asks the database there."""
    with as_cluster_errors(WRITER), BeforeImageWriter(path, HEADER) as image:
        for block in BLOCKS:
            image.add(block)


@contextmanager
def a_full_disk(at: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (at, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("share", [0, 0.4, 0.9999])
def test_a_full_disk_is_not_taken_for_an_error_of_the_database(tmp_path: Path, share: float) -> None:
    """It used to be `writer: SQL error 28: No space left on device`, so people looked at the wrong machine."""
    keep(tmp_path / "whole")
    path = tmp_path / "image"
    with a_full_disk(int((tmp_path / "whole").stat().st_size * share)), pytest.raises(BeforeImageError) as error:
        keep(path)
    assert str(error.value) == f"{path}: cannot be kept: File too large. Nothing was written to the table"
    assert BeforeImage(path).flaw == "is cut"


def test_a_name_that_is_taken_is_not_an_error_of_the_database_either(tmp_path: Path) -> None:
    keep(tmp_path / "image")
    with pytest.raises(BeforeImageError, match="image: cannot be kept: File exists"):
        keep(tmp_path / "image")


class Failing(Blocks):
    """A disk that cannot read further than so many blocks, the header among them."""

    readable = 99

    def __iter__(self) -> Iterator[bytes]:
        yield from islice(super().__iter__(), self.readable)
        raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_what_a_failing_disk_still_gives_can_be_put_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(tmp_path / "image")
    monkeypatch.setattr(_before_image, "Blocks", Failing)
    monkeypatch.setattr(Failing, "readable", 3)
    image = BeforeImage(tmp_path / "image")
    assert (image.flaw, image.rows) == ("cannot be read (Input/output error)", 20)
    with as_cluster_errors(WRITER):
        assert list(image.blocks()) == BLOCKS[:2]


@pytest.mark.parametrize("readable", [0, 1, 3])
def test_a_disk_that_fails_while_rows_are_put_back_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, readable: int
) -> None:
    """Not the database. And fewer rows than were announced are never taken for all."""
    keep(tmp_path / "image")
    image = BeforeImage(tmp_path / "image")
    monkeypatch.setattr(_before_image, "Blocks", Failing)
    monkeypatch.setattr(Failing, "readable", readable)
    with as_cluster_errors(WRITER), pytest.raises(BeforeImageError, match=r"image: cannot be read \(Input/output error\)$"):
        list(image.blocks())
