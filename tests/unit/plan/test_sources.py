"""Artifacts: loaded by name and commit, or mounted read-only at a path that the engine is given."""

import pytest

from builders import COMMIT, DIGEST, OTHER_COMMIT, model_deployment
from pilothouse.api.modeldeployment import ModelDeployment
from pilothouse.plan.sources import checkpoint_of, mounted, tokenizer_of


def from_source(source: str, tokenizer_source: str | None = None) -> ModelDeployment:
    """A ModelDeployment of this checkpoint, and of a tokenizer that may lie elsewhere."""
    pin = COMMIT if source.startswith("hf://") else DIGEST
    tokenizer = (
        {"source": tokenizer_source, "revision": OTHER_COMMIT} if tokenizer_source else {"revision": pin}
    )
    return model_deployment(
        {"model": {"checkpoint": {"source": source, "revision": pin}, "tokenizer": tokenizer}}
    )


def test_the_hub_is_asked_by_name_and_nothing_is_mounted() -> None:
    deployment = from_source("hf://Qwen/Qwen2.5-Coder-7B-Instruct")

    assert checkpoint_of(deployment).location == "Qwen/Qwen2.5-Coder-7B-Instruct"
    assert mounted(deployment) == []


def test_the_tokenizer_lies_beside_the_checkpoint_where_it_has_no_source() -> None:
    deployment = from_source("pvc://models/qwen/7b")

    assert tokenizer_of(deployment).source == checkpoint_of(deployment).source
    assert tokenizer_of(deployment).location == "/mnt/tokenizer"


def test_a_claim_is_mounted_read_only_below_its_path() -> None:
    artifact = checkpoint_of(from_source("pvc://models/qwen/7b"))

    assert artifact.volume() == {
        "name": "checkpoint",
        "persistentVolumeClaim": {"claimName": "models", "readOnly": True},
    }
    assert artifact.mount() == {
        "name": "checkpoint",
        "mountPath": "/mnt/checkpoint",
        "readOnly": True,
        "subPath": "qwen/7b",
    }


def test_an_image_is_mounted_by_its_digest() -> None:
    artifact = checkpoint_of(from_source("oci://registry.example/models/starcoder2"))

    assert artifact.volume()["image"]["reference"] == f"registry.example/models/starcoder2@{DIGEST}"
    assert artifact.mount() == {"name": "checkpoint", "mountPath": "/mnt/checkpoint", "readOnly": True}


@pytest.mark.parametrize("source", ["pvc://models/qwen", "oci://registry.example/qwen"])
def test_a_mounted_checkpoint_may_have_a_tokenizer_from_the_hub(source: str) -> None:
    deployment = from_source(source, tokenizer_source="hf://Qwen/Qwen2.5-Coder-7B-Instruct")

    assert [artifact.role for artifact in mounted(deployment)] == ["checkpoint"]
    assert tokenizer_of(deployment).is_hub
