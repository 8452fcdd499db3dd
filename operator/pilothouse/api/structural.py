"""JSON schema as pydantic writes it → structural schema as Kubernetes takes it.

Kubernetes refuses `$ref`, `title`, `anyOf` with null, numeric `exclusiveMinimum` and
`additionalProperties: false` beside `properties`; what is left says the same in the words that it knows.
"""

from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel

Schema = dict[str, Any]

_COPIED: Final[tuple[str, ...]] = (
    "type",
    "format",
    "enum",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "pattern",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    "required",
    "x-kubernetes-int-or-string",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-validations",
)
_NULL: Final = {"type": "null"}
_NOTHING: Final[tuple[object, ...]] = (None, "", [], {})


def schema_of(model: type[BaseModel]) -> Schema:
    """Give the structural schema of a model."""
    schema = model.model_json_schema(by_alias=True)
    return structural(schema, schema.get("$defs", {}))


def without_defaults(schema: Schema) -> Schema:
    """Drop the defaults of a structural schema: in a status, a number that nobody observed would be a lie."""
    dropped = {key: value for key, value in schema.items() if key != "default"}
    for key in ("items", "additionalProperties"):
        if key in dropped:
            dropped[key] = without_defaults(dropped[key])
    if "properties" in dropped:
        dropped["properties"] = {
            name: without_defaults(child) for name, child in dropped["properties"].items()
        }
    return dropped


def structural(schema: Schema, definitions: Mapping[str, Schema]) -> Schema:
    """Rewrite one schema; `definitions` are what its `$ref`s point at."""
    plain = _plain(schema, definitions)
    said = {"description": " ".join(plain["description"].split())} if "description" in plain else {}
    kept = {key: plain[key] for key in _COPIED if key in plain}
    return {**said, **kept, **_bounds(plain), **_default(plain), **_children(plain, definitions)}


def _plain(schema: Schema, definitions: Mapping[str, Schema]) -> Schema:
    """Put what a `$ref` or `T | None` points at in its place; what stands beside it wins."""
    if "$ref" in schema:
        target = definitions[schema["$ref"].rpartition("/")[2]]
        return {**_plain(target, definitions), **schema}
    if "anyOf" in schema:
        (only,) = [branch for branch in schema["anyOf"] if branch != _NULL]
        return {**_plain(only, definitions), **schema}
    if "const" in schema:
        return {**schema, "enum": [schema["const"]]}
    return schema


def _bounds(plain: Schema) -> Schema:
    """Give exclusive bounds as Kubernetes has them: a bound and a flag."""
    low = (
        {"minimum": plain["exclusiveMinimum"], "exclusiveMinimum": True}
        if "exclusiveMinimum" in plain
        else {}
    )
    high = (
        {"maximum": plain["exclusiveMaximum"], "exclusiveMaximum": True}
        if "exclusiveMaximum" in plain
        else {}
    )
    return {**low, **high}


def _default(plain: Schema) -> Schema:
    """Give the default, unless it says no more than absence does."""
    default = _said(plain.get("default"))
    return {} if default in _NOTHING else {"default": default}


def _said(default: Any) -> Any:  # noqa: ANN401 -- any JSON value
    """Leave out of a default what is empty; the rest is spelt out, since CEL rules judge it as it stands."""
    if not isinstance(default, dict):
        return default
    inner = {key: _said(value) for key, value in default.items()}
    return {key: value for key, value in inner.items() if value not in _NOTHING}


def _children(plain: Schema, definitions: Mapping[str, Schema]) -> Schema:
    children: Schema = {}
    # The API server drops an empty map, and the next server-side apply of it would be a conflict.
    if plain.get("properties"):
        properties = plain["properties"].items()
        children["properties"] = {name: structural(child, definitions) for name, child in properties}
    if isinstance(plain.get("additionalProperties"), dict):
        children["additionalProperties"] = structural(plain["additionalProperties"], definitions)
    if "items" in plain:
        children["items"] = structural(plain["items"], definitions)
    return children
