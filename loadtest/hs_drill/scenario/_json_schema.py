"""The JSON Schema of a scenario file, made from the models that check it.

Two things are added here, because pydantic cannot know them: which shorthands the validators accept (`20s`, `99.9%`, a bare
weight), and what each key means, which the docstrings below the attributes say.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from . import _base, _commands, _expect, _external, _limits, _load, _mix, _model, _table, _values

__all__ = ["scenario_schema"]

DURATION = {"type": "string", "pattern": r"^\s*(\d+(\.\d+)?\s*(ms|h|m|s)\s*)+$", "description": "such as 20s or 1m30s"}
SHARE = {"type": "string", "pattern": r"^\s*\d+(\.\d+)?\s*%\s*$", "description": "such as 99.9%"}

#: Validator of a bare value -> the key that this value stands for.
BARE = {
    _mix._from_name: "distribution",
    _mix._from_size: "min",
    _mix._from_weight: "weight",
    _load._from_duration: "max",
    _model._from_name: "name",
    _model._from_bool: "enabled",
    _limits._from_limit: "run",
    _expect._from_duration: "steady",
    _values._from_size: "min",
    _values._from_bounds: "between",
}
NO_SHORTHAND = [
    one.__name__
    for one in (
        _commands._from_braces,
        _commands._from_line,
        _model.ClusterSpec._count_servers,
        _table.TableSpec._sample,
        _values.Lines._read,
        _values._require_scalar,
    )
]
"""Validators that accept nothing else than what the model has."""
TEXT = {_base.seconds: DURATION, _limits._parse_share: SHARE}
COUNT = {"anyOf": [{"type": "integer", "minimum": 0}, {"const": "any"}, {"type": "null"}]}


def scenario_schema() -> dict[str, Any]:
    """For editors, through `yaml-language-server` and the like. JSON Schema 2020-12."""
    schema = _model.Scenario.model_json_schema(by_alias=True, schema_generator=_Generator, mode="validation")
    _complete(schema, schema["$defs"])
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "A scenario of trio-hs"}


class _Generator(GenerateJsonSchema):
    def function_before_schema(self, schema: core_schema.BeforeValidatorFunctionSchema) -> JsonSchemaValue:
        function: Callable[..., Any] = schema["function"]["function"]
        inner = self.generate_inner(schema["schema"])
        if function in TEXT:
            return {"anyOf": [inner, TEXT[function]]}
        if function is _external.parse_host or function.__name__ in NO_SHORTHAND:
            return inner
        if function is _values._equal_weights:
            return {"anyOf": [inner, {"type": "array", "items": {"type": ["integer", "number", "string"]}}]}
        if function is _values._from_scalar:
            return {"anyOf": [{"type": ["integer", "number", "string", "null"]}, inner]}
        if function in BARE:
            return {**inner, "x-bare": BARE[function]}
        if function is _expect._from_count:
            return {"anyOf": [{"type": "integer", "minimum": 0}, inner]}
        if function is _expect._check_count:
            return dict(COUNT)
        raise AssertionError(f"add what {function.__name__} accepts")

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        model: type[BaseModel] = schema["cls"]
        made = super().model_schema(schema)
        found = _docstrings(model)
        for name, field in model.model_fields.items():
            shown = made["properties"].get(field.alias or name)  # none for what a file cannot give
            if shown is not None and name in found:
                shown["description"] = found[name]
        if isinstance(extra := made.get("additionalProperties"), dict) and "oneOf" in extra:
            extra["required"] = ["do"]  # an operation with a name of its own
        made.pop("title", None)
        return made

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False  # titles would repeat the keys


def _docstrings(model: type[BaseModel]) -> dict[str, str]:
    """The docstrings below the attributes of a class and of its bases."""
    found: dict[str, str] = {}
    for cls in reversed(model.__mro__):
        if issubclass(cls, _base.Model) and cls is not _base.Model and "[" not in cls.__name__:
            body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
            assert isinstance(body, ast.ClassDef)
            for attribute, below in zip(body.body, body.body[1:], strict=False):
                match attribute, below:
                    case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                        found[name] = inspect.cleandoc(text).replace("\n", " ")
    return found


BOUNDS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}


def _complete(schema: Any, definitions: dict[str, Any]) -> None:
    """Allow bare values where validators accept them, and move limits to the number, where JSON Schema has them."""
    if isinstance(schema, list):
        for one in schema:
            _complete(one, definitions)
    elif isinstance(schema, dict):
        if "anyOf" in schema:
            schema["anyOf"][0].update({BOUNDS[key]: schema.pop(key) for key in BOUNDS if key in schema})
        if "x-bare" in schema:
            key, reference = schema.pop("x-bare"), schema.pop("$ref")
            properties = definitions[reference.rpartition("/")[2]]["properties"]
            bare = {name: value for name, value in properties[key].items() if name not in ("default", "description")}
            if "anyOf" in bare:
                bare["anyOf"] = [one for one in bare["anyOf"] if one != {"type": "null"}]
            schema["anyOf"] = [bare, {"$ref": reference}]
        for one in schema.values():
            _complete(one, definitions)
