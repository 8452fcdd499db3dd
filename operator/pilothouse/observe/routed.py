"""A ModelDeployment as its callers see it: read from the raw object, once for each version of it."""

from pilothouse.api.modeldeployment import Guard
from pilothouse.kinds import GATEWAY
from pilothouse.observe.references import references
from pilothouse.plan.observed import Object, key_of
from pilothouse.plan.traffic import RoutedModel


def routed_of(deployment: Object) -> RoutedModel:
    """Return it for a ModelDeployment, valid or not."""
    spec = deployment.get("spec") or {}
    return RoutedModel(
        key=key_of(deployment),
        lane=spec.get("queueClassName", ""),
        guarded=(spec.get("engine") or {}).get("guard", Guard.ENABLED) == Guard.ENABLED,
        gateways=tuple(sorted(key for key in references(deployment) if key.kind == GATEWAY.name)),
        invited=tuple((spec.get("route") or {}).get("allowTenants") or ()),
    )
