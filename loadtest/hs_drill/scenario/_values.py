"""How the values of a declared column are made: the key `values` of a column. `workload` makes them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Discriminator, Field, Tag, ValidationInfo, model_validator

from ._base import Model, PlacedError, close_to, show
from ._lines import read_lines

__all__ = [
    "Between",
    "Choice",
    "Constant",
    "Lines",
    "Now",
    "Null",
    "Scalar",
    "Sequence",
    "Stored",
    "Text",
    "TextSize",
    "Uuid",
    "ValuesSpec",
    "Version",
    "Zipfian",
]


def _require_scalar(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"must be a number or text, not {show(value)}")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"must be a number that ends, not {value}")
    return value


Scalar = Annotated[int | float | str, BeforeValidator(_require_scalar)]
"""As YAML gives it. The column's type says what it stands for: see `value_of`."""
MOST_CHARACTERS = 16_000


class Sequence(Model):
    """The row's number: 1, 2, 3 and so on. Numbers of rows that a run inserts are large: 2**40 and more."""

    sequence: Literal[True] = True


class Uuid(Model):
    """A UUID made from the row's number."""

    uuid: Literal[True] = True


class Now(Model):
    """When the row was written, by a clock of the run's own."""

    now: Literal[True] = True


class Version(Model):
    """Which write left the row, with a checksum. The audit needs one such column."""

    version: Literal[True] = True


class Constant(Model):
    """The same value in every row. A bare value is one, unless it is `sequence`, `uuid`, `now` or `version`."""

    constant: Scalar


def _equal_weights(value: object) -> object:
    """A list of values gives them equal weights."""
    if not isinstance(value, list):
        return value
    for number, one in enumerate(value):
        try:
            _require_scalar(one)
        except ValueError as error:
            raise PlacedError((number,), str(error)) from None
    return {str(one): 1 for one in value}


class Null(Model):
    """NULL in every row: what `values: null` says."""

    null: Literal[True] = True


class Stored(Model):
    """What the server has: nothing makes the values. Only for a table that exists."""

    stored: Literal[True] = True


Weights = Annotated[dict[str, Annotated[float, Field(gt=0, le=1e9)]], Field(min_length=1, max_length=1000)]


class Choice(Model):
    """One of several values, each with its weight. A list gives them equal weights."""

    choice: Annotated[Weights, BeforeValidator(_equal_weights)]


Bounds = Annotated[list[Scalar], Field(min_length=2, max_length=2)]


class Between(Model):
    """Any value from the lower to the upper one, both included, equally likely."""

    between: Bounds
    step: float | None = Field(default=None, gt=0, le=1e18)
    """The distance between neighbouring values: a number, of days for a `date`, and of seconds for other times."""

    @property
    def low(self) -> int | float | str:
        return self.between[0]

    @property
    def high(self) -> int | float | str:
        return self.between[1]


class TextSize(Model):
    """How long a random text is, in characters (bytes for binary columns), and of what it consists."""

    min: int = Field(ge=0, le=MOST_CHARACTERS)
    max: int = Field(ge=0, le=MOST_CHARACTERS)
    alphabet: Annotated[str, Field(min_length=1, max_length=1000)] | None = None
    """The characters to draw from; a-z and 0-9 if not given."""

    @model_validator(mode="after")
    def _check(self) -> TextSize:
        if self.min > self.max:
            raise PlacedError(("min",), f"cannot be more than max: {self.min} is more than {self.max}")
        return self


def _from_size(value: object) -> object:
    return value if isinstance(value, Mapping | BaseModel) else {"min": value, "max": value}


class Text(Model):
    """Random text. A bare number is the size of all values."""

    text: Annotated[TextSize, BeforeValidator(_from_size)]


class ZipfianRange(Model):
    """The range of a `zipfian`, and how skewed it is."""

    between: Annotated[list[int], Field(min_length=2, max_length=2)]
    theta: float = Field(default=0.99, gt=0, le=5)


def _from_bounds(value: object) -> object:
    return {"between": value} if isinstance(value, list) else value


class Zipfian(Model):
    """A whole number from a range, in which the n-th comes 1/n**theta times as often as the first. A list is the range."""

    zipfian: Annotated[ZipfianRange, BeforeValidator(_from_bounds)]

    @property
    def low(self) -> int:
        return self.zipfian.between[0]

    @property
    def high(self) -> int:
        return self.zipfian.between[1]

    @property
    def theta(self) -> float:
        return self.zipfian.theta


class Lines(Model):
    """One of the lines of a text file, equally likely. Its path is relative to the scenario's file."""

    lines: Annotated[str, Field(min_length=1)]
    content: str | None = None
    """What the file holds. It is read with the scenario, and kept with it."""

    @model_validator(mode="before")
    @classmethod
    def _read(cls, data: Any, info: ValidationInfo) -> Any:
        if not isinstance(data, dict) or not isinstance(data.get("lines"), str) or data.get("content") is not None:
            return data
        try:
            return {**data, "content": read_lines(data["lines"], (info.context or {}).get("folder"))}
        except ValueError as error:
            raise PlacedError(("lines",), str(error)) from None

    def values(self) -> list[str]:
        """The lines."""
        return (self.content or "").split("\n")


FORMS: dict[str, type[Model]] = {
    "sequence": Sequence,
    "uuid": Uuid,
    "now": Now,
    "version": Version,
    "constant": Constant,
    "choice": Choice,
    "between": Between,
    "text": Text,
    "zipfian": Zipfian,
    "lines": Lines,
    "null": Null,
    "stored": Stored,
}
WORDS = ("sequence", "uuid", "now", "version")
BARE = (*WORDS, "stored")
"""Forms that a bare word stands for."""


MISSPELT = 0.85
"""How alike a word and one of WORDS are, if the word is taken for a misspelling."""


def _from_scalar(value: object) -> object:
    if value is None or (isinstance(value, str) and value in BARE):
        return {"null" if value is None else value: True}
    if isinstance(value, str) and (meant := get_close_matches(value.lower(), WORDS, 1, MISSPELT)):
        raise ValueError(f"did you mean {meant[0]}? For the text itself say `{{constant: {value}}}`")
    return {"constant": value} if isinstance(value, int | float | str) and not isinstance(value, bool) else value


def _form(value: object) -> str | None:
    """The key that says how the values are made."""
    if isinstance(value, Mapping):
        return next((key for key in FORMS if key in value), None)
    return next((key for key, model in FORMS.items() if isinstance(value, model)), None)


ValuesSpec = Annotated[
    Annotated[
        Annotated[Sequence, Tag("sequence")]
        | Annotated[Uuid, Tag("uuid")]
        | Annotated[Now, Tag("now")]
        | Annotated[Version, Tag("version")]
        | Annotated[Constant, Tag("constant")]
        | Annotated[Choice, Tag("choice")]
        | Annotated[Between, Tag("between")]
        | Annotated[Text, Tag("text")]
        | Annotated[Zipfian, Tag("zipfian")]
        | Annotated[Lines, Tag("lines")]
        | Annotated[Null, Tag("null")]
        | Annotated[Stored, Tag("stored")],
        Discriminator(_form),
    ],
    BeforeValidator(_from_scalar),
]


def no_such_form(given: object) -> str:
    """What is wrong with a value of `values` that has none of the forms."""
    forms = [form for form in FORMS if form not in (*BARE, "null", "stored")]
    bare = f"a value, null, {', '.join(WORDS)}"
    for key in given if isinstance(given, Mapping) else ():
        if meant := close_to(key, forms):
            return f"there is no way {key!r} to make values{meant}"
    for key in given if isinstance(given, Mapping) else ():
        if isinstance(key, str):
            return f"there is no way {key[:60]!r} to make values; there are {', '.join(forms)}"
    return f"must be {bare}, or a mapping with one of {', '.join(forms)}, not {show(given)}"
