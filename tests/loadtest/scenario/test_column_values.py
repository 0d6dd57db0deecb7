"""The values of declared columns: every type of the client, what is refused, and files of lines."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

import trio_hs
from hs_drill.scenario import Scenario, ScenarioError, load_scenario, parse_scenario, value_of, values
from tests.loadtest.support.scenarios import mistakes
from tests.loadtest.support.shop import changed
from trio_hs._columns._declaration import TYPES

EVERY_TYPE: dict[str, tuple[str, str]] = {
    "tinyint": ("tinyint", "{between: [-128, 127]}"),
    "smallint": ("smallint unsigned", "65535"),
    "mediumint": ("mediumint", "{zipfian: [1, 8388607]}"),
    "int": ("int(11)", "{choice: {1: 1, -5: 2}}"),
    "bigint": ("bigint unsigned", "{between: [0, 18446744073709551615], step: 5}"),
    "decimal": ("decimal(30,10) unsigned", "{between: [0, '12345678901234567890.0123456789'], step: 0.5}"),
    "float": ("float", "{between: [0.5, 1e6]}"),
    "double": ("double", "{choice: [1.5, 1e300]}"),
    "bit": ("bit(3)", "{between: [0, 7]}"),
    "char": ("char(5) character set latin1", "{text: {min: 0, max: 5, alphabet: aé}}"),
    "varchar": ("varchar(4) charset utf8mb4", "{text: {min: 1, max: 4, alphabet: 'a🚚'}}"),
    "tinytext": ("tinytext", "{text: 255}"),
    "text": ("text", "{text: {min: 0, max: 16000}}"),
    "mediumtext": ("mediumtext", "{choice: [a, b]}"),
    "longtext": ("longtext", "'null'"),
    "json": ("json", "'{\"a\": 1}'"),
    "binary": ("binary(3)", "'0x616263'"),
    "varbinary": ("varbinary(9)", "{text: {min: 0, max: 9}}"),
    "tinyblob": ("tinyblob", "abc"),
    "blob": ("blob", "{text: 10}"),
    "mediumblob": ("mediumblob", "null"),
    "longblob": ("longblob", "''"),
    "enum": ("enum('s','m')", "{choice: [s, m]}"),
    "set": ("set('a','b')", "{choice: ['', a, 'a,b']}"),
    "date": ("date", "{between: ['2024-01-01', '2024-12-31'], step: 7}"),
    "datetime": ("datetime(6)", "{between: ['2024-01-01', '2024-12-31 23:59:59.999999'], step: 0.25}"),
    "timestamp": ("timestamp", "now"),
    "time": ("time(3)", "{between: ['-838:59:59', '838:59:59.999']}"),
    "year": ("year", "{between: [1901, 2155]}"),
    "uuid": ("uuid", "123e4567-e89b-12d3-a456-426655440000"),
    "inet4": ("inet4", "{between: [10.0.0.1, 10.0.0.9]}"),
    "inet6": ("inet6", "'2001:db8::1'"),
}


@pytest.mark.parametrize("kind", TYPES)
def test_every_type_that_the_client_knows(kind: str) -> None:
    sql, made = EVERY_TYPE[kind]
    scenario = parse_scenario(changed(("    views:", f'    own: {{type: "{sql}", values: {made}}}\n    views:')), "s.yaml")
    assert scenario.table.columns_declared.column("own").type == kind
    assert Scenario.model_validate(scenario.model_dump(mode="json")) == scenario


@pytest.mark.parametrize(
    "sql, made, expected",
    [
        ("tinyint", "{between: [-129, 1]}", "values.between.0: takes -128 to 127, not -129"),
        (
            "float",
            "0.123456789",
            "values: would not give 0.123456789 back as it is: a float column",
        ),
        ("bit(3)", "8", "values: takes 0 to 7 in its 3 bits, not 8"),
        ("char(5)", "'a '", "values: is a char, which loses the spaces at the end of 'a '"),
        ("char(5)", "{text: {min: 1, max: 2, alphabet: a b}}", "values.text.alphabet: cannot have a space: a char loses those"),
        ("varchar(9) charset latin1", "{choice: [ő]}", "values.choice: is in latin1, which cannot write 'ő'"),
        (
            "varchar(9) charset latin1",
            "{text: {min: 1, max: 2, alphabet: aő}}",
            "values.text.alphabet: the column",
        ),
        ("tinytext", "{text: {min: 1, max: 90, alphabet: ☃}}", "values.text.max: takes 255 bytes, not 270"),
        ("json", "'{'", "values: must be JSON, such as '{\"a\": 1}', not the text '{'"),
        ("binary(3)", "ab", "values: takes exactly 3 bytes, not 2"),
        ("binary(3)", "{text: {min: 1, max: 3}}", "values.text.min: must be 3: a binary takes exactly its length"),
        ("set('a','b')", "{choice: ['a,c']}", "values.choice: takes members out of 'a', 'b', not {'c'}"),
        ("date", "2024-02-30", "values: must be a date such as 2024-12-31, not the text '2024-02-30'"),
        ("date", "{between: ['2024-01-01', '2024-02-01'], step: 0.5}", "values.step: must be whole days for date, not 0.5"),
        ("datetime", "'2024-01-01 00:00:00.5'", "values: keeps 0 digits of a second and would cut 2024-01-01 00:00:00.500000"),
        ("timestamp", "2040-01-01", "values: takes 1970-01-01 14:00:01 to 2038-01-18 15:14:07.999999, not 2040"),
        ("time", "'25 hours'", "values: must be a time such as 23:59:59, not the text '25 hours'"),
        ("year", "1900", "values: takes 1901 to 2155, or 0, not 1900"),
        (
            "uuid",
            "{choice: [x]}",
            "values.choice: must be a UUID such as 123e4567-e89b-12d3-a456-426655440000, not the text 'x'",
        ),
        ("uuid", "{between: [a, b]}", "values: `between` is for numbers, times and addresses, not for a uuid: say `choice`"),
        ("inet4", "::1", "values: must be an address such as 192.0.2.1, not the text '::1'"),
        ("varchar(5)", "{zipfian: [1, 2]}", "values: `zipfian` is for numbers, not for a varchar"),
        ("int", "{zipfian: {between: [1, 5], theta: 9}}", "values.zipfian.theta: must be 5 or less, not 9"),
    ],
)
def test_values_that_the_server_would_not_store_as_they_are(sql: str, made: str, expected: str) -> None:
    (found,) = mistakes(changed(("    views:", f'    own: {{type: "{sql}", values: {made}}}\n    views:')))
    assert found.startswith(f"s.yaml:12: table.columns.own.{expected}"), found


def test_a_value_that_is_no_value() -> None:
    column = trio_hs.Column("a", "int")
    for raw in (True, None, [1], {"a": 1}):
        with pytest.raises(ValueError, match="must be a value of an int, not"):
            value_of(column, raw)


def test_lines_of_a_file_travel_with_the_scenario(tmp_path: Path) -> None:
    (tmp_path / "sizes.txt").write_bytes(b"\xef\xbb\xbfs\r\nm\r\nl\r\n\r\n")
    path = tmp_path / "shop.yaml"
    path.write_text(changed(("{choice: [s, m]}", "{lines: sizes.txt}")))
    scenario = load_scenario(path)
    (tmp_path / "sizes.txt").unlink()
    for dumped in (scenario.model_dump(mode="json"), scenario.model_dump(mode="json", by_alias=True, exclude_unset=True)):
        again = Scenario.model_validate(dumped)
        lines = again.table.columns["size"].values
        assert isinstance(lines, values.Lines)
        assert lines.values() == ["s", "m", "l"]
    kept = tmp_path / "kept.yaml"
    kept.write_text(yaml.safe_dump(scenario.model_dump(mode="json", by_alias=True, exclude_unset=True), sort_keys=False))
    assert load_scenario(kept, kept=True) == scenario


@pytest.mark.parametrize(
    "content, expected",
    [
        (b"s\nxl\n", "line 2 of sizes.txt: takes one of 's', 'm', 'l', not 'xl'"),
        (b"\n\n", "has no lines"),
        (b"s\n\xff\n", "line 2, is not UTF-8 text"),
        (b"s\n" * 40_000, "has more than 64 KiB; every worker and every kept run has a copy: shorten it"),
        (None, "cannot be read: No such file or directory; a path is relative to the scenario's file"),
    ],
)
def test_a_wrong_file_of_lines(content: bytes | None, expected: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "sizes.txt").write_bytes(content)
    path = tmp_path / "shop.yaml"
    path.write_text(changed(("{choice: [s, m]}", "{lines: sizes.txt}")))
    with pytest.raises(ScenarioError) as caught:
        load_scenario(path)
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"{path}:13: table.columns.size.values.lines: ")
    assert line.endswith(expected)
