"""Who serves: taking over, giving way, and keeping pods while requests may still come."""

from dataclasses import replace

import pytest

from builders import OTHER_COMMIT, Cluster, by_kind, model_deployment, observed
from pilothouse.plan.lifecycle import Lifecycle
from pilothouse.plan.observed import ObjectKey, Observed
from pilothouse.plan.plan import plan
from pilothouse.plan.revision import Revision
from pilothouse.plan.rollout import Rollout, is_ready, ready_replicas
from pilothouse.plan.types import Plan

NEW_WEIGHTS = {"model": {"checkpoint": {"revision": OTHER_COMMIT}}}
ROUTE = ObjectKey("HTTPRoute", "team-ide", "qwen-coder")


def revision(name: str) -> Revision:
    """A revision of this name."""
    return Revision(name, 1, {}, {}, Lifecycle(startup=1, drain=1))


def settled(cluster: Cluster | None = None) -> tuple[Cluster, str]:
    """A cluster at rest, and the revision that serves there."""
    cluster = cluster or Cluster()
    return cluster, cluster.settle().status["stable"]["revision"]


def new_revision(cluster: Cluster, old: str) -> str:
    """The revision that is planned beside the old one."""
    planned = {obj["metadata"]["name"] for obj in by_kind(plan(cluster.seen), "Deployment")}
    (name,) = (name for name in planned if old not in name)
    return str(name).rpartition("-")[2]


def deployments(after: Plan) -> set[str]:
    """Revisions that keep or get pods."""
    return {obj["metadata"]["name"].rpartition("-")[2] for obj in by_kind(after, "Deployment")}


def live_deployment(seen: Observed) -> ObjectKey:
    """Key of the only live Deployment."""
    (key,) = [key for key in seen.children if key.kind == "Deployment"]
    return key


def test_each_revision_runs_once_whatever_its_parts() -> None:
    one, two = revision("a"), revision("b")

    assert [part.name for part in Rollout(one, one, (one,)).running] == ["a"]
    assert [part.name for part in Rollout(one, two, (two,)).running] == ["a", "b"]


@pytest.mark.parametrize("stable", [None, revision("a")])
def test_only_the_stable_revision_has_weight(stable: Revision | None) -> None:
    assert Rollout(stable, revision("b")).weights == ({"a": 100} if stable else {})


@pytest.mark.parametrize("field", ["replicas", "updatedReplicas", "readyReplicas"])
def test_a_revision_is_ready_only_when_every_count_is_as_declared(field: str) -> None:
    cluster, stable = settled()
    key = live_deployment(cluster.seen)
    live = cluster.seen.children[key]
    short = {**live, "status": {**live["status"], field: 1}}

    assert is_ready(cluster.seen, stable)
    assert not is_ready(replace(cluster.seen, children={key: short}), stable)


def test_counts_of_an_older_generation_do_not_count() -> None:
    cluster, stable = settled()
    key = live_deployment(cluster.seen)
    live = cluster.seen.children[key]
    edited = {**live, "metadata": {**live["metadata"], "generation": 2}}

    assert not is_ready(replace(cluster.seen, children={key: edited}), stable)


def test_a_revision_without_a_deployment_has_no_ready_pods() -> None:
    assert ready_replicas(observed(), "0123456789") == 0
    assert not is_ready(observed(), "0123456789")


def test_a_first_revision_that_never_served_gives_way_at_once() -> None:
    cluster = Cluster()
    broken = cluster.plan.status["stable"]["revision"]
    cluster.broken = {f"qwen-coder-{broken}"}
    cluster.settle()

    cluster.change(NEW_WEIGHTS)
    new = new_revision(cluster, broken)
    cluster.broken |= {f"qwen-coder-{new}"}
    after = cluster.settle()
    assert after.status["stable"]["revision"] == new
    assert deployments(after) == {new}
    assert not any(broken in kind for kind in cluster.kinds())


def test_what_has_served_and_is_down_does_not_give_way() -> None:
    cluster, old = settled()
    cluster.change(NEW_WEIGHTS)
    new = new_revision(cluster, old)
    cluster.broken = {f"qwen-coder-{new}", f"qwen-coder-{old}"}

    after = cluster.settle()
    assert after.status["stable"]["revision"] == old
    assert deployments(after) == {old, new}


def test_what_serves_is_kept_even_if_the_status_was_lost() -> None:
    cluster, old = settled()
    blank = cluster.seen.deployment.model_copy(update={"status": model_deployment().status})
    cluster.change(deployment=blank).change(NEW_WEIGHTS)
    cluster.broken = {f"qwen-coder-{new_revision(cluster, old)}"}

    after = plan(cluster.seen)
    assert after.status["stable"]["revision"] == old


def test_an_abandoned_revision_is_removed_and_the_next_one_starts() -> None:
    cluster, old = settled()
    cluster.change(NEW_WEIGHTS)
    abandoned = new_revision(cluster, old)
    cluster.broken = {f"qwen-coder-{abandoned}"}
    cluster.settle()

    after = cluster.change({"model": {"checkpoint": {"revision": "b" * 40}}}).tick()
    assert after.status["stable"]["revision"] == old
    assert deployments(after) == {old, after.status["canary"]["revision"]}
    assert {key.name for key in after.prunes} == {f"qwen-coder-{abandoned}"}


def test_the_former_revision_keeps_its_pods_while_the_live_route_names_it() -> None:
    cluster, old = settled()
    route = cluster.seen.children[ROUTE]
    cluster.change(NEW_WEIGHTS)
    cluster.tick()
    for _ in range(3):
        after = cluster.tick()
        # The API server refused the new route: the old one stays in place, and its gateway follows it.
        cluster.change(children={**cluster.seen.children, ROUTE: route})
        assert after.status["stable"]["revision"] != old
        assert old in deployments(after)
        assert after.prunes == ()


def test_the_former_revision_keeps_its_pods_while_the_next_one_starts() -> None:
    cluster, old = settled()
    cluster.change(NEW_WEIGHTS)
    cluster.tick()
    switched = cluster.tick().status["stable"]["revision"]
    route = cluster.seen.children[ROUTE]
    unanswered = {**route, "status": {}}
    cluster.change(children={**cluster.seen.children, ROUTE: unanswered})

    cluster.change({"model": {"checkpoint": {"revision": "b" * 40}}})
    after = plan(cluster.seen)
    assert after.status["stable"]["revision"] == switched
    assert deployments(after) == {old, switched, after.status["canary"]["revision"]}


def test_without_a_route_the_former_revision_keeps_its_pods_while_the_service_names_it() -> None:
    cluster, old = settled(Cluster(observed(model_deployment({"route": None}))))
    cluster.change({**NEW_WEIGHTS, "route": None})
    cluster.tick()

    switched = cluster.tick()
    assert old in deployments(switched)
    gone = cluster.tick()
    assert old not in deployments(gone)
    assert any(old in key.name for key in gone.prunes)


def test_what_is_pruned_late_is_pruned_soon() -> None:
    cluster, _ = settled()
    cluster.change(NEW_WEIGHTS)
    cluster.tick()
    cluster.tick()

    pruning = cluster.tick()
    assert pruning.prunes
    assert pruning.requeue_after
    assert pruning.requeue_after.total_seconds() <= 1


def test_a_child_that_is_going_is_not_pruned_again() -> None:
    cluster, old = settled()
    cluster.change(NEW_WEIGHTS)
    cluster.tick()
    cluster.tick()
    going = {
        key: {**obj, "metadata": {**obj["metadata"], "deletionTimestamp": "2026-11-23T12:00:00Z"}}
        for key, obj in cluster.seen.children.items()
        if old in key.name
    }

    after = plan(cluster.change(children={**cluster.seen.children, **going}).seen)
    assert after.prunes == ()
    assert after.requeue_after is None


def test_the_record_of_a_revision_outlives_its_pods() -> None:
    cluster, _ = settled()
    cluster.change(NEW_WEIGHTS)
    cluster.tick()
    cluster.tick()

    kinds = [key.kind for key in cluster.tick().prunes]
    assert kinds[-1] == "ControllerRevision"


def test_a_revision_without_pods_takes_over_at_once() -> None:
    cluster, old = settled(Cluster(observed(model_deployment({"replicas": 0}))))

    after = cluster.change({**NEW_WEIGHTS, "replicas": 0}).settle()
    assert after.status["stable"]["revision"] != old
    assert len(deployments(after)) == 1
