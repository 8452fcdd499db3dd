"""A guard of each test's own."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from unit.guard.standin import Engine, Setup, settings


@pytest.fixture
def guarded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., Setup]:
    """Build a guard with settings that differ from the usual ones in what is given."""

    def guarded(**differences: Any) -> Setup:
        (tmp_path / "settings.json").write_text(json.dumps(settings(**differences)))
        monkeypatch.setenv("PILOTHOUSE_SETTINGS", str(tmp_path / "settings.json"))
        monkeypatch.setenv("PILOTHOUSE_PROMPT_KEY", str(tmp_path / "key"))
        monkeypatch.setenv("PILOTHOUSE_RUN", str(tmp_path))
        monkeypatch.setenv("PILOTHOUSE_POD", "qwen-coder-0")
        (tmp_path / "key").write_text("a key of the tests\n")
        return Setup(tmp_path, Engine(), capfd)

    return guarded
