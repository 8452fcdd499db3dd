"""Whether a rollout may begin as far as the other ModelDeployments go."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from pilothouse.names import Reason, RolloutState
from pilothouse.plan.cause import Cause
from pilothouse.plan.observed import Observed
from pilothouse.plan.peers import CheckpointKey, Peer

NO_VERDICT: Final = frozenset(
    {Reason.ABORTED, Reason.WITHDRAWN, Reason.CHECK_INCONCLUSIVE, Reason.METRICS_UNAVAILABLE}
)
"""Ends of a rollout that say nothing against the checkpoint."""

SETTLED: Final = timedelta(seconds=2)
"""How long one waits before it may overtake another that waits: that one's start may be under way."""

_SHOWN: Final = 5
_NEVER: Final = datetime.max.replace(tzinfo=UTC)


def own_entry(observed: Observed) -> Peer:
    """Return the ModelDeployment itself as the others see it."""
    meta, rollout = observed.deployment.metadata, observed.deployment.status.rollout
    waits = rollout and (rollout.state, rollout.reason) == (RolloutState.WAITING, Reason.ROLLOUT_QUEUED)
    return Peer(
        namespace=meta.namespace,
        name=meta.name,
        policy=observed.deployment.spec.rollout.policy_name or "",
        priority=observed.queue_class.spec.priority if observed.queue_class else 0,
        queued_since=rollout.started_at if rollout and waits else None,
    )


def gate(
    me: Peer, peers: Sequence[Peer], limit: int, checkpoint: CheckpointKey | None, now: datetime
) -> Cause | None:
    """Return what holds a rollout of `checkpoint` back, or None when it may begin.

    `limit` is the policy's `maxConcurrentRollouts`. A `checkpoint` of None stands for one that a person wants
    tried whatever happened to it elsewhere.
    """
    return _failed_elsewhere(peers, checkpoint) or _queued(me, peers, limit, now)


def _failed_elsewhere(peers: Sequence[Peer], checkpoint: CheckpointKey | None) -> Cause | None:
    for peer in sorted(peers, key=_name):
        for failed in peer.failed:
            if failed.checkpoint == checkpoint and failed.reason not in NO_VERDICT:
                message = (
                    f"{failed.checkpoint.source} at {failed.checkpoint.revision} was rolled back in "
                    f"{_name(peer)}: {failed.reason}; the command retry tries it here all the same"
                )
                return Cause(Reason.SIBLING_FAILED, message)
    return None


def _queued(me: Peer, peers: Sequence[Peer], limit: int, now: datetime) -> Cause | None:
    """Hold until the slots that are free outnumber those who go first, and the others can see me wait."""
    rivals = [peer for peer in peers if peer.policy == me.policy]
    rolling = sorted(_name(peer) for peer in rivals if peer.rolls_out)
    ahead = sum(_goes_first(peer, me, now) for peer in rivals if peer.queued_since)
    if me.queued_since and ahead < limit - len(rolling):
        return None
    return Cause(Reason.ROLLOUT_QUEUED, _position(ahead + 1, limit, rolling))


def _goes_first(peer: Peer, me: Peer, now: datetime) -> bool:
    is_new = me.queued_since is None or now - me.queued_since < SETTLED
    return is_new or _rank(peer) < _rank(me)


def _rank(peer: Peer) -> tuple[int, datetime, str]:
    return (-peer.priority, peer.queued_since or _NEVER, _name(peer))


def _name(peer: Peer) -> str:
    return f"{peer.namespace}/{peer.name}"


def _position(position: int, limit: int, rolling: Sequence[str]) -> str:
    more = f" and {len(rolling) - _SHOWN} more" if len(rolling) > _SHOWN else ""
    who = f": {', '.join(rolling[:_SHOWN])}{more}" if rolling else ""
    return f"position {position} in the queue; {len(rolling)} of {limit} roll out{who}"
