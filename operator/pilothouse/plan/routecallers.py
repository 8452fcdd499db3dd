"""What a model's route does about who calls: the headers that it removes, and the filters of its gateway.

Naming headers are removed, unless every Gateway that the route names has set them itself: else a client could
say what it likes. Keys and tokens are for the gateway alone: a route removes them, after they were looked at.
Where its own filters look at them, one of these does. Filters can be had where all Gateways want the same.
"""

from pilothouse import names
from pilothouse.gateways.dialect import GatewayUse, RouteParts, Tenant
from pilothouse.gateways.registry import dialect_of
from pilothouse.plan.observed import ObjectKey, Observed
from pilothouse.plan.route import RouteCallers, gateway_keys
from pilothouse.plan.traffic import RoutedModel, Traffic, annotations_of, live_parts
from pilothouse.plan.workload import owned_metadata


def route_callers(observed: Observed) -> RouteCallers:
    """Decide it for one ModelDeployment."""
    keys = gateway_keys(observed.deployment)
    forged = () if _all_name(observed, keys) else names.NAMING_HEADERS
    wanted = _wanted(observed, keys)
    if not wanted.parts or not all(part.kind in observed.served_kinds for part in wanted.parts):
        return RouteCallers((*names.STEERING_HEADERS, *forged, *names.CREDENTIAL_HEADERS))
    objects = tuple(
        {
            "apiVersion": part.api_version,
            "kind": part.kind,
            "metadata": owned_metadata(observed.deployment, part.name),
            "spec": part.spec,
        }
        for part in wanted.parts
    )
    return RouteCallers((*names.STEERING_HEADERS, *forged), wanted.filters, objects)


def _all_name(observed: Observed, keys: list[ObjectKey]) -> bool:
    """Say whether the headers are to be believed: somebody can be known, and each Gateway says who calls."""
    return bool(observed.callers) and all(
        dialect_of(observed.controllers.get(key, "")).names_callers(_use(observed, key)) for key in keys
    )


def _wanted(observed: Observed, keys: list[ObjectKey]) -> RouteParts:
    tenants = tuple(Tenant(name, callers) for name, callers in sorted(observed.callers.items()))
    name = observed.deployment.metadata.name
    found = [
        dialect_of(observed.controllers.get(key, "")).route_parts(_use(observed, key), name, tenants)
        for key in keys
    ]
    return found[0] if found and all(each == found[0] for each in found) else RouteParts()


def _use(observed: Observed, key: ObjectKey) -> GatewayUse:
    return GatewayUse(
        namespace=key.namespace,
        name=key.name,
        annotations=annotations_of(observed.gateways.get(key)),
        live=live_parts(observed.gateway_parts.get(key, {})),
    )


def disagreement(traffic: Traffic, model: RoutedModel) -> str:
    """Say that a model's Gateways do not want the same of its one route; "" where they do."""
    tenants = tuple(tenant for key in model.gateways for tenant in traffic.use(key).tenants)
    wanted = [
        traffic.dialect(key).route_parts(traffic.use(key), model.key.name, tenants) for key in model.gateways
    ]
    if all(each == wanted[0] for each in wanted):
        missing = next((part.kind for part in wanted[0].parts if part.kind not in traffic.served_kinds), "")
        return f"the cluster has no {missing}: install its CRD" if missing else ""
    return f"{model.title} names Gateways that want different filters: give each a ModelDeployment of its own"
