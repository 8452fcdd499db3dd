from typing import Any

import pytest

from pilothouse.control.health import Health
from pilothouse.settings import Settings


def _health(**changes: Any) -> Health:
    healthy: dict[str, Any] = {
        "oldest_reconcile": lambda: 0.0,
        "resync_age": lambda: 0.0,
        "lost_watches": list,
        "filled": lambda: True,
        "settings": Settings(),
    }
    return Health(**{**healthy, **changes})


def test_all_is_well() -> None:
    assert _health().problems() == []


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"oldest_reconcile": lambda: 301.0}, "a reconcile is stuck"),
        ({"resync_age": lambda: 1801.0}, "the resync is stuck"),
        ({"lost_watches": lambda: ["Deployment"]}, "watches are lost: Deployment"),
    ],
)
def test_what_only_a_restart_heals_is_said(changes: dict[str, Any], problem: str) -> None:
    assert _health(**changes).problems() == [problem]
