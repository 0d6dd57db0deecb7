"""What all parts of a scenario have in common: how strict they are, and how durations are written."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.fields import FieldInfo

__all__ = ["Model", "Seconds", "field_of", "names_of", "seconds"]


class Model(BaseModel):
    # strict: `users: "64"` and `users: yes` are mistakes, not numbers.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, populate_by_name=True)


_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)(ms|h|m|s))")


def seconds(value: object) -> object:
    """A duration as text in seconds; anything else as it is, for pydantic to judge."""
    if not isinstance(value, str):
        return value
    text = value.replace(" ", "")
    if not text or _DURATION.sub("", text):
        raise ValueError(f"must be a duration such as 20s, 1m30s or a number of seconds, not {value!r}")
    return sum(float(number) * _UNITS[unit] for number, unit in _DURATION.findall(text))


Seconds = Annotated[float, BeforeValidator(seconds), Field(gt=0, le=7 * 24 * 3600)]


def names_of(model: type[BaseModel]) -> list[str]:
    """The keys of a model, as a scenario file writes them."""
    return [field.alias or name for name, field in model.model_fields.items()]


def field_of(model: type[BaseModel], key: Any) -> FieldInfo:
    """The field that a key of the scenario file is about."""
    return next(field for name, field in model.model_fields.items() if key in (name, field.alias))
