"""Whether the Gateways carry the route as it is now, and what stands in the way."""

from collections.abc import Iterator
from typing import Final

from pilothouse.names import Reason
from pilothouse.plan.cause import Cause
from pilothouse.plan.observed import Object, ObjectKey, Observed
from pilothouse.plan.refused import refused_child
from pilothouse.plan.route import gateway_keys

_ROUTE: Final = frozenset({"HTTPRoute"})
_SPOKEN_OF: Final = frozenset({"Accepted", "ResolvedRefs"})
_NO_PODS: Final = ("BackendsAvailable", "EndpointsNotFound")
"""What Envoy Gateway says while it knows no ready pod of a backend; of an only one, it answers 503."""


def route_trouble(observed: Observed) -> Cause | None:
    """Return why the declared route is not carried, or None where every Gateway accepted it."""
    if "HTTPRoute" not in observed.served_kinds:
        return Cause(
            Reason.GATEWAY_API_MISSING, "spec.route: the cluster does not have the Gateway API's HTTPRoute"
        )
    return _gateway_trouble(observed) or refused_child(observed, _ROUTE) or _unaccepted(observed)


def pods_unknown(observed: Observed) -> Cause | None:
    """Return which Gateway carries a route with one backend and has not heard of its pods."""
    route = live_route(observed)
    if not route or any(len(rule.get("backendRefs", ())) > 1 for rule in route["spec"].get("rules", ())):
        return None
    for parent in _answers(route):
        if any((each["type"], each["reason"]) == _NO_PODS for each in _failed(parent)):
            who = _called(_gateway_of(route, parent))
            return Cause(Reason.ROUTE_PENDING, f"spec.route: {who} has not heard of the ready pods")
    return None


def live_route(observed: Observed) -> Object | None:
    """Return the HTTPRoute as it is in the cluster."""
    return observed.child("HTTPRoute", observed.deployment.metadata.name)


def is_followed(observed: Observed) -> bool:
    """Say whether every Gateway that exists sends requests by the live route and by no older one."""
    route = live_route(observed)
    if not route:
        return True
    expected = {key for key in gateway_keys(observed.deployment) if key in observed.gateways}
    return not _refusal(route) and expected <= {_gateway_of(route, parent) for parent in _answers(route)}


def _gateway_trouble(observed: Observed) -> Cause | None:
    for index, key in enumerate(gateway_keys(observed.deployment)):
        gateway = observed.gateways.get(key)
        where = f"spec.route.parentRefs[{index}]: {_called(key)}"
        if not gateway:
            return Cause(Reason.GATEWAY_NOT_FOUND, f"{where} does not exist")
        if not _is_programmed(gateway):
            return Cause(Reason.GATEWAY_NOT_PROGRAMMED, f"{where} is not programmed")
    return None


def _is_programmed(gateway: Object) -> bool:
    conditions: list[Object] = gateway.get("status", {}).get("conditions", [])
    return any(entry["type"] == "Programmed" and entry["status"] == "True" for entry in conditions)


def _unaccepted(observed: Observed) -> Cause | None:
    route = live_route(observed)
    refusal = _refusal(route) if route else None
    if refusal:
        return Cause(Reason.ROUTE_NOT_ACCEPTED, f"spec.route: {refusal}")
    if not route or not is_followed(observed):
        return Cause(
            Reason.ROUTE_PENDING, "spec.route: the gateway has not answered for the route as it is now"
        )
    return None


def _refusal(route: Object) -> str | None:
    """Return what a Gateway says against the route as it is now, in its own words."""
    for parent in _answers(route):
        for condition in _failed(parent):
            if condition["type"] in _SPOKEN_OF:
                words = f"{condition['reason']}: {condition.get('message', '')}"
                return f"{_called(_gateway_of(route, parent))}: {words}"
    return None


def _answers(route: Object) -> Iterator[Object]:
    """Give the parents in the route's status that speak of its current generation."""
    for parent in route.get("status", {}).get("parents", []):
        if any(_is_current(condition, route) for condition in parent.get("conditions", [])):
            yield parent


def _failed(parent: Object) -> Iterator[Object]:
    return (condition for condition in parent["conditions"] if condition["status"] == "False")


def _is_current(condition: Object, route: Object) -> bool:
    generation = route["metadata"].get("generation", 0)
    return condition["type"] == "Accepted" and bool(
        condition.get("observedGeneration", generation) >= generation
    )


def _called(gateway: ObjectKey) -> str:
    return f"Gateway {gateway.namespace}/{gateway.name}"


def _gateway_of(route: Object, parent: Object) -> ObjectKey:
    ref = parent["parentRef"]
    return ObjectKey("Gateway", ref.get("namespace") or route["metadata"]["namespace"], ref["name"])
