"""What is held in a cluster, and what the doctor says of what is not."""

import json
from typing import Any

from builders import manifest
from pilothouse.cli import doctorforms
from pilothouse.cli.doctor import Finding, State, doctor
from pilothouse.errors import Terminal
from pilothouse.plan.observed import Object
from unit.cli.fake_cluster import FakeCluster

HELD = {"limit": "perTenant.requestsPerMinute", "where": "Gateway", "enforced": True, "reason": ""}
OPEN = {"limit": "perUser.concurrentRequests", "where": "", "enforced": False, "reason": "no guard"}
LABELS = {"app.kubernetes.io/managed-by": "pilothouse", "pilothouse.dev/deployment": "qwen-coder"}
FENCE = {
    "kind": "NetworkPolicy",
    "metadata": {"name": "qwen-coder", "namespace": "team-ide", "labels": LABELS},
}
KEY = {"kind": "Secret", "metadata": {"name": "pilothouse-prompt-key", "namespace": "team-ide"}}


def quota(*enforcement: Object, generation: int = 1, **spec: Any) -> Object:
    """A TenantQuota whose status the operator wrote."""
    callers = {"auth": {"apiKeys": {"secretNames": ["keys"]}}}
    return {
        "kind": "TenantQuota",
        "metadata": {"name": "team-ide", "generation": generation},
        "spec": {"namespaces": ["team-ide"], "callers": callers, **spec},
        "status": {"observedGeneration": 1, "enforcement": list(enforcement)},
    }


def gateway_class(controller: str) -> Object:
    return {"kind": "GatewayClass", "metadata": {"name": "c"}, "spec": {"controllerName": controller}}


async def found(*objects: Object, lacks: tuple[str, ...] = ()) -> list[Finding]:
    """What is found in a cluster of these objects."""
    return await doctor(FakeCluster(lacks=set(lacks)).put(*objects))


async def test_a_cluster_where_all_is_held_leaves_nothing_to_do() -> None:
    findings = await found(quota(HELD), manifest(), FENCE, KEY)

    assert [(each.what, each.state, each.where) for each in findings] == [
        ("perTenant.requestsPerMinute", State.HELD, "Gateway")
    ]
    assert doctorforms.exit_code(findings) == 0


async def test_a_limit_that_is_not_held_is_told_with_the_reason() -> None:
    [limit] = await found(quota(OPEN))

    assert (limit.subject, limit.state, limit.reason) == ("TenantQuota team-ide", State.NOT_HELD, "no guard")
    assert doctorforms.exit_code([limit]) == 1


async def test_a_status_of_an_older_spec_is_not_taken_for_news() -> None:
    findings = await found(quota(HELD, generation=2))
    assert "not looked at it as it is now" in findings[0].reason


async def test_a_quota_that_can_not_be_read_is_named() -> None:
    [finding] = await found(quota(HELD, unknown=1))
    assert (finding.subject, finding.state) == ("TenantQuota team-ide", State.NOT_HELD)


async def test_pods_that_all_may_reach_make_every_limit_a_matter_of_trust() -> None:
    [finding] = [each for each in await found(quota(HELD), manifest(), KEY) if each.what == "NetworkPolicy"]
    assert finding.state is State.NOT_HELD
    assert "set network.allowedNamespaces of the chart" in finding.reason


async def test_open_pods_are_but_a_hint_where_nobody_is_to_be_told_apart() -> None:
    findings = await found(manifest(), KEY)
    assert [each.state for each in findings] == [State.HINT]
    assert doctorforms.exit_code(findings) == 0


async def test_a_model_without_a_guard_is_named() -> None:
    findings = await found(manifest({"engine": {"guard": "Disabled"}}), FENCE)
    assert [(each.subject, each.what) for each in findings] == [
        ("ModelDeployment team-ide/qwen-coder", "guard")
    ]


async def test_a_missing_prompt_key_is_a_hint_and_one_that_may_not_be_seen_is_said() -> None:
    [missing] = await found(manifest(), FENCE)
    assert "create a Secret pilothouse-prompt-key" in missing.reason

    cluster = FakeCluster(refusals={"Secret": Terminal("secrets is forbidden")}).put(manifest(), FENCE)
    [hidden] = await doctor(cluster)
    assert hidden.reason.startswith("can't tell")


async def test_without_the_gateway_api_it_is_what_to_install() -> None:
    findings = await found(lacks=("gateways", "gatewayclasses", "httproutes"))
    assert {each.what for each in findings} == {
        "gateways.gateway.networking.k8s.io",
        "gatewayclasses.gateway.networking.k8s.io",
        "httproutes.gateway.networking.k8s.io",
    }


async def test_the_kinds_of_a_gateway_are_missed_only_where_it_is_in_use() -> None:
    traefik = gateway_class("traefik.io/gateway-controller")
    assert [each.what for each in await found(traefik, lacks=("middlewares",))] == ["middlewares.traefik.io"]
    assert await found(lacks=("middlewares",)) == []


async def test_the_table_is_for_people_and_json_for_scripts() -> None:
    findings = await found(quota(HELD, OPEN))
    table = doctorforms.as_table(findings).splitlines()

    assert table[0].split() == ["SUBJECT", "WHAT", "STATE", "WHERE", "REASON"]
    assert len(table) == 3
    document = json.loads(doctorforms.as_json(findings))
    assert document["version"] == 1
    assert document["findings"][1] == {
        "subject": "TenantQuota team-ide",
        "what": "perUser.concurrentRequests",
        "state": "NotHeld",
        "where": "",
        "reason": "no guard",
    }
