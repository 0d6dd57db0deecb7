"""What ``row=`` of :meth:`Manager.table` makes of a row: checks that it takes the fields, and calls it with them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Any, NotRequired, Union, get_origin, get_type_hints, is_typeddict

from ._dispatch import Make, Row
from ._protocol import shown

if TYPE_CHECKING:
    from typing_extensions import TypeVar  # type checkers have it built in; `typing` has defaults since Python 3.13

    R = TypeVar("R", default=Row)
else:
    from typing import TypeVar

    R = TypeVar("R")

__all__ = ["R", "check_row", "maker_of"]


def check_row(row: object) -> None:
    """Raises TypeError for what can make no rows. It is hashed, because a Manager remembers its tables by their arguments."""
    if row is not None and (not callable(row) or not isinstance(row, Hashable) or get_origin(row) is Union):
        raise TypeError(f"row must be dict, a class or a function, which can be hashed, not {shown(row)}")
    for function in (row, getattr(type(row), "__call__", None)):  # noqa: B004  (the method is looked at, not whether it is there)
        if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError(f"row: {shown(row)} is async, and nobody would await it; give a function that returns the row")


def maker_of(row: Callable[..., Any], fields: Sequence[str]) -> Make:
    """Calls ``row`` with the fields as keyword arguments, as psycopg's ``kwargs_row`` does.

    Raises TypeError if ``row`` does not take these fields.
    """
    check_row(row)
    if len(set(fields)) < len(fields):
        raise TypeError(f"row takes each field once, by its name, but they are {', '.join(fields)}")
    kind = get_origin(row) or row
    if kind is not dict:
        _require_fields(kind, fields)
    if kind is dict or is_typeddict(kind):
        return lambda values: dict(zip(fields, values))  # noqa: B905  (parse_values checks the lengths)
    return lambda values: row(**dict(zip(fields, values)))  # noqa: B905


def _require_fields(row: Any, fields: Sequence[str]) -> None:
    name = getattr(row, "__qualname__", None) or shown(row)
    required, taken = _keywords(row, name, fields)
    wrong = []
    if taken is not None and (unknown := [field for field in fields if field not in taken]):
        wrong.append(f"it does not take {', '.join(unknown)}")
    if missing := [field for field in required if field not in fields]:
        wrong.append(f"it needs {', '.join(missing)}, which the table's fields do not have")
    if wrong:
        raise TypeError(f"row: {name} must take by name the fields {', '.join(fields)}; {', and '.join(wrong)}")


def _keywords(row: Any, name: str, fields: Sequence[str]) -> tuple[list[str], set[str] | None]:
    """The keyword arguments that ``row`` needs, and all that it takes; None if it takes any."""
    if is_typeddict(row):
        return _required_keys(row), {*row.__required_keys__, *row.__optional_keys__}
    try:
        parameters = inspect.signature(row).parameters.values()
    except (TypeError, ValueError):
        if isinstance(row, type) and issubclass(row, dict):
            return [], None
        raise TypeError(
            f"row: {name} does not say which arguments it takes; give a function of {', '.join(fields)} that calls it"
        ) from None
    by_name = [one for one in parameters if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)]
    needed = [
        f"{one.name} by its position" for one in parameters if one.kind is one.POSITIONAL_ONLY and one.default is one.empty
    ]
    needed += [one.name for one in by_name if one.default is one.empty]
    if any(one.kind is one.VAR_KEYWORD for one in parameters):
        return needed, None
    return needed, {one.name for one in by_name}


def _required_keys(row: Any) -> list[str]:
    """The keys that a TypedDict must have. ``__required_keys__`` alone also has what ``NotRequired`` marks in annotations that
    are strings, as with ``from __future__ import annotations``."""
    try:
        hints = get_type_hints(row, include_extras=True)
    except (NameError, TypeError):  # a name that only a type checker sees
        return []
    return [key for key, hint in hints.items() if key in row.__required_keys__ and get_origin(hint) is not NotRequired]
