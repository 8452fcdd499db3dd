"""The conditions: what each part says, and what Ready, Reconciling and Stalled make of it.

Ready is true only when the current generation serves. Reconciling and Stalled follow kstatus, so Argo CD,
Flux and `kubectl wait` need no plug-in: Stalled means that nothing will change until somebody does something.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter
from typing import Final

from pilothouse.api.common import Condition
from pilothouse.names import ConditionType, Reason
from pilothouse.plan.cause import Cause
from pilothouse.plan.commands import problem
from pilothouse.plan.diagnosis import diagnose
from pilothouse.plan.fetched import fetching
from pilothouse.plan.gpuroom import GpuNeed, lack_of
from pilothouse.plan.licensemessage import when
from pilothouse.plan.licenses import Licenses
from pilothouse.plan.observed import Observed
from pilothouse.plan.programmed import pods_unknown, route_trouble
from pilothouse.plan.refused import refused_child
from pilothouse.plan.revision import Revision
from pilothouse.plan.rollout import Rollout
from pilothouse.plan.serving import deployment_of, is_ready, ready_replicas
from pilothouse.plan.startup import deadline_warning
from pilothouse.plan.tenants import unknown_tenants

NEEDS_HELP: Final = frozenset(
    {
        Reason.LICENSE_DENIED,
        Reason.LICENSE_APPROVAL_REQUIRED,
        Reason.LICENSE_APPROVAL_EXPIRED,
        Reason.LICENSE_POLICY_MISSING,
        Reason.QUEUE_CLASS_NOT_FOUND,
        Reason.QUEUE_CLASS_UNREADABLE,
        Reason.POLICY_NOT_FOUND,
        Reason.POLICY_UNREADABLE,
        Reason.ARGUMENT_NOT_ALLOWED,
        Reason.ARGUMENT_NOT_SUPPORTED,
        Reason.ENGINE_VERSION_UNKNOWN,
        Reason.INVALID_SPEC,
        Reason.QUOTA_CONFLICT,
        Reason.QUOTA_MISSING,
        Reason.QUOTA_UNREADABLE,
        Reason.GATEWAY_API_MISSING,
        Reason.GATEWAY_NOT_FOUND,
        Reason.ROUTE_NOT_ACCEPTED,
        Reason.REVISION_NOT_FOUND,
        Reason.HUB_ACCESS_DENIED,
        Reason.CACHE_FULL,
        Reason.ARTIFACT_MISMATCH,
        Reason.LICENSE_MISMATCH,
        Reason.TOKENIZER_CHANGED,
        Reason.FETCH_FAILED,
        Reason.IMAGE_PULL_FAILED,
        Reason.CONTAINER_CONFIG_INVALID,
        Reason.MODEL_LOAD_FAILED,
        Reason.ENGINE_CRASHED,
        Reason.STARTUP_DEADLINE_EXCEEDED,
        Reason.APPLY_REFUSED,
        Reason.SIBLING_FAILED,
    },
)
"""Reasons that waiting alone is not expected to mend."""

_WORKLOAD: Final = frozenset(
    {"ConfigMap", "ControllerRevision", "Deployment", "PodDisruptionBudget", "Service"}
)
_ON_THE_WAY: Final = frozenset(
    {Reason.ROLLING_OUT, Reason.STARTING, Reason.SCALING, Reason.FETCHING, Reason.ROUTE_PENDING}
)
_NO_QUOTA: Final = "no TenantQuota names this namespace"
_SERVING: Final = frozenset({ConditionType.WORKLOAD_READY, ConditionType.ROUTE_PROGRAMMED})


@dataclass(frozen=True, slots=True)
class Finding:
    """One condition as it is now; a status of None is unknown, and speaks against nothing."""

    type: ConditionType
    status: bool | None
    reason: Reason
    message: str


def holds(kind: ConditionType, reason: Reason, message: str = "") -> Finding:
    """Say that a condition is true."""
    return Finding(kind, status=True, reason=reason, message=message)


def fails(kind: ConditionType, reason: Reason, message: str = "") -> Finding:
    """Say that a condition is false."""
    return Finding(kind, status=False, reason=reason, message=message)


def findings(
    observed: Observed, rollout: Rollout, refusal: Cause | None, licenses: Licenses, need: GpuNeed
) -> list[Finding]:
    """Return every condition that applies, in the order in which they are shown."""
    gates = [
        _accepted(observed, rollout, refusal),
        _license_accepted(rollout, licenses),
    ]
    refused = first_failed(gates)
    parts = [
        *gates,
        _quota_reserved(observed, need),
        _workload_ready(observed, rollout, refused),
        *_route_programmed(observed, rollout),
    ]
    hopeless = {rollout.cause.reason} if rollout.cause and rollout.rejected else set()
    said = _with_rollout(parts, rollout)
    summed = summary(said, _serving_note(rollout, refused), NEEDS_HELP | hopeless)
    return [*parts, *summed, *_license_expiring(observed, rollout, licenses)]


def first_failed(parts: Iterable[Finding]) -> Finding | None:
    """Return the first condition that is false, which decides."""
    return next((part for part in parts if part.status is False), None)


def summary(
    parts: Sequence[Finding], note: str = "", needs_help: Collection[Reason] = NEEDS_HELP
) -> list[Finding]:
    """Return Ready, Reconciling and Stalled, which follow from the other conditions."""
    failed = first_failed(parts)
    if not failed:
        said = "; ".join(part.message for part in parts if part.type in _SERVING)
        return [
            holds(ConditionType.READY, Reason.READY, said),
            fails(ConditionType.RECONCILING, Reason.RECONCILED),
            fails(ConditionType.STALLED, Reason.RECONCILED),
        ]
    stalled, message = failed.reason in needs_help, f"{failed.message}{note}"
    return [
        fails(ConditionType.READY, failed.reason, message),
        Finding(ConditionType.RECONCILING, not stalled, failed.reason, message),
        Finding(ConditionType.STALLED, stalled, failed.reason, message),
    ]


def _with_rollout(parts: Sequence[Finding], rollout: Rollout) -> list[Finding]:
    """Put why the rollout is not over before what its pods do on their way."""
    if not rollout.cause:
        return list(parts)
    said = Finding(
        ConditionType.READY, status=False, reason=rollout.cause.reason, message=rollout.cause.message
    )
    trouble = [part for part in parts if part.status is False and part.reason not in _ON_THE_WAY]
    return [*trouble, said]


def finding_of(found: Iterable[Finding], kind: ConditionType) -> Finding:
    """Return the finding of this type, which there is."""
    return next(finding for finding in found if finding.type is kind)


def as_conditions(
    found: Iterable[Finding], before: Sequence[Condition], generation: int, now: datetime
) -> tuple[Condition, ...]:
    """Return the findings as conditions; a status that has not changed keeps the time of its last change."""
    known = {condition.type: condition for condition in before}
    return tuple(_as_condition(finding, known.get(finding.type), generation, now) for finding in found)


def _as_condition(finding: Finding, before: Condition | None, generation: int, now: datetime) -> Condition:
    status = "Unknown" if finding.status is None else str(finding.status)
    since = before.last_transition_time if before and before.status == status else now
    return Condition(
        type=finding.type,
        status=status,
        reason=finding.reason,
        message=finding.message,
        last_transition_time=since,
        observed_generation=generation,
    )


def _accepted(observed: Observed, rollout: Rollout, refusal: Cause | None) -> Finding:
    if refusal:
        return fails(ConditionType.ACCEPTED, refusal.reason, refusal.message)
    short = deadline_warning(observed, rollout.stable.name) if rollout.stable else None
    misspelt = problem(observed.deployment.metadata.annotations)
    said = ("the spec can be carried out", short, misspelt, _strangers(observed))
    return holds(ConditionType.ACCEPTED, Reason.ACCEPTED, "; ".join(part for part in said if part))


def _strangers(observed: Observed) -> str:
    """Tell of tenants that are let in and can't come: they are refused until they exist."""
    unknown = unknown_tenants(observed)
    return f"route.allowTenants: no TenantQuota gives callers to {', '.join(unknown)}" if unknown else ""


def _license_accepted(rollout: Rollout, licenses: Licenses) -> Finding:
    """Tell of what is declared, and of what serves on under a license that is no longer allowed."""
    declared, message = licenses.declared, licenses.declared.message
    serving = licenses.of(rollout.stable) if rollout.stable else declared
    if declared.allowed and rollout.stable and not serving.allowed:
        message = f"{message}; revision {rollout.stable.name} serves on, though: {serving.message}"
    return Finding(ConditionType.LICENSE_ACCEPTED, declared.allowed, declared.reason, message)


def _license_expiring(observed: Observed, rollout: Rollout, licenses: Licenses) -> list[Finding]:
    """Warn of the approval that ends first, of what is declared and of what serves."""
    verdicts = (licenses.declared, *([licenses.of(rollout.stable)] if rollout.stable else []))
    ending = [
        (verdict.said.expires, verdict.said)
        for verdict in verdicts
        if verdict.said.expires and verdict.expires_soon(observed.now)
    ]
    if not ending:
        return []
    ends, said = min(ending, key=itemgetter(0))
    message = (
        f"LicenseApproval {said.approval} ({said.ticket}) of {said.id} ends at {when(ends)}: "
        f"another for this checkpoint and revision must take its place"
    )
    return [holds(ConditionType.LICENSE_EXPIRING, Reason.LICENSE_APPROVAL_EXPIRING, message)]


def _quota_reserved(observed: Observed, need: GpuNeed) -> Finding:
    room = observed.room
    lack = lack_of(room, need.wanted)
    if lack:
        return fails(ConditionType.QUOTA_RESERVED, lack.reason, lack.message)
    if room.closed:
        return Finding(ConditionType.QUOTA_RESERVED, None, room.closed.reason, room.closed.message)
    if room.queue_name:
        message = f"TenantQuota {room.tenant}: Kueue admits the pods, by LocalQueue {room.queue_name}"
        return Finding(ConditionType.QUOTA_RESERVED, None, Reason.KUEUE_ADMITS, message)
    if room.most is None:
        said = f"TenantQuota {room.tenant} does not limit GPUs" if room.tenant else _NO_QUOTA
        return holds(ConditionType.QUOTA_RESERVED, Reason.NOT_LIMITED, said)
    message = f"TenantQuota {room.tenant}: {need.reserved.total} GPUs are reserved"
    return holds(ConditionType.QUOTA_RESERVED, Reason.QUOTA_RESERVED, message)


def _workload_ready(observed: Observed, rollout: Rollout, refused: Finding | None) -> Finding:
    wanted = observed.deployment.spec.replicas
    if not rollout.stable:
        reason = refused.reason if refused else Reason.STARTING
        return fails(ConditionType.WORKLOAD_READY, reason, "no engine pods: the spec was not accepted")
    trouble = refused_child(observed, _WORKLOAD)
    if trouble:
        return fails(ConditionType.WORKLOAD_READY, trouble.reason, trouble.message)
    parts = [(part, rollout.replicas_of(part, wanted)) for part in (rollout.stable, rollout.canary) if part]
    lacking = next((each for each in parts if not is_ready(observed, each[0].name, each[1])), None)
    if not lacking:
        return _all_ready(sum(count for _, count in parts))
    trouble = _diagnosis(observed, lacking[0]) or _progress(observed, rollout, *lacking)
    return fails(ConditionType.WORKLOAD_READY, trouble.reason, trouble.message)


def _all_ready(replicas: int) -> Finding:
    if not replicas:
        return holds(ConditionType.WORKLOAD_READY, Reason.SCALED_TO_ZERO, "spec.replicas is 0")
    message = f"{replicas} of {replicas} pods are ready"
    return holds(ConditionType.WORKLOAD_READY, Reason.READY, message)


def _diagnosis(observed: Observed, wanted: Revision) -> Cause | None:
    live = deployment_of(observed, wanted.name)
    return diagnose(live, observed.pods) if live else None


def _progress(observed: Observed, rollout: Rollout, lacking: Revision, wanted: int) -> Cause:
    ready = ready_replicas(observed, lacking.name)
    counted = f"revision {lacking.name} has {ready} ready pods, {wanted} are wanted"
    fetched = fetching(observed, lacking.name)
    if fetched:
        return Cause(Reason.FETCHING, f"{counted}; {fetched}")
    if lacking == rollout.canary:
        return Cause(Reason.ROLLING_OUT, counted)
    return Cause(Reason.SCALING if ready else Reason.STARTING, counted)


def _route_programmed(observed: Observed, rollout: Rollout) -> list[Finding]:
    if not observed.deployment.spec.route:
        return []
    trouble = route_trouble(observed) or _unheard(observed, rollout)
    if trouble:
        return [fails(ConditionType.ROUTE_PROGRAMMED, trouble.reason, trouble.message)]
    return [holds(ConditionType.ROUTE_PROGRAMMED, Reason.PROGRAMMED, "every Gateway accepted the route")]


def _unheard(observed: Observed, rollout: Rollout) -> Cause | None:
    """Tell of a Gateway that learns of ready pods later than the operator: until then nobody is served."""
    serves = rollout.stable and ready_replicas(observed, rollout.stable.name)
    return pods_unknown(observed) if serves else None


def _serving_note(rollout: Rollout, refused: Finding | None) -> str:
    if rollout.stable and (refused or rollout.under_way or rollout.canary):
        return f"; revision {rollout.stable.name} serves on"
    return ""
