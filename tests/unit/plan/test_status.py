"""The status: phase, pins, history, and when to look at the pods again."""

from dataclasses import replace
from datetime import timedelta

import pytest

from builders import COMMIT, NOW, OTHER_COMMIT, Cluster, condition, model_deployment, observed
from pilothouse.names import Reason
from pilothouse.plan.observed import Object, ObjectKey
from pilothouse.plan.plan import plan

NEW_WEIGHTS = {"model": {"checkpoint": {"revision": OTHER_COMMIT}}}


def starting(replicas: int = 2) -> Cluster:
    """A cluster whose first revision does not get ready."""
    cluster = Cluster(observed(model_deployment({"replicas": replicas})))
    cluster.broken = {f"qwen-coder-{cluster.plan.status['stable']['revision']}"}
    cluster.settle()
    return cluster


def with_counts(cluster: Cluster, **status: object) -> Cluster:
    """The same with other counts in the status of its only Deployment."""
    (key,) = [key for key in cluster.seen.children if key.kind == "Deployment"]
    live = cluster.seen.children[key]
    changed = {**live, "status": {**live["status"], **status}}
    return cluster.change(children={**cluster.seen.children, key: changed})


def refused_pods(message: str) -> Object:
    """Status of a Deployment whose pods are refused."""
    return {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": message}


def test_phase_is_pending_before_anything_runs() -> None:
    after = plan(observed(queue_class=None))

    assert after.status["phase"] == "Pending"
    assert "stable" not in after.status


def test_phase_is_starting_until_the_first_pods_are_ready() -> None:
    assert starting().plan.status["phase"] == "Starting"


def test_phase_is_pending_while_there_is_no_room() -> None:
    cluster = with_counts(starting(), conditions=[refused_pods("exceeded quota: gpus")])

    assert plan(cluster.seen).status["phase"] == "Pending"


def test_phase_is_degraded_while_there_is_no_room_for_more() -> None:
    cluster = with_counts(starting(), conditions=[refused_pods("exceeded quota: gpus")], readyReplicas=1)

    assert plan(cluster.seen).status["phase"] == "Degraded"


def test_phase_is_degraded_when_something_is_wrong() -> None:
    cluster = with_counts(starting(), conditions=[refused_pods("violates PodSecurity")])

    assert plan(cluster.seen).status["phase"] == "Degraded"


def test_phase_is_rolling_out_while_a_new_revision_starts() -> None:
    cluster = Cluster()
    cluster.settle()

    assert cluster.change(NEW_WEIGHTS).tick().status["phase"] == "RollingOut"


def test_phase_is_ready_when_all_is() -> None:
    assert Cluster().settle().status["phase"] == "Ready"


def test_the_pins_of_what_serves_are_shown() -> None:
    stable = Cluster().settle().status["stable"]

    assert len(stable.pop("revision")) == 10
    assert stable == {
        "checkpointRevision": COMMIT,
        "tokenizerRevision": COMMIT,
        "licenseID": "Apache-2.0",
        "readyReplicas": 2,
    }


def test_the_canary_is_shown_with_its_own_pins_and_no_weight() -> None:
    cluster = Cluster()
    cluster.settle()
    cluster.change(NEW_WEIGHTS).begin()
    canary = cluster.plan.status["canary"]

    assert canary["checkpointRevision"] == OTHER_COMMIT
    assert canary["weight"] == {"desired": 0}


def test_counts_and_selector_serve_the_scale_subresource() -> None:
    status = Cluster().settle().status

    assert (status["replicas"], status["readyReplicas"]) == (2, 2)
    assert status["selector"] == "pilothouse.dev/deployment=qwen-coder"


def test_what_never_served_is_not_in_the_history() -> None:
    assert starting().plan.status["history"] == []


def test_history_tells_who_served_when_and_under_which_license() -> None:
    cluster = Cluster()
    old = cluster.settle().status["stable"]["revision"]
    cluster.change(NEW_WEIGHTS, now=NOW + timedelta(hours=1))
    new, former = cluster.roll_out().status["history"]

    assert former["revision"] == old
    assert former["licenseID"] == "Apache-2.0"
    assert former["servedUntil"] == new["servedFrom"]
    assert "servedUntil" not in new


def test_history_keeps_the_last_ten() -> None:
    cluster = Cluster()
    for digit in "0123456789ab":
        cluster.change({"model": {"checkpoint": {"revision": digit * 40}}}).roll_out()
    history = cluster.plan.status["history"]

    assert [entry["checkpointRevision"][0] for entry in history] == list("ba98765432")


def test_history_has_one_entry_for_one_service() -> None:
    cluster = Cluster()
    cluster.settle()
    cluster.change({"replicas": 5}).settle()

    assert len(cluster.plan.status["history"]) == 1


def test_what_later_features_keep_in_the_status_stays() -> None:
    time, checkpoint = "2026-11-23T12:00:00Z", {"checkpointSource": "hf://a/b", "checkpointRevision": "c"}
    why = {"reason": "CheckFailed", "message": "too slow"}
    rejected = [{"revision": "0123456789", **checkpoint, **why, "time": time}]
    after = plan(observed(model_deployment(status={"rejectedRevisions": rejected})))

    assert after.status["rejectedRevisions"] == rejected


def test_nobody_looks_again_at_what_is_ready() -> None:
    assert Cluster().settle().requeue_after is None


def test_nobody_looks_again_where_nothing_runs() -> None:
    assert plan(observed(queue_class=None)).requeue_after is None


def test_pods_that_just_failed_are_looked_at_soon_however_long_they_were_well() -> None:
    cluster = Cluster()
    cluster.settle()
    with_counts(cluster, readyReplicas=1).change(now=NOW + timedelta(days=30))

    assert plan(cluster.seen).requeue_after == timedelta(seconds=2)


@pytest.mark.parametrize(("waited", "pause"), [(0, 2), (100, 10), (500, 50), (86400, 60)])
def test_pods_are_looked_at_ever_more_rarely(waited: int, pause: int) -> None:
    cluster = starting()
    since = next(
        entry.last_transition_time
        for entry in cluster.seen.deployment.status.conditions
        if entry.type == "WorkloadReady"
    )
    after = plan(replace(cluster.seen, now=since + timedelta(seconds=waited)))

    assert after.requeue_after == timedelta(seconds=pause)


def test_a_missing_gateway_leaves_the_phase_degraded_and_the_url_empty() -> None:
    cluster = Cluster(observed(gateways={}))
    status = cluster.settle().status

    assert (status["phase"], status["url"]) == ("Degraded", "")


def test_a_route_that_is_not_answered_yet_is_starting() -> None:
    cluster = Cluster()
    cluster.settle()
    key = ObjectKey("HTTPRoute", "team-ide", "qwen-coder")
    unanswered = {**cluster.seen.children[key], "status": {}}
    after = plan(cluster.change(children={**cluster.seen.children, key: unanswered}).seen)

    assert condition(after, "Ready")["reason"] == Reason.ROUTE_PENDING
    assert after.status["phase"] == "Starting"
