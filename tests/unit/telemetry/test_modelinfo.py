"""Which models `pilothouse_model_info` tells of."""

import re
from collections.abc import Iterator

import pytest
from prometheus_client import generate_latest

from pilothouse.telemetry.metrics import MODEL_INFO, MODEL_LABELS, REGISTRY
from pilothouse.telemetry.modelinfo import Labels, Models

KEY = ("team-ide", "qwen-coder")


def series(revision: str, deployment: str = "qwen-coder") -> Labels:
    values = {"namespace": "team-ide", "deployment": deployment, "revision": revision, "state": "stable"}
    return tuple(values.get(label, "") for label in MODEL_LABELS)


def told() -> list[str]:
    """The revisions that a scrape tells of."""
    text = generate_latest(REGISTRY).decode()
    lines = [line for line in text.splitlines() if line.startswith("pilothouse_model_info{")]
    return sorted(re.findall(r'[{,]revision="(\w+)"', " ".join(lines)))


@pytest.fixture(autouse=True)
def none_before() -> Iterator[None]:
    MODEL_INFO.clear()
    yield
    MODEL_INFO.clear()


def test_each_revision_that_runs_is_told() -> None:
    Models().show(KEY, [series("7f3a9c1d20"), series("0c9d8e7f60")])

    assert told() == ["0c9d8e7f60", "7f3a9c1d20"]


def test_a_revision_that_gave_way_is_not_told_any_more() -> None:
    models = Models()
    models.show(KEY, [series("7f3a9c1d20"), series("0c9d8e7f60")])
    models.show(KEY, [series("0c9d8e7f60")])

    assert told() == ["0c9d8e7f60"]


def test_a_deleted_model_is_not_told_any_more() -> None:
    models = Models()
    models.show(KEY, [series("7f3a9c1d20")])
    models.show(("team-ide", "other"), [series("0c9d8e7f60", "other")])
    models.show(KEY, [])

    assert told() == ["0c9d8e7f60"]


def test_one_that_leads_no_more_tells_nothing() -> None:
    models = Models()
    models.show(KEY, [series("7f3a9c1d20")])
    models.clear()

    assert told() == []
