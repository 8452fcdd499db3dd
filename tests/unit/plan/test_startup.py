"""A startup deadline that a model can't meet is warned of before a rollout fails by it (L14)."""

from datetime import timedelta

from builders import NOW, OTHER_COMMIT, Cluster, Object, condition, observed
from pilothouse.names import DEPLOYMENT, REVISION, Reason
from rollout_scene import policy

TOO_SHORT = policy(startupDeadline="60s")


def pod(revision: str, seconds: float, *, ready: bool = True) -> Object:
    """A pod that took so long."""
    name = f"{revision}-{seconds:.0f}"
    since = (NOW + timedelta(seconds=seconds)).isoformat()
    return {
        "metadata": {"name": name, "uid": name, "labels": {DEPLOYMENT: "qwen-coder", REVISION: revision}},
        "status": {
            "podIP": "10.0.0.1",
            "startTime": NOW.isoformat(),
            "conditions": [{"type": "Ready", "status": str(ready), "lastTransitionTime": since}],
        },
    }


def serving(*seconds: float, ready: bool = True) -> Cluster:
    """A model at rest whose pods were seen once, and took so long."""
    cluster = Cluster(observed(policy=TOO_SHORT))
    cluster.settle()
    revision = cluster.plan.status["stable"]["revision"]
    cluster.change(pods=tuple(pod(revision, took, ready=ready) for took in seconds)).tick()
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


def test_the_load_time_that_was_seen_first_stays() -> None:
    """Later a pod may be ready again for other reasons than its start."""
    cluster = serving(40)
    cluster.change(pods=(pod(cluster.plan.status["stable"]["revision"], 4000),)).tick()

    assert cluster.plan.status["stable"]["startupSeconds"] == 40


def test_a_promoted_revision_takes_its_own_load_time_along() -> None:
    cluster = serving(40)
    cluster.change({"model": {"checkpoint": {"revision": OTHER_COMMIT}}})
    canary = cluster.begin()
    cluster.change(pods=(pod(canary, 95),)).tick()
    cluster.change(pods=())

    assert cluster.roll_out().status["stable"]["startupSeconds"] == 95
    assert f"a pod of revision {canary} took 95s" in accepted(cluster)["message"]
