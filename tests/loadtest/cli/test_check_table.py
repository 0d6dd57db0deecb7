"""`hs-drill check` shows a table of one's own: columns, operations, and what the audit checks of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hs_drill import __main__ as commands
from tests.loadtest.support.shop import changed


def shown(text: str, path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """What check prints, with one space between words."""
    path.write_text(text)
    assert commands.main(["check", str(path)]) == 0
    return re.sub(r"\s+", " ", capsys.readouterr().out)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "shop.yaml"


def test_a_declared_table(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (path.parent / "names.txt").write_text("a\nb\n")
    text = changed(
        ("columns: [name, price, views]", "columns: [name, note]"),
        (
            "    views:",
            "    tag: {type: char(9), values: {lines: names.txt}}\n    gone: {type: blob, values: null}\n    views:",
        ),
        ("new product: ", "many: {do: get_many, count: 5, from: primary, weight: 0.5}\n  new product: "),
    )
    lines = shown(text, path, capsys)
    for line in [
        "table shop.products, 1,000 rows, primary key (id), index by_price (category, price)",
        "audit every write, and 10 % of the reads",
        "id bigint unsigned; sequence; primary key",
        "category varchar(20); books 0.5, music 0.3, toys 0.2; audited: never changes",
        "price decimal(10,2); 1 to 999; audited: never changes",
        "name varchar(80) character set utf8mb4; random text of 10 to 60 characters; audited: set by rename",
        "added datetime; 5 % NULL; 2024-01-01 to 2026-01-01; audited: never changes",
        "tag char(9); one of 2 lines of names.txt; audited: never changes",
        "gone blob; may be NULL; always NULL; audited: never changes",
        "views int unsigned; always 0; audited: a counter",
        "note varchar(60); version; audited: says which write left the row",
        "product page 69.7 %: get name, note",
        "category list 14.9 %: find id, price of 20 rows in the index by_price, where category >= that of a drawn row; the "
        "audit does not check it, for it does not read note",
        "count view 9.95 %: incr views by 1",
        "rename 3.98 %: update name, note",
        "many 0.498 %: get id, category, price, name, added, tag, gone, views, size, note of 5 rows at once, from the primary",
        "new product 0.995 %: insert",
    ]:
        assert line in lines, lines


def test_what_the_audit_does_not_check_of_a_read(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = changed(
        ("columns: [name, price, views]", "columns: [name, likes, price, views, category, note]"),
        ("    views:", "    likes: {type: int, values: 1}\n    views:"),
        ("new product: ", "like: {do: incr, column: likes, weight: 1}\n  new product: "),
        ("new product: ", "sort: {do: update, set: [category, price, note], weight: 1}\n  new product: "),
        ("category list: ", "short: {do: get, columns: [id, name, views, note], weight: 1}\n  category list: "),
    )
    lines = shown(text, path, capsys)
    for line in [
        "get name, likes, price, views, category, note; the audit checks only likes of its counters, and name, price, "
        "category only if the row's last write set them ",
        "get id, name, views, note; the audit checks name only if the row's last write set it ",
    ]:
        assert line in lines, lines


def test_without_a_version_nothing_is_audited(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(changed(("values: version", "values: x")), path, capsys)
    for line in [
        "audit none, writes are only measured: no column of shop.products says which write left a row; give one `values: "
        "version`, such as a varchar(18)",
        "category varchar(20); books 0.5, music 0.3, toys 0.2",
        "note varchar(60); always 'x'",
        "product page 70 %: get name, price, views",
        "rename 4 %: update name, note; measured, not audited",
    ]:
        assert line in lines, lines


def test_operations_with_names_on_the_drills_table(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown("name: x\nmix: {get: 1, hot: {do: get, keys: zipfian, weight: 3}}\n", path, capsys)
    assert "keys get uniform, hot zipfian" in lines
    assert "hot 75 %: get id, grp, n, payload" in lines
    assert " columns " not in lines


def test_a_table_that_exists(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "name: x\ntable: {existing: true, database: shop, name: products}\nmix: {get: 1}\n"
    lines = shown(text, path, capsys)
    assert "table shop.products, which exists; its servers know its columns; up to 1,000,000 keys are sampled" in lines
    assert "get 100 %: get all columns" in lines


def test_a_mistake_is_one_line(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path.write_text(changed(("type: int unsigned", "type: intt")))
    assert commands.main(["check", str(path)]) == 2
    assert capsys.readouterr().err == f"{path}:12: table.columns.views.type: trio-hs has no type 'intt'; did you mean int?\n"
