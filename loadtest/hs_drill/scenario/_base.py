"""What all parts of a scenario have in common: their strictness, and how durations are written."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema

__all__ = [
    "MissingKey",
    "Model",
    "PlacedError",
    "PlacedErrors",
    "Seconds",
    "SecondsOrZero",
    "close_to",
    "model_in",
    "names_of",
    "no_such",
    "refuse",
    "seconds",
    "show",
    "unknown_key",
]


class PlacedError(ValueError):
    """A key that is wrong only beside other keys. `place` is the key to correct, relative to the model that raises this."""

    def __init__(self, place: tuple[int | str, ...], message: str) -> None:
        super().__init__(message)
        self.place = place


class MissingKey(PlacedError):
    """A key that has to be there, and is not."""


class PlacedErrors(ValueError):
    """Several mistakes of one model, each in its place."""

    def __init__(self, errors: Sequence[PlacedError]) -> None:
        super().__init__("; ".join(map(str, errors)))
        self.errors = tuple(errors)


def refuse(errors: Iterable[PlacedError]) -> None:
    """Raise `PlacedErrors` if there are any."""
    if found := list(errors):
        raise PlacedErrors(found)


class Model(BaseModel):
    # strict: `users: "64"` and `users: yes` are mistakes.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, populate_by_name=True)


_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)(ms|h|m|s))")


def seconds(value: object) -> object:
    """Convert a duration such as `1m30s` to seconds. Return anything but text as it is, for pydantic to check."""
    if not isinstance(value, str):
        return value
    text = value.replace(" ", "")
    if not text or _DURATION.sub("", text):
        raise ValueError(f"must be a duration such as 20s, 1m30s or a number of seconds, not {value!r}")
    return sum(float(number) * _UNITS[unit] for number, unit in _DURATION.findall(text))


Seconds = Annotated[float, BeforeValidator(seconds), Field(gt=0, le=7 * 24 * 3600)]
SecondsOrZero = Annotated[float, BeforeValidator(seconds), Field(ge=0, le=7 * 24 * 3600)]


def show(value: object) -> str:
    """A value of a scenario in a message."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "true" if value else "false"
        case str():
            return f"the text {value[:60]!r}"
        case int() | float():
            return str(value)[:60]
        case dict() | list():
            return "a mapping" if isinstance(value, dict) else "a list"
        case _:
            return repr(value)[:60]


def close_to(name: object, known: Iterable[str]) -> str:
    """A question about the known name that is most like this one, or nothing."""
    meant = difflib.get_close_matches(str(name), list(known), n=1)
    return f"; did you mean {meant[0]}?" if meant else ""


def unknown_key(name: object, known: Iterable[str], what: str = "unknown key") -> str:
    """What is wrong with a name that is none of those known."""
    known = list(known)
    return f"{what}{close_to(name, known) or '; there are ' + (', '.join(known) or 'none')}"


def no_such(what: str, name: str, known: Iterable[str]) -> str:
    """What is wrong with a reference to a column or index that is not there."""
    return unknown_key(name, known, f"there is no {what} {name!r}")


def names_of(model: type[BaseModel]) -> list[str]:
    """The keys of a model, as a scenario file writes them."""
    hidden = SkipJsonSchema()  # type: ignore[type-arg]  # it is generic for type checkers only
    return [field.alias or name for name, field in model.model_fields.items() if hidden not in field.metadata]


def model_in(model: type[BaseModel], key: str | int) -> type[BaseModel]:
    """The model below a key of a scenario file, or of the items of a list."""
    if isinstance(key, int):
        return model
    annotation = next(field.annotation for name, field in model.model_fields.items() if key in (name, field.alias))
    found = _model_within(annotation)
    assert found is not None, f"{key} of {model} has no keys"
    return found


def _model_within(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_model_within, get_args(annotation))), None)
