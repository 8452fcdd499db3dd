"""The whole decision: what exists after which history, and what the status says of it."""

from hypothesis import given
from hypothesis import strategies as st

from builders import (
    OTHER_COMMIT,
    Cluster,
    accepted_parent,
    by_kind,
    condition,
    model_deployment,
    observed,
    queue_class,
)
from pilothouse.plan.observed import ObjectKey, key_of
from pilothouse.plan.plan import plan

NEW_WEIGHTS = {"model": {"checkpoint": {"revision": OTHER_COMMIT}}}


def test_a_first_deployment_gets_all_its_children() -> None:
    cluster = Cluster()
    revision = cluster.settle().status["stable"]["revision"]

    assert cluster.kinds() == [
        f"ConfigMap qwen-coder-{revision}",
        f"ControllerRevision qwen-coder-{revision}",
        f"Deployment qwen-coder-{revision}",
        "HTTPRoute qwen-coder",
        f"PodDisruptionBudget qwen-coder-{revision}",
        "Service qwen-coder",
        f"Service qwen-coder-{revision}",
    ]
    assert cluster.plan.status["phase"] == "Ready"
    assert condition(cluster.plan, "Ready")["status"] == "True"
    assert cluster.plan.status["url"] == "http://10.96.0.7/team-ide/qwen-coder/v1"
    assert cluster.plan.requeue_after is None


def test_nothing_runs_before_it_is_on_record() -> None:
    kinds = [obj["kind"] for obj in plan(observed()).objects]

    assert kinds.index("ControllerRevision") < kinds.index("Deployment")


def test_every_child_is_owned_and_labelled() -> None:
    for obj in plan(observed()).objects:
        assert obj["metadata"]["ownerReferences"][0]["uid"] == "u1"
        assert obj["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "pilothouse"
        assert obj["metadata"]["labels"]["pilothouse.dev/deployment"] == "qwen-coder"


def test_scaling_changes_nothing_but_the_count() -> None:
    cluster = Cluster()
    before = {key_of(obj): obj for obj in cluster.settle().objects}
    after = {key_of(obj): obj for obj in cluster.change({"replicas": 5}).tick().objects}

    changed = [key for key in after if after[key] != before.get(key)]
    assert [key.kind for key in changed] == ["Deployment"]
    (key,) = changed
    assert after[key]["spec"].pop("replicas") == 5
    assert before[key]["spec"].pop("replicas") == 2
    assert after[key] == before[key]


def test_the_stable_revision_serves_until_the_canary_is_ready() -> None:
    cluster = Cluster()
    old = cluster.settle().status["stable"]["revision"]
    new = cluster.change(NEW_WEIGHTS).target
    cluster.broken = {f"qwen-coder-{new}"}
    cluster.begin()

    waiting = cluster.tick()
    assert waiting.status["phase"] == "RollingOut"
    assert waiting.status["stable"]["revision"] == old
    assert waiting.status["canary"]["revision"] == new
    assert condition(waiting, "Ready")["message"].endswith(f"revision {old} serves on")
    assert _backends(waiting) == {f"qwen-coder-{old}": 100}


def test_a_rollout_ends_with_the_new_revision_alone() -> None:
    cluster = Cluster()
    old = cluster.settle().status["stable"]["revision"]
    new = cluster.change(NEW_WEIGHTS).target

    done = cluster.roll_out()
    assert done.status["stable"]["revision"] == new
    assert done.status["phase"] == "Ready"
    assert _backends(done) == {f"qwen-coder-{new}": 100}
    assert not any(old in kind for kind in cluster.kinds())
    assert [entry["revision"] for entry in done.status["history"]] == [new, old]


def test_going_back_to_the_stable_spec_withdraws_the_canary_in_one_plan() -> None:
    cluster = Cluster()
    old = cluster.settle().status["stable"]["revision"]
    cluster.change(NEW_WEIGHTS).begin()
    while not cluster.plan.status["canary"]["weight"]["desired"]:
        cluster.tick()

    back = cluster.change({}).tick()
    assert back.status["stable"]["revision"] == old
    assert "canary" not in back.status
    assert _backends(back) == {f"qwen-coder-{old}": 100}
    assert not any(old in key.name for key in back.prunes)
    assert back.status["rejectedRevisions"] == []


def test_a_spec_that_cannot_be_carried_out_loses_nothing_that_serves() -> None:
    cluster = Cluster()
    before = cluster.settle()

    after = cluster.change({"engine": {"extraArgs": ["--port=1"]}}).tick()
    assert condition(after, "Accepted")["reason"] == "ArgumentNotAllowed"
    assert condition(after, "Ready")["status"] == "False"
    assert condition(after, "Stalled")["status"] == "True"
    assert after.prunes == ()
    assert after.objects == before.objects


def test_a_lost_queue_class_keeps_the_route_that_is_there() -> None:
    cluster = Cluster()
    cluster.settle()

    after = cluster.change(queue_class=None).tick()
    assert condition(after, "Accepted")["reason"] == "QueueClassNotFound"
    assert after.prunes == ()
    assert len(by_kind(after, "Deployment")) == 1


def test_a_changed_cap_of_the_lane_is_a_new_revision() -> None:
    cluster = Cluster()
    old = cluster.settle().status["stable"]["revision"]

    lane = queue_class({"requests": {"maxOutputTokens": 512}})
    assert cluster.change(queue_class=lane).begin() != old


def test_a_changed_timeout_of_the_lane_changes_the_route_and_the_guards_settings_only() -> None:
    cluster = Cluster()
    before = cluster.settle()
    lane = queue_class({"requests": {"timeout": "90s"}})
    after = cluster.change(queue_class=lane).tick()

    changed = [new["kind"] for new, old in zip(after.objects, before.objects, strict=True) if new != old]
    assert changed == ["HTTPRoute", "ConfigMap"]


def test_without_a_route_only_the_service_serves() -> None:
    cluster = Cluster(observed(model_deployment({"route": None})))
    cluster.settle()

    assert "HTTPRoute qwen-coder" not in cluster.kinds()
    assert condition(cluster.plan, "Ready")["status"] == "True"
    assert not any(entry["type"] == "RouteProgrammed" for entry in cluster.plan.status["conditions"])


def test_a_missing_gateway_api_costs_the_route_and_says_so() -> None:
    cluster = Cluster(observed(served_kinds=frozenset(), gateways={}))
    cluster.settle()

    assert condition(cluster.plan, "WorkloadReady")["status"] == "True"
    assert condition(cluster.plan, "Ready")["reason"] == "GatewayAPIMissing"
    assert len(by_kind(cluster.plan, "Deployment")) == 1


def test_a_missing_gateway_is_named() -> None:
    cluster = Cluster(observed(gateways={}))
    cluster.settle()

    ready = condition(cluster.plan, "Ready")
    assert (ready["reason"], "gateways/models" in ready["message"]) == ("GatewayNotFound", True)


def test_a_route_that_the_gateway_refuses_is_not_ready() -> None:
    cluster = Cluster()
    cluster.settle()
    key = ObjectKey("HTTPRoute", "team-ide", "qwen-coder")
    route = {
        **cluster.seen.children[key],
        "status": {"parents": [accepted_parent(accepted=False, reason="NotAllowed")]},
    }
    after = plan(cluster.change(children={**cluster.seen.children, key: route}).seen)

    assert condition(after, "Ready")["reason"] == "RouteNotAccepted"
    assert "NotAllowed" in condition(after, "Ready")["message"]


def test_a_child_that_the_api_server_refuses_is_said() -> None:
    key = ObjectKey("Service", "team-ide", "qwen-coder")
    after = plan(observed(refusals={key: "exists and belongs to somebody else"}))

    assert condition(after, "Ready")["reason"] == "ApplyRefused"
    assert "Service qwen-coder" in condition(after, "Ready")["message"]


def test_replicas_zero_is_ready_without_pods() -> None:
    cluster = Cluster(observed(model_deployment({"replicas": 0})))
    cluster.settle()

    assert condition(cluster.plan, "WorkloadReady")["reason"] == "ScaledToZero"
    assert condition(cluster.plan, "Ready")["status"] == "True"


def test_a_lost_status_is_rebuilt_from_the_children() -> None:
    cluster = Cluster()
    before = cluster.settle()
    lost = cluster.seen.deployment.model_copy(update={"status": model_deployment().status})

    after = plan(cluster.change(deployment=lost).seen)
    assert after.objects == before.objects
    assert after.status["stable"] == before.status["stable"]


def test_a_lost_record_comes_back_whole_while_the_spec_still_leads_to_it() -> None:
    cluster = Cluster()
    (before,) = by_kind(cluster.settle(), "ControllerRevision")
    kept = {key: obj for key, obj in cluster.seen.children.items() if key.kind != "ControllerRevision"}

    (after,) = by_kind(plan(cluster.change(children=kept).seen), "ControllerRevision")
    assert after["data"] == before["data"]


def test_a_lost_record_of_the_stable_revision_stops_nothing() -> None:
    cluster = Cluster()
    stable = cluster.settle().status["stable"]["revision"]
    cluster.change(NEW_WEIGHTS)
    kept = {key: obj for key, obj in cluster.seen.children.items() if key.kind != "ControllerRevision"}

    after = plan(cluster.change(children=kept).seen)
    assert after.status["stable"]["revision"] == stable
    assert not any(stable in key.name for key in after.prunes)
    assert _backends(after) == {f"qwen-coder-{stable}": 100}


def test_one_event_tells_one_change() -> None:
    cluster = Cluster()
    first = cluster.tick()
    cluster.settle()

    assert [event.reason for event in first.events] == ["Starting"]
    assert cluster.tick().events == ()


def test_pods_are_looked_at_ever_more_rarely() -> None:
    cluster = Cluster()
    revision = cluster.tick().status["stable"]["revision"]
    cluster.broken = {f"qwen-coder-{revision}"}
    cluster.tick()
    waits = []
    for _ in range(4):
        after = cluster.tick(seconds=100).requeue_after
        assert after
        waits.append(after.total_seconds())

    assert waits == sorted(waits)
    assert 2 <= waits[0] <= waits[-1] <= 60


@given(replicas=st.integers(0, 50), timeout=st.integers(1, 3600))
def test_the_same_input_gives_the_same_plan(replicas: int, timeout: int) -> None:
    seen = observed(
        model_deployment({"replicas": replicas}),
        queue_class=queue_class({"requests": {"timeout": f"{timeout}s"}}),
    )

    assert plan(seen) == plan(seen)


def _backends(after: object) -> dict[str, int]:
    (route,) = by_kind(after, "HTTPRoute")  # type: ignore[arg-type]
    return {ref["name"]: ref["weight"] for ref in route["spec"]["rules"][0]["backendRefs"]}
