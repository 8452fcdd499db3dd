"""The CRDs as files: generated, complete, and within what Kubernetes takes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from pilothouse.api.crd import crd, main, rendered
from pilothouse.api.definitions import DEFINITIONS, MODEL_DEPLOYMENT

CRDS = Path(__file__).parents[3] / "crds"
FORBIDDEN = {"$ref", "$defs", "title", "anyOf", "allOf", "oneOf", "const", "not"}


def _version(definition: Any) -> dict[str, Any]:
    [version] = crd(definition)["spec"]["versions"]
    return version


def _schema(definition: Any) -> dict[str, Any]:
    return _version(definition)["schema"]["openAPIV3Schema"]


def _walk(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from _walk(child, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if key in schema:
            yield from _walk(schema[key], f"{path}[]")


def _spec_fields(definition: Any) -> list[tuple[str, dict[str, Any]]]:
    return list(_walk(_schema(definition)["properties"]["spec"], "spec"))


each_kind = pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda definition: definition.short)


def test_the_committed_files_are_what_the_models_say() -> None:
    assert {file.name: file.read_text() for file in CRDS.iterdir()} == rendered()


def test_generating_writes_one_file_per_kind(tmp_path: Path) -> None:
    main(tmp_path / "crds")

    assert len(list((tmp_path / "crds").iterdir())) == len(DEFINITIONS)


@each_kind
def test_a_schema_has_nothing_that_kubernetes_refuses(definition: Any) -> None:
    found = {(path, key) for path, schema in _walk(_schema(definition)) for key in FORBIDDEN & schema.keys()}

    assert found == set()


@each_kind
def test_every_field_is_explained(definition: Any) -> None:
    fields = [
        path for path, schema in _walk(_schema(definition)) if not path.endswith("[]") and path != ".metadata"
    ]
    explained = {path for path, schema in _walk(_schema(definition)) if schema.get("description")}

    assert set(fields) - explained == set()


@each_kind
def test_every_text_list_and_map_of_a_spec_is_bounded(definition: Any) -> None:
    bound = {"string": ("maxLength", "enum", "format"), "array": ("maxItems",)}
    open_ended = [
        path
        for path, schema in _spec_fields(definition)
        if not any(key in schema for key in bound.get(schema.get("type", ""), ("type", "maxLength")))
        or ("additionalProperties" in schema and "maxProperties" not in schema)
    ]

    assert open_ended == []


@each_kind
def test_conditions_are_a_map_by_type(definition: Any) -> None:
    conditions = _schema(definition)["properties"]["status"]["properties"]["conditions"]

    assert conditions["x-kubernetes-list-type"] == "map"
    assert conditions["x-kubernetes-list-map-keys"] == ["type"]


@each_kind
def test_a_status_is_written_apart_from_the_spec(definition: Any) -> None:
    assert _version(definition)["subresources"]["status"] == {}


def test_short_names_and_category_are_those_of_the_design() -> None:
    names = [crd(definition)["spec"]["names"] for definition in DEFINITIONS]

    assert [name["shortNames"] for name in names] == [["md"], ["qc"], ["rp"], ["tq"], ["lp"], ["la"], ["es"]]
    assert all(name["categories"] == ["pilothouse"] for name in names)


def test_a_model_deployment_prints_the_columns_of_the_design() -> None:
    columns = _version(MODEL_DEPLOYMENT)["additionalPrinterColumns"]
    usual = [column["name"].upper() for column in columns if not column.get("priority")]
    wide = [column["name"].upper() for column in columns if column.get("priority")]

    assert usual == ["READY", "PHASE", "MODEL", "REV", "CANARY", "CLASS", "REPLICAS", "AGE"]
    assert wide == ["TOKENIZER", "LICENSE", "URL", "REASON"]


def test_a_model_deployment_can_be_scaled() -> None:
    assert _version(MODEL_DEPLOYMENT)["subresources"]["scale"] == {
        "specReplicasPath": ".spec.replicas",
        "statusReplicasPath": ".status.replicas",
        "labelSelectorPath": ".status.selector",
    }


def test_a_file_says_that_it_is_generated_and_is_yaml() -> None:
    text = rendered()["modeldeployments.yaml"]

    assert text.startswith("# Generated")
    assert yaml.safe_load(text) == crd(MODEL_DEPLOYMENT)
