"""An upgrade of the operator restarts no engine pod: what a revision was rendered to is applied for ever."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from builders import by_kind
from golden.fixtures import DATA, seen
from pilothouse.plan.observed import Object, Observed, key_of
from pilothouse.plan.plan import plan


def document(path: Path, kind: str) -> Object:
    """The only document of this kind that bears a revision."""
    (found,) = (obj for obj in yaml.safe_load_all(path.read_text()) if obj["kind"] == kind)
    return dict(found)


def with_record(observed: Observed, record: Object) -> Observed:
    """The same with this ControllerRevision live."""
    return replace(observed, children={key_of(record): record})


def planned(observed: Observed, kind: str) -> Object:
    """The only planned object of this kind."""
    (found,) = by_kind(plan(observed), kind)
    return found


def test_a_recorded_template_is_applied_though_it_would_be_rendered_otherwise_now() -> None:
    record = document(DATA / "hf.recorded.yaml", "ControllerRevision")
    spec = planned(with_record(seen("hf"), record), "Deployment")["spec"]

    assert spec["template"] == record["data"]["podTemplate"]
    assert spec["template"] != planned(seen("hf"), "Deployment")["spec"]["template"]
    assert spec["progressDeadlineSeconds"] == record["data"]["lifecycle"]["startup"] + 600


def test_a_record_is_applied_as_it_is() -> None:
    record = document(DATA / "hf.recorded.yaml", "ControllerRevision")

    assert planned(with_record(seen("hf"), record), "ControllerRevision") == record


@pytest.mark.parametrize("fixture", ["hf", "pvc", "oci"])
def test_a_changed_renderer_changes_no_deployment_of_a_recorded_revision(
    fixture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    children = DATA / f"{fixture}.children.yaml"
    before = document(children, "Deployment")

    def render_otherwise(*_: Any) -> Object:
        return {"metadata": {}, "spec": {"containers": []}}

    monkeypatch.setattr("pilothouse.plan.plan.pod_template", render_otherwise)
    recorded = with_record(seen(fixture), document(children, "ControllerRevision"))
    assert planned(recorded, "Deployment") == before
    assert planned(seen(fixture), "Deployment") != before
