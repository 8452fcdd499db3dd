"""What the status remembers of rollouts: where one stands, the last rollback, and what is not tried again.

What is not tried again stands beside the stable revision's frozen inputs as well, and comes back from there
where the status was lost: nobody is to pay twice for the same bad revision.
"""

from dataclasses import dataclass
from typing import Final

from pydantic import TypeAdapter, ValidationError

from pilothouse.api.modeldeploymentstatus import (
    RejectedRevision,
    RollbackStatus,
    RolloutStatus,
)
from pilothouse.names import REJECTED
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


_REJECTED: Final = TypeAdapter(tuple[RejectedRevision, ...])


def record_of(observed: Observed) -> Record:
    """Read back what the status remembers."""
    status = observed.deployment.status
    rejected = status.rejected_revisions or (() if status.stable else _kept(observed))
    return Record(status.rollout, status.last_rollback, rejected, status.last_command)


def annotations_of(rejected: tuple[RejectedRevision, ...]) -> dict[str, str]:
    """Return what the stable revision's record keeps."""
    return {REJECTED: _REJECTED.dump_json(rejected, by_alias=True).decode()} if rejected else {}


def _kept(observed: Observed) -> tuple[RejectedRevision, ...]:
    """Return what was kept for a status that is lost; what somebody wrote there that can't be read is not."""
    for record in observed.children_of_kind("ControllerRevision"):
        try:
            return _REJECTED.validate_json(record["metadata"].get("annotations", {})[REJECTED])
        except (KeyError, ValidationError):
            continue
    return ()


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
