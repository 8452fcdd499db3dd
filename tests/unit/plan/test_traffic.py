"""What lies beside a Gateway for its callers, and what a TenantQuota's status says of it."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import GATEWAY, gateway, merged
from pilothouse.api.tenantquota import TenantQuota
from pilothouse.guard import pilothouse_guard as guard
from pilothouse.plan.enforcement import enforcement
from pilothouse.plan.observed import Object, ObjectKey, key_of
from pilothouse.plan.traffic import (
    BYTES_PER_TOKEN,
    SMALLEST_BODY_BOUND,
    RoutedModel,
    Traffic,
    gateway_plan,
)

CONTROLLER = "gateway.envoyproxy.io/gatewayclass-controller"
KINDS = frozenset({"HTTPRoute", "SecurityPolicy", "ClientTrafficPolicy", "BackendTrafficPolicy"})
OTHER = ObjectKey("Gateway", "gateways", "other")
LIMITS = {
    "perTenant": {"requestsPerMinute": 600, "outputTokensPerMinute": 9000},
    "perUser": {"concurrentRequests": 4},
    "perQueueClass": {"synthesis": {"concurrentRequests": 2}},
}


def quota(name: str = "team-ide", born: str = "2026-01-01T00:00:00Z", **callers: Any) -> TenantQuota:
    """A tenant of the namespace of its name, whose callers show API keys."""
    auth = {"apiKeys": {"secretNames": [f"{name}-keys"]}}
    spec = {"namespaces": [name], "callers": {"auth": auth, **callers}}
    return TenantQuota.parse({"metadata": {"name": name, "creationTimestamp": born}, "spec": spec})


def model(namespace: str = "team-ide", name: str = "coder", **fields: Any) -> RoutedModel:
    """A guarded model behind the Gateway `models`."""
    facts = {"lane": "completion", "guarded": True, "gateways": (GATEWAY,), "invited": (), **fields}
    return RoutedModel(key=ObjectKey("ModelDeployment", namespace, name), **facts)


def gateway_of(**annotations: str) -> Object:
    """The Gateway `models` as its owner annotated it."""
    said = {f"pilothouse.dev/{name.replace('_', '-')}": value for name, value in annotations.items()}
    return merged(
        gateway(),
        {"apiVersion": "gateway.networking.k8s.io/v1", "metadata": {"uid": "g1", "annotations": said}},
    )


def traffic(*quotas: TenantQuota, models: Any = None, **annotations: str) -> Traffic:
    """These tenants' callers at the Gateway `models`, which takes API keys unless it says otherwise."""
    return Traffic(
        gateways={GATEWAY: gateway_of(**(annotations or {"callers": "APIKeys"}))},
        controllers={GATEWAY: CONTROLLER},
        models=(model(),) if models is None else models,
        quotas=quotas,
        input_tokens={"completion": 8192, "synthesis": 100_000},
        served_kinds=KINDS,
    )


def settled(seen: Traffic) -> Traffic:
    """The same once Envoy Gateway has accepted all that lies beside the Gateway."""
    for _ in range(3):
        planned = gateway_plan(seen, seen.gateways[GATEWAY]).objects
        accepted = {"ancestors": [{"conditions": [{"type": "Accepted", "status": "True"}]}]}
        parts = {key_of(obj): {**obj, "status": accepted} for obj in planned}
        seen = replace(seen, parts={GATEWAY: parts})
    return seen


def told(of: TenantQuota, seen: Traffic) -> dict[str, tuple[bool, str, str]]:
    """What the status says, by limit: whether it is held, where, and why not."""
    return {entry.limit: (entry.enforced, entry.where, entry.reason) for entry in enforcement(of, seen)}


def test_what_lies_beside_a_gateway_goes_with_it() -> None:
    for obj in gateway_plan(settled(traffic(quota())), gateway_of(callers="APIKeys")).objects:
        assert obj["metadata"]["namespace"] == "gateways"
        assert obj["metadata"]["labels"] == {"app.kubernetes.io/managed-by": "pilothouse"}
        [owner] = obj["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["name"], owner["uid"], owner["controller"]) == (
            *("Gateway", "models", "g1"),
            True,
        )


@pytest.mark.parametrize(
    "change",
    [
        {"quotas": ()},
        {"models": ()},
        {"controllers": {GATEWAY: "traefik.io/gateway-controller"}},
        {"controllers": {}},
        {"gateways": {GATEWAY: gateway_of()}},
    ],
    ids=["tenants gone", "models gone", "another class", "class gone", "owner withdrew"],
)
def test_what_is_no_longer_wanted_is_removed(change: dict[str, Any]) -> None:
    seen = settled(traffic(quota()))
    changed = replace(seen, **change)
    plan = gateway_plan(changed, changed.gateways[GATEWAY])

    assert plan.objects == ()
    assert set(plan.prunes) == set(seen.parts[GATEWAY])


def test_a_kind_that_the_cluster_lacks_is_not_asked_for() -> None:
    seen = replace(traffic(quota()), served_kinds=frozenset())
    assert gateway_plan(seen, seen.gateways[GATEWAY]).objects == ()


def test_only_tenants_that_may_call_a_model_behind_the_gateway_are_named_there() -> None:
    guest, stranger = quota("guest"), quota("stranger")
    seen = traffic(
        quota(), guest, stranger, models=(model(invited=("guest",)), model("stranger", gateways=(OTHER,)))
    )
    assert {tenant.name for tenant in seen.use(GATEWAY).tenants} == {"team-ide", "guest"}


def test_tenants_stand_in_the_order_in_which_they_came() -> None:
    old, new = quota("zz", "2025-01-01T00:00:00Z"), quota("aa", "2026-02-01T00:00:00Z")
    seen = traffic(new, old, models=(model("zz"), model("aa")))
    assert [tenant.name for tenant in seen.use(GATEWAY).tenants] == ["zz", "aa"]


def test_the_longest_body_is_that_of_the_lane_with_the_longest_prompts() -> None:
    seen = traffic(quota(), models=(model(), model(name="batch", lane="synthesis")))
    assert seen.use(GATEWAY).largest_body == 100_000 * guard.BYTES_PER_TOKEN
    assert (SMALLEST_BODY_BOUND, BYTES_PER_TOKEN) == (
        guard.SMALLEST_BODY_BOUND,
        guard.BYTES_PER_TOKEN,
    )


def test_the_guard_holds_what_the_gateway_can_not() -> None:
    of = quota(**LIMITS)
    models = (model(), model(name="batch", lane="synthesis"))
    said = told(of, settled(traffic(of, models=models)))
    each = "the guard holds it for each model by itself"

    assert said == {
        "auth": (True, "Gateway", ""),
        "perTenant.requestsPerMinute": (True, "Guard", each),
        "perTenant.outputTokensPerMinute": (True, "Guard", each),
        "perUser.concurrentRequests": (True, "Guard", each),
        "perQueueClass.synthesis.concurrentRequests": (True, "Guard", ""),
    }


def test_a_rate_that_all_envoys_count_together_is_the_gateways() -> None:
    of = quota(**LIMITS)
    said = told(of, settled(traffic(of, callers="APIKeys", rate_limits="Global")))
    assert said["perTenant.requestsPerMinute"] == (True, "Gateway", "")
    assert said["perTenant.outputTokensPerMinute"] == (True, "Guard", "")


def test_a_model_without_a_guard_is_named_as_what_stands_in_the_way() -> None:
    of = quota(**LIMITS)
    said = told(of, settled(traffic(of, models=(model(guarded=False),))))
    enforced, where, reason = said["perTenant.outputTokensPerMinute"]

    assert (enforced, where) == (False, "")
    assert "ModelDeployment team-ide/coder runs without the guard: set spec.engine.guard: Enabled" in reason


def test_where_callers_can_not_prove_who_they_are_nothing_is_held() -> None:
    of = quota(**LIMITS)
    said = told(of, traffic(of, something="else"))
    assert {enforced for enforced, _, _ in said.values()} == {False}
    choices = "annotate it with pilothouse.dev/callers: APIKeys or JWT or External"
    assert {reason for _, _, reason in said.values()} == {
        f"Gateway gateways/models tells no callers apart: {choices}"
    }


def test_one_gateway_that_knows_no_callers_is_enough_to_say_so() -> None:
    of = quota(**LIMITS)
    seen = settled(traffic(of, models=(model(gateways=(GATEWAY, OTHER)),)))
    assert "Gateway gateways/other tells no callers apart" in told(of, seen)["auth"][2]


def test_gateways_that_want_different_filters_of_one_route_are_told_to_be_parted() -> None:
    of = quota()
    forward = {"callers": "ForwardAuth", "forward_auth": "http://who"}
    other = merged(gateway_of(**forward), {"metadata": {"name": "other"}})
    seen = traffic(of, models=(model(gateways=(GATEWAY, OTHER)),))
    seen = settled(
        replace(
            seen,
            gateways={**seen.gateways, OTHER: other},
            controllers={**seen.controllers, OTHER: "traefik.io/gateway-controller"},
        )
    )
    assert "want different filters" in told(of, seen)["auth"][2]


def test_a_tenant_whom_no_model_serves_is_told_so() -> None:
    of = quota(**LIMITS)
    assert told(of, traffic(of, models=()))["auth"] == (False, "", "no model with a route serves this tenant")
    assert told(of, settled(traffic(of)))["perQueueClass.synthesis.concurrentRequests"] == (
        *(False, ""),
        "no model with a route is in this lane",
    )


def test_a_quota_without_callers_has_nothing_to_hold() -> None:
    bare = TenantQuota.parse({"metadata": {"name": "a"}, "spec": {"namespaces": ["a"]}})
    assert enforcement(bare, traffic(bare)) == ()


LIMIT = st.dictionaries(
    st.sampled_from(
        ["requestsPerMinute", "inputTokensPerMinute", "outputTokensPerMinute", "concurrentRequests"]
    ),
    st.integers(1, 10**9),
)


@given(
    tenant=LIMIT,
    user=LIMIT,
    lanes=st.dictionaries(st.sampled_from(["completion", "synthesis"]), LIMIT),
    guarded=st.booleans(),
    annotations=st.sampled_from(
        [{"callers": "APIKeys"}, {"callers": "External"}, {"callers": "No"}, {"x": "y"}]
    ),
)
def test_every_limit_that_is_set_is_told_once_and_none_that_is_not_held_goes_without_a_reason(
    *, tenant: Any, user: Any, lanes: Any, guarded: bool, annotations: dict[str, str]
) -> None:
    of = quota(perTenant=tenant, perUser=user, perQueueClass=lanes)
    seen = settled(traffic(of, models=(model(guarded=guarded),), **annotations))
    said = enforcement(of, seen)
    limits = {
        "auth",
        *(f"perTenant.{name}" for name in tenant),
        *(f"perUser.{name}" for name in user),
        *(f"perQueueClass.{lane}.{name}" for lane, names in lanes.items() for name in names),
    }

    assert len(said) == len(limits)
    assert {entry.limit for entry in said} == limits
    assert all(entry.where if entry.enforced else entry.reason for entry in said)
