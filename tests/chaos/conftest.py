"""What the tests of this folder share: the installed operator, and time."""

from pathlib import Path

import pytest

from e2e.fixtures import lane, operator, staged, teams

__all__ = ["lane", "operator", "staged", "teams"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give these tests the time that their waits may take; each wait has a deadline of its own."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.timeout(1200))
