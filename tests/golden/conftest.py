"""Golden files: what is decided for a fixture, under version control, so that a change is seen in review.

`pytest tests/golden --update-golden` writes the files anew.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

DATA = Path(__file__).parent / "data"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write the golden files anew")


@pytest.fixture
def golden(pytestconfig: pytest.Config) -> Callable[[str, str], None]:
    """Compares a text with the golden file of this name, or writes that file."""

    def compare(name: str, text: str) -> None:
        path = DATA / name
        if pytestconfig.getoption("--update-golden", default=False):
            path.write_text(text)
        assert text == path.read_text(), (
            f"{name} differs; if that is meant: pytest tests/golden --update-golden"
        )

    return compare
