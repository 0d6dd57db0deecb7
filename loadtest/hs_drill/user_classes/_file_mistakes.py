"""What is wrong with the text of a file of users in Python: it imports gevent, or an async function calls what blocks trio."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from ._places import shown_path

__all__ = ["mistakes_in_file"]

_TO_THREAD = "await a client for trio, or `trio.to_thread.run_sync`"
BLOCKING = {
    "time.sleep": "it blocks all trio users: await `trio.sleep`",
    "requests": f"it blocks all trio users: {_TO_THREAD}",
    "urllib.request": f"it blocks all trio users: {_TO_THREAD}",
    "asyncio": "asyncio does not work in trio: use trio's own, such as `trio.sleep`",
    "trio.run": "trio runs already: await the function",
}
"""What an async function must not call: functions, and modules with all that is in them."""


def mistakes_in_file(path: str) -> Iterator[str]:
    """A line for each mistake. A file that cannot be read has none that we could find."""
    try:
        tree = ast.parse(Path(path).read_bytes())
    except (OSError, SyntaxError, ValueError):
        return
    shown, finder = shown_path(path), _Finder()
    finder.visit(tree)
    why = "which would block all trio users: use trio, and give users that need gevent a file of their own"
    for line in finder.gevent:
        yield f"{shown}:{line}: imports gevent, {why} (locust -f {Path(path).name},other.py)"
    for line, name, why in finder.blocking:
        yield f"{shown}:{line}: calls {name} in an async function; {why}"


class _Finder(ast.NodeVisitor):
    """Looks for them. Knows names by the imports that it has passed."""

    def __init__(self) -> None:
        self.gevent: list[int] = []
        """The lines that import it."""
        self.blocking: list[tuple[int, str, str]] = []
        """The line of each such call, what it calls, and why that is wrong."""
        self._names: dict[str, str] = {}
        self._in_async = False

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            name = alias.name if alias.asname else alias.name.partition(".")[0]
            self._names[alias.asname or name] = name
        self._imported(node, [alias.name for alias in node.names])

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        if not node.level and node.module:
            for alias in node.names:
                self._names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
            self._imported(node, [node.module])

    def _imported(self, node: ast.stmt, modules: list[str]) -> None:
        if any(module.partition(".")[0] == "gevent" for module in modules):
            self.gevent.append(node.lineno)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._within(node, in_async=True)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._within(node, in_async=False)  # it may be for a thread

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._within(node, in_async=False)

    def _within(self, node: ast.AST, *, in_async: bool) -> None:
        before, self._in_async = self._in_async, in_async
        self.generic_visit(node)
        self._in_async = before

    def visit_Call(self, node: ast.Call) -> None:
        if self._in_async and (name := self._name_of(node.func)):
            for blocking, why in BLOCKING.items():
                if name == blocking or name.startswith(f"{blocking}."):
                    self.blocking.append((node.lineno, name, why))
        self.generic_visit(node)

    def _name_of(self, node: ast.expr) -> str:
        """The full name of what is called, if it was imported; "" otherwise."""
        match node:
            case ast.Name(id=name):
                return self._names.get(name, "")
            case ast.Attribute(value=value, attr=attribute):
                module = self._name_of(value)
                return module and f"{module}.{attribute}"
        return ""
