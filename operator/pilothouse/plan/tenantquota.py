"""What is decided about one TenantQuota: its status, and a native ResourceQuota behind it in each namespace.

The ResourceQuota stops what goes around the operator. A namespace may hold as many GPUs as the whole tenant,
since which of them uses its share is decided later, and one pod of each revision beyond that: a pod that
drains counts until it is gone, and the one that takes its place must not wait for it. It never closes below
what was admitted, so that a lowered limit keeps no pod that serves from coming back.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from pydantic import TypeAdapter, ValidationError

from pilothouse import names
from pilothouse.api.common import Condition, FieldError
from pilothouse.api.tenantquota import Enforcement, GpuUse, TenantQuota, Waiting
from pilothouse.names import ConditionType, Reason
from pilothouse.plan.cause import Cause
from pilothouse.plan.conditions import Finding, as_conditions, fails, holds, summary
from pilothouse.plan.gpuqueue import Claim, turns
from pilothouse.plan.gpus import Limits
from pilothouse.plan.observed import Object, ObjectKey, key_of
from pilothouse.plan.types import Plan

_MOST_SHOWN: Final = 1000
_LOOK_AGAIN: Final = timedelta(minutes=1)
"""When to look for a namespace that is not there yet: namespaces are not watched."""

_CONDITIONS: Final = TypeAdapter(tuple[Condition, ...])


@dataclass(frozen=True, slots=True)
class NamespaceUse:
    """GPUs of one namespace by what they are called: those asked for, and one pod of each revision."""

    asked: Mapping[str, int] = field(default_factory=dict)
    spare: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Tenant:
    """All that a decision about a TenantQuota reads.

    `limits` is None where Pilothouse does not admit its GPUs. `active` counts the GPUs of pods that are not
    being deleted. `rivals` are the other TenantQuotas that name one of its namespaces, by namespace.
    `enforcement` says where the limits of its callers are held.
    """

    now: datetime
    quota: TenantQuota
    limits: Limits | None = None
    claims: tuple[Claim, ...] = ()
    active: int = 0
    namespaces: Mapping[str, NamespaceUse] = field(default_factory=dict)
    rivals: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    children: Mapping[ObjectKey, Object] = field(default_factory=dict)
    refusals: Mapping[ObjectKey, str] = field(default_factory=dict)
    enforcement: tuple[Enforcement, ...] = ()


def plan_tenant(tenant: Tenant) -> Plan:
    """Decide about a TenantQuota that parses."""
    objects = tuple(_resource_quotas(tenant))
    wanted = {key_of(obj) for obj in objects}
    return Plan(
        objects=objects,
        prunes=tuple(key for key in sorted(tenant.children) if key not in wanted),
        status=_status(tenant),
        events=(),
        requeue_after=_LOOK_AGAIN if tenant.refusals else None,
    )


def unreadable(raw: Object, errors: Sequence[FieldError], now: datetime) -> Plan:
    """Plan for a TenantQuota that does not parse: it says so, and what stands behind it stays."""
    message = "; ".join(f"{error.path}: {error.message}" for error in errors)
    status, generation = raw.get("status") or {}, raw["metadata"].get("generation", 0)
    accepted = fails(ConditionType.ACCEPTED, Reason.INVALID_SPEC, message)
    conditions = as_conditions([accepted, *summary([accepted])], _known(status), generation, now)
    said = [entry.model_dump(mode="json", by_alias=True) for entry in conditions]
    after = {**status, "observedGeneration": generation, "conditions": said}
    return Plan(objects=(), prunes=(), status=after, events=(), requeue_after=None)


def _known(status: Object) -> tuple[Condition, ...]:
    try:
        return _CONDITIONS.validate_python(status.get("conditions", []))
    except ValidationError:
        return ()


def _status(tenant: Tenant) -> Object:
    quota = tenant.quota
    accepted = _accepted(tenant)
    generation, before = quota.metadata.generation, quota.status.conditions
    status = quota.status.model_copy(
        update={
            "observed_generation": generation,
            "conditions": as_conditions([accepted, *summary([accepted])], before, generation, tenant.now),
            "gpus": _use(tenant),
            "waiting": tuple(_waiting(tenant))[:_MOST_SHOWN],
            "enforcement": tenant.enforcement,
        }
    )
    return status.model_dump(mode="json", by_alias=True, exclude_none=True)


def _accepted(tenant: Tenant) -> Finding:
    trouble = _trouble(tenant)
    if trouble:
        return fails(ConditionType.ACCEPTED, trouble.reason, trouble.message)
    return holds(ConditionType.ACCEPTED, Reason.ACCEPTED, "the quota is held")


def _trouble(tenant: Tenant) -> Cause | None:
    for namespace, others in sorted(tenant.rivals.items()):
        message = f"TenantQuota {', '.join(others)} names namespace {namespace} too: it gets nothing new"
        return Cause(Reason.QUOTA_CONFLICT, message)
    for key, message in sorted(tenant.refusals.items()):
        return Cause(Reason.APPLY_REFUSED, f"ResourceQuota in namespace {key.namespace}: {message}")
    return None


def _use(tenant: Tenant) -> GpuUse | None:
    if not tenant.limits:
        return None
    held = sum(claim.booked.total for claim in tenant.claims)
    return GpuUse(
        used=tenant.active + tenant.limits.elsewhere,
        reserved=max(0, held - tenant.active),
        limit=tenant.limits.total,
    )


def _waiting(tenant: Tenant) -> Iterator[Waiting]:
    for turn in turns(tenant.limits, tenant.claims) if tenant.limits else ():
        if turn.position:
            namespace, _, name = turn.claim.name.partition("/")
            yield Waiting(namespace=namespace, name=name, gpus=turn.claim.lack, position=turn.position)


def _resource_quotas(tenant: Tenant) -> Iterator[Object]:
    if not tenant.limits:
        return
    for namespace in sorted(tenant.quota.spec.namespaces):
        use = tenant.namespaces.get(namespace, NamespaceUse())
        most = {
            f"requests.{resource}": str(max(tenant.limits.total, asked) + use.spare.get(resource, 0))
            for resource, asked in sorted(use.asked.items())
        }
        yield _resource_quota(tenant.quota, namespace, most)


def _resource_quota(quota: TenantQuota, namespace: str, most: Object) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {
            "name": f"pilothouse-{quota.metadata.name}",
            "namespace": namespace,
            "labels": {names.MANAGED_BY: names.MANAGED_BY_VALUE},
            "ownerReferences": [
                {
                    "apiVersion": names.API_VERSION,
                    "kind": "TenantQuota",
                    "name": quota.metadata.name,
                    "uid": quota.metadata.uid,
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        },
        "spec": {"hard": most},
    }
