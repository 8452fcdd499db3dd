"""What `parse` makes of objects: the same however they were written, and errors that name their path."""

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from manifests.corpus import BAD, bad_cases, base_of, patched
from pilothouse.api.common import FieldError, field_errors
from pilothouse.api.definitions import DEFINITIONS
from pilothouse.api.modeldeployment import ModelDeployment
from pilothouse.api.rolloutpolicy import BUILT_IN

MODELS = {definition.name: definition.model for definition in DEFINITIONS}
COMMIT = "c03e6d358207e414f1eca0bb1891e29f1db0e242"

MINIMAL: dict[str, Any] = yaml.safe_load(f"""
metadata: {{name: qwen-coder, namespace: team-ide}}
spec:
  model:
    checkpoint: {{source: hf://Qwen/Qwen2.5-Coder-7B, revision: {COMMIT}}}
    tokenizer: {{revision: {COMMIT}}}
    license: {{id: Apache-2.0}}
  queueClassName: completion
  engine: {{image: "vllm/vllm-openai:v0.32.0"}}
""")

_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


def _dump(manifest: dict[str, Any]) -> dict[str, Any]:
    return ModelDeployment.parse(manifest).spec.model_dump(mode="json", by_alias=True, exclude_none=True)


def _errors(manifest: dict[str, Any]) -> tuple[FieldError, ...]:
    try:
        MODELS[manifest["kind"]].parse(manifest)
    except ValidationError as refused:
        return field_errors(refused)
    return ()


def _path_and_message(manifest: Any) -> tuple[str, str]:
    with pytest.raises(ValidationError) as refused:
        ModelDeployment.parse(manifest)
    (error,) = field_errors(refused.value)
    return error.path, error.message


@pytest.mark.parametrize("file", BAD, ids=lambda file: file.stem)
def test_a_full_manifest_is_read_and_written_back(file: Any) -> None:
    manifest = base_of(file)
    spec = MODELS[manifest["kind"]].parse(manifest).spec  # type: ignore[attr-defined]

    written = spec.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_unset=True)

    assert written == manifest["spec"]


@pytest.mark.parametrize("case", bad_cases(), ids=lambda case: case.sentence)
def test_a_bad_manifest_is_read_or_refused_and_never_a_crash(case: Any) -> None:
    assert all(error.path for error in _errors(case.manifest))


@given(_json)
def test_a_spec_of_anything_is_refused(spec: Any) -> None:
    with pytest.raises(ValidationError):
        ModelDeployment.parse({"metadata": {"name": "x"}, "spec": spec})


def test_written_defaults_and_left_out_ones_dump_alike() -> None:
    explicit = patched(
        MINIMAL,
        {
            "spec": {
                "replicas": 1,
                "rollout": {"paused": False},
                "resources": {"cpu": 4, "gpu": {"count": 1}},
                "engine": {"extraArgs": [], "dtype": "auto"},
                "placement": {"priorityClassName": ""},
            }
        },
    )

    assert _dump(explicit) == _dump(MINIMAL)


def test_a_dump_uses_the_names_of_the_manifest() -> None:
    assert _dump(MINIMAL)["engine"]["tensorParallelSize"] == 1


def test_a_field_error_names_the_path_as_kubectl_explain_does() -> None:
    manifest = patched(MINIMAL, {"spec": {"model": {"checkpoint": {"revision": "main"}}}})

    path, message = _path_and_message(manifest)

    assert path == "spec.model.checkpoint.revision"
    assert message.startswith("must be a commit of 40 hex digits")


def test_a_field_error_in_a_list_names_the_index() -> None:
    manifest = patched(MINIMAL, {"spec": {"engine": {"extraArgs": ["--seed=1", "bad"]}}})

    assert _path_and_message(manifest)[0] == "spec.engine.extraArgs[1]"


def test_a_field_error_never_repeats_the_value() -> None:
    manifest = patched(MINIMAL, {"spec": {"engine": {"env": [{"name": "A", "value": ["hunter2"]}]}}})

    assert "hunter2" not in _path_and_message(manifest)[1]


def test_an_unknown_field_of_a_spec_is_an_error() -> None:
    assert _path_and_message(patched(MINIMAL, {"spec": {"autoscaling": True}}))[0] == "spec.autoscaling"


def test_an_unknown_field_of_a_status_is_passed_over() -> None:
    parsed = ModelDeployment.parse(patched(MINIMAL, {"status": {"phase": "Hibernating", "newer": 1}}))

    assert parsed.status.phase == "Hibernating"


def test_an_object_without_status_has_an_empty_one() -> None:
    assert ModelDeployment.parse(MINIMAL).status.conditions == ()


def test_a_model_can_not_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        ModelDeployment.parse(MINIMAL).spec.replicas = 2  # type: ignore[misc]


def test_the_built_in_policy_begins_with_a_preflight_and_rises() -> None:
    weights = [step.weight for step in BUILT_IN.steps if step.weight]

    assert BUILT_IN.steps[0].preflight
    assert weights == sorted(weights)
