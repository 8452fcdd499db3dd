"""All children of three fixtures, to the last field, and their revisions for ever."""

from collections.abc import Callable

import pytest

from golden.fixtures import as_yaml, seen
from pilothouse.plan.plan import plan

REVISIONS = {"hf": "2d4eef4fad", "pvc": "f844dab9e8", "oci": "516ebe4da4"}
"""A changed hash restarts every engine pod of those who upgrade: these never change."""


@pytest.mark.parametrize("fixture", REVISIONS)
def test_the_children_are_as_recorded(fixture: str, golden: Callable[[str, str], None]) -> None:
    golden(f"{fixture}.children.yaml", as_yaml(plan(seen(fixture)).objects))


@pytest.mark.parametrize("fixture", REVISIONS)
def test_a_fixture_keeps_its_revision_for_ever(fixture: str) -> None:
    assert plan(seen(fixture)).status["stable"]["revision"] == REVISIONS[fixture]
