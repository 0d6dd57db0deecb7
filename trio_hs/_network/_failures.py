"""Exceptions that are kept to say why a connection ended, without the memory that their tracebacks hold."""

from __future__ import annotations

from typing import TypeVar

E = TypeVar("E", bound=BaseException)


def without_tracebacks(error: E) -> E:
    """The error, after it and every error that it came from have lost their traceback.

    A traceback keeps the local variables of each of its frames alive, such as the answer that was arriving.
    """
    seen: set[int] = set()
    left: list[BaseException | None] = [error]
    while left:
        one = left.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        one.__traceback__ = None
        left += [one.__cause__, one.__context__]
        if isinstance(one, BaseExceptionGroup):
            left += one.exceptions
    return error
