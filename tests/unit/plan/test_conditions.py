"""The conditions, and what Ready, Reconciling and Stalled make of them."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import (
    NOW,
    OTHER_COMMIT,
    Cluster,
    condition,
    merged,
    model_deployment,
    observed,
    parent_without_pods,
)
from pilothouse.api.common import Condition
from pilothouse.names import ConditionType, Reason
from pilothouse.plan.conditions import (
    NEEDS_HELP,
    Finding,
    as_conditions,
    fails,
    holds,
    summary,
)
from pilothouse.plan.observed import ObjectKey
from pilothouse.plan.plan import plan

FINDINGS = st.builds(
    Finding, st.sampled_from(ConditionType), st.booleans(), st.sampled_from(Reason), st.text(max_size=9)
)
READY = holds(ConditionType.WORKLOAD_READY, Reason.READY, "2 of 2 pods are ready")


@given(st.lists(FINDINGS, min_size=1))
def test_ready_is_true_only_if_every_part_is(parts: list[Finding]) -> None:
    ready, reconciling, stalled = summary(parts)

    assert ready.status is all(part.status for part in parts)
    assert [reconciling.status, stalled.status].count(True) == (0 if ready.status else 1)


@given(st.lists(FINDINGS, min_size=1))
def test_ready_gives_the_reason_of_the_first_part_that_fails(parts: list[Finding]) -> None:
    ready, *_ = summary(parts)
    failed = [part for part in parts if not part.status]

    if failed:
        assert (ready.reason, ready.message) == (failed[0].reason, failed[0].message)


@pytest.mark.parametrize("reason", Reason)
def test_stalled_means_that_waiting_does_not_help(reason: Reason) -> None:
    _, reconciling, stalled = summary([fails(ConditionType.WORKLOAD_READY, reason, "why")])

    assert stalled.status is (reason in NEEDS_HELP)
    assert reconciling.status is (reason not in NEEDS_HELP)
    assert reconciling.message == stalled.message == "why"


def test_a_ready_model_says_how_many_pods_serve() -> None:
    route = holds(ConditionType.ROUTE_PROGRAMMED, Reason.PROGRAMMED, "every Gateway accepted the route")
    ready, *_ = summary([holds(ConditionType.ACCEPTED, Reason.ACCEPTED, "fine"), READY, route])

    assert ready.message == "2 of 2 pods are ready; every Gateway accepted the route"


def test_a_condition_that_has_not_changed_keeps_its_time() -> None:
    (before,) = as_conditions([READY], (), 1, NOW)
    (after,) = as_conditions([READY], (before,), 2, NOW + timedelta(hours=1))

    assert after.last_transition_time == NOW
    assert after.observed_generation == 2


def test_a_condition_whose_reason_alone_changes_keeps_its_time() -> None:
    starting = fails(ConditionType.WORKLOAD_READY, Reason.STARTING)
    crashed = fails(ConditionType.WORKLOAD_READY, Reason.ENGINE_CRASHED)
    before = as_conditions([starting], (), 1, NOW)
    (after,) = as_conditions([crashed], before, 1, NOW + timedelta(hours=1))

    assert (after.reason, after.last_transition_time) == ("EngineCrashed", NOW)


def test_a_condition_that_changes_gets_the_time_of_now() -> None:
    later = NOW + timedelta(hours=1)
    before = as_conditions([fails(ConditionType.WORKLOAD_READY, Reason.STARTING)], (), 1, NOW)
    (after,) = as_conditions([READY], before, 1, later)

    assert after.last_transition_time == later


def test_every_condition_of_the_design_is_there_in_its_order() -> None:
    found = [entry["type"] for entry in plan(observed()).status["conditions"]]

    assert found == [kind for kind in ConditionType if kind is not ConditionType.LICENSE_EXPIRING]


def test_every_condition_speaks_of_the_generation_that_was_seen() -> None:
    after = plan(observed(model_deployment(generation=7)))

    assert {entry["observedGeneration"] for entry in after.status["conditions"]} == {7}


def test_pods_are_counted_while_they_start() -> None:
    cluster = Cluster()
    revision = cluster.plan.status["stable"]["revision"]
    cluster.broken = {f"qwen-coder-{revision}"}
    after = cluster.settle()

    said = f"revision {revision} has 0 ready pods, 2 are wanted"
    assert condition(after, "WorkloadReady")["message"] == said
    assert condition(after, "WorkloadReady")["reason"] == "Starting"


@pytest.mark.parametrize("ready", [False, True])
def test_who_is_ready_waits_for_a_gateway_that_has_not_heard_of_its_pods(*, ready: bool) -> None:
    cluster = Cluster()
    revision = cluster.plan.status["stable"]["revision"]
    cluster.broken = set() if ready else {f"qwen-coder-{revision}"}
    cluster.settle()
    seen, key = cluster.seen, ObjectKey("HTTPRoute", "team-ide", "qwen-coder")
    deaf = merged(seen.children[key], {"status": {"parents": [parent_without_pods()]}})
    after = plan(replace(seen, children={**seen.children, key: deaf}))

    assert condition(after, "RouteProgrammed")["status"] == str(not ready)
    assert condition(after, "Ready")["reason"] == ("RoutePending" if ready else "Starting")


def test_a_larger_count_is_scaling_until_all_are_ready() -> None:
    cluster = Cluster()
    cluster.settle()
    after = plan(cluster.change({"replicas": 5}).seen)

    assert condition(after, "WorkloadReady")["reason"] == "Scaling"
    assert condition(after, "Ready")["status"] == "False"


def test_without_any_pods_the_refusal_is_the_reason() -> None:
    after = plan(observed(model_deployment({"engine": {"extraArgs": ["--port=1"]}})))

    assert condition(after, "WorkloadReady")["reason"] == "ArgumentNotAllowed"
    assert "serves on" not in condition(after, "Ready")["message"]
    assert after.objects == ()


def test_a_refused_spec_says_that_the_old_revision_serves_on() -> None:
    cluster = Cluster()
    stable = cluster.settle().status["stable"]["revision"]
    after = cluster.change({"engine": {"extraArgs": ["--port=1"]}}).tick()

    assert condition(after, "Ready")["message"].endswith(f"; revision {stable} serves on")
    assert condition(after, "WorkloadReady")["status"] == "True"


def test_trouble_of_the_wanted_revision_is_told_while_the_old_one_serves() -> None:
    cluster = Cluster()
    cluster.settle()
    spec = {"model": {"checkpoint": {"revision": OTHER_COMMIT}}, "rollout": {"capacity": "Surge"}}
    canary = cluster.change(spec).begin()
    key = ObjectKey("Deployment", "team-ide", f"qwen-coder-{canary}")
    refused = {
        "type": "ReplicaFailure",
        "status": "True",
        "reason": "FailedCreate",
        "message": "exceeded quota: gpus",
    }
    live = {**cluster.seen.children[key], "status": {"conditions": [refused]}}
    after = plan(cluster.change(children={**cluster.seen.children, key: live}).seen)

    assert condition(after, "WorkloadReady")["reason"] == "QuotaExceeded"
    assert condition(after, "Ready")["message"].startswith("exceeded quota: gpus; revision ")
    assert after.status["phase"] == "RollingOut"


def test_a_refused_route_does_not_make_the_workload_look_broken() -> None:
    cluster = Cluster()
    cluster.settle()
    key = ObjectKey("HTTPRoute", "team-ide", "qwen-coder")
    after = plan(replace(cluster.seen, refusals={key: "denied"}))

    assert condition(after, "WorkloadReady")["status"] == "True"
    assert condition(after, "RouteProgrammed")["reason"] == "ApplyRefused"


def test_a_condition_is_written_as_the_api_has_it() -> None:
    (written,) = as_conditions([READY], (), 1, NOW)

    assert isinstance(written, Condition)
    assert written.model_dump(mode="json", by_alias=True) == {
        "type": "WorkloadReady",
        "status": "True",
        "reason": "Ready",
        "message": "2 of 2 pods are ready",
        "lastTransitionTime": "2026-11-23T12:00:00Z",
        "observedGeneration": 1,
    }
