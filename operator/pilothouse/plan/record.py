"""What the status remembers of rollouts: where one stands, the last rollback, and what is not tried again."""

from dataclasses import dataclass
from typing import Final

from pilothouse.api.modeldeploymentstatus import (
    ModelDeploymentStatus,
    RejectedRevision,
    RollbackStatus,
    RolloutStatus,
)
from pilothouse.plan.cause import Cause
from pilothouse.plan.observed import Observed
from pilothouse.plan.peers import CheckpointKey
from pilothouse.plan.revision import Revision

_REMEMBERED: Final = 10
"""A status is written every few seconds of a rollout, so it must stay small."""


@dataclass(frozen=True, slots=True)
class Record:
    """What the status remembers of rollouts."""

    rollout: RolloutStatus | None = None
    last_rollback: RollbackStatus | None = None
    rejected: tuple[RejectedRevision, ...] = ()
    last_command: str = ""


def record_of(status: ModelDeploymentStatus) -> Record:
    """Read back what the status remembers."""
    return Record(status.rollout, status.last_rollback, status.rejected_revisions, status.last_command)


def with_rejection(
    rejected: tuple[RejectedRevision, ...], observed: Observed, canary: Revision, cause: Cause
) -> tuple[RejectedRevision, ...]:
    """Remember the canary as rejected: the last ten, the newest first and in words."""
    checkpoint = checkpoint_of(canary)
    entry = RejectedRevision(
        revision=canary.name,
        checkpoint_source=checkpoint.source,
        checkpoint_revision=checkpoint.revision,
        reason=cause.reason,
        message=cause.message,
        time=observed.now,
    )
    kept = (each for each in rejected if each.revision != canary.name)
    others = tuple(each.model_copy(update={"message": ""}) for each in kept)
    return (entry, *others)[:_REMEMBERED]


def checkpoint_of(revision: Revision) -> CheckpointKey:
    """Name the weights of a revision."""
    checkpoint = revision.inputs["model"]["checkpoint"]
    return CheckpointKey(checkpoint.get("source", ""), checkpoint["revision"])


def rejection_of(record: Record, target: Revision) -> RejectedRevision | None:
    """Return why the revision is not tried again, if it failed before."""
    return next((each for each in record.rejected if each.revision == target.name), None)
