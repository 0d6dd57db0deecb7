"""The attributes of a column's declaration, as in SQL: splits them into tokens, and takes them out one by one.

Which attributes there are: `_declaration.py`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_STRING = r"""'(?:[^'\\]|''|\\.)*'|"(?:[^"\\]|""|\\.)*\""""
_PIECE = re.compile(rf"\s*({_STRING}|[()]|[^\s()'\"]+)", re.DOTALL)
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")

#: Functions that may be a default. HandlerSocket does not compute them, and stores the type's empty value (measured).
_FUNCTIONS = frozenset((
    "CURRENT_TIMESTAMP", "NOW", "LOCALTIME", "LOCALTIMESTAMP", "SYSDATE", "UTC_TIMESTAMP", "CURRENT_DATE", "CURDATE",
    "UTC_DATE", "CURRENT_TIME", "CURTIME", "UTC_TIME", "UUID", "CURRENT_USER",
))  # fmt: skip
#: Those that ON UPDATE takes.
NOW = frozenset(("CURRENT_TIMESTAMP", "NOW", "LOCALTIME", "LOCALTIMESTAMP"))


@dataclass(frozen=True)
class Default:
    """A column's default.

    Attributes:
      value: text for a literal, also for a number; bytes for ``x'41'`` and ``b'101'``; None for NULL.
      computed: whether it is a function.
      number: whether the text was a number without quotes.
    """

    value: str | bytes | None = None
    computed: bool = False
    number: bool = False


_ESCAPES = {"0": "\0", "b": "\b", "n": "\n", "r": "\r", "t": "\t", "Z": "\x1a", "%": "\\%", "_": "\\_"}


def unquoted(literal: str) -> str:
    """The text of a string literal."""
    quote = literal[0]

    def text(match: re.Match[str]) -> str:
        return _ESCAPES.get(match[1], match[1]) if match[1] else quote

    return re.sub(rf"\\(.)|{quote}{quote}", text, literal[1:-1], flags=re.DOTALL)


def strings(argument: str) -> list[str]:
    """The texts of the string literals in an argument, such as ``('a', 'b')``."""
    return [unquoted(literal) for literal in re.findall(_STRING, argument, re.DOTALL)]


def _is_string(token: str) -> bool:
    return token[:1] in ("'", '"')


def _tokens(sql: str) -> list[str]:
    """Words, string literals, and what stands in parentheses, each with all that is inside."""
    found: list[str] = []
    position = depth = opened = 0
    while match := _PIECE.match(sql, position):
        position = match.end()
        if match[1] == "(":
            opened = match.start(1) if not depth else opened
            depth += 1
        elif match[1] == ")":
            depth -= 1
            if not depth:
                found.append(sql[opened:position])
        elif not depth:
            found.append(match[1])
        if depth < 0:
            break
    if depth or sql[position:].strip():
        raise ValueError(f"cannot make sense of {sql[position:].strip() or sql!r}: a quote or a parenthesis has no partner")
    return found


class Attributes:
    """The attributes of a declaration. They are taken out one by one, so that a leftover is a mistake."""

    def __init__(self, sql: str) -> None:
        self.tokens = _tokens(sql)

    def _find(self, words: tuple[str, ...]) -> int | None:
        upper = [token.upper() for token in self.tokens]
        places = range(len(upper) - len(words) + 1)
        return next((start for start in places if tuple(upper[start : start + len(words)]) == words), None)

    def take(self, *words: str) -> bool:
        """Whether these words follow each other; takes them out."""
        start = self._find(words)
        if start is not None:
            del self.tokens[start : start + len(words)]
        return start is not None

    def take_value(self, *words: str) -> str | None:
        """The token after these words, or None; takes all of them out."""
        start = self._find(words)
        if start is None:
            return None
        if start + len(words) == len(self.tokens):
            raise ValueError(f"{' '.join(words)} needs a value")
        value = self.tokens[start + len(words)]
        del self.tokens[start : start + len(words) + 1]
        return value

    def take_function(self, *words: str) -> str | None:
        """The name of the function after these words, or None; takes it out with its arguments."""
        start = self._find(words)
        name = self.take_value(*words)
        if start is not None and start < len(self.tokens) and self.tokens[start].startswith("("):
            del self.tokens[start]
        return name

    def take_default(self) -> Default | None:
        """What follows DEFAULT; None without one."""
        start = self._find(("DEFAULT",))
        value = self.take_value("DEFAULT")
        if value is None or start is None:
            return None
        following = self.tokens[start] if start < len(self.tokens) else ""
        if value.upper() in _FUNCTIONS:
            if following.startswith("("):
                del self.tokens[start]
            return Default(computed=True)
        if _is_string(following) and not _is_string(value):
            del self.tokens[start]
            return Default(_prefixed(value, following))
        return _default(value)


def _default(token: str) -> Default:
    if _is_string(token):
        return Default(unquoted(token))
    if token.startswith("("):
        inner = Attributes(f"DEFAULT {token[1:-1]}")
        try:
            value = inner.take_default()
        except ValueError:
            value = None
        if value is not None and not inner.tokens:
            return value
    if token.upper() == "NULL":
        return Default(None)
    if token.upper() in ("TRUE", "FALSE"):
        return Default("1" if token.upper() == "TRUE" else "0", number=True)
    if re.fullmatch(r"0x(?:[0-9a-fA-F]{2})+", token):
        return Default(bytes.fromhex(token[2:]))
    if _NUMBER.fullmatch(token):
        return Default(token, number=True)
    raise ValueError(f"DEFAULT {token} is not emulated: write the constant that it stands for")


def _prefixed(prefix: str, literal: str) -> str | bytes:
    """The value of a string literal with a word before it, such as ``x'41'``, ``b'101'`` or ``DATE '2024-02-29'``."""
    text, kind = unquoted(literal), prefix.upper()
    if kind == "X" and re.fullmatch(r"(?:[0-9a-fA-F]{2})*", text):
        return bytes.fromhex(text)
    if kind == "B" and re.fullmatch(r"[01]+", text):
        return int(text, 2).to_bytes((len(text) + 7) // 8)
    if kind in ("N", "DATE", "TIME", "TIMESTAMP", "_UTF8MB4", "_LATIN1", "_ASCII"):
        return text
    raise ValueError(f"DEFAULT {prefix}{literal} is not emulated: write a plain literal")
