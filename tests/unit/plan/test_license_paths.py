"""With a policy that denies no pod is ever created, by any path; what runs is reported or drained."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from builders import (
    COMMIT,
    NOW,
    OTHER_COMMIT,
    Cluster,
    by_kind,
    condition,
    model_deployment,
    observed,
)
from pilothouse.api.licenseapproval import LicenseApprovalSpec
from pilothouse.api.licensepolicy import LicensePolicySpec
from pilothouse.names import LICENSE_ID
from pilothouse.plan.observed import Object, Observed
from pilothouse.plan.plan import plan

DENIED = "LicenseRef-Denied"


def deny(*ids: str, on_violation: str = "Report") -> dict[str, LicensePolicySpec]:
    """One policy that denies these ids, or everything."""
    rules = [{"ids": list(ids), "decision": "Deny", "reason": "non-commercial"}] if ids else []
    spec = {"default": "Allow" if ids else "Deny", "rules": rules, "onViolation": on_violation}
    return {"corporate": LicensePolicySpec.model_validate(spec)}


def approved_until(days: float, **changes: object) -> dict[str, Any]:
    """A policy that asks for approvals, and one that ends."""
    approval = {
        "licenseID": "Apache-2.0",
        "checkpoint": "hf://Qwen/Qwen2.5-Coder-7B-Instruct",
        "revision": COMMIT,
        "ticket": "LEGAL-123",
        "expires": NOW + timedelta(days=days),
        **changes,
    }
    asks = LicensePolicySpec.model_validate({"default": "RequireApproval"})
    return {
        "license_policies": {"corporate": asks},
        "approvals": {"la-1": LicenseApprovalSpec.model_validate(approval)},
    }


def denied(status: Object | None = None, **metadata: Any) -> Observed:
    """A model under a denied license."""
    deployment = model_deployment({"model": {"license": {"id": DENIED}}}, status, **metadata)
    return observed(deployment, license_policies=deny(DENIED))


def pods(seen: Observed) -> int:
    """How many engine pods the plan asks for."""
    return sum(each["spec"]["replicas"] for each in by_kind(plan(seen), "Deployment"))


def test_a_denied_license_gets_no_object_at_all() -> None:
    after = plan(denied())

    assert after.objects == ()
    assert condition(after, "LicenseAccepted")["status"] == "False"
    assert condition(after, "Ready")["reason"] == "LicenseDenied"
    assert condition(after, "Stalled")["status"] == "True"
    assert after.status["license"] == {
        "id": DENIED,
        "decision": "Deny",
        "policy": "corporate",
        "approval": "",
        "ticket": "",
    }


@pytest.mark.parametrize(
    "metadata",
    [
        {"labels": {LICENSE_ID: "MIT"}},
        {"annotations": {LICENSE_ID: "MIT", "pilothouse.dev/command": "promote/0123456789"}},
    ],
)
def test_no_label_and_no_annotation_speaks_for_the_license(metadata: Object) -> None:
    assert plan(denied(**metadata)).objects == ()


@pytest.mark.parametrize(
    "status",
    [
        {"license": {"id": DENIED, "decision": "Allow", "policy": "corporate", "approval": "la-1"}},
        {"stable": {"revision": "0123456789", "licenseID": "MIT"}},
        {"canary": {"revision": "0123456789", "licenseID": "MIT"}, "rollout": {"state": "Holding"}},
    ],
)
def test_no_status_speaks_for_the_license(status: Object) -> None:
    assert plan(denied(status)).objects == ()


def running(**fields: Any) -> Cluster:
    """A model that serves with two pods."""
    cluster = Cluster(observed(**fields))
    cluster.settle()
    return cluster


@pytest.mark.parametrize("replicas", [3, 5])
def test_what_runs_stays_when_a_policy_only_reports_but_never_grows(replicas: int) -> None:
    cluster = running()
    stable = cluster.plan.status["stable"]["revision"]
    after = cluster.change({"replicas": replicas}, license_policies=deny()).tick()

    assert after.prunes == ()
    assert [each["spec"]["replicas"] for each in by_kind(after, "Deployment")] == [2]
    assert condition(after, "Ready")["message"].endswith(f"revision {stable} serves on")


def test_what_runs_can_be_made_smaller() -> None:
    cluster = running()

    assert pods(cluster.change({"replicas": 1}, license_policies=deny()).seen) == 1


def test_what_was_scaled_to_nothing_does_not_come_back() -> None:
    cluster = running()
    cluster.change({"replicas": 0}, license_policies=deny()).settle()

    assert pods(cluster.change({"replicas": 2}).seen) == 0


def test_a_deployment_that_was_deleted_does_not_come_back_with_pods() -> None:
    cluster = running()
    kept = {key: each for key, each in cluster.seen.children.items() if key.kind != "Deployment"}

    assert pods(cluster.change(children=kept, license_policies=deny()).seen) == 0


def test_a_new_revision_under_a_denied_license_gets_no_pod() -> None:
    cluster = running(license_policies=deny(DENIED))
    before = cluster.kinds()
    cluster.change({"model": {"license": {"id": DENIED}}}).settle()

    assert cluster.kinds() == before
    assert condition(cluster.plan, "LicenseAccepted")["reason"] == "LicenseDenied"


def test_a_license_that_is_declared_too_late_does_not_let_the_old_revision_grow() -> None:
    """The spec declares an allowed license, while what serves is under one that is denied by now."""
    cluster = Cluster(observed(model_deployment({"model": {"license": {"id": DENIED}}})))
    old = cluster.settle().status["stable"]["revision"]
    paused = {"replicas": 5, "rollout": {"paused": True}}
    after = cluster.change(paused, license_policies=deny(DENIED)).tick()

    assert [each["spec"]["replicas"] for each in by_kind(after, "Deployment")] == [2]
    accepted = condition(after, "LicenseAccepted")
    assert accepted["status"] == "True"
    assert (
        f"revision {old} serves on, though: license {DENIED}: LicensePolicy corporate denies"
        in accepted["message"]
    )


def test_a_policy_that_drains_takes_away_what_runs() -> None:
    cluster = running()
    cluster.change(license_policies=deny(on_violation="Drain")).settle()

    assert cluster.kinds() == []
    assert cluster.plan.status["phase"] == "Pending"
    assert cluster.plan.status["history"][0]["servedUntil"]


def test_a_denied_license_that_is_declared_does_not_drain_what_runs_under_another() -> None:
    cluster = running(license_policies=deny(DENIED, on_violation="Drain"))
    before = cluster.kinds()
    cluster.change({"model": {"license": {"id": DENIED}}}).settle()

    assert cluster.kinds() == before


def test_what_is_drained_makes_room_at_once_for_what_is_allowed() -> None:
    cluster = Cluster(observed(model_deployment({"model": {"license": {"id": DENIED}}})))
    cluster.settle()
    cluster.change({}, license_policies=deny(DENIED, on_violation="Drain")).settle()

    assert condition(cluster.plan, "Ready")["status"] == "True"
    assert cluster.plan.status["stable"]["licenseID"] == "Apache-2.0"


def test_what_was_drained_serves_again_with_a_new_entry_in_the_history() -> None:
    cluster = running()
    cluster.change(license_policies=deny(on_violation="Drain")).settle()
    cluster.change(license_policies={"other": deny("MIT")["corporate"]}).settle()
    assert condition(cluster.plan, "Ready")["reason"] == "LicensePolicyMissing"

    allows = LicensePolicySpec.model_validate({"rules": [{"ids": ["Apache-2.0"], "decision": "Allow"}]})
    cluster.change(license_policies={"other": allows}).settle()
    again, before = cluster.plan.status["history"]
    assert again["revision"] == before["revision"]
    assert again["servedFrom"] > before["servedUntil"]
    assert again["policy"] == "other"


def test_a_lost_policy_opens_nothing_that_it_closed() -> None:
    cluster = Cluster(denied())
    cluster.settle()
    cluster.change(license_policies={}).settle()

    assert cluster.kinds() == []
    assert condition(cluster.plan, "LicenseAccepted")["reason"] == "LicensePolicyMissing"
    assert condition(cluster.plan, "Stalled")["status"] == "True"


def test_a_lost_policy_leaves_what_runs_as_it_was() -> None:
    cluster = running()
    cluster.change(license_policies=deny()).settle()
    after = cluster.change({"replicas": 5}, license_policies={}).settle()

    assert [each["spec"]["replicas"] for each in by_kind(after, "Deployment")] == [2]


def forged(cluster: Cluster, **data: Any) -> Observed:
    """What is seen once somebody has put another record in the place of the true one."""
    (key,) = [key for key in cluster.seen.children if key.kind == "ControllerRevision"]
    record = cluster.seen.children[key]
    record = {**record, "data": {**record["data"], **data}}
    return replace(cluster.seen, children={**cluster.seen.children, key: record})


def test_a_record_with_other_inputs_than_its_name_says_is_not_believed() -> None:
    cluster = Cluster(observed(model_deployment({"model": {"license": {"id": DENIED}}})))
    record = by_kind(cluster.settle(), "ControllerRevision")[0]
    inputs = record["data"]["inputs"]
    allowed = {**inputs, "model": {**inputs["model"], "license": {"id": "MIT"}}}
    cluster.change({"replicas": 5}, license_policies=deny(DENIED))
    seen = forged(cluster, inputs=allowed)

    assert pods(seen) <= 2


def test_a_status_with_another_license_than_the_pods_is_not_believed() -> None:
    cluster = Cluster(observed(model_deployment({"model": {"license": {"id": DENIED}}})))
    cluster.settle()
    kept = {key: each for key, each in cluster.seen.children.items() if key.kind != "ControllerRevision"}
    stable = cluster.seen.deployment.status.stable
    assert stable
    forged_stable = stable.model_copy(update={"license_id": "MIT"})
    status = cluster.seen.deployment.status.model_copy(update={"stable": forged_stable})
    paused = {"replicas": 5, "rollout": {"paused": True}}
    cluster.change(paused, license_policies=deny(DENIED), children=kept)
    seen = replace(cluster.seen, deployment=cluster.seen.deployment.model_copy(update={"status": status}))

    assert pods(seen) == 2


def test_a_forged_record_of_what_is_asked_for_is_deleted_and_its_pods_are_never_made() -> None:
    cluster = Cluster()
    record = by_kind(cluster.tick(), "ControllerRevision")[0]
    template = {
        **record["data"]["podTemplate"],
        "spec": {"containers": [{"name": "engine", "image": "evil"}]},
    }
    template["metadata"] = {**template["metadata"], "labels": {LICENSE_ID: "MIT"}}
    (key,) = [key for key in cluster.seen.children if key.kind == "ControllerRevision"]
    lying = {**record, "data": {**record["data"], "podTemplate": template}}
    after = plan(observed(children={key: lying}))

    assert key in after.prunes
    assert "evil" not in str(after.objects)


def test_the_end_of_an_approval_is_acted_on_when_it_comes() -> None:
    cluster = Cluster(observed(**approved_until(days=1)))
    after = cluster.settle()

    assert condition(after, "Ready")["status"] == "True"
    assert after.requeue_after
    assert after.requeue_after <= timedelta(days=1)
    late = plan(cluster.change(now=NOW + timedelta(days=1)).seen)
    assert condition(late, "Ready")["reason"] == "LicenseApprovalExpired"


def test_two_weeks_before_the_end_a_condition_and_one_event_warn() -> None:
    cluster = Cluster(observed(**approved_until(days=15)))
    before = cluster.settle()
    assert "LicenseExpiring" not in {each["type"] for each in before.status["conditions"]}
    assert before.requeue_after
    assert before.requeue_after <= timedelta(days=1)

    first = cluster.change(now=NOW + timedelta(days=1, minutes=1)).tick()
    warning = condition(first, "LicenseExpiring")
    assert (warning["status"], warning["reason"]) == ("True", "LicenseApprovalExpiring")
    assert "LicenseApproval la-1 (LEGAL-123) of Apache-2.0 ends at 2026-12-08T12:00:00Z" in warning["message"]
    assert [(event.type, event.reason) for event in first.events] == [("Warning", "LicenseApprovalExpiring")]
    assert condition(first, "Ready")["status"] == "True"
    assert cluster.tick().events == ()


def test_the_approval_of_what_serves_is_warned_of_while_another_revision_is_tried() -> None:
    fields = approved_until(days=3)
    longer = fields["approvals"]["la-1"].model_copy(
        update={"revision": OTHER_COMMIT, "expires": NOW + timedelta(days=300)}
    )
    cluster = Cluster(observed(**fields))
    cluster.settle()
    other = {"model": {"checkpoint": {"revision": OTHER_COMMIT}}, "rollout": {"paused": True}}
    after = cluster.change(other, approvals={**fields["approvals"], "la-2": longer}).tick()

    assert "LicenseApproval la-1" in condition(after, "LicenseExpiring")["message"]


def test_the_history_names_the_approval_under_which_it_served() -> None:
    (entry,) = Cluster(observed(**approved_until(days=100))).settle().status["history"]

    assert (entry["policy"], entry["approval"], entry["ticket"]) == ("corporate", "la-1", "LEGAL-123")
    assert entry["checkpointSource"] == "hf://Qwen/Qwen2.5-Coder-7B-Instruct"
