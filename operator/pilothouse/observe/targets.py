"""Whose counters are read while a rollout is under way: of whom, and how often.

The canary's pods are read each time that it has traffic, so that a failure is seen within a second or two,
and a few of stable's, which show whether it fails too; those of both sides when a sample is due, also before
the canary has traffic, so that stable is known by then.
"""

from collections.abc import Sequence
from typing import Final

from pilothouse.api.modeldeployment import ModelDeployment
from pilothouse.names import RolloutState
from pilothouse.plan.observed import Object
from pilothouse.plan.pods import is_ready, pods_of
from pilothouse.plan.sampling import MOST_PODS

_WITNESSES: Final = 2
"""So many of stable's pods tell a storm of the canary's from one that blows everywhere."""
_WITHOUT_CANARY: Final = frozenset({RolloutState.WAITING, RolloutState.DRAINING})


def rolls_out(deployment: ModelDeployment) -> bool:
    """Tell whether a canary is under way that has, or will soon have, pods."""
    status = deployment.status
    return bool(status.canary and status.rollout and status.rollout.state not in _WITHOUT_CANARY)


def drains(deployment: ModelDeployment) -> bool:
    """Tell whether pods that gave way may still be there."""
    rollout = deployment.status.rollout
    return bool(rollout and rollout.state == RolloutState.DRAINING)


def watched(deployment: ModelDeployment, pods: Sequence[Object]) -> list[Object]:
    """Return the pods to read now, whether a sample is due or not; none while the canary has no traffic."""
    canary, stable = deployment.status.canary, deployment.status.stable
    if not canary or not canary.weight or not canary.weight.desired:
        return []
    witnesses = _readable(pods, stable.revision)[:_WITNESSES] if stable else []
    return [*_readable(pods, canary.revision), *witnesses]


def sampled(deployment: ModelDeployment, pods: Sequence[Object]) -> list[Object]:
    """Return the pods of both sides to read for a sample: of each the first by uid, so that they stay."""
    sides = (deployment.status.canary, deployment.status.stable)
    return [pod for side in sides if side for pod in _readable(pods, side.revision)]


def _readable(pods: Sequence[Object], revision: str) -> list[Object]:
    found = [pod for pod in pods_of(pods, revision) if is_ready(pod)]
    return sorted(found, key=lambda pod: str(pod["metadata"]["uid"]))[:MOST_PODS]
