"""The examples of the families agree with each other, and with the cards of the models that they name."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.hub import repositories
from pilothouse.plan.licensenames import card_names

EXAMPLES = Path(__file__).parents[2] / "examples"
GATED = ("LicenseRef-DeepSeek", "LicenseRef-BigCode-OpenRAIL-M")


def _documents(kind: str) -> list[dict[str, Any]]:
    files = sorted(EXAMPLES.rglob("*.yaml"))
    documents = [document for file in files for document in yaml.safe_load_all(file.read_text()) if document]
    return [document for document in documents if document["kind"] == kind]


MODELS = [document["spec"]["model"] for document in _documents("ModelDeployment")]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model["name"])
def test_the_declared_license_is_the_one_on_the_card(model: dict[str, Any]) -> None:
    card = repositories.shape(model["checkpoint"]["source"].removeprefix("hf://"))

    assert (card.license_name or card.license) in card_names(model["license"]["id"])


def test_every_gated_model_has_an_approval_of_its_very_revision() -> None:
    approved = [
        (approval["spec"]["licenseID"], approval["spec"]["checkpoint"], approval["spec"]["revision"])
        for approval in _documents("LicenseApproval")
    ]
    gated = [
        (model["license"]["id"], model["checkpoint"]["source"], model["checkpoint"]["revision"])
        for model in MODELS
        if model["license"]["id"] in GATED
    ]

    assert gated
    assert sorted(approved) == sorted(gated)
