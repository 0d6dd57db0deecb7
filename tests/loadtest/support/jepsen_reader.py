"""A second program, for what `hs-drill export --format edn` writes. It knows docs/history.md alone, and imports nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

TOKEN = re.compile(r'[{}\[\]]|"(?:[^"\\]|\\.)*"|[^\s,{}\[\]"]+')


def read_edn(lines: Iterable[str]) -> list[dict[str, Any]]:
    """The operations, with keywords as texts that begin with a colon."""
    return [_value("{", iter(TOKEN.findall(line)[1:])) for line in lines if not line.startswith(";")]


def _value(token: str, tokens: Iterator[str]) -> Any:
    if token == "{":
        items = _items("}", tokens)
        return dict(zip(items[::2], items[1::2], strict=True))
    if token == "[":
        return _items("]", tokens)
    if token.startswith('"'):
        return re.sub(r"\\(.)", r"\1", token[1:-1])
    return int(token) if token.lstrip("-").isdigit() else {"nil": None, "true": True, "false": False}.get(token, token)


def _items(end: str, tokens: Iterator[str]) -> list[Any]:
    return [_value(token, tokens) for token in iter(lambda: next(tokens), end)]


def pairs(history: Iterable[dict[str, Any]]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Each invocation with its completion. Refuses what Jepsen does: a process that overlaps itself, or goes on after :info."""
    running: dict[int, dict[str, Any]] = {}
    crashed, found = set(), []
    for place, one in enumerate(history):
        assert one[":index"] == place
        process = one[":process"]
        if process == ":nemesis":
            continue
        if one[":type"] == ":invoke":
            assert process not in running, f"process {process} overlaps itself"
            assert process not in crashed, f"process {process} goes on after :info"
            running[process] = one
        else:
            invoked = running.pop(process)
            assert invoked[":f"] == one[":f"]
            if one[":type"] == ":fail":
                assert invoked[":value"] == one[":value"]
            if one[":type"] == ":info":
                crashed.add(process)
            found.append((invoked, one))
    assert not running
    return found


def stale_reads(history: list[dict[str, Any]]) -> list[int]:
    """The :index of every read that saw a value which an acknowledged write had certainly replaced before the read began."""
    done = pairs(history)
    writes = [(start, end) for start, end in done if end[":f"] == ":write" and end[":type"] != ":fail"]
    stale = []
    for start, end in done:
        if end[":f"] != ":read" or end[":type"] != ":ok":
            continue
        row, seen = end[":value"]
        mine = [(first, last) for first, last in writes if last[":value"][0] == row]
        # When the value was written at the latest. A write of unknown outcome may still be applied.
        since = [last[":index"] if last[":type"] == ":ok" else len(history) for _, last in mine if last[":value"][1] == seen]
        certain = [(first[":index"], last[":index"]) for first, last in mine if last[":type"] == ":ok"]
        if since and any(begun > max(since) and ended < start[":index"] for begun, ended in certain):
            stale.append(end[":index"])
    return stale
