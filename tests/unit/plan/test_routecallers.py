"""Whose word a route believes, and the filters and objects that it asks of its gateway."""

from typing import Any

from builders import GATEWAY, Cluster, by_kind, gateway, merged, model_deployment, observed
from pilothouse.api.tenantquota import TenantQuota
from pilothouse.names import NAMING_HEADERS, STEERING_HEADERS
from pilothouse.plan.observed import ObjectKey, Observed
from pilothouse.plan.routecallers import route_callers

ENVOY = {GATEWAY: "gateway.envoyproxy.io/gatewayclass-controller"}
TRAEFIK = {GATEWAY: "traefik.io/gateway-controller"}
TENANTS = {
    "team-ide": TenantQuota.parse(
        {
            "metadata": {"name": "team-ide"},
            "spec": {"namespaces": ["team-ide"], "callers": {"auth": {"apiKeys": {"secretNames": ["keys"]}}}},
        }
    )
}
ACCEPTED = {"status": {"ancestors": [{"conditions": [{"type": "Accepted", "status": "True"}]}]}}
POLICIES = {
    ObjectKey(kind, "gateways", "pilothouse-models"): ACCEPTED
    for kind in ("SecurityPolicy", "ClientTrafficPolicy")
}
FORWARD = {"callers": "ForwardAuth", "forward-auth": "http://who.gateways.svc"}
WITH_MIDDLEWARE = frozenset({"HTTPRoute", "Gateway", "Middleware"})


def seen(annotations: dict[str, str] | None = None, **fields: Any) -> Observed:
    """A model behind the Gateway `models`, whom a tenant may call."""
    said = {f"pilothouse.dev/{name}": value for name, value in (annotations or {}).items()}
    annotated = merged(gateway(), {"metadata": {"annotations": said}})
    return observed(**{"gateways": {GATEWAY: annotated}, "tenants": TENANTS, **fields})


def removes_names(of: Observed) -> bool:
    """Tell whether the route takes naming headers away; what steers the engine it always does."""
    removed = set(route_callers(of).removed)
    assert set(STEERING_HEADERS) <= removed
    return set(NAMING_HEADERS) <= removed


def test_what_clients_say_of_themselves_is_removed_where_nobody_vouches_for_it() -> None:
    assert removes_names(seen())
    assert removes_names(seen({"callers": "APIKeys"}, controllers=ENVOY))


def test_names_are_believed_once_the_gateways_policies_are_accepted() -> None:
    parts = {GATEWAY: POLICIES}
    assert not removes_names(seen({"callers": "APIKeys"}, controllers=ENVOY, gateway_parts=parts))
    assert removes_names(seen({"callers": "APIKeys"}, controllers=ENVOY, gateway_parts=parts, tenants={}))


def test_names_are_believed_where_the_gateways_owner_has_seen_to_them() -> None:
    assert not removes_names(seen({"callers": "External"}))


def test_no_key_and_no_token_reaches_an_engine() -> None:
    for annotations in ({}, {"callers": "APIKeys"}, {"callers": "External"}):
        assert {"Authorization", "x-api-key"} <= set(route_callers(seen(annotations)).removed)


def test_one_gateway_that_vouches_for_nobody_is_enough_to_believe_none() -> None:
    two = [{"name": "models", "namespace": "gateways"}, {"name": "other", "namespace": "gateways"}]
    deployment = model_deployment({"route": {"parentRefs": two}})
    assert removes_names(seen({"callers": "External"}, deployment=deployment))


def test_traefik_asks_who_calls_after_what_clients_say_was_removed() -> None:
    plan = Cluster(seen(FORWARD, controllers=TRAEFIK, served_kinds=WITH_MIDDLEWARE)).settle()
    middlewares, [route] = by_kind(plan, "Middleware"), by_kind(plan, "HTTPRoute")

    names = [each["metadata"]["name"] for each in middlewares]
    assert names == ["qwen-coder-callers", "qwen-coder-credentials"]
    assert {each["metadata"]["ownerReferences"][0]["kind"] for each in middlewares} == {"ModelDeployment"}
    for rule in route["spec"]["rules"]:
        assert [entry["type"] for entry in rule["filters"]] == [
            "RequestHeaderModifier",
            "ExtensionRef",
            "ExtensionRef",
            "URLRewrite",
        ]
        assert not {"Authorization", "x-api-key"} & set(rule["filters"][0]["requestHeaderModifier"]["remove"])
        assert set(NAMING_HEADERS) <= set(rule["filters"][0]["requestHeaderModifier"]["remove"])


def test_a_filter_is_there_before_the_route_that_names_it() -> None:
    plan = Cluster(seen(FORWARD, controllers=TRAEFIK, served_kinds=WITH_MIDDLEWARE)).settle()
    kinds = [obj["kind"] for obj in plan.objects]
    assert kinds.index("Middleware") < kinds.index("HTTPRoute")


def test_no_filter_is_named_whose_kind_the_cluster_lacks() -> None:
    assert route_callers(seen(FORWARD, controllers=TRAEFIK)).filters == ()


def test_filters_go_when_the_gateway_becomes_another_one() -> None:
    cluster = Cluster(seen(FORWARD, controllers=TRAEFIK, served_kinds=WITH_MIDDLEWARE))
    cluster.settle()
    cluster.change(controllers={}).settle()
    assert not [name for name in cluster.kinds() if name.startswith("Middleware")]


def test_a_live_route_keeps_its_filters_while_its_lane_is_unknown() -> None:
    cluster = Cluster(seen(FORWARD, controllers=TRAEFIK, served_kinds=WITH_MIDDLEWARE))
    cluster.settle()
    cluster.change(queue_class=None).settle()
    assert {"Middleware qwen-coder-callers", "HTTPRoute qwen-coder"} <= set(cluster.kinds())
