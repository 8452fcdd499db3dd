"""The other ModelDeployments, as far as a rollout of one depends on them."""

from dataclasses import replace

from pilothouse.kinds import QUEUE_CLASS
from pilothouse.observe.store import Store
from pilothouse.plan.observed import Object, ObjectKey
from pilothouse.plan.peers import Peer


def peers(store: Store, live: Object) -> tuple[Peer, ...]:
    """Return the others that wait or roll out by the same policy, or that rejected a checkpoint."""
    concern = [standing for standing in store.standings() if _concerns(standing.peer, live)]
    lanes = {standing.queue_class for standing in concern}
    priorities = {lane: priority_of(store, lane) for lane in lanes}
    return tuple(replace(peer, priority=priorities[lane]) for lane, peer in concern)


def _concerns(peer: Peer, live: Object) -> bool:
    metadata, rollout = live["metadata"], (live.get("spec") or {}).get("rollout") or {}
    if (peer.namespace, peer.name) == (metadata["namespace"], metadata["name"]):
        return False
    return bool(peer.failed) or peer.policy == (rollout.get("policyName") or "")


def priority_of(store: Store, queue_class: str) -> int:
    """Read the lane's priority; a lane that does not exist, or that an older schema let in, has none."""
    found = store.get(ObjectKey(QUEUE_CLASS.name, "", queue_class)) or {}
    priority = (found.get("spec") or {}).get("priority", 0)
    return priority if isinstance(priority, int) else 0
