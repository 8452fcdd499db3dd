"""JSON schema → structural schema, rule by rule."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from pilothouse.api.rules import Rule, list_map, ruled
from pilothouse.api.structural import schema_of, structural, without_defaults


def test_a_reference_is_put_in_place_and_what_stands_beside_it_wins() -> None:
    definitions = {"Gpu": {"type": "object", "description": "general", "properties": {}}}

    found = structural({"$ref": "#/$defs/Gpu", "description": "special"}, definitions)

    assert found == {"description": "special", "type": "object"}


def test_null_makes_a_field_optional_and_no_more() -> None:
    assert structural({"anyOf": [{"type": "string"}, {"type": "null"}], "default": None}, {}) == {
        "type": "string"
    }


def test_exclusive_bounds_are_a_bound_and_a_flag() -> None:
    found = structural({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}, {})

    assert found == {
        "type": "number",
        "minimum": 0,
        "exclusiveMinimum": True,
        "maximum": 1,
        "exclusiveMaximum": True,
    }


def test_unknown_fields_are_left_to_pruning() -> None:
    properties = {"paused": {"type": "boolean"}}

    found = structural({"type": "object", "additionalProperties": False, "properties": properties}, {})

    assert found == {"type": "object", "properties": properties}


def test_an_object_without_fields_has_no_empty_map_of_them() -> None:
    assert structural({"type": "object", "properties": {}}, {}) == {"type": "object"}


def test_a_map_keeps_the_schema_of_its_values() -> None:
    found = structural({"type": "object", "additionalProperties": {"title": "X", "type": "integer"}}, {})

    assert found == {"type": "object", "additionalProperties": {"type": "integer"}}


def test_a_default_object_is_spelt_out_without_what_is_empty() -> None:
    found = structural({"type": "object", "default": {"count": 1, "name": None, "args": [], "inner": {}}}, {})

    assert found["default"] == {"count": 1}


def test_zero_and_false_are_defaults_worth_saying() -> None:
    assert structural({"type": "integer", "default": 0}, {})["default"] == 0
    assert structural({"type": "boolean", "default": False}, {})["default"] is False


def test_an_empty_default_is_left_out() -> None:
    assert structural({"type": "array", "default": []}, {}) == {"type": "array"}


def test_a_status_defaults_to_nothing_at_any_depth() -> None:
    number = {"type": "integer", "default": 0}
    listed = {"type": "array", "items": {"type": "object", "properties": {"default": number}}}

    found = without_defaults({"type": "object", "default": {}, "properties": {"checks": listed}})

    assert found["properties"]["checks"]["items"]["properties"] == {"default": {"type": "integer"}}
    assert "default" not in found


def test_a_description_is_one_line() -> None:
    assert structural({"description": "one\n    two"}, {}) == {"description": "one two"}


def test_one_allowed_value_is_an_enum_of_one() -> None:
    class Model(BaseModel):
        kind: Literal["only"]

    assert schema_of(Model)["properties"]["kind"] == {"type": "string", "enum": ["only"]}


def test_rules_of_models_and_fields_stand_where_they_were_declared() -> None:
    class Model(BaseModel):
        model_config = ruled(Rule("self.low < self.high", "low must be below high", field=".low"))

        low: Annotated[int, Rule("self > 0", "must be more than 0"), Rule("self != 7", "must not be 7")]
        high: int

    schema = schema_of(Model)

    assert schema["x-kubernetes-validations"] == [
        {"rule": "self.low < self.high", "message": "low must be below high", "fieldPath": ".low"}
    ]
    assert [rule["rule"] for rule in schema["properties"]["low"]["x-kubernetes-validations"]] == [
        "self > 0",
        "self != 7",
    ]


def test_a_list_keyed_by_a_field_says_so() -> None:
    class Model(BaseModel):
        env: Annotated[list[str], Field(json_schema_extra=list_map("name"))]

    env = schema_of(Model)["properties"]["env"]

    assert env["x-kubernetes-list-type"] == "map"
    assert env["x-kubernetes-list-map-keys"] == ["name"]
