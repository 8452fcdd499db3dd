"""What an object refers to by name; read from the raw object, so that an invalid one is found too."""

from collections.abc import Iterator

from pilothouse.kinds import GATEWAY, MODEL_DEPLOYMENT, QUEUE_CLASS, ROLLOUT_POLICY, TENANT_QUOTA
from pilothouse.plan.observed import Object, ObjectKey


def references(obj: Object) -> frozenset[ObjectKey]:
    """Name what a ModelDeployment names, and the namespaces of a TenantQuota; empty for any other kind."""
    spec = obj.get("spec") or {}
    if obj["kind"] == TENANT_QUOTA.name:
        return frozenset(namespace_key(name) for name in spec.get("namespaces") or ())
    if obj["kind"] == MODEL_DEPLOYMENT.name:
        return frozenset(_of_deployment(spec, obj["metadata"].get("namespace", "")))
    return frozenset()


def namespace_key(name: str) -> ObjectKey:
    """Return the key of a namespace, which is referred to and never held."""
    return ObjectKey("Namespace", "", name)


def _of_deployment(spec: Object, namespace: str) -> Iterator[ObjectKey]:
    if queue_class := spec.get("queueClassName"):
        yield ObjectKey(QUEUE_CLASS.name, "", queue_class)
    if policy := (spec.get("rollout") or {}).get("policyName"):
        yield ObjectKey(ROLLOUT_POLICY.name, "", policy)
    route = spec.get("route") or {}
    for tenant in route.get("allowTenants") or []:
        yield ObjectKey(TENANT_QUOTA.name, "", tenant)
    for parent in route.get("parentRefs") or []:
        yield ObjectKey(GATEWAY.name, parent.get("namespace") or namespace, parent["name"])
