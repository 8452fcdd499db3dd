"""A guard of each test's own, and Hypothesis without a deadline: a busy machine is not a defect."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from unit.guard.standin import Engine, Setup, settings

hypothesis.settings.register_profile("guard", deadline=None)
hypothesis.settings.load_profile("guard")


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
