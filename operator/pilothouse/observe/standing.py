"""What other ModelDeployments need to know of one: read from the raw object, once for each version of it."""

from collections.abc import Iterator
from datetime import datetime
from typing import Final, NamedTuple

from pilothouse.names import Reason, RolloutState
from pilothouse.plan.capacity import NO_ROOM, Strategy
from pilothouse.plan.observed import Object
from pilothouse.plan.peers import CheckpointKey, FailedCheckpoint, Peer

_REASONS: Final = {reason.value: reason for reason in Reason}


class Standing(NamedTuple):
    """A ModelDeployment as the others see it, but for its priority: its lane, the QueueClass, says that."""

    queue_class: str
    peer: Peer


def standing_of(deployment: Object) -> Standing | None:
    """Return the standing of a ModelDeployment, valid or not; None where it concerns nobody else."""
    status = deployment.get("status") or {}
    queued_since, rolls_out = _queued_since(status), _rolls_out(status)
    failed = tuple(_failed(status))
    if not queued_since and not rolls_out and not failed:
        return None
    metadata, spec = deployment["metadata"], deployment.get("spec") or {}
    policy = (spec.get("rollout") or {}).get("policyName") or ""
    peer = Peer(
        metadata.get("namespace", ""), metadata["name"], policy, 0, queued_since, rolls_out, failed=failed
    )
    return Standing(spec.get("queueClassName", ""), peer)


def _queued_since(status: Object) -> datetime | None:
    rollout = status.get("rollout") or {}
    waits = (rollout.get("state"), rollout.get("reason")) == (RolloutState.WAITING, Reason.ROLLOUT_QUEUED)
    started_at = rollout.get("startedAt")
    return datetime.fromisoformat(started_at) if waits and started_at else None


def _rolls_out(status: Object) -> bool:
    """Tell a rollout that takes up a turn; one whose pods have no room leaves it to others.

    In place a canary pod is without room at each swap, until the stable pod has drained. What drains has its
    GPUs still, and in place the last new pod waits for them: who began now would find no room, or take them.
    """
    rollout = status.get("rollout") or {}
    if rollout.get("state") == RolloutState.DRAINING:
        return True
    has_room = rollout.get("reason") not in NO_ROOM or rollout.get("capacity") == Strategy.IN_PLACE
    return bool(status.get("canary")) and has_room


def _failed(status: Object) -> Iterator[FailedCheckpoint]:
    """Name the rejected checkpoints; a reason that a newer version wrote counts as a failure like others."""
    for rejected in status.get("rejectedRevisions") or ():
        source, revision = rejected.get("checkpointSource"), rejected.get("checkpointRevision")
        if source and revision:
            reason = _REASONS.get(rejected.get("reason", ""), Reason.REJECTED)
            yield FailedCheckpoint(CheckpointKey(source, revision), reason)
