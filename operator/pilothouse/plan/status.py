"""The whole status of a ModelDeployment, from what is observed; were it lost, it would come back."""

from datetime import datetime, timedelta
from typing import Final

from pilothouse import names
from pilothouse.api.modeldeploymentstatus import (
    CanaryStatus,
    ModelDeploymentStatus,
    RevisionStatus,
    ServedRevision,
    Weight,
)
from pilothouse.names import ConditionType, Phase, Reason, RolloutState
from pilothouse.plan.capacity import NO_ROOM
from pilothouse.plan.conditions import Finding, as_conditions, finding_of
from pilothouse.plan.licenses import Licenses
from pilothouse.plan.observed import Observed
from pilothouse.plan.revision import Revision
from pilothouse.plan.rollout import Rollout
from pilothouse.plan.route import base_url
from pilothouse.plan.serving import ready_replicas
from pilothouse.plan.startup import startup_seconds

_HISTORY: Final = 10

_STARTS: Final = frozenset({Reason.STARTING, Reason.SCALING, Reason.ROUTE_PENDING})


def status_of(
    observed: Observed, rollout: Rollout, found: list[Finding], licenses: Licenses
) -> ModelDeploymentStatus:
    """Return the new status; what later features keep there stays as it is."""
    deployment = observed.deployment
    live = [child.get("status", {}) for child in observed.children_of_kind("Deployment")]
    return deployment.status.model_copy(
        update={
            "observed_generation": deployment.metadata.generation,
            "phase": _phase(observed, rollout, found),
            "conditions": as_conditions(
                found, deployment.status.conditions, deployment.metadata.generation, observed.now
            ),
            "url": base_url(deployment, observed.gateways),
            "replicas": sum(status.get("replicas", 0) for status in live),
            "ready_replicas": sum(status.get("readyReplicas", 0) for status in live),
            "selector": f"{names.DEPLOYMENT}={deployment.metadata.name}",
            "license": licenses.declared.said,
            "stable": _stable(observed, rollout),
            "canary": _canary(observed, rollout),
            "rollout": rollout.record.rollout,
            "fetch": observed.fetch,
            "last_rollback": rollout.record.last_rollback,
            "rejected_revisions": rollout.record.rejected,
            "last_command": rollout.record.last_command,
            "history": _history(observed, rollout, licenses),
        },
    )


def decides(before: ModelDeploymentStatus, after: ModelDeploymentStatus) -> bool:
    """Say whether the status holds a decision that must be on record before it is carried out."""
    serves_another = before.stable is not None and _name(before.stable) != _name(after.stable)
    return serves_another or _durable(before) != _durable(after)


def _durable(status: ModelDeploymentStatus) -> tuple[object, ...]:
    weight = status.canary.weight.desired if status.canary and status.canary.weight else None
    rollouts = (status.rollout, status.last_rollback, status.rejected_revisions)
    return (*rollouts, status.last_command, _name(status.canary), weight)


def _name(part: RevisionStatus | None) -> str | None:
    return part.revision if part else None


def look_again_after(observed: Observed, found: list[Finding]) -> timedelta | None:
    """Return when to look at the pods again, ever more rarely: nobody watches them."""
    if finding_of(found, ConditionType.WORKLOAD_READY).status or not observed.children_of_kind("Deployment"):
        return None
    return min(max(_not_ready_for(observed) / 10, timedelta(seconds=2)), timedelta(seconds=60))


def _not_ready_for(observed: Observed) -> timedelta:
    for condition in observed.deployment.status.conditions:
        if condition.type == ConditionType.WORKLOAD_READY and condition.status == "False":
            return observed.now - condition.last_transition_time
    return timedelta()


def _phase(observed: Observed, rollout: Rollout, found: list[Finding]) -> Phase:
    ready = finding_of(found, ConditionType.READY)
    if ready.status:
        return Phase.READY
    if not rollout.stable:
        return Phase.PENDING
    word = _phase_of_rollout(rollout)
    if word:
        return word
    if ready.reason in _STARTS:
        return Phase.STARTING
    serves = ready_replicas(observed, rollout.stable.name) > 0
    return Phase.PENDING if ready.reason in NO_ROOM and not serves else Phase.DEGRADED


def _phase_of_rollout(rollout: Rollout) -> Phase | None:
    progress, rollback = rollout.record.rollout, rollout.record.last_rollback
    if progress and progress.state == RolloutState.PAUSED:
        return Phase.PAUSED
    if progress and progress.state == RolloutState.DRAINING and rollback and not rollback.finished_at:
        return Phase.ROLLING_BACK
    if rollout.rejected:
        return Phase.DEGRADED
    drains = progress is not None and progress.state == RolloutState.DRAINING
    return Phase.ROLLING_OUT if rollout.under_way or rollout.canary or drains else None


def _stable(observed: Observed, rollout: Rollout) -> RevisionStatus | None:
    if not rollout.stable:
        return None
    return RevisionStatus.model_validate(_pins(observed, rollout.stable))


def _canary(observed: Observed, rollout: Rollout) -> CanaryStatus | None:
    if not rollout.canary:
        return None
    weight = Weight(desired=rollout.weight, observed=rollout.observed_weight)
    return CanaryStatus.model_validate({**_pins(observed, rollout.canary), "weight": weight})


def _pins(observed: Observed, revision: Revision) -> dict[str, object]:
    return {
        **revision.pins,
        "readyReplicas": ready_replicas(observed, revision.name),
        "startupSeconds": startup_seconds(observed, revision.name),
    }


def _history(observed: Observed, rollout: Rollout, licenses: Licenses) -> tuple[ServedRevision, ...]:
    """Open an entry when a revision's first pod is ready: what never served is not in it."""
    history = observed.deployment.status.history
    if not rollout.stable:
        return _closed(history, observed.now)
    if not ready_replicas(observed, rollout.stable.name):
        return history
    if history and history[0].revision == rollout.stable.name and not history[0].served_until:
        return history
    entry = _served(rollout.stable, licenses, observed.now)
    return (entry, *_closed(history, observed.now))[:_HISTORY]


def _closed(history: tuple[ServedRevision, ...], now: datetime) -> tuple[ServedRevision, ...]:
    return tuple(
        entry if entry.served_until else entry.model_copy(update={"served_until": now}) for entry in history
    )


def _served(stable: Revision, licenses: Licenses, now: datetime) -> ServedRevision:
    """Write down what begins to serve, and by whose word."""
    said, model = licenses.of(stable).said, stable.inputs["model"]
    return ServedRevision.model_validate(
        {
            **stable.pins,
            "checkpointSource": model["checkpoint"].get("source", ""),
            "model": model.get("name", ""),
            "policy": said.policy,
            "approval": said.approval,
            "ticket": said.ticket,
            "servedFrom": now,
        }
    )
