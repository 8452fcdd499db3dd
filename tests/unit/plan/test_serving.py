"""What counts as ready, and which revisions may still get requests."""

from dataclasses import replace

import pytest

from builders import OTHER_COMMIT, Cluster, model_deployment, observed
from pilothouse.plan.observed import ObjectKey, Observed
from pilothouse.plan.plan import plan
from pilothouse.plan.revision import revisions_of
from pilothouse.plan.serving import addressed, has_served, is_ready, ready_replicas, stable_of

NEW_WEIGHTS = {"model": {"checkpoint": {"revision": OTHER_COMMIT}}}
ROUTE = ObjectKey("HTTPRoute", "team-ide", "qwen-coder")


def settled() -> tuple[Cluster, str]:
    """A cluster at rest, and the revision that serves there."""
    cluster = Cluster()
    return cluster, cluster.settle().status["stable"]["revision"]


def with_deployment(cluster: Cluster, revision: str, **status: object) -> Observed:
    """What is seen with other counts in the status of this revision's Deployment."""
    key = ObjectKey("Deployment", "team-ide", f"qwen-coder-{revision}")
    live = cluster.seen.children[key]
    changed = {**live, "status": {**live["status"], **status}}
    return replace(cluster.seen, children={**cluster.seen.children, key: changed})


@pytest.mark.parametrize("field", ["replicas", "updatedReplicas", "readyReplicas"])
def test_a_revision_is_ready_only_when_every_count_is_as_wanted(field: str) -> None:
    cluster, stable = settled()

    assert is_ready(cluster.seen, stable, 2)
    assert not is_ready(with_deployment(cluster, stable, **{field: 1}), stable, 2)


def test_a_revision_of_another_size_than_wanted_is_not_ready() -> None:
    cluster, stable = settled()

    assert not is_ready(cluster.seen, stable, 3)


def test_counts_of_an_older_generation_do_not_count() -> None:
    cluster, stable = settled()

    assert not is_ready(with_deployment(cluster, stable, observedGeneration=0), stable, 2)


def test_a_revision_without_a_deployment_has_no_ready_pods() -> None:
    assert ready_replicas(observed(), "0123456789") == 0
    assert not is_ready(observed(), "0123456789", 2)


def test_what_was_ready_once_has_served_for_ever() -> None:
    cluster, stable = settled()

    assert has_served(with_deployment(cluster, stable, readyReplicas=0), stable)
    assert not has_served(cluster.seen, "0123456789")


def test_a_lost_status_leaves_what_serves_to_the_service() -> None:
    cluster, old = settled()
    cluster.change(NEW_WEIGHTS).begin()
    blank = cluster.seen.deployment.model_copy(update={"status": model_deployment().status})
    seen = replace(cluster.seen, deployment=blank)

    found = stable_of(seen, revisions_of(seen))
    assert found
    assert found.name == old


def test_both_revisions_of_a_weighed_route_are_addressed() -> None:
    cluster, old = settled()
    new = cluster.change(NEW_WEIGHTS).begin()
    while not cluster.plan.status["canary"]["weight"]["desired"]:
        cluster.tick()

    assert set(addressed(cluster.seen)) == {old, new}


def test_a_gateway_that_has_not_answered_may_still_address_who_served_before() -> None:
    cluster, old = settled()
    new = cluster.change(NEW_WEIGHTS).target
    cluster.roll_out()
    route = cluster.seen.children[ROUTE]
    unanswered = replace(cluster.seen, children={**cluster.seen.children, ROUTE: {**route, "status": {}}})

    assert set(addressed(cluster.seen)) == {new}
    assert set(addressed(unanswered)) == {new, old}


def test_a_gateway_that_has_not_answered_may_still_address_who_was_rolled_back() -> None:
    cluster, old = settled()
    new = cluster.change(NEW_WEIGHTS).begin()
    cluster.gateway_answers = False
    cluster.change({}).tick()

    assert plan(cluster.seen).status["lastRollback"]["fromRevision"] == new
    assert set(addressed(cluster.seen)) == {old, new}
