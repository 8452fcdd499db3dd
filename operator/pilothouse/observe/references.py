"""What a ModelDeployment refers to by name; read from the raw object, so that an invalid one is found too."""

from collections.abc import Iterator

from pilothouse.kinds import GATEWAY, MODEL_DEPLOYMENT, QUEUE_CLASS, ROLLOUT_POLICY
from pilothouse.plan.observed import Object, ObjectKey


def references(obj: Object) -> frozenset[ObjectKey]:
    """Name the QueueClass, the RolloutPolicy and the Gateways; empty for any other kind."""
    if obj["kind"] != MODEL_DEPLOYMENT.name:
        return frozenset()
    return frozenset(_references(obj.get("spec") or {}, obj["metadata"].get("namespace", "")))


def _references(spec: Object, namespace: str) -> Iterator[ObjectKey]:
    if queue_class := spec.get("queueClassName"):
        yield ObjectKey(QUEUE_CLASS.name, "", queue_class)
    if policy := (spec.get("rollout") or {}).get("policyName"):
        yield ObjectKey(ROLLOUT_POLICY.name, "", policy)
    for parent in (spec.get("route") or {}).get("parentRefs") or []:
        yield ObjectKey(GATEWAY.name, parent.get("namespace") or namespace, parent["name"])
