"""The whole status of a ModelDeployment, from what is observed; were it lost, it would come back."""

from datetime import timedelta
from typing import Final

from pilothouse import names
from pilothouse.api.modeldeploymentstatus import (
    CanaryStatus,
    ModelDeploymentStatus,
    RevisionStatus,
    ServedRevision,
    Weight,
)
from pilothouse.names import ConditionType, Phase, Reason
from pilothouse.plan.conditions import Finding, as_conditions
from pilothouse.plan.observed import Observed
from pilothouse.plan.revision import Revision
from pilothouse.plan.rollout import Rollout, deployment_of
from pilothouse.plan.route import base_url

_HISTORY: Final = 10

_PHASES: Final = {
    Reason.INSUFFICIENT_GPU: Phase.PENDING,
    Reason.UNSCHEDULABLE: Phase.PENDING,
    Reason.QUOTA_EXCEEDED: Phase.PENDING,
    Reason.STARTING: Phase.STARTING,
    Reason.SCALING: Phase.STARTING,
    Reason.ROUTE_PENDING: Phase.STARTING,
}
"""Phase of a ModelDeployment that is not Ready for this reason; any other reason is Degraded."""


def status_of(observed: Observed, rollout: Rollout, found: list[Finding]) -> ModelDeploymentStatus:
    """Return the new status; what later features keep there stays as it is."""
    deployment = observed.deployment
    live = [child.get("status", {}) for child in observed.children_of_kind("Deployment")]
    return deployment.status.model_copy(
        update={
            "observed_generation": deployment.metadata.generation,
            "phase": _phase(rollout, found),
            "conditions": as_conditions(
                found, deployment.status.conditions, deployment.metadata.generation, observed.now
            ),
            "url": base_url(deployment, observed.gateways),
            "replicas": sum(status.get("replicas", 0) for status in live),
            "ready_replicas": sum(status.get("readyReplicas", 0) for status in live),
            "selector": f"{names.DEPLOYMENT}={deployment.metadata.name}",
            "stable": _stable(observed, rollout),
            "canary": _canary(observed, rollout),
            "history": _history(observed, rollout),
        },
    )


def requeue_after(observed: Observed, found: list[Finding]) -> timedelta | None:
    """Return when to look at the pods again, ever more rarely: nobody watches them."""
    workload = next(finding for finding in found if finding.type is ConditionType.WORKLOAD_READY)
    if workload.status or not observed.children_of_kind("Deployment"):
        return None
    before = {condition.type: condition for condition in observed.deployment.status.conditions}
    condition = before.get(ConditionType.WORKLOAD_READY)
    waited = observed.now - condition.last_transition_time if condition else timedelta()
    return min(max(waited / 10, timedelta(seconds=2)), timedelta(seconds=60))


def _phase(rollout: Rollout, found: list[Finding]) -> Phase:
    ready = next(finding for finding in found if finding.type is ConditionType.READY)
    if ready.status:
        return Phase.READY
    if not rollout.stable:
        return Phase.PENDING
    if rollout.under_way:
        return Phase.ROLLING_OUT
    return _PHASES.get(ready.reason, Phase.DEGRADED)


def _stable(observed: Observed, rollout: Rollout) -> RevisionStatus | None:
    if not rollout.stable:
        return None
    return RevisionStatus.model_validate(_pins(observed, rollout.stable))


def _canary(observed: Observed, rollout: Rollout) -> CanaryStatus | None:
    if not rollout.under_way or not rollout.target:
        return None
    share = Weight(desired=rollout.weights.get(rollout.target.name, 0))
    return CanaryStatus.model_validate({**_pins(observed, rollout.target), "weight": share})


def _pins(observed: Observed, revision: Revision) -> dict[str, object]:
    live = deployment_of(observed, revision.name)
    ready = live.get("status", {}).get("readyReplicas", 0) if live else 0
    return {**revision.pins, "readyReplicas": ready}


def _history(observed: Observed, rollout: Rollout) -> tuple[ServedRevision, ...]:
    history = observed.deployment.status.history
    if not rollout.stable or (history and history[0].revision == rollout.stable.name):
        return history
    closed = tuple(
        entry if entry.served_until else entry.model_copy(update={"served_until": observed.now})
        for entry in history
    )
    entry = ServedRevision.model_validate({**rollout.stable.pins, "servedFrom": observed.now})
    return (entry, *closed)[:_HISTORY]
