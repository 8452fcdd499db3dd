"""Every example is taken by the real API server, strictly validated, and read back as the models read it."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.api import Api
from integration.resources import collection
from pilothouse.api.definitions import DEFINITIONS

pytestmark = pytest.mark.usefixtures("crds")

EXAMPLES = Path(__file__).parents[2] / "examples"
MODELS = {definition.name: definition.model for definition in DEFINITIONS}


def _documents(file: Path) -> list[dict[str, Any]]:
    return [document for document in yaml.safe_load_all(file.read_text()) if document]


def _examples() -> list[Any]:
    return [
        pytest.param(document, id=f"{file.relative_to(EXAMPLES)}: {document['metadata']['name']}")
        for file in sorted(EXAMPLES.rglob("*.yaml"))
        for document in _documents(file)
        if document["kind"] in MODELS
    ]


@pytest.mark.parametrize("document", _examples())
async def test_an_example_is_accepted_and_defaulted_as_the_models_do(
    api: Api, document: dict[str, Any]
) -> None:
    example = _out_of_the_way(document)
    stored = await api.create(collection(example), example, dryRun="All", fieldValidation="Strict")

    model = MODELS[document["kind"]]
    assert model.parse(stored).spec == model.parse(document).spec


def _out_of_the_way(document: dict[str, Any]) -> dict[str, Any]:
    """Give the object a name and a namespace that do not depend on what a person applied before."""
    metadata = document["metadata"]
    place = {"namespace": "default"} if "namespace" in metadata else {}
    return {**document, "metadata": {**metadata, **place, "name": f"{metadata['name']}-example"}}
