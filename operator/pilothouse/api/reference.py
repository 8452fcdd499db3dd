"""`python -m pilothouse.api.reference docs/api.md` writes the page on every field from the CRDs' schemas."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import yaml

from pilothouse import names
from pilothouse.api.crd import root_schema
from pilothouse.api.definitions import DEFINITIONS, Definition
from pilothouse.api.rolloutpolicy import BUILT_IN
from pilothouse.api.rules import VALIDATIONS
from pilothouse.api.structural import Schema

_HEAD: Final = f"""<!-- Generated from operator/pilothouse/api by `make generate`; do not edit. -->
# The API: `{names.API_VERSION}`

`kubectl explain` prints the same. A field marked * is required. The API server refuses an object that breaks
a rule, and names the field.

Checked and stored, but not acted on yet: EvaluationSuite; of RolloutPolicy the step `evaluate`, which waits
for `promote`.
"""
_TABLE: Final = "| field | type | default | meaning |\n| --- | --- | --- | --- |\n"


def rendered() -> str:
    """Give the whole page."""
    kinds = "\n".join(_kind(definition) for definition in DEFINITIONS)
    return f"{_HEAD}\n{kinds}\n{_built_in()}"


def _kind(definition: Definition) -> str:
    schema = root_schema(definition)
    scope = "in a namespace" if definition.namespaced else "for the whole cluster"
    said = [
        f"## {definition.name}",
        f"{schema['description']} Lives {scope}; short name `{definition.short}`.",
    ]
    parts = [_part(part, schema["properties"][part]) for part in ("spec", "status")]
    return "\n\n".join([*said, *_rules(schema), *parts]) + "\n"


def _part(name: str, schema: Schema) -> str:
    rows = "\n".join(_row(path, field, required=required) for path, field, required in _fields(name, schema))
    return f"{_TABLE}{rows}"


def _fields(path: str, schema: Schema) -> Iterator[tuple[str, Schema, bool]]:
    """Walk the fields below an object, outer before inner; a list's or map's own fields follow it."""
    inner, suffix = _inner(schema)
    for name, field in inner.get("properties", {}).items():
        below = f"{path}{suffix}.{name}"
        yield below, field, name in inner.get("required", ())
        yield from _fields(below, field)


def _inner(schema: Schema) -> tuple[Schema, str]:
    if "items" in schema:
        return schema["items"], "[]"
    if "additionalProperties" in schema:
        return schema["additionalProperties"], ".*"
    return schema, ""


def _row(path: str, field: Schema, *, required: bool) -> str:
    inner, _ = _inner(field)
    rules = [*_rules(field), *(_rules(inner) if inner is not field else [])]
    default = f"`{json.dumps(field['default'])}`" if _has_plain_default(field) else ""
    meaning = " ".join([field["description"], *rules]).replace("|", "\\|")
    return f"| `{path}`{' *' if required else ''} | {_type(field)} | {default} | {meaning} |"


def _has_plain_default(field: Schema) -> bool:
    return "default" in field and not isinstance(field["default"], dict)


def _type(field: Schema) -> str:
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    if "x-kubernetes-int-or-string" in field:
        return "quantity"
    inner, suffix = _inner(field)
    return (
        {"[]": f"list of {_type(inner)}", ".*": f"map of {_type(inner)}"}[suffix]
        if suffix
        else str(field["type"])
    )


def _rules(schema: Schema) -> list[str]:
    """Give the rules of an object or field as a sentence each; `<` would begin a tag."""
    return [f"*Rule:* {rule['message']}.".replace("<", "&lt;") for rule in schema.get(VALIDATIONS, [])]


def _built_in() -> str:
    spec = BUILT_IN.model_dump(mode="json", by_alias=True, exclude_none=True)
    text = yaml.safe_dump({"spec": spec}, sort_keys=False, default_flow_style=None)
    title = "## The built-in RolloutPolicy\n\nFollowed where a ModelDeployment names none."
    return f"{title}\n\n```yaml\n{text}```\n"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(rendered())
