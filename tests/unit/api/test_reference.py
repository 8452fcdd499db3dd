"""The page on the API: generated, and complete."""

from pathlib import Path

import pytest

from pilothouse.api.definitions import DEFINITIONS, Definition
from pilothouse.api.reference import rendered

PAGE = Path(__file__).parents[3] / "docs/api.md"


def _row(field: str) -> str:
    [row] = [line for line in rendered().splitlines() if line.startswith(f"| `{field}`")]
    return row


def test_the_committed_page_is_what_the_models_say() -> None:
    assert PAGE.read_text() == rendered()


@pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda definition: definition.short)
def test_every_kind_has_its_section(definition: Definition) -> None:
    assert f"\n## {definition.name}\n" in rendered()


def test_a_required_field_is_marked() -> None:
    assert _row("spec.model.checkpoint.revision").startswith("| `spec.model.checkpoint.revision` * |")


def test_a_field_of_a_list_is_below_its_list() -> None:
    assert "list of object" in _row("spec.route.parentRefs")
    assert "The Gateway's name." in _row("spec.route.parentRefs[].name")


def test_a_default_is_shown() -> None:
    assert "| `1` |" in _row("spec.replicas")


def test_a_rule_is_said_beside_its_field() -> None:
    assert "*Rule:* must not end with /v1" in _row("spec.route.pathPrefix")
