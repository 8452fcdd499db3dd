"""A startup deadline that a model can't meet is warned of before a rollout fails by it (L14)."""

from datetime import datetime, timedelta
from typing import Any

from builders import NOW, OTHER_COMMIT, Cluster, Object, condition, observed
from pilothouse.names import DEPLOYMENT, REVISION, Reason
from rollout_scene import policy

TOO_SHORT = policy(startupDeadline="60s")


def pod(
    revision: str, seconds: float, since: datetime = NOW, *, lost: float = 0, ready: bool = True
) -> Object:
    """A pod that took so long to be ready at this time, and was so again when it had lost it meanwhile."""
    name = f"{revision}-{seconds:.0f}"
    started, again = since - timedelta(seconds=seconds), since + timedelta(seconds=lost)
    condition = {"type": "Ready", "status": str(ready), "lastTransitionTime": again.isoformat()}
    return {
        "metadata": {"name": name, "uid": name, "labels": {DEPLOYMENT: "qwen-coder", REVISION: revision}},
        "status": {"podIP": "10.0.0.1", "startTime": started.isoformat(), "conditions": [condition]},
    }


def serving(*seconds: float, late: float = 0, **fields: Any) -> Cluster:
    """A model at rest whose pods took so long, and began so much too late to have served first."""
    cluster = Cluster(observed(policy=TOO_SHORT))
    cluster.settle()
    served = cluster.plan.status["history"][0]
    since = datetime.fromisoformat(served["servedFrom"]) + timedelta(seconds=late)
    pods = tuple(pod(served["revision"], took, since, **fields) for took in seconds)
    cluster.change(pods=pods).tick()
    cluster.change(pods=()).settle()
    return cluster


def accepted(cluster: Cluster) -> Object:
    return condition(cluster.plan, "Accepted")


def test_a_deadline_below_the_load_time_is_warned_of_though_the_spec_is_accepted() -> None:
    """L14."""
    cluster = serving(95, 120)
    said = accepted(cluster)

    assert (said["status"], said["reason"]) == ("True", Reason.ACCEPTED)
    assert "startupDeadline 60s is too short" in said["message"]
    assert "took 95s to be ready" in said["message"]


def test_a_deadline_that_the_load_time_meets_is_not_warned_of() -> None:
    """L14: and a larger one ends the warning."""
    assert accepted(serving(60))["message"] == "the spec can be carried out"
    cluster = serving(95)
    cluster.change(policy=policy(startupDeadline="95s")).tick()
    assert accepted(cluster)["message"] == "the spec can be carried out"


def test_a_pod_that_is_not_ready_tells_no_load_time() -> None:
    assert "startupSeconds" not in serving(95, ready=False).plan.status["stable"]


def test_a_pod_that_was_ready_again_hours_later_is_not_taken_for_one_that_loaded_for_hours() -> None:
    assert serving(40, lost=7200).plan.status["stable"]["startupSeconds"] == 40


def test_of_a_pod_that_came_later_nobody_can_tell_how_long_it_took() -> None:
    assert "startupSeconds" not in serving(40, late=3600, lost=7200).plan.status["stable"]


def test_the_load_time_that_was_seen_first_stays() -> None:
    """Later a pod may be ready again for other reasons than its start."""
    cluster = serving(40)
    cluster.change(pods=(pod(cluster.plan.status["stable"]["revision"], 20),)).tick()

    assert cluster.plan.status["stable"]["startupSeconds"] == 40


def test_a_promoted_revision_takes_its_own_load_time_along() -> None:
    cluster = serving(40)
    cluster.change({"model": {"checkpoint": {"revision": OTHER_COMMIT}}})
    canary = cluster.begin()
    cluster.change(pods=(pod(canary, 95),)).tick()
    cluster.change(pods=())

    assert cluster.roll_out().status["stable"]["startupSeconds"] == 95
    assert f"a pod of revision {canary} took 95s" in accepted(cluster)["message"]
