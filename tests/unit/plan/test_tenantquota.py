"""What is decided about one TenantQuota."""

from typing import Any

from builders import NOW
from pilothouse.api.common import FieldError
from pilothouse.api.tenantquota import TenantQuota
from pilothouse.names import Reason
from pilothouse.plan.gpuqueue import Claim
from pilothouse.plan.gpus import Gpus, Limits
from pilothouse.plan.observed import Object, ObjectKey
from pilothouse.plan.tenantquota import NamespaceUse, Tenant, plan_tenant, unreadable

GPU, OTHER = "nvidia.com/gpu", "amd.com/gpu"
BEHIND = ObjectKey("ResourceQuota", "team-ide", "pilothouse-team-ide")


def quota(**spec: Any) -> TenantQuota:
    """A TenantQuota of 16 GPUs for two namespaces."""
    declared = {"namespaces": ["team-ide", "team-lab"], "gpus": {"total": 16}, **spec}
    metadata = {"name": "team-ide", "uid": "u1", "generation": 7}
    return TenantQuota.parse({"metadata": metadata, "spec": declared})


def tenant(**fields: Any) -> Tenant:
    """What is seen of it, where nothing runs."""
    usual = {"now": NOW, "quota": quota(), "limits": Limits(16)}
    return Tenant(**{**usual, **fields})


def claim(name: str, held: int, wanted: int, since: str = "") -> Claim:
    """What one has and wants."""
    has, wants = Gpus.counted([("completion", held)]), Gpus.counted([("completion", wanted)])
    return Claim(name, "completion", 0, since, has, wants, booked=has)


def condition(status: Object, kind: str) -> Object:
    """One condition of a status."""
    found: list[Object] = status["conditions"]
    return next(entry for entry in found if entry["type"] == kind)


def hard(seen: Tenant) -> dict[str, Object]:
    """The limits of the ResourceQuotas by namespace."""
    return {obj["metadata"]["namespace"]: obj["spec"]["hard"] for obj in plan_tenant(seen).objects}


def test_the_status_says_what_is_used_what_is_reserved_and_who_waits() -> None:
    claims = (claim("team-ide/a", 10, 10), claim("team-lab/b", 6, 9, "1"), claim("team-ide/c", 0, 2, "2"))
    status = plan_tenant(tenant(limits=Limits(16, elsewhere=0), claims=claims, active=13)).status

    assert status["gpus"] == {"used": 13, "reserved": 3, "limit": 16}
    assert status["waiting"] == [
        {"namespace": "team-lab", "name": "b", "gpus": 3, "position": 1},
        {"namespace": "team-ide", "name": "c", "gpus": 2, "position": 2},
    ]
    assert status["observedGeneration"] == 7
    assert condition(status, "Ready")["status"] == "True"
    assert condition(status, "Ready")["observedGeneration"] == 7


def test_pods_that_drain_and_those_of_others_are_used_too() -> None:
    status = plan_tenant(
        tenant(limits=Limits(16, elsewhere=2), active=4, claims=(claim("a/a", 4, 4),))
    ).status

    assert status["gpus"] == {"used": 6, "reserved": 0, "limit": 16}


def test_a_namespace_that_another_quota_names_too_is_said() -> None:
    status = plan_tenant(tenant(rivals={"team-lab": ("lab",)})).status

    assert condition(status, "Ready")["reason"] == Reason.QUOTA_CONFLICT
    assert condition(status, "Stalled")["status"] == "True"
    assert "TenantQuota lab names namespace team-lab too" in condition(status, "Ready")["message"]


def test_each_namespace_may_hold_what_the_tenant_may_and_a_pod_of_each_revision_beyond() -> None:
    use = NamespaceUse(asked={GPU: 6}, spare={GPU: 2})

    assert hard(tenant(namespaces={"team-ide": use, "team-lab": NamespaceUse({GPU: 0})})) == {
        "team-ide": {"requests.nvidia.com/gpu": "18"},
        "team-lab": {"requests.nvidia.com/gpu": "16"},
    }


def test_a_lowered_limit_closes_nothing_below_what_was_admitted() -> None:
    use = NamespaceUse(asked={GPU: 24, OTHER: 1}, spare={GPU: 2, OTHER: 1})

    assert hard(tenant(namespaces={"team-ide": use}))["team-ide"] == {
        "requests.nvidia.com/gpu": "26",
        "requests.amd.com/gpu": "17",
    }


def test_the_resource_quota_belongs_to_the_tenant_quota() -> None:
    behind = plan_tenant(tenant()).objects[0]

    assert behind["metadata"]["name"] == "pilothouse-team-ide"
    assert behind["metadata"]["ownerReferences"][0]["uid"] == "u1"


def test_what_kueue_admits_or_nobody_limits_has_no_resource_quota() -> None:
    live: Object = {"kind": "ResourceQuota", "metadata": {"name": BEHIND.name, "namespace": "team-ide"}}
    after = plan_tenant(tenant(quota=quota(queueName="gpus"), limits=None, children={BEHIND: live}))

    assert (after.objects, after.prunes) == ((), (BEHIND,))
    assert "gpus" not in after.status


def test_a_namespace_that_is_not_there_yet_is_said_and_looked_for_again() -> None:
    after = plan_tenant(tenant(refusals={BEHIND: 'namespaces "team-ide" not found'}))

    assert condition(after.status, "Ready")["reason"] == Reason.APPLY_REFUSED
    assert "namespace team-ide" in condition(after.status, "Ready")["message"]
    assert after.requeue_after


def test_one_that_can_not_be_read_says_where_and_keeps_the_rest_of_its_status() -> None:
    raw = {"metadata": {"name": "q", "generation": 2}, "status": {"gpus": {"used": 1}, "conditions": "?"}}
    after = unreadable(raw, (FieldError("spec.gpus.total", "must be a number"),), NOW)

    assert (after.objects, after.prunes) == ((), ())
    assert after.status["gpus"] == {"used": 1}
    assert condition(after.status, "Ready")["reason"] == Reason.INVALID_SPEC
    assert "spec.gpus.total" in condition(after.status, "Ready")["message"]
