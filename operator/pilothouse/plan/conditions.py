"""The conditions: what each part says, and what Ready, Reconciling and Stalled make of it.

Ready is true only when the current generation serves. Reconciling and Stalled follow kstatus, so Argo CD,
Flux and `kubectl wait` need no plug-in: Stalled means that nothing will change until somebody does something.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pilothouse.api.common import Condition
from pilothouse.names import ConditionType, Reason
from pilothouse.plan.acceptance import Refusal
from pilothouse.plan.diagnosis import diagnose
from pilothouse.plan.observed import Object, Observed
from pilothouse.plan.revision import Revision
from pilothouse.plan.rollout import Rollout, deployment_of, is_ready, route_is_followed, route_refusal
from pilothouse.plan.route import gateway_keys

NEEDS_HELP: Final = frozenset(
    {
        Reason.QUEUE_CLASS_NOT_FOUND,
        Reason.POLICY_NOT_FOUND,
        Reason.ARGUMENT_NOT_ALLOWED,
        Reason.ARGUMENT_NOT_SUPPORTED,
        Reason.ENGINE_VERSION_UNKNOWN,
        Reason.INVALID_SPEC,
        Reason.GATEWAY_API_MISSING,
        Reason.GATEWAY_NOT_FOUND,
        Reason.ROUTE_NOT_ACCEPTED,
        Reason.IMAGE_PULL_FAILED,
        Reason.CONTAINER_CONFIG_INVALID,
        Reason.MODEL_LOAD_FAILED,
        Reason.ENGINE_CRASHED,
        Reason.STARTUP_DEADLINE_EXCEEDED,
        Reason.APPLY_REFUSED,
    },
)
"""Reasons that waiting alone is not expected to mend."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One condition as it is now."""

    type: ConditionType
    status: bool
    reason: Reason
    message: str


def holds(kind: ConditionType, reason: Reason, message: str = "") -> Finding:
    """Say that a condition is true."""
    return Finding(kind, status=True, reason=reason, message=message)


def fails(kind: ConditionType, reason: Reason, message: str = "") -> Finding:
    """Say that a condition is false."""
    return Finding(kind, status=False, reason=reason, message=message)


def findings(observed: Observed, rollout: Rollout, refusal: Refusal | None) -> list[Finding]:
    """Return every condition that applies, in the order in which they are shown."""
    parts = [
        _accepted(refusal),
        holds(ConditionType.LICENSE_ACCEPTED, Reason.NO_POLICY, "no LicensePolicy exists"),
        holds(ConditionType.QUOTA_RESERVED, Reason.NOT_LIMITED, "no TenantQuota names this namespace"),
        _workload_ready(observed, rollout, refusal),
        *_route_programmed(observed),
    ]
    return [*parts, *summary(parts, _serving_note(rollout, refusal))]


def summary(parts: Sequence[Finding], note: str = "") -> list[Finding]:
    """Return Ready, Reconciling and Stalled, which follow from the other conditions."""
    failed = next((part for part in parts if not part.status), None)
    if not failed:
        return [
            holds(ConditionType.READY, Reason.READY, parts[-1].message),
            fails(ConditionType.RECONCILING, Reason.RECONCILED),
            fails(ConditionType.STALLED, Reason.RECONCILED),
        ]
    stalled = failed.reason in NEEDS_HELP
    return [
        fails(ConditionType.READY, failed.reason, f"{failed.message}{note}"),
        Finding(ConditionType.RECONCILING, not stalled, failed.reason, ""),
        Finding(ConditionType.STALLED, stalled, failed.reason, ""),
    ]


def as_conditions(
    found: Iterable[Finding], before: Sequence[Condition], generation: int, now: datetime
) -> tuple[Condition, ...]:
    """Return the findings as conditions; a status that has not changed keeps the time of its last change."""
    known = {condition.type: condition for condition in before}
    return tuple(_as_condition(finding, known.get(finding.type), generation, now) for finding in found)


def _as_condition(finding: Finding, before: Condition | None, generation: int, now: datetime) -> Condition:
    status = str(finding.status)
    since = before.last_transition_time if before and before.status == status else now
    return Condition(
        type=finding.type,
        status=status,
        reason=finding.reason,
        message=finding.message,
        last_transition_time=since,
        observed_generation=generation,
    )


def _accepted(refusal: Refusal | None) -> Finding:
    if refusal:
        return fails(ConditionType.ACCEPTED, refusal.reason, refusal.message)
    return holds(ConditionType.ACCEPTED, Reason.ACCEPTED, "the spec can be carried out")


def _workload_ready(observed: Observed, rollout: Rollout, refusal: Refusal | None) -> Finding:
    wanted = rollout.target or rollout.stable
    if not wanted:
        reason = refusal.reason if refusal else Reason.STARTING
        return fails(ConditionType.WORKLOAD_READY, reason, "no engine pods: the spec was not accepted")
    trouble = _refused_child(observed, route=False)
    if trouble:
        return fails(ConditionType.WORKLOAD_READY, trouble.reason, trouble.message)
    if is_ready(observed, wanted.name):
        return holds(ConditionType.WORKLOAD_READY, *_all_ready(observed))
    return fails(ConditionType.WORKLOAD_READY, *_not_ready(observed, rollout, wanted))


def _all_ready(observed: Observed) -> tuple[Reason, str]:
    replicas = observed.deployment.spec.replicas
    if not replicas:
        return Reason.SCALED_TO_ZERO, "spec.replicas is 0"
    return Reason.READY, f"{replicas} of {replicas} pods are ready"


def _not_ready(observed: Observed, rollout: Rollout, wanted: Revision) -> tuple[Reason, str]:
    live = deployment_of(observed, wanted.name)
    trouble = diagnose(live, observed.pods) if live else None
    if trouble:
        return trouble.reason, trouble.message
    ready = live.get("status", {}).get("readyReplicas", 0) if live else 0
    counted = f"{ready} of {observed.deployment.spec.replicas} pods of revision {wanted.name} are ready"
    if rollout.under_way:
        return Reason.ROLLING_OUT, counted
    return (Reason.SCALING if ready else Reason.STARTING), counted


def _route_programmed(observed: Observed) -> list[Finding]:
    if not observed.deployment.spec.route:
        return []
    trouble = _route_trouble(observed)
    if trouble:
        return [fails(ConditionType.ROUTE_PROGRAMMED, trouble.reason, trouble.message)]
    return [holds(ConditionType.ROUTE_PROGRAMMED, Reason.PROGRAMMED, "every Gateway accepted the route")]


def _route_trouble(observed: Observed) -> Refusal | None:
    if "HTTPRoute" not in observed.served_kinds:
        return Refusal(
            Reason.GATEWAY_API_MISSING, "spec.route: the cluster does not have the Gateway API's HTTPRoute"
        )
    return _gateway_trouble(observed) or _refused_child(observed, route=True) or _unaccepted_route(observed)


def _gateway_trouble(observed: Observed) -> Refusal | None:
    for index, key in enumerate(gateway_keys(observed.deployment)):
        gateway = observed.gateways.get(key)
        where = f"spec.route.parentRefs[{index}]: Gateway {key.namespace}/{key.name}"
        if not gateway:
            return Refusal(Reason.GATEWAY_NOT_FOUND, f"{where} does not exist")
        if not _is_programmed(gateway):
            return Refusal(Reason.GATEWAY_NOT_PROGRAMMED, f"{where} is not programmed")
    return None


def _is_programmed(gateway: Object) -> bool:
    conditions: list[Object] = gateway.get("status", {}).get("conditions", [])
    return any(entry["type"] == "Programmed" and entry["status"] == "True" for entry in conditions)


def _unaccepted_route(observed: Observed) -> Refusal | None:
    route = observed.child("HTTPRoute", observed.deployment.metadata.name)
    refused = route_refusal(route) if route else None
    if refused:
        return Refusal(Reason.ROUTE_NOT_ACCEPTED, refused)
    if not route_is_followed(observed):
        return Refusal(Reason.ROUTE_PENDING, "the gateway has not answered for the current route yet")
    return None


def _refused_child(observed: Observed, *, route: bool) -> Refusal | None:
    for key, message in sorted(observed.refusals.items()):
        if (key.kind == "HTTPRoute") is route:
            return Refusal(Reason.APPLY_REFUSED, f"{key.kind} {key.name}: {message}")
    return None


def _serving_note(rollout: Rollout, refusal: Refusal | None) -> str:
    if rollout.stable and (refusal or rollout.under_way):
        return f"; revision {rollout.stable.name} serves on"
    return ""
