"""A rollout from look to look: what users' traffic sees of good, bad and abandoned revisions.

A letter and a number name an acceptance scenario; docs/scenarios.md lists them.
"""

from itertools import pairwise

import pytest

from builders import COMMIT, OTHER_COMMIT, by_kind, condition
from pilothouse.api.licensepolicy import LicensePolicySpec
from pilothouse.names import DEPLOYMENT, REVISION, Reason, RolloutState
from pilothouse.plan.observed import ObjectKey
from pilothouse.plan.readings import Reading
from pilothouse.plan.types import Plan
from rollout_scene import Scene, policy, scene

NEW = {"model": {"checkpoint": {"revision": OTHER_COMMIT}}}
OLD = {"model": {"checkpoint": {"revision": COMMIT}}}
THIRD = {"model": {"checkpoint": {"revision": "c" * 40}}}
STANDING = {RolloutState.HOLDING, RolloutState.BAKING}
ROUTE = ObjectKey("HTTPRoute", "team-ide", "qwen-coder")


def rolling(replicas: int = 2, **spec: object) -> Scene:
    """A scene whose spec asks for another revision."""
    return scene(replicas, dict(spec)).edit(NEW)


def at(weight: int, replicas: int = 2, **spec: object) -> Scene:
    """A rollout that stands at this weight."""
    return rolling(replicas, **spec).reach(lambda now: now.weight == weight and now.state in STANDING)


def done(now: Scene) -> bool:
    """Whether what the spec asks for serves, alone."""
    return now.stable == now.target and now.status["phase"] == "Ready"


def backends(after: Plan) -> dict[str, int]:
    """Weights of the planned route by revision."""
    (route,) = by_kind(after, "HTTPRoute")
    return {ref["name"].rpartition("-")[2]: ref["weight"] for ref in route["spec"]["rules"][0]["backendRefs"]}


def changes(weights: list[tuple[float, int]]) -> list[int]:
    """Weights one after the other, each once."""
    values = [weight for _, weight in weights]
    return values[:1] + [after for before, after in pairwise(values) if after != before]


def test_the_weights_of_a_good_revision_follow_the_policy() -> None:
    """G1."""
    good = rolling()
    old, new = good.stable, good.target
    good.weights.clear()
    good.plans.clear()

    good.reach(done)
    assert changes(good.weights) == [0, 10, 50, 100, 0]
    assert all(sum(backends(each).values()) == 100 for each in good.plans)
    assert backends(good.plan) == {new: 100}
    assert not any(old in kind for kind in good.kinds())


@pytest.mark.parametrize("capacity", ["Surge", "InPlace"])
@pytest.mark.parametrize("replicas", [2, 3, 8])
def test_no_backend_is_ever_without_a_ready_pod(capacity: str, replicas: int) -> None:
    """G7."""
    good = rolling(replicas, rollout={"capacity": capacity})
    good.behaves(good.target, load_seconds=10)

    while good.stable != good.target:
        good.step()
        pods = {pod["metadata"]["labels"]["pilothouse.dev/revision"] for pod in good.seen.pods}
        assert set(good.route_weights()) <= pods


def test_a_canary_without_a_ready_pod_is_no_backend() -> None:
    """G2."""
    slow = rolling()
    slow.behaves(slow.target, load_seconds=30).reach(lambda now: now.canary is not None).run(25)

    assert slow.state == RolloutState.STARTING
    assert backends(slow.plan) == {slow.stable: 100}


def test_a_canary_of_weight_zero_is_left_out_of_the_route() -> None:
    """G8."""
    started = rolling().reach(lambda now: now.canary is not None)

    assert started.weight == 0
    assert backends(started.plan) == {started.stable: 100}


def test_a_canary_that_loses_a_pod_loses_its_share() -> None:
    """G4."""
    half = at(50)
    half.behaves(half.target, load_seconds=9999)
    half.engines.remove(next(each for each in half.engines if each.revision == half.target))

    half.run(50)
    assert half.weight == 33
    assert half.status["rollout"]["step"] == 3
    half.behaviours.clear()
    half.reach(done)


def test_a_pod_that_is_lost_late_has_the_whole_deadline_to_come_back() -> None:
    """G4."""
    half = at(50)
    half.say(f"pause/{half.target}").run(90)
    half.behaves(half.target, load_seconds=9999)
    half.engines.remove(next(each for each in half.engines if each.revision == half.target))

    half.say(f"resume/{half.target}").run(50)
    assert half.canary == half.target
    assert half.reach(lambda now: now.canary is None, 30).status["lastRollback"]["reason"] == (
        Reason.STARTUP_DEADLINE_EXCEEDED
    )


def test_a_rollback_needs_no_more_of_stable_than_one_ready_pod() -> None:
    """G5."""
    half = at(50, 3)
    lost = next(each for each in half.engines if each.revision == half.stable)
    half.engines.remove(lost)
    half.behaves(half.stable, load_seconds=9999)

    half.say(f"abort/{half.target}").step()
    assert backends(half.plan) == {half.stable: 100}


def test_a_rollback_waits_while_stable_has_no_pod_to_go_back_to() -> None:
    """L19."""
    half = at(50)
    half.behaves(half.stable, healthy=False)

    half.say(f"abort/{half.target}").step()
    assert half.canary == half.target
    assert "has no ready pod to go back to" in half.status["rollout"]["message"]


def test_what_others_write_into_the_route_is_put_back_and_moves_nothing() -> None:
    """G10, W2."""
    half = at(50)
    (planned,) = by_kind(half.plan, "HTTPRoute")
    route = half.seen.children[ROUTE]
    rules = [{**route["spec"]["rules"][0], "filters": [], "backendRefs": []}]
    half.change(children={**half.seen.children, ROUTE: {**route, "spec": {**route["spec"], "rules": rules}}})

    half.step()
    assert by_kind(half.plan, "HTTPRoute") == [planned]
    assert half.weight == 50


def test_a_rollback_moves_the_traffic_before_any_pod() -> None:
    half = at(50)
    stable, canary = half.stable, half.target
    before = half.asked(canary)

    half.say(f"abort/{canary}").step()
    kinds = [obj["kind"] for obj in half.plan.objects]
    assert backends(half.plan) == {stable: 100}
    assert kinds[0] == "HTTPRoute"
    assert half.plan.prunes == ()
    assert half.asked(canary) == before


def test_a_decision_is_on_record_before_it_is_carried_out() -> None:
    half = at(50)

    half.say(f"abort/{half.target}").step()
    assert half.plan.commits


def test_a_third_revision_takes_the_place_of_the_canary_and_starts_at_nothing() -> None:
    """L1."""
    half = at(50)
    first, second = half.stable, half.target
    half.edit(THIRD).step()

    assert backends(half.plan) == {first: 100}
    assert half.status["lastRollback"]["reason"] == Reason.WITHDRAWN
    half.reach(lambda now: now.canary == now.target)
    assert (half.stable, half.weight, half.status["rollout"]["step"]) == (first, 0, 0)
    assert half.asked(second) == 0
    half.reach(done)


def test_an_edit_back_to_what_serves_ends_the_rollout_without_a_rejection() -> None:
    """L2."""
    half = at(50)
    stable, pods = half.stable, {each.uid for each in half.engines if each.revision == half.stable}

    half.edit(OLD).step()
    assert backends(half.plan) == {stable: 100}
    half.run(5)
    assert half.status["phase"] == "Ready"
    assert half.status["rejectedRevisions"] == []
    assert {each.uid for each in half.engines} == pods


def test_an_edit_that_changes_no_revision_goes_on() -> None:
    half = at(50)
    started = half.status["rollout"]["startedAt"]

    half.edit({"replicas": 3}).run(3)
    assert half.canary == half.target
    assert half.status["rollout"]["startedAt"] == started


def test_a_withdrawn_revision_may_be_tried_again() -> None:
    half = at(50).edit(OLD).run(5)

    half.edit(NEW).reach(done)


@pytest.mark.parametrize("state", ["Starting", "Holding", "Baking"])
def test_an_abort_wins_over_a_promotion_that_was_asked_for(state: str) -> None:
    """L5."""
    tried = rolling()
    tried.behaves(tried.target, load_seconds=5).reach(lambda now: now.state == state)
    stable = tried.stable
    tried.say(f"promote/{tried.target}").step()
    if tried.stable == stable:
        tried.say(f"abort/{tried.target}").step()
        assert tried.canary is None
        assert backends(tried.plan) == {stable: 100}


@pytest.mark.parametrize("weight", [10, 50, 100])
def test_an_aborted_rollout_is_recorded_as_aborted_and_not_as_passed(weight: int) -> None:
    """A17."""
    tried = at(weight)
    canary, stable = tried.target, tried.stable
    tried.say(f"abort/{canary}").step()

    assert tried.status["lastRollback"]["reason"] == Reason.ABORTED
    assert tried.status["rejectedRevisions"][0]["reason"] == Reason.ABORTED
    assert [entry["revision"] for entry in tried.status["history"]] == [stable]


def test_a_broken_stable_does_not_block_its_mend() -> None:
    """L10."""
    broken = rolling()
    broken.behaves(broken.stable, healthy=False)

    broken.reach(lambda now: now.weight == 100, 60)
    broken.reach(done)


def test_pods_that_never_come_end_the_rollout_with_their_own_cause() -> None:
    """L13."""
    late = rolling()
    late.behaves(late.target, load_seconds=9999)
    late.reach(lambda now: "lastRollback" in now.status)

    rollback = late.status["lastRollback"]
    assert rollback["reason"] == Reason.STARTUP_DEADLINE_EXCEEDED
    assert "were not ready and named by their Service within" in rollback["message"]
    assert backends(late.plan) == {late.stable: 100}


def test_a_regression_in_the_bake_time_needs_no_model_to_be_loaded() -> None:
    """L20."""
    baking = at(100)
    stable, pods = baking.stable, {each.uid for each in baking.engines if each.revision == baking.stable}
    baking.behaves(baking.target, errors=0.5)

    baking.reach(lambda now: now.canary is None, 5)
    assert backends(baking.plan) == {stable: 100}
    assert {each.uid for each in baking.engines if each.revision == stable} == pods
    assert baking.status["lastRollback"]["reason"] in {Reason.ERROR_STORM, Reason.CHECK_FAILED}


def test_what_is_no_storm_still_fails_in_the_bake_time() -> None:
    """L20: against what stable had while it had requests."""
    baking = scene(policy=policy(bake="2m")).edit(NEW).reach(lambda now: now.state == "Baking")
    baking.behaves(baking.target, errors=0.05)

    baking.reach(lambda now: now.canary is None, 60)
    rollback = baking.status["lastRollback"]
    assert (rollback["reason"], rollback["check"]) == (Reason.CHECK_FAILED, "success")


def test_a_promotion_restarts_no_pod() -> None:
    baking = at(100)
    pods = {each.uid for each in baking.engines if each.revision == baking.target}

    baking.reach(done).run(1)
    assert {each.uid for each in baking.engines} == pods


def test_all_that_a_rollout_makes_goes_with_the_model() -> None:
    """L22."""
    half = at(50)

    assert all(obj["metadata"]["ownerReferences"][0]["uid"] == "u1" for obj in half.plan.objects)
    assert all(obj["metadata"]["labels"][DEPLOYMENT] == "qwen-coder" for obj in half.plan.objects)


def test_a_bake_longer_than_the_startup_deadline_breaks_nothing() -> None:
    """L23."""
    patient = scene(policy=policy(bake="1m", startupDeadline="5s")).edit(NEW)

    patient.reach(lambda now: now.weight == 100).run(40)
    assert patient.state == RolloutState.BAKING
    patient.reach(done)


@pytest.mark.parametrize("capacity", ["InPlace", "Auto"])
def test_without_a_free_gpu_pods_are_swapped_and_none_holds_the_rollout(capacity: str) -> None:
    """C1."""
    full = scene(3, {"rollout": {"capacity": capacity}}).edit(NEW)
    full.room = 3
    full.behaves(full.target, load_seconds=10)

    fewest = 3
    while full.stable != full.target:
        full.step()
        fewest = min(fewest, sum(full._is_ready(each) for each in full.engines))  # noqa: SLF001
        assert full.seconds < 600
    assert fewest == 2


def test_a_swap_is_not_over_while_its_last_pod_waits_for_the_gpu_of_one_that_drains() -> None:
    """C1: nor does anything else than a rollout seem to go on."""
    swap = rolling(3, rollout={"capacity": "InPlace"})
    old = swap.stable
    swap.reach(lambda now: now.stable == now.target)
    drains = {"name": "old", "uid": "old", "labels": {REVISION: old}}
    drains["deletionTimestamp"] = swap.seen.now.isoformat()

    swap.room = 2
    for _ in range(5):
        swap.look()
        swap.change(pods=(*swap.seen.pods, {"metadata": drains, "status": {}})).tick()
    assert condition(swap.plan, "Ready")["status"] == "False"
    assert (swap.state, swap.status["phase"]) == (RolloutState.DRAINING, "RollingOut")


def test_one_replica_without_a_free_gpu_waits_with_its_reason_and_serves_on() -> None:
    """C2."""
    alone = rolling(1)
    alone.room = 1

    alone.run(90)
    assert alone.status["rollout"]["reason"] == Reason.INSUFFICIENT_GPU
    assert condition(alone.plan, "Ready")["reason"] == Reason.INSUFFICIENT_GPU
    assert backends(alone.plan) == {alone.stable: 100}
    alone.room = 2
    alone.reach(done)


def test_an_abort_of_a_swap_gives_stable_its_pods_back() -> None:
    """C4."""
    swapped = at(33, 3, rollout={"capacity": "InPlace"})
    swapped.room = 3
    stable = swapped.stable

    swapped.say(f"abort/{swapped.target}").step()
    assert backends(swapped.plan) == {stable: 100}
    assert swapped.asked(stable) == 3
    swapped.reach(lambda now: now.status["readyReplicas"] == 3 and now.canary is None)


def test_stable_is_as_large_as_the_spec_asks_until_the_bake_is_over() -> None:
    """C7."""
    grown = at(100)
    stable = grown.stable

    grown.edit({"replicas": 5}).step()
    assert grown.asked(stable) == 5


@pytest.mark.parametrize("rate", [0, 40])
def test_a_step_that_is_shorter_than_the_interval_of_samples_is_no_pass(rate: int) -> None:
    """A1."""
    steps = [{"weight": 10, "hold": "1s"}, {"weight": 50, "hold": "1s"}]
    brief = scene(policy=policy(steps=steps, analysis={"interval": "30s"}))
    brief.rate = rate
    brief.edit(NEW).reach(lambda now: now.weight == 10)

    assert brief.run(20).weight == 10


def test_metrics_that_are_down_hold_the_rollout_and_reject_nothing() -> None:
    """A4."""
    blind = at(10)
    blind.behaves(blind.target, readable=False).behaves(blind.stable, readable=False).run(120)

    assert (blind.weight, blind.status["rejectedRevisions"]) == (10, [])
    assert blind.status["rollout"]["reason"] == Reason.METRICS_UNAVAILABLE
    assert "timed out" in blind.status["rollout"]["message"]


def test_a_canary_whose_pods_fail_is_rolled_back_though_metrics_are_down() -> None:
    """A4."""
    blind = at(10)
    blind.behaves(blind.stable, readable=False).behaves(blind.target, readable=False).run(30)

    blind.behaves(blind.target, healthy=False).reach(lambda now: now.canary is None, 5)
    assert blind.status["lastRollback"]["reason"] == Reason.ENGINE_NOT_READY


def test_metrics_that_stay_down_pause_the_rollout_once_and_it_can_be_resumed() -> None:
    """A5."""
    blind = scene(policy=policy(analysis={"interval": "1s", "onError": {"after": "1m"}})).edit(NEW)
    blind.reach(lambda now: now.weight == 10)
    blind.behaves(blind.target, readable=False).reach(lambda now: now.state == RolloutState.PAUSED)
    blind.behaviours.clear()

    assert blind.run(60).state == RolloutState.PAUSED
    blind.say(f"resume/{blind.target}").reach(lambda now: now.stable == now.target)


def test_metrics_that_stay_down_roll_back_where_the_policy_says_so() -> None:
    """A5."""
    patience = {"after": "1m", "action": "Rollback"}
    blind = scene(policy=policy(analysis={"interval": "1s", "onError": patience})).edit(NEW)
    blind.reach(lambda now: now.weight == 10)

    blind.behaves(blind.target, readable=False).reach(lambda now: now.canary is None)
    assert blind.status["lastRollback"]["reason"] == Reason.METRICS_UNAVAILABLE


OWN_CHECK = {
    "name": "refusals",
    "prometheus": {"bad": "sum(refused)", "total": "sum(asked)"},
    "maxIncrease": 0.1,
}
OWN = policy(analysis={"interval": "1s", "prometheus": {"url": "http://prometheus"}, "checks": [OWN_CHECK]})


def test_queries_that_give_no_number_are_told_before_any_traffic() -> None:
    """A7: and the rollout does not fail by them, but goes no further than its first step."""
    unknown = scene(policy=OWN).edit(NEW)
    unknown.behaves(unknown.target, load_seconds=10).reach(lambda now: now.state == "Starting").run(5)
    (check,) = unknown.status["rollout"]["checks"]
    assert (unknown.state, check["name"], check["verdict"]) == ("Starting", "refusals", "Error")
    assert "no number of stable revision" in check["message"]

    unknown.reach(lambda now: now.weight == 10).run(60)
    assert unknown.weight == 10
    assert unknown.status["rollout"]["reason"] == Reason.METRICS_UNAVAILABLE


def test_queries_that_are_answered_for_stable_are_not_warned_of() -> None:
    """A7: of a canary without traffic nobody can know."""
    known = scene(policy=OWN).edit(NEW)
    known.behaves(known.target, load_seconds=10).reach(lambda now: now.state == "Starting")
    for _ in range(5):
        known.look()
        answer = Reading("", known.stable, known.seen.now, queries={"refusals": (1.0, 100.0)})
        known.change(readings=(*known.seen.readings, answer)).tick()
        assert "checks" not in known.plan.status["rollout"] or not known.plan.status["rollout"]["checks"]


def test_a_few_bad_moments_of_many_end_no_rollout() -> None:
    """A11."""
    shaky = scene(policy=policy(bake="2m")).edit(NEW)
    shaky.reach(lambda now: now.canary is not None)
    for moment in range(120):
        shaky.behaves(shaky.target, slow=0.3 if moment % 40 == 30 else 0.0).step(1)
        assert "lastRollback" not in shaky.status


@pytest.mark.parametrize(
    ("state", "held"), [("Holding", False), ("Paused", True), ("Baking", False), ("Paused", False)]
)
def test_a_storm_of_errors_ends_a_rollout_in_every_state(state: str, *, held: bool) -> None:
    """A10."""
    steps = [{"weight": 20, "hold": "10s"}, {"pause": {}}, {"weight": 50, "hold": "10s"}]
    gated = scene(policy=policy(steps=steps)).edit(NEW).reach(lambda now: now.weight == 20)
    if held:
        gated.edit({"rollout": {"paused": True}})
    if state == "Baking":
        gated.reach(lambda now: now.state == "Paused").say(f"promote/{gated.target}")
    gated.reach(lambda now: now.state == state)

    gated.behaves(gated.target, errors=0.3)
    before = gated.seconds
    gated.reach(lambda now: now.canary is None, 5)
    assert gated.status["lastRollback"]["reason"] in {Reason.ERROR_STORM, Reason.CHECK_FAILED}
    assert gated.seconds - before <= 3


RARE = policy(analysis={"interval": "5m", "minRequests": 20, "warmupRequests": 0})


def test_a_storm_of_errors_is_found_as_soon_where_samples_are_minutes_apart() -> None:
    """A10: neither what was good before it nor pods that no sample has seen yet hide it."""
    rare = scene(policy=RARE).edit(NEW)
    rare.behaves(rare.target, load_seconds=10).reach(lambda now: now.weight == 10).run(100)
    samples = rare.status["rollout"]["sampling"]

    rare.behaves(rare.target, errors=0.3)
    before = rare.seconds
    rare.reach(lambda now: now.canary is None, 7)
    assert rare.status["lastRollback"]["reason"] == Reason.ERROR_STORM
    assert not samples["canary"].get("pods")
    assert rare.seconds - before <= 6


def test_a_few_errors_are_no_storm_where_samples_are_minutes_apart() -> None:
    """A11."""
    rare = scene(policy=RARE).edit(NEW).reach(lambda now: now.weight == 10)
    for second in range(100):
        rare.behaves(rare.target, errors=0.1 if second % 10 == 0 else 0.0).step(1)
    assert rare.weight == 10


def test_a_slow_canary_is_rolled_back_by_its_check_and_the_evidence_is_shown() -> None:
    slow = at(50)
    slow.behaves(slow.target, slow=0.3).reach(lambda now: now.canary is None)

    rollback = slow.status["lastRollback"]
    assert (rollback["reason"], rollback["check"]) == (Reason.CHECK_FAILED, "time-to-first-token")
    assert rollback["canary"] > rollback["threshold"] >= rollback["stable"]
    assert rollback["samples"] > 0


def test_a_failed_preflight_ends_the_rollout_before_any_request() -> None:
    failing = rolling()
    failing.behaves(failing.target, preflight="TokenizerChanged")
    failing.weights.clear()

    failing.reach(lambda now: bool(now.status["rejectedRevisions"]))
    assert changes(failing.weights) == [0]
    assert failing.status["lastRollback"]["reason"] == Reason.TOKENIZER_CHANGED


def test_pods_that_join_at_a_later_step_are_tested_before_the_weight_rises() -> None:
    joined = at(10, replicas=4)
    joined.behaves(joined.target, examined=False)
    joined.reach(lambda now: now.asked(now.target) == 4).run(30)
    assert (joined.state, joined.weight) == ("Shifting", 10)
    assert joined.status["rollout"]["reason"] == Reason.PREFLIGHT_RUNNING

    joined.behaves(joined.target, examined=True).reach(lambda now: now.weight == 50)


def test_a_pod_that_joins_at_a_later_step_and_fails_its_test_ends_the_rollout() -> None:
    joined = at(10, replicas=4)
    joined.weights.clear()
    joined.behaves(joined.target, preflight=Reason.PREFLIGHT_FAILED).reach(lambda now: now.canary is None)
    assert joined.status["lastRollback"]["reason"] == Reason.PREFLIGHT_FAILED
    assert max(weight for _, weight in joined.weights) == 10


def test_a_license_that_is_withdrawn_takes_the_traffic_from_the_canary() -> None:
    half = at(50, model={"license": {"id": "Apache-2.0"}})
    deny = LicensePolicySpec.model_validate({"default": "Deny"})
    half.change(license_policies={"strict": deny}).step()
    assert backends(half.plan) == {half.stable: 100}
    assert half.status["rejectedRevisions"] == []


def test_a_pause_holds_the_weight_until_a_person_says_resume() -> None:
    paused = at(10)
    paused.say(f"pause/{paused.target}").run(60)
    assert (paused.state, paused.weight, paused.status["phase"]) == ("Paused", 10, "Paused")

    paused.say(f"resume/{paused.target}").reach(lambda now: now.stable == now.target)


def test_a_command_for_another_revision_does_nothing() -> None:
    half = at(50).say("abort/0123456789").run(3)

    assert half.weight == 50


def test_a_gate_waits_for_a_person() -> None:
    steps = [{"weight": 10, "hold": "5s"}, {"pause": {}}]
    gated = scene(policy=policy(steps=steps)).edit(NEW).reach(lambda now: now.state == "Paused").run(60)
    assert gated.status["rollout"]["reason"] == Reason.AWAITING_PROMOTION
    assert f"promote/{gated.target}" in gated.status["rollout"]["message"]

    gated.say(f"promote/{gated.target}").reach(lambda now: now.stable == now.target)


def test_the_same_spec_applied_again_and_again_moves_nothing() -> None:
    """W1."""
    half = at(50)
    state = (half.weight, half.status["rollout"]["step"], half.status["rollout"]["startedAt"])

    half.edit({}).step()
    half.edit({}).step()
    assert (half.weight, half.status["rollout"]["step"], half.status["rollout"]["startedAt"]) == state


def test_a_person_may_promote_what_has_too_few_requests_to_be_judged() -> None:
    quiet = scene()
    quiet.rate = 0.1
    quiet.edit(NEW).reach(lambda now: now.weight == 10).run(60)
    assert quiet.status["rollout"]["reason"] == Reason.CHECK_INCONCLUSIVE

    quiet.say(f"promote/{quiet.target}").run(30)
    assert quiet.weight == 50


def test_a_promotion_by_hand_takes_the_steps_and_waits_for_their_pods() -> None:
    quiet = scene(8)
    quiet.rate = 0.1
    quiet.edit(NEW).reach(lambda now: now.state == RolloutState.HOLDING)
    quiet.behaves(quiet.target, load_seconds=10)
    quiet.weights.clear()

    for count in range(4):
        quiet.say(f"promote/{quiet.target}/{count}").run(30)
    assert changes(quiet.weights) == [10, 11, 50, 100, 0]
    assert quiet.stable == quiet.target


def test_a_promotion_by_hand_counts_for_one_step() -> None:
    quiet = scene()
    quiet.rate = 0.1
    quiet.edit(NEW).reach(lambda now: now.state == RolloutState.HOLDING)
    quiet.say(f"promote/{quiet.target}").reach(lambda now: now.weight == 50)

    assert quiet.run(60).weight == 50
    assert quiet.status["rollout"]["reason"] == Reason.CHECK_INCONCLUSIVE


def test_what_must_be_proved_is_proved_at_the_last_step_of_like_load() -> None:
    """At 90 % beside two whole stable pods latencies can't be compared any more."""
    steps = [{"weight": 50, "hold": "2s"}, {"weight": 90, "hold": "2s"}]
    slow = scene(policy=policy(steps=steps)).edit(NEW).reach(lambda now: now.weight == 50)
    slow.rate = 20

    slow.run(10)
    assert slow.weight == 50
    slow.rate = 2000
    slow.reach(lambda now: now.weight == 90, 60)


def test_the_way_to_the_last_step_needs_no_proof_yet() -> None:
    """The proof is what the last step is held for; on the way there it would hold the one before."""
    steps = [{"weight": 10, "hold": "2s"}, {"weight": 50, "hold": "2s"}]
    slow = scene(policy=policy(steps=steps))
    slow.rate = 20

    slow.edit(NEW).reach(lambda now: now.weight == 50, 60)


def test_no_weight_goes_to_pods_that_their_service_does_not_name_yet() -> None:
    """A gateway answers 503 for the share of a Service without endpoints."""
    hasty = scene(2, policy=policy(steps=[{"weight": 50, "hold": "10s"}])).edit(NEW)
    hasty.unnamed = {hasty.target}
    hasty.run(30)
    assert (hasty.weight, hasty.state) == (0, RolloutState.STARTING)

    hasty.unnamed = set()
    hasty.reach(done)


def test_a_preflight_that_ended_before_its_turn_is_an_event_all_the_same() -> None:
    late = scene(2).edit(NEW)
    late.unnamed = {late.target}
    late.run(30)
    late.unnamed = set()
    late.reach(lambda now: now.weight > 0)
    assert Reason.PREFLIGHT_RUNNING in [event.reason for plan in late.plans for event in plan.events]
