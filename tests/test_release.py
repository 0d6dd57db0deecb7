"""What the release script makes of the changelog and of the README. Its builds and installations run in `./dev release`."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import trio_hs
from scripts.release import PLACEHOLDER, notes, with_links

ROOT = Path(__file__).parents[1]


def test_the_notes_are_the_version_s_section_of_the_changelog() -> None:
    changelog = "# Changelog\n\n## Unreleased\n\n- new\n\n## 0.1.0\n\n- old\n\n### Added\n\n- more\n\n## 0.0.1\n\n- oldest\n"
    assert notes(changelog, "0.1.0") == "- old\n\n### Added\n\n- more\n"
    assert notes(changelog, "0.0.1") == "- oldest\n"
    with pytest.raises(ValueError, match=r"no section for 0\.1: cut it from Unreleased"):
        notes(changelog, "0.1")
    assert notes((ROOT / "CHANGELOG.md").read_text(), trio_hs.__version__)


def test_links_into_the_repository_become_absolute_or_plain() -> None:
    text = "[a](docs/a.md#part), [b](https://b.example/), [c](#here), ![d](d.svg), [`e` [f]](../README.md)"
    assert with_links(text, "", "1.0") == "a, [b](https://b.example/), [c](#here), d, `e` [f]"
    assert with_links(text, "https://u.example/r", "1.0", "loadtest") == (
        "[a](https://u.example/r/blob/v1.0/loadtest/docs/a.md#part), [b](https://b.example/), [c](#here), "
        "![d](https://u.example/r/raw/v1.0/loadtest/d.svg), [`e` [f]](https://u.example/r/blob/v1.0/README.md)"
    )


@pytest.mark.parametrize("folder", ["", "loadtest"])
def test_both_distributions_have_what_a_release_replaces(folder: str) -> None:
    assert PLACEHOLDER in (ROOT / folder / "pyproject.toml").read_text()
    assert not re.search(r"\]\((?!https?://|#)", with_links((ROOT / folder / "README.md").read_text(), "", "1.0"))
