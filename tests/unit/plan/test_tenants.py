"""Who may call a model, and what of their limits falls to one pod."""

import json
import math
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import Cluster, condition, model_deployment, observed, tenant_quota
from pilothouse.api.tenantquota import Callers, TenantQuota
from pilothouse.guard.pilothouse_guard import parse_settings
from pilothouse.plan.observed import Object, Observed
from pilothouse.plan.tenants import knows_callers, tenant_limits


def quota(name: str = "team-ide", held: tuple[str, ...] = (), **limits: Any) -> dict[str, TenantQuota | None]:
    """A tenant whose callers have these limits, of which gateways hold some."""
    callers = Callers.model_validate({"auth": {"apiKeys": {"secretNames": ["keys"]}}, **limits})
    enforcement = [{"limit": limit, "where": "Gateway", "enforced": True} for limit in held]
    return {name: tenant_quota(name, callers, {"enforcement": enforcement})}


def inviting(*tenants: str) -> Any:
    return model_deployment({"route": {"allowTenants": list(tenants)}})


def with_pods(ready: dict[str, int], **fields: Any) -> Observed:
    """What is seen of a model whose revisions have so many ready pods."""
    cluster = Cluster(observed(**fields))
    cluster.settle()
    (key,) = (key for key in cluster.seen.children if key.kind == "Deployment")
    live = cluster.seen.children[key]
    rest = {other: obj for other, obj in cluster.seen.children.items() if other != key}
    pods = {
        key._replace(name=name): {**live, "status": {"readyReplicas": count}} for name, count in ready.items()
    }
    return cluster.change(children={**rest, **pods}).seen


def settings(cluster: Cluster) -> Object:
    (found,) = (obj for key, obj in cluster.seen.children.items() if key.kind == "ConfigMap")
    return dict(json.loads(found["data"]["settings.json"]))


def test_without_callers_everybody_is_served() -> None:
    assert not knows_callers(observed())
    assert not knows_callers(observed(model_deployment({"route": None})))


def test_once_the_tenant_of_the_namespace_has_callers_only_known_ones_are_served() -> None:
    assert knows_callers(observed(tenants=quota()))
    assert knows_callers(observed(model_deployment({"route": None}), tenants=quota()))


def test_a_route_that_names_tenants_is_for_them_even_before_they_exist() -> None:
    assert knows_callers(observed(inviting("team-data")))


def test_a_tenant_that_may_call_and_has_no_limits_is_known_all_the_same() -> None:
    assert tenant_limits(observed(tenants=quota())) == {"team-ide": {}}


def test_who_is_let_in_and_has_no_quota_with_callers_is_named() -> None:
    cluster = Cluster(observed(inviting("team-ide", "team-data"), tenants=quota()))
    message = condition(cluster.settle(), "Accepted")["message"]
    assert "no TenantQuota gives callers to team-data" in message
    cluster.change(tenants=quota() | quota("team-data"))
    assert "TenantQuota" not in condition(cluster.settle(), "Accepted")["message"]


def test_every_limit_reaches_the_guard_as_the_guard_reads_it() -> None:
    limits = {
        "requestsPerMinute": 60,
        "inputTokensPerMinute": 100,
        "outputTokensPerMinute": 10,
        "concurrentRequests": 5,
    }
    cluster = Cluster(observed(tenants=quota(perTenant=limits, perUser=limits)))
    cluster.settle()
    share = parse_settings(json.dumps(settings(cluster)).encode()).tenants["team-ide"]
    assert (share.concurrent, share.per_user) == (3, 3)
    assert share.per_minute == share.per_user_per_minute
    assert share.per_minute == {"requests": 30, "inputTokens": 50, "outputTokens": 5}


@pytest.mark.parametrize(("lane", "expected"), [(40, 40), (80, 60), (None, 60)])
def test_of_a_tenants_and_a_lanes_limit_the_stricter_holds(lane: int | None, expected: int) -> None:
    limited = quota(
        perTenant={"inputTokensPerMinute": 60},
        perQueueClass={
            "completion": {"inputTokensPerMinute": lane} if lane else {},
            "synthesis": {"inputTokensPerMinute": 1},
        },
    )
    seen = with_pods({"one": 1}, tenants=limited)
    assert tenant_limits(seen) == {"team-ide": {"perMinute": {"inputTokens": expected}}}


@given(st.integers(1, 10**12), st.dictionaries(st.sampled_from("abc"), st.integers(0, 50), min_size=1))
def test_the_shares_of_all_ready_pods_are_the_limit(limit: int, ready: dict[str, int]) -> None:
    limited = quota(perTenant={"outputTokensPerMinute": limit, "concurrentRequests": limit})
    share = tenant_limits(with_pods(ready, tenants=limited))["team-ide"]
    pods = max(1, sum(ready.values()))
    rate = Fraction(share["perMinute"]["outputTokens"])
    assert float(rate * pods) == pytest.approx(limit, rel=1e-6, abs=1e-4)
    assert share["concurrentRequests"] == math.ceil(limit / pods)


def test_a_share_of_concurrency_is_rounded_up_and_of_two_limits_the_stricter_one() -> None:
    limited = quota(
        perTenant={"concurrentRequests": 9},
        perUser={"concurrentRequests": 1},
        perQueueClass={"completion": {"concurrentRequests": 5}, "synthesis": {"concurrentRequests": 1}},
    )
    limits = {"concurrentRequests": 3, "perUserConcurrentRequests": 1}
    assert tenant_limits(with_pods({"one": 1, "two": 1}, tenants=limited)) == {"team-ide": limits}


def test_shares_follow_the_pods_without_a_new_revision() -> None:
    limited = quota(perTenant={"requestsPerMinute": 60})
    cluster = Cluster(observed(tenants=limited))
    revision = cluster.settle().status["stable"]["revision"]
    shares = []
    for replicas in (2, 3, 1):
        cluster.change({"replicas": replicas}).settle()
        shares.append(settings(cluster)["tenants"]["team-ide"]["perMinute"]["requests"])
    assert shares == [30, 20, 60]
    assert cluster.plan.status["stable"]["revision"] == revision


@pytest.mark.parametrize("group", ["perTenant", "perUser"])
def test_requests_that_the_gateways_count_are_not_counted_again_by_share(group: str) -> None:
    limits = {"requestsPerMinute": 60, "inputTokensPerMinute": 60}
    key = {"perTenant": "perMinute", "perUser": "perUserPerMinute"}[group]
    for held, rates in (
        ((), {"requests": 60, "inputTokens": 60}),
        ((f"{group}.requestsPerMinute",), {"inputTokens": 60}),
        (("auth", "perQueueClass.completion.requestsPerMinute"), {"requests": 60, "inputTokens": 60}),
    ):
        seen = with_pods({"one": 1}, tenants=quota(held=held, **{group: limits}))
        assert tenant_limits(seen) == {"team-ide": {key: rates}}


def test_a_lanes_requests_are_the_guards_whatever_the_gateways_count() -> None:
    limited = quota(
        held=("perTenant.requestsPerMinute",),
        perTenant={"requestsPerMinute": 60},
        perQueueClass={"completion": {"requestsPerMinute": 80}},
    )
    seen = with_pods({"one": 1}, tenants=limited)
    assert tenant_limits(seen) == {"team-ide": {"perMinute": {"requests": 80}}}


def test_a_quota_that_can_t_be_read_opens_nothing() -> None:
    seen = observed(tenants={"team-ide": None})
    assert knows_callers(seen)
    assert tenant_limits(seen) == {}
