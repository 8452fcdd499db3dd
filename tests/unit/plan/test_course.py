"""Who serves: taking over, giving way, and keeping pods while requests may still come."""

import pytest

from builders import OTHER_COMMIT, Cluster, by_kind, model_deployment, observed
from pilothouse.plan.observed import ObjectKey
from pilothouse.plan.plan import plan
from pilothouse.plan.types import Plan

NEW_WEIGHTS = {"model": {"checkpoint": {"revision": OTHER_COMMIT}}}
THIRD_WEIGHTS = {"model": {"checkpoint": {"revision": "b" * 40}}}
ROUTE = ObjectKey("HTTPRoute", "team-ide", "qwen-coder")


def settled(cluster: Cluster | None = None) -> tuple[Cluster, str]:
    """A cluster at rest, and the revision that serves there."""
    cluster = cluster or Cluster()
    return cluster, cluster.settle().status["stable"]["revision"]


def promoted() -> tuple[Cluster, str, str]:
    """A cluster that has just promoted a canary, the revision that gave way, and the one that serves."""
    cluster, old = settled()
    new = cluster.change(NEW_WEIGHTS).target
    while cluster.plan.status["stable"]["revision"] == old:
        cluster.tick(seconds=60)
    return cluster, old, new


def deployments(after: Plan) -> set[str]:
    """Revisions that keep or get pods."""
    return {obj["metadata"]["name"].rpartition("-")[2] for obj in by_kind(after, "Deployment")}


def test_a_first_revision_that_never_served_gives_way_at_once() -> None:
    cluster = Cluster()
    broken = cluster.plan.status["stable"]["revision"]
    new = cluster.change(NEW_WEIGHTS).target
    cluster.broken = {f"qwen-coder-{broken}", f"qwen-coder-{new}"}

    after = cluster.settle()
    assert after.status["stable"]["revision"] == new
    assert deployments(after) == {new}
    assert not any(broken in kind for kind in cluster.kinds())


def test_what_has_served_and_is_down_does_not_give_way_to_what_is_not_ready() -> None:
    cluster, old = settled()
    new = cluster.change(NEW_WEIGHTS).target
    cluster.broken = {f"qwen-coder-{new}", f"qwen-coder-{old}"}
    cluster.begin()

    after = cluster.tick(seconds=60)
    assert after.status["stable"]["revision"] == old
    assert deployments(after) == {old, new}


@pytest.mark.parametrize("shared", [{}, {"route": None}])
def test_a_revision_without_pods_takes_over_at_once(shared: dict[str, object]) -> None:
    cluster, old = settled(Cluster(observed(model_deployment({"replicas": 0, **shared}))))

    after = cluster.change({**NEW_WEIGHTS, "replicas": 0, **shared}).settle()
    assert after.status["stable"]["revision"] != old
    assert len(deployments(after)) == 1


def test_what_serves_is_kept_even_if_the_status_was_lost() -> None:
    cluster, old = settled()
    blank = cluster.seen.deployment.model_copy(update={"status": model_deployment().status})
    cluster.change(deployment=blank).change(NEW_WEIGHTS)

    assert plan(cluster.seen).status["stable"]["revision"] == old


def test_a_canary_that_the_status_has_forgotten_is_tried_from_the_beginning() -> None:
    cluster, old = settled()
    new = cluster.change(NEW_WEIGHTS).begin()
    while not cluster.plan.status["canary"]["weight"]["desired"]:
        cluster.tick()
    blank = cluster.seen.deployment.model_copy(update={"status": model_deployment().status})

    after = cluster.change(deployment=blank).tick()
    assert after.status["stable"]["revision"] == old
    assert deployments(after) == {old, new}
    assert cluster.roll_out().status["stable"]["revision"] == new


def test_a_rollout_waits_while_the_api_server_refuses_its_route() -> None:
    cluster, old = settled()
    route = cluster.seen.children[ROUTE]
    cluster.change(NEW_WEIGHTS, refusals={ROUTE: "denied"}).begin()
    for _ in range(40):
        cluster.change(children={**cluster.seen.children, ROUTE: route})
        after = cluster.tick(seconds=60)

    assert after.status["stable"]["revision"] == old
    assert after.status["rollout"]["reason"] == "ApplyRefused"
    assert old in deployments(after)


def test_a_revision_that_gave_way_is_removed_when_nobody_addresses_it() -> None:
    cluster, old, new = promoted()

    assert deployments(cluster.plan) == {new}
    assert {key.kind for key in cluster.plan.prunes} == {
        "ConfigMap",
        "ControllerRevision",
        "Deployment",
        "PodDisruptionBudget",
        "Service",
    }
    assert all(old in key.name for key in cluster.plan.prunes)


def test_a_revision_that_gave_way_keeps_its_pods_until_the_gateway_has_followed() -> None:
    cluster, old, new = promoted()
    route = cluster.seen.children[ROUTE]
    cluster.change(children={**cluster.seen.children, ROUTE: {**route, "status": {}}})

    cluster.change(THIRD_WEIGHTS)
    after = plan(cluster.seen)
    assert after.status["stable"]["revision"] == new
    assert after.prunes == ()
    assert old not in deployments(after)


def test_without_a_route_the_former_revision_keeps_its_pods_while_the_service_names_it() -> None:
    cluster, old = settled(Cluster(observed(model_deployment({"route": None}))))
    cluster.change({**NEW_WEIGHTS, "route": None}).begin()
    service = cluster.seen.children[ObjectKey("Service", "team-ide", "qwen-coder")]
    while cluster.plan.status["stable"]["revision"] == old:
        cluster.tick(seconds=60)
        cluster.change(
            children={**cluster.seen.children, ObjectKey("Service", "team-ide", "qwen-coder"): service}
        )

    assert old in deployments(cluster.tick())
    assert old not in deployments(cluster.tick())


def test_what_is_pruned_late_is_pruned_soon() -> None:
    cluster, _, _ = promoted()

    assert cluster.plan.prunes
    assert cluster.plan.requeue_after
    assert cluster.plan.requeue_after.total_seconds() <= 1


def test_a_child_that_is_going_is_not_pruned_again() -> None:
    cluster, old = settled()
    cluster.change(NEW_WEIGHTS).begin()
    while "canary" in cluster.plan.status:
        before = dict(cluster.seen.children)
        cluster.tick(seconds=60)
    going = {
        key: {**obj, "metadata": {**obj["metadata"], "deletionTimestamp": "2026-11-23T12:00:00Z"}}
        for key, obj in before.items()
        if old in key.name
    }

    after = plan(cluster.change(children={**cluster.seen.children, **going}).seen)
    assert after.prunes == ()


def test_the_record_of_a_revision_outlives_its_pods() -> None:
    cluster, _, _ = promoted()

    kinds = [key.kind for key in cluster.plan.prunes]
    assert kinds.index("Deployment") < kinds.index("ControllerRevision")


def test_the_pods_of_a_revision_that_gives_way_never_grow() -> None:
    cluster, _ = settled()
    new = cluster.change(NEW_WEIGHTS).begin()
    cluster.gateway_answers = False
    before = {obj["metadata"]["name"]: obj for obj in by_kind(cluster.tick(), "Deployment")}

    cluster.change({"replicas": 5}).tick()
    after = {obj["metadata"]["name"]: obj for obj in by_kind(cluster.tick(), "Deployment")}
    assert after[f"qwen-coder-{new}"]["spec"] == before[f"qwen-coder-{new}"]["spec"]
