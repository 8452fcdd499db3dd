"""What a ModelDeployment serves, as the labels of a metric: one set for stable and one for a canary."""

from collections.abc import Iterator
from typing import NamedTuple

from pilothouse.api.modeldeployment import ModelDeployment
from pilothouse.plan.record import checkpoint_of
from pilothouse.plan.revision import Revision
from pilothouse.plan.rollout import Rollout


class ModelInfo(NamedTuple):
    """The labels of one series; empty is what a lost record does not tell."""

    namespace: str
    deployment: str
    model: str
    """What clients put in the "model" field of a request."""
    revision: str
    state: str
    """stable or canary."""
    checkpoint: str
    checkpoint_revision: str
    tokenizer_revision: str
    license_id: str
    queue_class: str


def model_infos(deployment: ModelDeployment, rollout: Rollout) -> tuple[ModelInfo, ...]:
    """Tell the revisions that run; those that gave way are not told any more."""
    return tuple(_infos(deployment, rollout))


def _infos(deployment: ModelDeployment, rollout: Rollout) -> Iterator[ModelInfo]:
    if rollout.stable:
        yield _info(deployment, rollout.stable, "stable")
    if rollout.canary:
        yield _info(deployment, rollout.canary, "canary")


def _info(deployment: ModelDeployment, revision: Revision, state: str) -> ModelInfo:
    checkpoint, pins = checkpoint_of(revision), revision.pins
    return ModelInfo(
        namespace=deployment.metadata.namespace,
        deployment=deployment.metadata.name,
        model=revision.inputs["model"].get("name", ""),
        revision=revision.name,
        state=state,
        checkpoint=checkpoint.source,
        checkpoint_revision=checkpoint.revision,
        tokenizer_revision=pins["tokenizerRevision"],
        license_id=pins["licenseID"],
        queue_class=revision.inputs.get("queueClass", {}).get("name", ""),
    )
