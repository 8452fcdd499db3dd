"""The corpus of manifests that must not pass: base manifests, each with JSON merge patches (RFC 7386)."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parent
BAD = sorted((FOLDER / "bad").glob("*.yaml"))
CONDITIONS = FOLDER / "conditions.yaml"

Object = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """One manifest and what its refusal must say."""

    sentence: str
    manifest: Object
    names: str


@dataclass(frozen=True)
class Told:
    """One manifest that is taken, and the condition that refuses it."""

    sentence: str
    manifest: Object
    condition: str
    reason: str
    names: str


def base_of(file: Path) -> Object:
    """Return the good manifest that a file's cases are made from."""
    return yaml.safe_load(file.read_text())["base"]


def bad_cases() -> list[Case]:
    """Return every manifest that the API server must refuse."""
    return [case for file in BAD for case in _cases(file)]


def _cases(file: Path) -> Iterator[Case]:
    document = yaml.safe_load(file.read_text())
    for case in document["cases"]:
        yield Case(f"{file.stem}: {case['case']}", patched(document["base"], case["patch"]), case["names"])


def told_cases() -> list[Told]:
    """Return every manifest that the API server takes and a condition refuses."""
    document = yaml.safe_load(CONDITIONS.read_text())
    return [
        Told(
            case["case"],
            patched(document["base"], case["patch"]),
            case["condition"],
            case["reason"],
            case["names"],
        )
        for case in document["cases"]
    ]


def patched(base: Object, patch: Object) -> Object:
    """Apply a JSON merge patch: null removes, objects merge, everything else replaces."""
    merged = {key: value for key, value in base.items() if patch.get(key, value) is not None}
    for key, value in patch.items():
        if isinstance(value, dict):
            inner = merged.get(key)
            merged[key] = patched(inner if isinstance(inner, dict) else {}, value)
        elif value is not None:
            merged[key] = value
    return merged
